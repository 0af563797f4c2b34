"""Who the keys of a cloud make you: asked once, shown with the alias, written into the journal."""

from dataclasses import replace
from pathlib import Path

import pytest

from backend.account import Account, Identity, Role
from backend.cache import Cache
from backend.commands.grammar import parse
from backend.commands.run import execute, execute_all
from backend.config import Cloud, Defaults, Settings
from backend.errors import CloudmeshError
from backend.kinds.model import Scope
from backend.providers.ec2.chain import Chain
from backend.providers.ec2.entry import EC2, ec2_keys
from backend.providers.ec2.identity import AGAIN_AFTER, Identities, role_of
from backend.secret import Secret
from backend.session import Session
from tests.backend.sso_portal import Portal, sso_portal

KEYS = "aws_access_key_id = AKIASTATIC0001\naws_secret_access_key = secret-of-the-file\n"
ROLE = "arn:aws:iam::222222222222:role/Admin"


@pytest.mark.parametrize(
    ("arn", "role"),
    [
        ("arn:aws:sts::222222222222:assumed-role/Admin/cloudmesh-tui", "Admin"),
        ("arn:aws:sts::222222222222:assumed-role/AWSReservedSSO_Read_Only_0123456789abcdef/me@acme.org", "Read_Only"),
        ("arn:aws:iam::222222222222:user/team/ann", "ann"),
        ("arn:aws:sts::222222222222:federated-user/ann", "ann"),
        ("arn:aws:iam::222222222222:root", "root"),
    ],
)
def test_the_role_in_an_arn(arn: str, role: str) -> None:
    assert role_of(arn) == role


def test_how_it_reads() -> None:
    assert Identity("222222222222", "", "Admin").text == "222222222222 · Admin"
    assert Identity("222222222222", "", "Admin", "acme").text == "acme · Admin"
    assert Identity("222222222222", "", "Admin", "acme").lasting == "222222222222 · Admin"


def chain(folder: Path, url: str) -> Chain:
    """Return a chain whose profile `dev` has its services at `url`."""
    (folder / "config").write_text(
        f"[profile dev]\nregion = us-east-1\nservices = local\n{KEYS}\n[services local]\n"
        f"sts =\n  endpoint_url = {url}\niam =\n  endpoint_url = {url}\n"
    )
    return Chain({"AWS_CONFIG_FILE": str(folder / "config"), "AWS_SHARED_CREDENTIALS_FILE": "/nowhere"})


CLOUD = Cloud("dev", account=Account("dev", Role(ROLE)), default=Defaults("us-east-1"))


def test_sts_is_asked_once_and_the_alias_is_shown(tmp_path: Path, moto: str) -> None:
    found = chain(tmp_path, moto)
    iam = found.of(CLOUD.account).client("iam", "us-east-1")
    iam.create_account_alias(AccountAlias="acme")
    identities = Identities(found)
    who = identities.of(CLOUD)
    assert who is not None
    assert (who.account, who.role, who.alias) == ("222222222222", "Admin", "acme")
    assert who.arn.endswith("assumed-role/Admin/cloudmesh-tui")
    (tmp_path / "config").unlink()
    assert identities.of(replace(CLOUD, default=Defaults("eu-west-1"))) is who
    iam.delete_account_alias(AccountAlias="acme")


def test_a_failure_is_not_repeated_at_once_and_hurts_nobody(tmp_path: Path) -> None:
    now = [0.0]
    with sso_portal() as portal:  # it is no STS
        identities = Identities(chain(tmp_path, portal.url), lambda: now[0])
        cloud = replace(CLOUD, account=Account("dev"))
        for at, asked in ((0, 1), (AGAIN_AFTER - 1, 1), (AGAIN_AFTER, 2)):
            now[0] = at
            assert identities.of(cloud) is None
            assert len(_sts(portal)) == asked
        identities.forget()
        assert identities.of(cloud) is None
        assert len(_sts(portal)) == 3


def test_other_keys_are_asked_again_who_they_are(tmp_path: Path, moto: str) -> None:
    identities = Identities(chain(tmp_path, moto))
    for forget in (identities.forget, lambda: identities.renewed(Account("dev", Role(ROLE)))):
        who = identities.of(CLOUD)
        assert who is identities.of(CLOUD) is not None
        forget()
        assert identities.of(CLOUD) is not who


def test_a_cloud_with_an_endpoint_says_nothing_of_aws(tmp_path: Path, moto: str) -> None:
    at_aws = replace(CLOUD, account=None, credentials=ec2_keys(Secret("AKIA1"), Secret("identity-secret")))
    elsewhere = replace(at_aws, endpoint=moto)
    found = chain(tmp_path, moto)
    environ = {"AWS_ENDPOINT_URL_STS": moto, "AWS_ENDPOINT_URL_IAM": moto}
    with pytest.MonkeyPatch.context() as patch:
        identities = Identities(found)
        assert identities.of(elsewhere) is None  # no setting names its STS
        for name, url in environ.items():
            patch.setenv(name, url)
        identities_of_aws = Identities(found)
        assert identities_of_aws.of(at_aws) is not None
        assert identities.of(at_aws) is not None


def _sts(portal: Portal) -> list[str]:
    return [one for one in portal.asked if one == "/"]


def test_an_endpoint_of_its_own_is_not_asked(tmp_path: Path) -> None:
    with sso_portal() as portal:
        identities = Identities(chain(tmp_path, portal.url))
        assert identities.of(replace(CLOUD, account=Account("default"), endpoint=portal.url)) is None
        assert portal.asked == []


def test_the_journal_says_which_account_did_it(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    entry = replace(EC2, identity=lambda one: Identity("222222222222", "", f"Role-of-{one.name}"))
    clouds = {name: replace(cloud, name=name, provider=entry) for name in ("one", "two")}
    session = Session(Settings(clouds, "one"), clouds["one"], cache, tmp_path, backoff=())
    execute(parse(["keypair", "create", "mine"]), session)
    with pytest.raises(CloudmeshError):
        execute(parse(["vm", "stop", "i-0123456789"]), session)
    there = Scope("two", "us-east-1")
    execute_all([parse(["keypair", "delete", "mine"]), replace(parse(["vm", "stop", "i-1"]), scope=there)], session)
    said = {(entry["cloud"], entry["account"]) for entry in cache.journal.newest()}
    assert said == {(name, f"222222222222 · Role-of-{name}") for name in clouds}
