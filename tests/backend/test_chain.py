"""The chain finds the same keys, account, region and host as botocore, over a table of configurations."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.backend.sso_portal import Portal, save_token, sso_portal

TREE = Path(__file__).parents[2]
KEYS = "aws_access_key_id = {0}\naws_secret_access_key = secret-of-{0}\n"
STATIC = KEYS.format("AKIASTATIC0001")
ROLE = "arn:aws:iam::222222222222:role/Admin"
SSO = """
sso_account_id = 111122223333
sso_role_name = Admin
"""
SSO_LEGACY = f"{SSO}sso_start_url = https://acme.awsapps.com/start\nsso_region = us-east-1\n"
SSO_SESSION = f"""{SSO}sso_session = acme
[sso-session acme]
sso_start_url = https://acme.awsapps.com/start
sso_region = us-east-1
"""


def process(said: str, status: int = 0, stderr: str = "") -> str:
    """Return the line of a profile whose credential_process is a small script."""
    script = f"import sys; sys.stderr.write({stderr!r}); print({said!r}); sys.exit({status})"
    return f"credential_process = {sys.executable} -c {json.dumps(script)}\n"


def said(**more: Any) -> str:
    keys = {"Version": 1, "AccessKeyId": "ASIAPROCESS001", "SecretAccessKey": "secret-of-the-process"}
    return json.dumps(keys | more)


@dataclass(frozen=True)
class Case:
    name: str
    config: str = ""
    credentials: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)
    profile: str | None = None
    says: str = ""
    """A part of the sentence, where there are no keys."""
    role: Mapping[str, str] | None = None
    hangs: bool = False


ENV_KEYS = {"AWS_ACCESS_KEY_ID": "AKIAENV000001", "AWS_SECRET_ACCESS_KEY": "secret-of-the-environment"}
IRELAND = {"AWS_DEFAULT_REGION": "eu-west-1"}

CASES = [
    Case("keys of the environment", environ=ENV_KEYS | IRELAND),
    Case("with a token", environ=ENV_KEYS | IRELAND | {"AWS_SESSION_TOKEN": "token-of-the-environment"}),
    Case("AWS_REGION is first", environ=ENV_KEYS | IRELAND | {"AWS_REGION": "ap-south-1"}),
    Case("the default profile", credentials=f"[default]\n{STATIC}region = eu-west-3\n"),
    Case("its region in the config", "[default]\nregion = sa-east-1\n", f"[default]\n{STATIC}"),
    Case("keys in the config", f"[profile dev]\n{STATIC}region = us-west-2\n", profile="dev"),
    Case("AWS_PROFILE", f"[profile dev]\n{STATIC}region = us-west-2\n", environ={"AWS_PROFILE": "dev"}),
    Case("AWS_DEFAULT_PROFILE", f"[profile dev]\n{STATIC}", environ={"AWS_DEFAULT_PROFILE": "dev"} | IRELAND),
    Case(
        "keys of the environment before AWS_PROFILE",
        f"[profile dev]\n{STATIC}region = us-west-2\n",
        environ=ENV_KEYS | {"AWS_PROFILE": "dev"},
    ),
    Case(
        "a named profile before keys of the environment",
        f"[profile dev]\n{STATIC}region = us-west-2\n",
        environ=ENV_KEYS,
        profile="dev",
    ),
    Case("credentials before config", f"[profile a]\n{KEYS.format('AKIACONFIG01')}", f"[a]\n{STATIC}", IRELAND, "a"),
    Case("a profile with a blank", f'[profile "my dev"]\n{STATIC}region = us-west-2\n', profile="my dev"),
    Case(
        "files elsewhere",
        environ={"AWS_CONFIG_FILE": "~/elsewhere", "AWS_SHARED_CREDENTIALS_FILE": "~/elsewhere.keys"},
        profile="far",
    ),
    Case("a process", f"[profile p]\nregion = us-east-2\n{process(said())}", profile="p"),
    Case(
        "a process with a token that ends",
        f"[profile p]\n{process(said(SessionToken='token-of-it', Expiration='2099-01-01T00:00:00Z'))}",
        environ=IRELAND,
        profile="p",
    ),
    Case(
        "a role by a source profile",
        f"[profile dev]\n{STATIC}\n[profile admin]\nrole_arn = {ROLE}\nsource_profile = dev\nregion = eu-west-1\n",
        profile="admin",
    ),
    Case(
        "a role by a role",
        f"[profile dev]\n{STATIC}\n[profile one]\nrole_arn = {ROLE}\nsource_profile = dev\n"
        "[profile two]\nrole_arn = arn:aws:iam::333333333333:role/Two\nsource_profile = one\nregion = eu-west-1\n",
        profile="two",
    ),
    Case(
        "a role by a process",
        f"[profile p]\n{process(said())}\n[profile admin]\nrole_arn = {ROLE}\nsource_profile = p\nregion = eu-west-1\n",
        profile="admin",
    ),
    Case(
        "a role by the environment",
        f"[profile admin]\nrole_arn = {ROLE}\ncredential_source = Environment\nregion = eu-west-1\n",
        environ=ENV_KEYS,
        profile="admin",
    ),
    Case(
        "a role with MFA",
        f"[profile dev]\n{STATIC}\n[profile admin]\nrole_arn = {ROLE}\nsource_profile = dev\nregion = eu-west-1\n"
        "mfa_serial = arn:aws:iam::222222222222:mfa/me\n",
        profile="admin",
    ),
    Case(
        "web identity",
        environ={"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": "HOME/web-token"} | IRELAND,
    ),
    Case("SSO of the older form", f"[profile sso]\nregion = eu-west-1{SSO_LEGACY}", profile="sso"),
    Case("SSO with a session", f"[profile sso]\nregion = eu-west-1{SSO_SESSION}", profile="sso"),
    Case(
        "a role by SSO",
        f"[profile admin]\nrole_arn = {ROLE}\nsource_profile = sso\nregion = eu-west-1\n[profile sso]{SSO_SESSION}",
        profile="admin",
    ),
    Case("instance metadata", environ={"AWS_EC2_METADATA_DISABLED": "false"} | IRELAND),
    Case("China", f"[default]\n{STATIC}region = cn-northwest-1\n"),
    Case("GovCloud with FIPS", f"[default]\n{STATIC}region = us-gov-west-1\nuse_fips_endpoint = true\n"),
    Case("FIPS by the environment", f"[default]\n{STATIC}", environ=IRELAND | {"AWS_USE_FIPS_ENDPOINT": "true"}),
    Case("dual-stack", f"[default]\n{STATIC}region = us-east-2\nuse_dualstack_endpoint = true\n"),
    Case("an ISO region", f"[default]\n{STATIC}region = us-iso-west-1\n"),
    Case(
        "an endpoint of the environment", f"[default]\n{STATIC}", "", IRELAND | {"AWS_ENDPOINT_URL_EC2": "http://h:1"}
    ),
    Case(
        "an endpoint of the profile's services",
        f"[profile lab]\n{STATIC}region = us-east-1\nservices = lab\n[services lab]\nec2 =\n  endpoint_url = http://h:2\n",
        profile="lab",
    ),
    Case(
        "the endpoint of the environment before the one of the profile",
        f"[profile lab]\n{STATIC}region = us-east-1\nservices = lab\n[services lab]\nec2 =\n  endpoint_url = http://h:2\n"
        "sts =\n  endpoint_url = http://h:3\n",
        environ={"AWS_ENDPOINT_URL_EC2": "http://h:1"},
        profile="lab",
    ),
    # --- no keys ------------------------------------------------------------------------------------------------------
    Case("nothing", says="nothing in the chain has keys"),
    Case(
        "an unknown profile",
        f"[profile dev]\n{STATIC}",
        environ={"AWS_PROFILE": "dve"},
        says="names the profile 'dve', which neither ~/.aws/config nor ~/.aws/credentials has. Did you mean 'dev'?",
    ),
    Case(
        "a broken file", f"[default]\n{STATIC}what is this\n", says="config cannot be understood in line 4: it is nei"
    ),
    Case(
        "a loop",
        f"[profile a]\nrole_arn = {ROLE}\nsource_profile = b\n[profile b]\nrole_arn = {ROLE}\nsource_profile = c\n"
        f"[profile c]\nrole_arn = {ROLE}\nsource_profile = b\n",
        profile="a",
        says="Profile a has no keys: its profiles form a loop: a → b → c → b.",
    ),
    Case(
        "a source that does not exist",
        f"[profile a]\nrole_arn = {ROLE}\nsource_profile = gone\n",
        profile="a",
        says='The source_profile "gone" referenced in the profile "a" does not exist.',
    ),
    Case("no JSON", f"[profile p]\n{process('secret-of-the-process')}", profile="p", says="process printed no JSON."),
    Case("not all", f"[profile p]\n{process('{}')}", profile="p", says='printed JSON without "Version": 1'),
    Case(
        "keys on stderr",
        f"[profile p]\n{process('', 3, 'secret-of-the-process')}",
        profile="p",
        says="Profile p has no keys: its credential_process ended with exit status 3. Run it to see why.",
    ),
    Case("no program", "[profile p]\ncredential_process = /no/such/file\n", profile="p", says="cannot be run: No such"),
    Case(
        "a process that hangs",
        f"[profile p]\ncredential_process = {sys.executable} -c 'import time; time.sleep(60)'\n",
        profile="p",
        says="credential_process took longer than 1 s and was stopped",
        hangs=True,
    ),
    Case(
        "SSO without a token",
        f"[profile sso]\nregion = eu-west-1{SSO_LEGACY.replace('acme', 'empty')}",
        profile="sso",
        says="it has no SSO session on this computer (the saved token belongs to another start URL, "
        "https://acme.awsapps.com/start, and not to https://empty.awsapps.com/start). "
        "Run aws sso login --profile sso.",
    ),
    Case(
        "SSO that has ended",
        f"[profile role]\nrole_arn = {ROLE}\nsource_profile = sso\n[profile sso]{SSO_SESSION.replace('acme', 'ended')}",
        profile="role",
        says="its SSO session has ended. Run aws sso login --profile sso.",
    ),
    Case(
        "SSO that refuses the role",
        f"[profile sso]{SSO_SESSION.replace('Admin', 'Forbidden')}",
        profile="sso",
        says="SSO does not give you its role; AWS says: No access.",
    ),
    Case(
        "STS that is not there",
        f"[profile dev]\n{STATIC}\n[profile admin]\nrole_arn = {ROLE}\nsource_profile = dev\n",
        environ={"AWS_ENDPOINT_URL_STS": "http://127.0.0.1:9"},
        profile="admin",
        says="Profile admin has no keys: 127.0.0.1 cannot be reached.",
    ),
    Case("metadata that is silent", environ={"AWS_EC2_METADATA_DISABLED": "false", "SILENT": "yes"}, says="nothing in"),
]


@pytest.fixture(scope="module")
def portal() -> Iterator[Portal]:
    with sso_portal() as portal:
        yield portal


@pytest.fixture(scope="module")
def found(moto: str, portal: Portal, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What our chain and botocore found in each case."""
    home = tmp_path_factory.mktemp("chain")
    save_token(home, "good-token")
    save_token(home, "good-token", session="acme")
    save_token(home, "old-token", session="ended", url="https://ended.awsapps.com/start")
    (home / "web-token").write_text("a-web-identity-token")
    (home / "elsewhere").write_text("[profile far]\nregion = us-west-1\n")
    (home / "elsewhere.keys").write_text(f"[far]\n{KEYS.format('AKIAFAR00001')}")
    base = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(TREE),
        "HOME": str(home),
        "CLOUDMESH_HOME": str(home / "data"),
        "AWS_ENDPOINT_URL_STS": moto,
        "AWS_ENDPOINT_URL_SSO": portal.url,
        "AWS_ENDPOINT_URL_SSO_OIDC": portal.url,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": moto,
    }
    silent = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://192.0.2.1"}  # nothing routes there
    cases = [
        {
            "config": case.config,
            "credentials": case.credentials,
            "environ": {name: value.replace("HOME/", f"{home}/") for name, value in case.environ.items()}
            | (silent if "SILENT" in case.environ else {}),
            "profile": case.profile,
            "role": case.role,
            "hangs": case.hangs,
        }
        for case in CASES
    ]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.backend.chain_witness"],
        input=json.dumps(cases),
        cwd=home,
        env=base,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    return dict(zip((case.name for case in CASES), json.loads(ran.stdout), strict=True))


