"""Keys at the time of a request: renewed, shared by threads, asked for once, and in no log."""

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import create_server
from threading import Event

import pytest

from backend import account, log
from backend.account import Account, Role
from backend.config import Cloud
from backend.errors import Cancelled, CloudmeshError, CredentialsError, ExpiredError, LoginNeededError, NoKeysError
from backend.providers.ec2.chain import Keys
from backend.providers.ec2.entry import EC2, KEY, TOKEN, ec2_keys
from backend.providers.ec2.provider import EC2Provider
from backend.providers.entry import Accounts
from backend.secret import Secret
from tests.backend.ec2_faults import Faults, Reply, Time, every, images, refusal

EXPIRED = refusal(400, "RequestExpired", "Request has expired.")
KEYS = "aws_access_key_id = AKIASTATIC0001\naws_secret_access_key = secret-of-the-file\n"
ROLE = "arn:aws:iam::222222222222:role/Admin"


@dataclass
class Vault:
    """Gives keys with a number; each renewal gives the next."""

    number: int = 1
    renewed: list[Account] = field(default_factory=list)
    late: Event | None = None
    expired: bool | None = None
    """As the last renewal said."""

    def keys_of(self, _cloud: Cloud) -> Mapping[str, Secret]:
        if self.late:
            self.late.wait(10)
        return ec2_keys(Secret(f"AKIANUMBER{self.number}"), Secret("secret-of-the-vault"), Secret("token-of-the-vault"))

    def renew(self, account: Account, *, expired: bool) -> None:
        self.expired = expired
        self.renewed.append(account)
        self.number += 1

    def cloud(self, faults: Faults) -> Cloud:
        assert EC2.accounts is not None
        accounts: Accounts = replace(EC2.accounts, renew=self.renew)
        entry = replace(EC2, keys_of=self.keys_of, accounts=accounts)
        return Cloud("aws", entry, endpoint=faults.url, account=Account("dev"))


def used(faults: Faults) -> list[str]:
    """Return the keys that signed the requests."""
    return [asked.headers["Authorization"].partition("Credential=")[2].partition("/")[0] for asked in faults.asked]


def test_a_read_is_sent_again_once_with_new_keys() -> None:
    vault = Vault()
    with Faults(EXPIRED, images(["ami-1"])) as faults:
        ec2 = EC2Provider(vault.cloud(faults), policy=Time().policy())
        assert len(every(ec2.of("image").list())) == 1
    assert used(faults) == ["AKIANUMBER1", "AKIANUMBER2"]
    assert vault.renewed == [Account("dev")]
    assert {asked.headers["x-amz-security-token"] for asked in faults.asked} == {"token-of-the-vault"}


def test_keys_that_are_not_accepted_are_read_again() -> None:
    """The user may have corrected the file."""
    vault = Vault()
    with Faults(refusal(401, "AuthFailure"), images(["ami-1"])) as faults:
        ec2 = EC2Provider(vault.cloud(faults), policy=Time().policy())
        assert len(every(ec2.of("image").list())) == 1
    assert used(faults) == ["AKIANUMBER1", "AKIANUMBER2"]
    assert vault.expired is False


def test_it_is_not_sent_a_third_time_and_the_cure_names_the_profile() -> None:
    vault = Vault()
    with Faults(EXPIRED) as faults:
        ec2 = EC2Provider(vault.cloud(faults), policy=Time().policy())
        with pytest.raises(ExpiredError) as caught:
            every(ec2.of("image").list())
    assert used(faults) == ["AKIANUMBER1", "AKIANUMBER2"]
    assert "give them to profile dev" in caught.value.cure


def test_a_change_is_not_sent_again_but_the_next_one_has_new_keys() -> None:
    vault = Vault()
    with Faults(EXPIRED) as faults:
        ec2 = EC2Provider(vault.cloud(faults), policy=Time().policy())
        for _ in range(2):
            with pytest.raises(ExpiredError):
                ec2.of("vm").stop("i-1")
    assert used(faults) == ["AKIANUMBER1", "AKIANUMBER2"]


