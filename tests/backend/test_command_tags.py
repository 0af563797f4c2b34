"""Tags of VMs and volumes: set and removed as asked, and undone to the state before."""

from pathlib import Path

import pytest

from backend.cache import Cache
from backend.commands.grammar import parse
from backend.config import Cloud
from backend.errors import CloudError, UsageError
from backend.providers.registry import connect
from backend.session import Session
from tests.backend.cloud_support import behind_proxy, boot_many, in_cloud, outcomes, run, sent, volume_in
from tests.backend.command_support import row
from tests.backend.ec2_faults import refusal
from tests.ec2_proxy import Proxy


def tags(cloud: Cloud, native: str) -> dict[str, str]:
    found: dict[str, str] = in_cloud(cloud, native)["tags"]
    return found


TAGS = {
    "plain": ("role", "db"),
    "blanks": ("my key", " two  words "),
    "no value": ("role", ""),
    "dashes": ("--name", "--value"),
    "two dashes alone": ("--", "--"),
    "equals in the value": ("query", "a=b=c"),
    "quotes": ("it's", '"$HOME" \\ `x`'),
    "mongo": ("$set.a", "{}"),
    "other scripts": ("名前", "データ"),
    "name": ("Name", "web 1"),
}


@pytest.mark.thorough
@pytest.mark.parametrize(("kind", "before"), [("vm", "none"), ("volume", "empty"), ("volume", "other")])
@pytest.mark.parametrize("tag", TAGS.values(), ids=TAGS)
def test_tag_and_undo(both: tuple[Session, Proxy], cloud: Cloud, kind: str, before: str, tag: tuple[str, str]) -> None:
    (session, proxy), (key, value) = both, tag
    native = boot_many(cloud, 1)[0] if kind == "vm" else volume_in(cloud)
    connect(cloud).of("vm").untag(native, "Name")
    former = {"none": {}, "empty": {key: ""}, "other": {key: "--was = it"}}[before]
    for one in former.items():
        connect(cloud).of("vm").tag(native, *one)
    result = run(session, parse([kind, "tag", native, "--", f"{key}={value}"]).line)
    assert tags(cloud, native) == {key: value}
    if former == {key: value}:
        assert result.message.endswith(" already; nothing was done.")
        assert (result.undo, sent(proxy)) == ("", [])
        return
    assert row(session, kind, native)["name"] == tags(cloud, native).get("Name")
    back = run(session, result.undo)
    assert tags(cloud, native) == former
    # The undo can be undone.
    run(session, back.undo)
    assert tags(cloud, native) == {key: value}
    assert [outcome for _, outcome in outcomes(session.cache)] == ["done"] * 3


@pytest.mark.parametrize("kind", ["vm", "volume"])
@pytest.mark.parametrize(("key", "value"), TAGS.values(), ids=TAGS)
def test_untag_and_undo(both: tuple[Session, Proxy], cloud: Cloud, kind: str, key: str, value: str) -> None:
    session, _ = both
    native = boot_many(cloud, 1)[0] if kind == "vm" else volume_in(cloud)
    connect(cloud).of("vm").untag(native, "Name")
    for one in ((key, value), ("other", "stays")):
        connect(cloud).of("vm").tag(native, *one)
    result = run(session, parse([kind, "untag", native, "--", key]).line)
    assert tags(cloud, native) == {"other": "stays"}
    assert row(session, kind, native)["name"] is None
    run(session, result.undo)
    assert tags(cloud, native) == {key: value, "other": "stays"}


@pytest.mark.parametrize("kind", ["vm", "volume"])
def test_untagging_a_key_that_no_command_can_write_cannot_be_taken_back(
    both: tuple[Session, Proxy], cloud: Cloud, kind: str
) -> None:
    """EC2 has keys with an equals sign; `a=b=c` would set the tag a."""
    session, _ = both
    native = boot_many(cloud, 1)[0] if kind == "vm" else volume_in(cloud)
    connect(cloud).of("vm").untag(native, "Name")
    connect(cloud).of("vm").tag(native, "a=b", "c")
    result = run(session, f"{kind} untag {native} a=b")
    assert result.message.endswith(" has no tag a=b any more.")
    assert result.undo == ""
    assert tags(cloud, native) == {}


def test_what_tagging_says(cache: Cache, cloud: Cloud, tmp_path: Path) -> None:
    (native,) = boot_many(cloud, 1)
    with behind_proxy(cloud, cache, tmp_path) as (session, proxy):
        result = run(session, f"vm tag {native} Name='web 1'")
        assert result.message == f"{native} is tagged Name=web 1."
        assert result.undo == f"vm untag {native} -- Name"
        assert dict(result.fields) == row(session, "vm", native)
        assert row(session, "vm", native)["name"] == "web 1"
        assert run(session, "vm tag 'web 1' env=prod").message == f"web 1 ({native}) is tagged env=prod."
        assert run(session, "vm tag 'web 1' env=test").undo == f"vm tag {native} -- env=prod"
        assert run(session, "vm untag 'web 1' env").message == f"web 1 ({native}) has no tag env any more."
        again = run(session, "vm untag 'web 1' env")
        assert again.message == f"web 1 ({native}) has no tag env; nothing was done."
        assert again.undo == ""
        assert sent(proxy) == ["CreateTags", "CreateTags", "CreateTags", "DeleteTags"]
        # The listing that follows finds nothing to change.
        assert run(session, "vm refresh").differences[0].changed == 0
        entry = cache.journal.newest()[1]
        assert entry["request"] == {"key": "env", "value": None, "before": "test"}
        assert entry["objects"] == [native]


@pytest.mark.parametrize("word", ["role", "=db", "="])
def test_a_tag_that_is_none(both: tuple[Session, Proxy], word: str) -> None:
    session, proxy = both
    with pytest.raises(UsageError, match=r"Write it as KEY=VALUE\."):
        run(session, f"vm tag x {word}")
    assert proxy.calls == []


def test_a_tag_that_ec2_refuses(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, proxy = both
    (native,) = boot_many(cloud, 1)
    proxy.answers["CreateTags"] = refusal(400, "TagLimitExceeded", "More than 50 tags.")
    with pytest.raises(CloudError, match=f"Tagging {native} failed .* a limit of the account is reached"):
        run(session, f"vm tag {native} Name=web")
    assert tags(cloud, native) == {}
    assert row(session, "vm", native)["name"] is None
    assert [outcome for _, outcome in outcomes(session.cache)] == ["failed"]
