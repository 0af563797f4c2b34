"""A read-only session or cloud: no front end, command or provider sends a change."""

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.cache import Cache
from backend.commands.grammar import parse, split
from backend.commands.model import Command, Context, Parsed
from backend.commands.run import allowed, execute, execute_all
from backend.commands.table import COMMANDS
from backend.config import Cloud
from backend.errors import RefusedError
from backend.journal.entry import plan
from backend.journal.recovery import Recovered, recover
from backend.kinds.model import Scope
from backend.providers.ec2.entry import EC2
from backend.providers.ec2.provider import EC2Provider
from backend.providers.ec2.requests import Requests
from backend.providers.ec2.secgroups import Rule
from backend.providers.failures import Request
from backend.providers.protocol import Boot, Item
from backend.providers.registry import connect
from backend.session import Session, SettingChange
from tests.backend.cache_support import VM
from tests.backend.cloud_support import AMI, EXAMPLES, Example, abandoned, account, behind_proxy, run, sent, staged
from tests.ec2_proxy import Proxy
from tests.faces import READS

CHANGING = sorted(
    (kind, verb)
    for kind in EC2.kinds
    for verb, _ in inspect.getmembers(EC2Provider(Cloud("aws")).of(kind), callable)
    if not verb.startswith("_") and verb not in READS
)

CHANGES = [one for one in COMMANDS if one.effect != "reads"]


WHAT = {"--read-only": "This session", "read_only": "Cloud aws"}
"""What an error calls read-only, by what makes it so."""


def locked(session: Session, by: str) -> Session:
    """Return the session, read-only by the user's word or by the cloud's configuration."""
    if by == "--read-only":
        return replace(session, read_only=True)
    return replace(session, cloud=replace(session.cloud, read_only=True))


# --- commands ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["--read-only", "read_only"])
@pytest.mark.parametrize("one", COMMANDS, ids=lambda one: one.name)
def test_what_changes_something_is_refused_before_anything_is_asked(
    memory: Cache, cloud: Cloud, tmp_path: Path, one: Command, by: str
) -> None:
    with behind_proxy(cloud, memory, tmp_path) as (free, proxy):
        session = locked(free, by)
        assert session.locked
        assert allowed(one, session) == (one.effect == "reads")
        if one.effect == "reads":
            return
        given = {param.name: AMI if param.kind == "image" else "x" for param in one.params if param.required}
        with pytest.raises(RefusedError) as caught:
            execute(Parsed(one, given), session)
        assert caught.value.message == f"{WHAT[by]} is read-only: {one.name} is not run."
        assert by in caught.value.cure
        assert proxy.calls == []
        assert memory.journal.newest() == []
        assert not (tmp_path / "keys").exists()