def test_waiting_for_keys_can_be_cancelled_and_nothing_is_sent() -> None:
    vault = Vault(late=Event())

    def check() -> None:
        raise Cancelled

    with Faults(images([])) as faults:
        ec2 = EC2Provider(vault.cloud(faults), check)
        for ask in (lambda: every(ec2.of("image").list()), lambda: ec2.of("vm").stop("i-1")):
            with pytest.raises(Cancelled):
                ask()
    assert vault.late is not None
    vault.late.set()
    assert faults.asked == []


# --- botocore's own ---------------------------------------------------------------------------------------------------


@dataclass
class Files:
    """The files of the AWS tools in a folder of their own."""

    folder: Path

    def keys(self, account: Account, config: str, ask: Callable[[str], str] = str, seconds: float = 30) -> Keys:
        (self.folder / "config").write_text(config)
        environ = {name: str(self.folder / file) for name, file in FILES.items()}
        return Keys(account, environ, ask, seconds)


FILES = {"AWS_CONFIG_FILE": "config", "AWS_SHARED_CREDENTIALS_FILE": "credentials"}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def counting(folder: Path, seconds: float = 0, ends: timedelta = timedelta(hours=1), status: int = 0) -> str:
    """Return a profile whose process counts its runs, and gives keys with their number."""
    script = folder / "process.py"
    at = (datetime.now(UTC) + ends).strftime("%Y-%m-%dT%H:%M:%SZ")
    script.write_text(
        f"""
import json, sys, time
with open({str(folder / "runs")!r}, "a") as file:
    file.write("x")
runs = len(open({str(folder / "runs")!r}).read())
time.sleep({seconds})
print("secret-on-stderr", file=sys.stderr)
print(json.dumps(dict(Version=1, AccessKeyId=f"ASIARUN{{runs:05}}", SecretAccessKey="secret-of-the-process",
                      SessionToken="token-of-the-process", Expiration={at!r})))
sys.exit({status})
"""
    )
    return f"[profile p]\ncredential_process = {sys.executable} {script}\n"


def test_threads_share_one_search(files: Files) -> None:
    keys = files.keys(Account("p"), counting(files.folder, seconds=0.3))
    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda _: keys.get()[KEY].reveal(), range(20)))
    assert set(found) == {"ASIARUN00001"}
    assert (files.folder / "runs").read_text() == "x"


def test_threads_share_one_failure(files: Files) -> None:
    keys = files.keys(Account("p"), counting(files.folder, seconds=0.5, status=1))

    def why(_: int) -> str:
        try:
            keys.get()
        except CredentialsError as error:
            return error.message
        return ""

    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(why, range(20)))
    assert set(found) == {"Profile p has no keys: its credential_process ended with exit status 1."}
    assert (files.folder / "runs").read_text() == "x"


def test_keys_are_renewed_before_they_end(files: Files) -> None:
    keys = files.keys(Account("p"), counting(files.folder, ends=timedelta(minutes=5)))
    first = keys.get()[KEY].reveal()
    assert keys.get()[KEY].reveal() > first


def test_keys_renewed_early_with_an_end_that_is_none_are_explained(files: Files) -> None:
    config = counting(files.folder, ends=timedelta(minutes=12))
    keys = files.keys(Account("p"), config)
    keys.get()
    script = files.folder / "process.py"
    script.write_text(re.sub(r"Expiration='[^']*'", "Expiration='soon'", script.read_text()))
    with pytest.raises(CredentialsError, match="Profile p has no keys: something unexpected happened") as caught:
        keys.get()
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_the_region_of_a_profile_that_does_not_exist_names_the_nearest(files: Files) -> None:
    keys = files.keys(Account("devv"), "[profile dev]\nregion = us-east-1\n")
    with pytest.raises(CredentialsError, match=r"there is no such profile in .*Did you mean 'dev'"):
        _ = keys.region


def test_one_code_is_asked_for_at_a_time() -> None:
    asking: list[str] = []
    most: list[int] = []

    def ask(text: str) -> str:
        asking.append(text)
        time.sleep(0.05)  # the user types
        most.append(len(asking))
        asking.remove(text)
        return text

    before = account._ask
    account.ask_by(ask)
    try:
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(account.ask, "abcd")) == list("abcd")
    finally:
        account.ask_by(before)
    assert most == [1, 1, 1, 1]