def test_the_table_is_long_enough() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    assert sum(not case.says for case in CASES) >= 30


@pytest.mark.parametrize("case", [case for case in CASES if not case.says], ids=lambda case: case.name)
def test_ours_is_botocores(found: dict[str, dict[str, Any]], case: Case) -> None:
    ours, theirs = found[case.name]["ours"], found[case.name]["theirs"]
    assert "error" not in theirs, theirs
    if "assumed-role" in theirs["arn"]:  # STS gives other keys each time
        for one in (ours, theirs):
            one["keys"] = len(one["keys"])
            one["arn"] = one["arn"].rpartition("/")[0]
    assert ours == theirs


@pytest.mark.parametrize("case", [case for case in CASES if case.says], ids=lambda case: case.name)
def test_no_keys_is_one_sentence(found: dict[str, dict[str, Any]], case: Case) -> None:
    ours, theirs = found[case.name]["ours"], found[case.name]["theirs"]
    assert "error" in theirs
    assert case.says in ours["error"]
    assert "\n" not in ours["error"]
    assert "secret-of" not in ours["error"]
    assert found[case.name]["seconds"] < 5


def test_a_login_names_its_command(found: dict[str, dict[str, Any]]) -> None:
    assert found["SSO that has ended"]["ours"]["command"] == ["aws", "sso", "login", "--profile", "sso"]
    assert found["SSO without a token"]["ours"]["command"] == ["aws", "sso", "login", "--profile", "sso"]