def test_a_dry_run_is_refused_too(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """What it sends is a RunInstances, and not every endpoint knows what a dry run is."""
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        with pytest.raises(RefusedError):
            run(locked(session, "--read-only"), f"vm boot {AMI} --dry-run")
        assert proxy.calls == []


@pytest.mark.parametrize("by", ["--read-only", "read_only"])
def test_many_are_refused_before_any_is_planned(memory: Cache, cloud: Cloud, tmp_path: Path, by: str) -> None:
    """What is in the journal as waiting would be found, and resumed, by a session that is not read-only."""
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        commands = [parse(["vm", "delete", f"i-{number}"]) for number in range(2)]
        with pytest.raises(RefusedError, match=f"{WHAT[by]} is read-only: vm delete is not run"):
            execute_all(commands, locked(session, by))
        (alone,) = execute_all(commands[:1], locked(session, by))
        assert isinstance(alone.error, RefusedError)
        assert (proxy.calls, memory.journal.newest(), recover(session)) == ([], [], Recovered())


@pytest.mark.thorough
@pytest.mark.parametrize("by", ["--read-only", "read_only"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: one.name)
def test_a_command_that_is_run_past_the_check_is_refused_by_the_provider(
    memory: Cache, cloud: Cloud, tmp_path: Path, example: Example, by: str
) -> None:
    stage = staged(cloud)
    before = account(cloud)
    with behind_proxy(cloud, memory, tmp_path) as (free, proxy):
        session = locked(free, by)
        parsed = parse(split(example.on(stage)))
        (entry,) = plan(memory, tmp_path, [(session.scope, parsed.line)])
        with pytest.raises(RefusedError, match="cloud aws is read-only here"):
            parsed.command.run(Context(session, parsed.bind(session), entry=entry))
        assert sent(proxy) == []
        assert account(cloud) == before
        assert not list(tmp_path.rglob("*.pem"))
        assert memory.flights.rows(VM, session.scope) == []  # nothing is under way that could refuse the next command


def test_every_changing_command_is_run_past_the_check_above() -> None:
    assert {one.name for one in EXAMPLES} == {one.name for one in CHANGES if one.journalled}


def test_resuming_past_the_check(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    stage = staged(cloud)
    before = account(cloud)
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        entry = abandoned(session, f"vm delete {stage.vm}", outcome="waiting")
        with pytest.raises(RefusedError, match="This session is read-only: vm delete is not run"):
            parse(["journal", "resume"]).command.run(Context(locked(session, "--read-only"), {}))
        assert proxy.calls == []
        assert account(cloud) == before
        assert (memory.journal.entry(entry.token) or {})["outcome"] == "waiting"


# --- the provider -----------------------------------------------------------------------------------------------------


def arguments(method: Any, native: str) -> list[Any]:
    """Something for each parameter of a provider's method."""
    group = {"id": native, "rules": []}
    rule = {"way": "in", "protocol": "tcp", "ports": "22", "peer": "10.0.0.0/8", "description": None}
    fitting: dict[Any, Any] = {
        bool: True, int: 1, str: "mine", str | None: None, Boot: Boot(AMI, "t2.micro", "token"),
        Item: group, Rule: rule,
    }  # fmt: skip
    wanted = list(inspect.signature(method).parameters.values())
    return [native if one.name == "native" else fitting[one.annotation] for one in wanted]


@pytest.mark.parametrize(("kind", "verb"), CHANGING)
def test_the_provider_of_a_read_only_cloud_sends_nothing_that_changes_it(
    memory: Cache, cloud: Cloud, tmp_path: Path, kind: str, verb: str
) -> None:
    keypair, _ = connect(cloud).of("keypair").create("mine")  # which there must be to be deleted
    before = account(cloud)
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        change = getattr(connect(replace(session.cloud, read_only=True)).of(kind), verb)
        with pytest.raises(RefusedError) as caught:
            change(*arguments(change, keypair["id"]))
        assert "is refused: cloud aws is read-only here." in caught.value.message
        assert "read_only" in caught.value.cure
        assert sent(proxy) == []
        assert account(cloud) == before


def test_no_request_that_changes_something_is_sent_to_a_read_only_cloud(both: tuple[Session, Proxy]) -> None:
    session, proxy = both
    requests = Requests(replace(session.cloud, read_only=True))
    with pytest.raises(RefusedError, match=r"^Rebooting VM i-1 is refused: cloud .* is read-only here\."):
        requests.asked(Request("RebootInstances", "Rebooting VM i-1", changes=True), {"InstanceId.1": "i-1"})
    assert proxy.asked == []


def test_the_provider_of_a_read_only_cloud_only_reads(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    stage = staged(cloud)
    with behind_proxy(cloud, memory, tmp_path) as (session, proxy):
        ec2 = locked(session, "--read-only").connect()
        assert len([item for page in ec2.of("vm").list() for item in page]) == 3
        assert len([item for page in ec2.of("volume").list([stage.free]) for item in page]) == 1
        assert ec2.of("vm").protected(stage.protected)
        assert ec2.of("vm").addresses([stage.vm]) == {}
        assert ec2.of("vm").booted(Boot(AMI, "t2.micro", "token")) is None
        assert sent(proxy) == []


def test_a_cloud_that_is_not_read_only_is_written(memory: Cache, cloud: Cloud, tmp_path: Path) -> None:
    """What is locked is the one cloud, not the program."""
    with behind_proxy(cloud, memory, tmp_path) as (alone, _):
        other = replace(alone.cloud, name="other", read_only=True)
        session = replace(alone, settings=replace(alone.settings, clouds={"aws": alone.cloud, "other": other}))
        assert session.changed(SettingChange(scopes=(Scope("other", "us-east-1"),))).locked
        assert (
            not session.changed(SettingChange(scopes=(Scope("other", "us-east-1"),)))
            .changed(SettingChange(scopes=(session.scope,)))
            .locked
        )
        assert (
            replace(session, read_only=True)
            .changed(SettingChange(scopes=(Scope("other", "us-east-1"),)))
            .changed(SettingChange(scopes=(session.scope,)))
            .locked
        )
        run(session, "volume create data")
        with pytest.raises(RefusedError):
            run(session.changed(SettingChange(scopes=(Scope("other", "us-east-1"),))), "volume create data")
        assert len(account(cloud).volumes) == 1
