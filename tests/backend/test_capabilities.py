"""A cloud that can do less than EC2: what it cannot do is not offered, and is refused in one sentence."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from backend.cache import Cache
from backend.catalog import KINDS
from backend.commands.grammar import complete
from backend.commands.model import Param
from backend.commands.run import offered
from backend.commands.table import COMMANDS
from backend.config import Cloud, Defaults, Settings, load
from backend.errors import ConfigError, OutcomeUnknownError, RefusedError
from backend.journal.recovery import left, recover
from backend.providers.ec2.entry import EC2, FACES
from backend.providers.ec2.provider import EC2Provider
from backend.providers.protocol import Boot, Item
from backend.secret import Secret
from backend.session import Session, cloud_named
from tests.backend.cloud_support import run
from tests.openstack import OPENSTACK, PROVIDERS, WEB, OpenStack

CHAMELEON = Cloud("chameleon", OPENSTACK, default=Defaults(location="RegionOne"))


@pytest.fixture
def session(memory: Cache, tmp_path: Path) -> Session:
    session = Session(Settings({"chameleon": CHAMELEON}, "chameleon"), CHAMELEON, memory, tmp_path, backoff=())
    OpenStack.stopped.clear()
    run(session, "vm refresh")
    return session


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("vm protect web", "termination protection"),
        ("vm unprotect web", "termination protection"),
        ("vm tag web a=b", "tags of VMs"),
        ("vm untag web a", "tags of VMs"),
        ("vm boot ami-1 --dry-run", "dry runs"),
        ("volume list", "volumes"),
        ("volume refresh", "volumes"),
        ("volume create data", "volumes"),
        ("keypair create mine", "keypairs"),
        ("location export all.csv", "locations"),
    ],
)
def test_what_it_has_not_is_refused_in_one_sentence(session: Session, line: str, what: str) -> None:
    with pytest.raises(RefusedError) as caught:
        run(session, line)
    assert str(caught.value) == f"Cloud chameleon (OpenStack) has no {what}."
    assert session.cache.journal.newest(10) == []


def completed(session: Session, line: str) -> list[str]:
    def names(_: Param) -> list[str]:
        return []

    return complete(line, names, offered(COMMANDS, session))


def test_what_it_has_not_is_not_completed(session: Session) -> None:
    verbs = [line.removeprefix("vm ") for line in completed(session, "vm ")]
    assert {"refresh", "list", "export", "boot", "start", "stop", "reboot", "delete"} == set(verbs)
    assert completed(session, "vol") == []
    assert "vm boot x --dry-run" not in completed(session, "vm boot x --")
    assert "vm boot x --name" in completed(session, "vm boot x --")
    ec2 = replace(session, cloud=Cloud("aws"))
    assert "vm protect" in completed(ec2, "vm ")
    assert "vm boot x --dry-run" in completed(ec2, "vm boot x --")
    assert completed(ec2, "vol") == ["volume"]


def test_refresh_all_refreshes_the_kinds_that_it_has(session: Session) -> None:
    result = run(session, "refresh all")
    assert [one.kind for one in result.differences] == ["image", "flavor", "vm"]
    assert result.failure == ""


def test_a_vm_is_stopped_without_asking_for_what_it_has_not(session: Session) -> None:
    assert run(session, "vm stop web").message == f"web ({WEB}) is stopping."
    assert OpenStack.stopped == [WEB]


@pytest.mark.parametrize(("option", "what"), [("--keypair mine", "keypairs"), ("--location a-zone", "locations")])
def test_an_argument_of_a_kind_that_it_has_not_is_refused(session: Session, option: str, what: str) -> None:
    bootable(session)
    with pytest.raises(RefusedError) as caught:
        run(session, f"vm boot {BIONIC} --flavor m1 {option}")
    assert str(caught.value) == f"Cloud chameleon (OpenStack) has no {what}."
    assert session.cache.journal.newest(10)[0]["sent"] is None
    assert f"vm boot x {option.split(maxsplit=1)[0]}" not in completed(session, "vm boot x --")


class LosingAnswers(OpenStack):
    """It boots VMs, and no answer of it arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.booted = 0

    def vm_boot(self, boot: Boot) -> Item:
        self.booted += 1
        raise OutcomeUnknownError(f"Booting a {boot.flavor} VM failed: no answer.")

    def vm_booted(self, _boot: Boot) -> None:
        return None


def test_a_boot_whose_answer_is_lost_is_not_repeated_without_request_tokens(session: Session) -> None:
    bootable(session)
    cloud = LosingAnswers()
    losing = replace(session, connector=lambda _cloud, _check, _waits: cloud, backoff=(0.0,))
    with pytest.raises(OutcomeUnknownError, match="does not say which request has made a VM"):
        run(losing, f"vm boot {BIONIC} --flavor m1")
    document = losing.cache.journal.newest(1)[0]
    losing.cache.journal.set(document["_id"], {"outcome": "unfinished", "owner": ""})  # as if it had been killed
    assert "is unknown" in " ".join(recover(losing).failures)
    assert left(losing) == []
    run(losing, "journal resume")
    assert cloud.booted == 1


def bootable(session: Session) -> None:
    """Give the cache an image and a flavor."""
    for kind, native in (("image", BIONIC), ("flavor", "m1")):
        session.cache.rows.put(KINDS[kind], session.scope, [{"id": native, "name": native, "extra": {}}])


BIONIC = "5f1c1a52-0000-4000-8000-000000000002"


def read(path: Path, text: str, environ: Mapping[str, str]) -> Settings:
    path.write_text(f"cloudmesh: {{clouds: {{chameleon: {{provider: openstack, {text}}}}}}}")
    path.chmod(0o600)
    return load(path, KINDS, environ, PROVIDERS)


def test_its_configuration_is_in_its_own_words(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    cloud = read(path, "credentials: {OS_USERNAME: me, OS_PASSWORD: k0p-9vx-11q}", {"OS_REGION_NAME": "One"}).clouds[
        "chameleon"
    ]
    assert cloud.provider is OPENSTACK
    assert cloud.credentials == {"OS_USERNAME": Secret("me"), "OS_PASSWORD": Secret("k0p-9vx-11q")}
    assert cloud.region == "One"
    assert read(path, "", {"OS_PASSWORD": "x"}).clouds["chameleon"].credentials == {"OS_PASSWORD": Secret("x")}
    for text, message in (
        ("credentials: {EC2_ACCESS_KEY: x}", "credentials.EC2_ACCESS_KEY is not a known key"),
        ("images: self", "images is not a known key"),
    ):
        with pytest.raises(ConfigError, match=message):
            read(path, text, {})
    with pytest.raises(ConfigError) as caught:
        cloud_named(read(path, "", {"AWS_REGION": "us-east-1"}), "chameleon")
    assert "neither its default.location nor OS_REGION_NAME names one" in caught.value.message


def test_every_kind_of_ec2_has_a_face() -> None:
    provider = EC2Provider(Cloud("aws"))
    assert EC2.kinds == FACES.keys()
    assert all(callable(provider.of(kind).list) for kind in FACES)
