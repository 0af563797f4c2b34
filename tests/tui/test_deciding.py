"""The first step towards a command: each rule of the table, with a command of each sort."""

from collections.abc import Iterator

import pytest

from backend.cache import open_cache
from backend.catalog import KINDS
from backend.commands.model import Parsed
from backend.commands.table import COMMANDS, command
from backend.config import Cloud, Defaults, MongoDB, Settings
from backend.kinds.model import Ref, Scope
from backend.providers.ec2.entry import ec2_keys
from backend.secret import Secret
from backend.session import Session
from tui.deciding import RULES, Chosen, Request, Step, Way, first_step

ROW = Ref(Scope("one", "eu-central-1"), "i-1")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """A session whose configuration has defaults for a boot."""
    keys = ec2_keys(Secret("none"), Secret("none"))
    cloud = Cloud("one", endpoint="http://127.0.0.1:9", credentials=keys, default=Defaults("eu-central-1", "ami-1"))
    settings = Settings({cloud.name: cloud}, cloud.name, mongodb=MongoDB(Secret("memory")))
    home = tmp_path_factory.mktemp("home")
    cache = open_cache(settings.mongodb, home, KINDS.values())
    yield Session(settings, cloud, cache, home)
    cache.close()


Asked = tuple[str, dict[str, str], Way, bool, Step]
"""The command, what is given, how it is asked for, whether by a key on rows, and the step."""

ROWS: dict[str, list[Asked]] = {
    "shows what a tab shows": [
        ("vm list", {}, "line", False, Step.SHOW),
        ("volume list", {}, "palette", False, Step.SHOW),
        ("journal list", {}, "key", False, Step.SHOW),
    ],
    "a key, on rows, of a command that does more than show one": [
        ("vm delete", {}, "key", True, Step.ASK_ON_ROWS),
        ("vm start", {}, "key", True, Step.ASK_ON_ROWS),
        ("vm export", {}, "key", True, Step.ASK_ON_ROWS),
    ],
    "needs more arguments": [
        ("keypair get", {}, "key", True, Step.ASK),
        ("vm delete", {}, "palette", False, Step.ASK),
        ("vm tag", {"vm": "web"}, "line", False, Step.ASK),
        ("vm export", {}, "line", False, Step.ASK),
        ("set default", {}, "palette", False, Step.ASK),
    ],
    "changes something, with nothing given": [
        ("vm boot", {}, "line", False, Step.ASK),
        ("journal drop", {}, "line", False, Step.ASK),
    ],
    "destroys what it names": [
        ("vm delete", {"vm": "web"}, "line", False, Step.CONFIRM),
        ("keypair delete", {"keypair": "laptop"}, "palette", False, Step.CONFIRM),
    ],
    "destroys something and names nothing": [("journal resume", {}, "line", False, Step.ASK)],
    "changes what it names, but was not typed": [
        ("vm start", {"vm": "web"}, "palette", False, Step.CONFIRM),
        ("volume detach", {"volume": "data"}, "palette", False, Step.CONFIRM),
    ],
    "changes something, but was not typed": [
        ("keypair create", {"name": "new"}, "palette", False, Step.ASK),
    ],
    "typed in full, and may lose something": [("vm stop", {"vm": "web"}, "line", False, Step.WEIGH)],
    "anything else: it only reads, or was typed in full": [
        ("vm refresh", {}, "key", False, Step.RUN),
        ("refresh off", {}, "palette", False, Step.RUN),
        ("keypair get", {"keypair": "laptop"}, "key", True, Step.RUN),
        ("vm start", {"vm": "web"}, "line", False, Step.RUN),
        ("vm boot", {"image": "ami-1"}, "line", False, Step.RUN),
    ],
}  # fmt: skip


def test_every_rule_has_a_test() -> None:
    assert [rule for rule, _, _ in RULES] == list(ROWS)


@pytest.mark.parametrize(
    ("rule", "asked"),
    [(rule, asked) for rule, several in ROWS.items() for asked in several],
    ids=lambda value: value if isinstance(value, str) else f"{value[0]}-{value[2]}",
)
def test_the_first_rule_that_holds_decides(session: Session, rule: str, asked: Asked) -> None:
    name, given, way, on_rows, step = asked
    one = command(name)
    target = one.target(one.words[0])
    chosen = Chosen(target, [ROW]) if on_rows and target else None
    request = Request(Parsed(one, given), way, chosen)
    assert next(words for words, holds, _ in RULES if holds(request, session)) == rule
    assert first_step(request, session) is step


@pytest.mark.parametrize("way", ["key", "palette"])
def test_nothing_that_changes_a_cloud_runs_unless_it_was_typed_in_full(session: Session, way: Way) -> None:
    for one in COMMANDS:
        if one.effect == "reads":
            continue
        for given in ({}, {param.name: "x" for param in one.params}):
            assert first_step(Request(Parsed(one, given), way), session) is not Step.RUN, one.name
            if target := one.target(one.words[0]):
                assert first_step(Request(Parsed(one, given), way, Chosen(target, [ROW])), session) is Step.ASK_ON_ROWS