def test_keys_that_are_not_accepted_are_fetched_again(files: Files) -> None:
    keys = files.keys(Account("p"), counting(files.folder))
    keys.get()
    assert keys.renew(expired=False)
    assert keys.get()[KEY].reveal() == "ASIARUN00002"


def test_renewing_asks_once_for_many_requests(files: Files) -> None:
    keys = files.keys(Account("p"), counting(files.folder))
    assert keys.get()[KEY].reveal() == "ASIARUN00001"
    for _ in range(10):
        keys.renew(expired=True)
    assert keys.get()[KEY].reveal() == "ASIARUN00002"
    keys.renew(expired=True)  # by a request that was signed with the first keys
    assert keys.get()[KEY].reveal() == "ASIARUN00002"
    keys.again()
    assert keys.get()[KEY].reveal() == "ASIARUN00003"


def test_the_children_of_a_process_end_with_it(files: Files) -> None:
    waits = f"{sys.executable} -c 'import time; time.sleep(60)'"
    keys = files.keys(Account("p"), f'[profile p]\ncredential_process = sh -c "{waits} & wait"\n', seconds=0.3)
    began = time.monotonic()
    with pytest.raises(CredentialsError, match=r"took longer than 0\.3 s and was stopped"):
        keys.get()
    assert time.monotonic() - began < 5


def with_mfa(moto: str) -> str:
    return (
        f"[profile dev]\n{KEYS}[profile admin]\nrole_arn = {ROLE}\nsource_profile = dev\nregion = us-east-1\n"
        f"mfa_serial = arn:aws:iam::222222222222:mfa/me\nservices = local\n"
        f"[services local]\nsts =\n  endpoint_url = {moto}\n"
    )


def test_a_code_is_asked_for_once_a_session(files: Files, moto: str) -> None:
    asked: list[str] = []

    def ask(text: str) -> str:
        asked.append(text)
        return "123456"

    keys = files.keys(Account("admin"), with_mfa(moto), ask)
    assert keys.get()[TOKEN] is keys.get()[TOKEN]
    assert asked == ["Enter MFA code for arn:aws:iam::222222222222:mfa/me (profile admin): "]
    assert not keys.renew(expired=False)  # as in a region that is not enabled
    keys.get()
    assert len(asked) == 1
    keys.again()
    keys.get()
    assert len(asked) == 2


def test_who_gives_no_code_is_not_asked_by_each_request(files: Files, moto: str) -> None:
    asked: list[str] = []

    def ask(text: str) -> str:
        asked.append(text)
        raise LoginNeededError("No code was given.")

    keys = files.keys(Account("admin"), with_mfa(moto), ask)
    for _ in range(3):
        with pytest.raises(LoginNeededError, match="No code was given") as caught:
            keys.get()
        assert caught.value.command == ()
    assert len(asked) == 1
    keys.again()
    with pytest.raises(LoginNeededError):
        keys.get()
    assert len(asked) == 2


def test_a_code_that_cannot_be_one_is_explained(files: Files, moto: str) -> None:
    keys = files.keys(Account("admin"), with_mfa(moto), lambda _: "12")
    with pytest.raises(LoginNeededError, match="Profile admin has no keys: AWS refuses the code of the MFA device"):
        keys.get()


@contextmanager
def logged(path: Path) -> Iterator[None]:
    """Log everything of every library to a file, as far as we let it."""
    handler = log.write_to(path, "debug")
    before = logging.getLogger().level
    logging.getLogger().setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logging.getLogger().setLevel(before)
        logging.getLogger().removeHandler(handler)
        handler.close()


def test_nothing_of_the_chain_is_logged_or_shown(files: Files, moto: str, tmp_path: Path) -> None:
    secrets = ["secret-of-the-process", "token-of-the-process", "secret-on-stderr", "secret-of-the-file", "AKIASTATIC"]
    said = []
    with logged(tmp_path / "log"):
        for status in (0, 1):
            keys = files.keys(Account("p"), counting(files.folder, status=status))
            try:
                said.append(f"{keys.get()!r} {keys!r}")
            except CloudmeshError as error:
                said.append(f"{error} {error.__cause__} {error.__context__}")
        keys = files.keys(Account("admin"), with_mfa(moto), lambda _: "123456")
        secrets.append(keys.get()[TOKEN].reveal())
        said.append(f"{keys!r} {keys.get()!r}")
        logging.getLogger("backend").info("the end")
    text = (tmp_path / "log").read_text() + json.dumps(said)
    assert "the end" in text
    assert [secret for secret in secrets if secret in text] == []


def of_sts(code: str, message: str, status: int = 403) -> Reply:
    """Return an error as STS words it."""
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
    return Reply(f"<ErrorResponse>{error}<RequestId>r</RequestId></ErrorResponse>", status)


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        (
            of_sts("AccessDenied", "User: arn:aws:iam::1:user/me is not authorized to perform: sts:AssumeRole"),
            CredentialsError,
            f"Role {ROLE} of profile dev has no keys: STS does not let it assume {ROLE}; "
            "AWS says: User: arn:aws:iam::1:user/me is not authorized to perform: sts:AssumeRole. "
            "Check the role's trust policy, the external id, and the permission sts:AssumeRole.",
        ),
        (
            of_sts("AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code."),
            LoginNeededError,
            "AWS refuses the code of the MFA device. Give the code that it shows now.",
        ),
        (
            of_sts("SignatureDoesNotMatch", "Signature expired: 20260101T000000Z is now earlier than 20260102T000000Z"),
            CredentialsError,
            "AWS says that the time of the request is wrong. Set this computer's clock.",
        ),
        (
            of_sts("ExpiredToken", "The security token included in the request is expired"),
            CredentialsError,
            "the token that it starts from has expired.",
        ),
        (
            of_sts("InvalidClientTokenId", "The security token included in the request is invalid."),
            CredentialsError,
            "AWS does not know the keys that it starts from. Correct them: aws configure --profile dev.",
        ),
        (
            of_sts("RegionDisabledException", "STS is not activated in this region for account:1."),
            CredentialsError,
            "STS is not enabled in its region. Enable the region at AWS, or choose another.",
        ),
        (Reply("what?", 404), CredentialsError, "has no keys: something unexpected happened (ResponseParserError)"),
    ],
)
def test_each_refusal_of_sts_has_its_sentence(
    files: Files, reply: Reply, kind: type[CloudmeshError], says: str
) -> None:
    with Faults(reply) as faults:
        config = f"[profile dev]\nregion = us-east-1\nendpoint_url = {faults.url}\n{KEYS}"
        with pytest.raises(CloudmeshError) as caught:
            files.keys(Account("dev", Role(ROLE)), config).get()
    assert type(caught.value) is kind
    assert says in str(caught.value)
    assert len(faults.asked) <= 2


def test_a_role_has_its_external_id_and_session_name(files: Files) -> None:
    with Faults(of_sts("AccessDenied", "No.")) as faults:
        config = f"[profile dev]\nregion = us-east-1\nendpoint_url = {faults.url}\n{KEYS}"
        for role in (Role(ROLE), Role(ROLE, "x-1", "me")):
            with pytest.raises(CredentialsError):
                files.keys(Account("dev", role), config).get()
    sent = [(asked.form["RoleSessionName"], asked.form.get("ExternalId")) for asked in faults.asked]
    assert sent == [("cloudmesh-tui", None), ("me", "x-1")]


def test_a_silent_metadata_service_costs_seconds_and_not_minutes(files: Files) -> None:
    with create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        keys = files.keys(Account(), f"[default]\nec2_metadata_service_endpoint = {address}\n")
        began = time.monotonic()
        with pytest.raises(NoKeysError):
            keys.get()
        between = time.monotonic()
        assert keys.region == ""
    assert 1 <= between - began < 3  # botocore waits a second for a token, then a second for the keys
    assert 1 <= time.monotonic() - between < 3


def test_a_code_that_sts_refuses_is_not_asked_for_by_each_request(files: Files) -> None:
    asked: list[str] = []

    def ask(text: str) -> str:
        asked.append(text)
        return "123456"

    with Faults(of_sts("AccessDenied", "MultiFactorAuthentication failed with invalid MFA one time pass code.")) as sts:
        keys = files.keys(Account("admin"), with_mfa(sts.url), ask)
        for _ in range(2):
            with pytest.raises(LoginNeededError, match="AWS refuses the code"):
                keys.get()
        assert len(asked) == 1
        assert keys.login is not None
        keys.again()
        assert keys.login is None
