"""How the words of every command are read, written back and completed."""

from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from backend.cache import Cache, open_cache
from backend.commands import COMMANDS, Command, Param, Parsed, command, complete, parse, split
from backend.config import Cloud, Defaults, MongoDB, Settings
from backend.errors import UsageError
from backend.kinds import KINDS
from backend.secret import Secret
from backend.session import Session
from tui.screens.main import OWN_BINDINGS


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cache]:
    opened = open_cache(MongoDB(Secret("memory")), tmp_path_factory.mktemp("home"))
    yield opened
    opened.close()


@pytest.fixture
def session(cache: Cache, tmp_path: Path) -> Session:
    """A session whose cloud has a default for everything."""
    cloud = Cloud("aws", default=Defaults("us-west-1b", "ami-1", "m5.large", "me"))
    return Session(Settings({"aws": cloud}, "aws"), cloud, cache, tmp_path)


def bare(session: Session) -> Session:
    """The session of a cloud that has no defaults of its own."""
    cloud = Cloud("bare")
    return Session(Settings({"bare": cloud}, "bare"), cloud, session.cache, session.home)


def refused(line: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse(split(line))
    assert str(caught.value).isprintable()
    return caught.value


# --- every command of the design -------------------------------------------------------------------------------------

GRAMMAR: list[tuple[str, str, dict[str, str]]] = [
    *((f"{kind} {verb}", f"{kind} {verb}", {}) for kind in KINDS for verb in ("refresh", "list")),
    ("vm boot", "vm boot", {}),
    ("vm boot ami-1", "vm boot", {"image": "ami-1"}),
    (
        "vm boot ami-1 --name web --flavor m5.large --location us-west-1b --keypair me",
        "vm boot",
        {"image": "ami-1", "name": "web", "flavor": "m5.large", "location": "us-west-1b", "keypair": "me"},
    ),
    ("vm start web", "vm start", {"vm": "web"}),
    ("vm stop i-1", "vm stop", {"vm": "i-1"}),
    ("vm reboot i-1", "vm reboot", {"vm": "i-1"}),
    ("vm delete i-1", "vm delete", {"vm": "i-1"}),
    ("keypair get me", "keypair get", {"keypair": "me"}),
    ("keypair create me", "keypair create", {"name": "me"}),
    ("keypair create me --to me.pem", "keypair create", {"name": "me", "to": "me.pem"}),
    ("keypair delete me", "keypair delete", {"keypair": "me"}),
    ("volume create data", "volume create", {"name": "data"}),
    ("volume create data --size 8", "volume create", {"name": "data", "size": "8"}),
    ("volume delete vol-1", "volume delete", {"volume": "vol-1"}),
    ("refresh on", "refresh on", {}),
    ("refresh off", "refresh off", {}),
    ("refresh all", "refresh all", {}),
    ("set default cloud=aws", "set default", {"cloud": "aws"}),
]


def test_every_command_is_in_the_list() -> None:
    assert {name for _, name, _ in GRAMMAR} == {one.name for one in COMMANDS}


@pytest.mark.parametrize("lead", ["", "aws "])
@pytest.mark.parametrize(("line", "name", "given"), GRAMMAR)
def test_the_grammar(lead: str, line: str, name: str, given: dict[str, str]) -> None:
    parsed = parse(split(lead + line))
    assert parsed.command is command(name)
    assert parsed.given == given
    assert parsed.line == line


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_plurals_aliases_and_capitals(kind: Any) -> None:
    for word in (kind.plural, *kind.aliases, kind.name.upper(), kind.plural.title()):
        assert parse([word, "List"]).command is command(f"{kind.name} list")


@pytest.mark.parametrize(
    ("line", "given"),
    [
        ("vm boot --name web ami-1", {"image": "ami-1", "name": "web"}),
        ("vm boot --name=web ami-1 --flavor=", {"name": "web", "image": "ami-1", "flavor": ""}),
        ("vm boot --name=web", {"name": "web"}),
        ("vm boot --name=a=b", {"name": "a=b"}),
        ("vm boot --name --flavor", {"name": "--flavor"}),
        ("vm boot --name a --name b", {"name": "b"}),
        ("vm boot --name 'two words' \"ami 1\"", {"name": "two words", "image": "ami 1"}),
        (r"vm stop two\ words", {"vm": "two words"}),
        ("vm stop -x", {"vm": "-x"}),
        ("vm stop -- --name", {"vm": "--name"}),
        ("vm stop -- --", {"vm": "--"}),
        ("keypair create --to f -- --to", {"name": "--to", "to": "f"}),
        ("keypair create name=x", {"name": "name=x"}),
        ("set default cloud=a=b", {"cloud": "a=b"}),
        ("vm stop ''", {"vm": ""}),
    ],
)
def test_ways_to_write_arguments(line: str, given: dict[str, str]) -> None:
    assert parse(split(line)).given == given


@pytest.mark.parametrize(
    ("line", "message", "cure"),
    [
        (
            "",
            "There is no command.",
            "Commands begin with: flavor, image, keypair, location, refresh, set, ",
        ),
        ("aws", "There is no command.", "Commands begin with: "),
        ("imgae list", "There is no command 'imgae'.", "Did you mean 'image'?"),
        ("vmm list", "There is no command 'vmm'.", "Did you mean 'vm'?"),
        ("quit", "There is no command 'quit'.", "Known: flavor, image,"),
        ("aws aws vm list", "There is no command 'aws'.", ""),
        ("vm\x1b list", "There is no command 'vm␛'.", "Did you mean 'vm'?"),
        ("vm", "vm needs a verb.", "Known: refresh, list, boot, start, stop, reboot, delete."),
        ("nodes", "vm needs a verb.", "Known: refresh, list, boot"),
        ("set", "set needs a verb.", "Known: default."),
        ("vm bot", "There is no command 'vm bot'.", "Did you mean 'vm boot'?"),
        ("image delete", "There is no command 'image delete'.", ""),
        ("volumes creat x", "There is no command 'volume creat'.", "Did you mean 'volume create'?"),
        ("refresh of", "There is no command 'refresh of'.", "Did you mean 'refresh off'?"),
        ("vm boot --flavour x", "There is no option of vm boot '--flavour'.", "Did you mean '--flavor'?"),
        (
            "vm boot --zzz=x",
            "There is no option of vm boot '--zzz'.",
            "Known: --name, --flavor, --location",
        ),
        ("vm list --json", "There is no option of vm list '--json'.", "Known: none."),
        ("vm stop --force i-1", "There is no option of vm stop '--force'.", "Known: none."),
        ("vm boot --name", "--name needs a value.", "Usage: vm boot IMAGE [--name NAME]"),
        ("vm stop i-1 i-2", "vm stop does not take 'i-2'.", "Usage: vm stop VM"),
        ("vm stop -- i-1 --", "vm stop does not take '--'.", "Usage: vm stop VM"),
        ("vm list all", "vm list does not take 'all'.", "Usage: vm list"),
        ("set default aws", "set default does not take 'aws'.", "Usage: set default cloud=NAME"),
        ("set default color=aws", "set default does not take 'color=aws'.", "Usage: set default cloud=NAME"),
        ("vm stop 'web", 'A quote is not closed in "vm stop \'web".', "Close it, or put \\ before it."),
        ("vm stop web\\", "A quote is not closed in 'vm stop web\\\\'.", "Close it"),
        ("vm stop \udcff", "The word '\ufffd' is not UTF-8 text.", ""),
        ("\ud800", "The word '\ufffd' is not UTF-8 text.", ""),
    ],
)
def test_words_that_make_no_command(line: str, message: str, cure: str) -> None:
    error = refused(line)
    assert error.message == message
    assert error.cure.startswith(cure)
    assert error.exit_status == 2


# --- back to a line --------------------------------------------------------------------------------------------------

HOSTILE = [
    "a b", "'", '"', "\\", "''", "a'b\"c", "--", "--name", "--name=x", "-n", "=", "a=b", "cloud=x", "$(x)", "*", ";",
    "#x", "!x", "~", "new\nline", "tab\t", "\x1b[2J", "é漢字🚀", "\u202e", "aws", "vm", "{}", " ", "\\n",
]  # fmt: skip


@pytest.mark.parametrize("one", [one for one in COMMANDS if one.params], ids=lambda one: one.name)
def test_a_line_reads_back_as_what_it_was_written_from(one: Command) -> None:
    for first, other in product(HOSTILE, HOSTILE):
        given = {param.name: (first, other)[number % 2] for number, param in enumerate(one.params)}
        parsed = Parsed(one, given)
        assert parse(split(parsed.line)) == parsed
        for param in one.params:
            alone = Parsed(one, {param.name: first})
            assert parse(split(alone.line)) == alone


def test_an_empty_value_is_said_and_means_none(session: Session) -> None:
    parsed = parse(split("vm boot ami-1 --keypair= --location ''"))
    assert parsed.given == {"image": "ami-1", "keypair": "", "location": ""}
    assert parse(split(parsed.line)).given == parsed.given
    bound = parsed.bind(session)
    assert (bound["keypair"], bound["location"], bound["flavor"]) == (None, None, "m5.large")
    assert [param.name for param in parse(split("vm boot ''")).missing(session)] == ["image"]


# --- arguments -------------------------------------------------------------------------------------------------------


def test_bind_takes_the_configuration_where_the_user_says_nothing(session: Session) -> None:
    everything = {"image": "ami-1", "name": None, "flavor": "m5.large", "location": "us-west-1b", "keypair": "me"}
    assert parse(["vm", "boot"]).bind(session) == everything
    said = parse(split("vm boot ami-2 --name web --flavor t2.nano --location us-west-1a --keypair you"))
    assert said.bind(session) == {
        "image": "ami-2", "name": "web", "flavor": "t2.nano", "location": "us-west-1a", "keypair": "you",
    }  # fmt: skip
    assert parse(split("volume create data")).bind(session) == {"name": "data", "size": 1, "location": "us-west-1b"}
    assert parse(split("volume create data --size 8")).bind(bare(session)) == {
        "name": "data", "size": 8, "location": "us-east-1",
    }  # fmt: skip


@pytest.mark.parametrize("one", [one for one in COMMANDS if one.params], ids=lambda one: one.name)
def test_what_is_required_and_said_by_nobody_is_asked_for(session: Session, one: Command) -> None:
    poor = bare(session)
    required = [param for param in one.params if param.required]
    assert required
    for parsed in (Parsed(one, {}), Parsed(one, {param.name: "" for param in one.params})):
        assert parsed.missing(poor) == required
        with pytest.raises(UsageError) as caught:
            parsed.bind(poor)
        assert caught.value.message == f"{one.name} needs {' and '.join(param.metavar for param in required)}."
        assert caught.value.cure == f"Usage: {one.usage}"
    whole = Parsed(one, {param.name: "1" for param in required})
    assert whole.missing(poor) == []
    assert set(whole.bind(poor)) == {param.name for param in one.params}


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ("0", "size must be at least 1, not 0."),
        ("-5", "size must be at least 1, not -5."),
        ("1.5", "size must be a whole number, not '1.5'."),
        ("8GB", "size must be a whole number, not '8GB'."),
        ("\x1b", "size must be a whole number, not '␛'."),
        ("9" * 5000, f"size must be a whole number, not '{'9' * 5000}'."),
        ("2147483648", "size must be at most 2147483647, not 2147483648."),
    ],
)
def test_numbers_that_are_none(session: Session, size: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Parsed(command("volume create"), {"name": "data", "size": size}).bind(session)
    assert caught.value.message == message


def test_usage_lines() -> None:
    assert command("vm list").usage == "vm list"
    assert command("volume create").usage == "volume create NAME [--size N] [--location LOCATION]"
    assert command("keypair create").usage == "keypair create NAME [--to FILE]"
    assert command("set default").usage == "set default cloud=NAME"


# --- completion ------------------------------------------------------------------------------------------------------


OPTIONS = ("--name", "--flavor", "--location", "--keypair")


def names(param: Param) -> Iterable[str]:
    """What a dashboard would know."""
    if param.type == "cloud":
        return ["aws", "demo"]
    known = {
        "image": ["ami-1", "ami-2", "Ubuntu 24.04"],
        "vm": ["web", "two words", "i-1", "", "$(x)"],
        "flavor": ["t2.micro", "t3.micro"],
        "location": ["us-west-1a"],
    }
    return known.get(param.kind or "", [])


@pytest.mark.parametrize(
    ("line", "lines"),
    [
        ("", ["image", "flavor", "vm", "keypair", "location", "volume", "refresh", "set"]),
        ("v", ["vm", "volume"]),
        ("vm", []),
        ("vm ", [f"vm {verb}" for verb in ("refresh", "list", "boot", "start", "stop", "reboot", "delete")]),
        ("vm st", ["vm start", "vm stop"]),
        ("vm stop ", ["vm stop web", "vm stop i-1"]),
        ("vm stop w", ["vm stop web"]),
        ("vm stop web", []),
        ("vm stop web ", []),
        ("vm list ", []),
        ("refresh o", ["refresh on", "refresh off"]),
        (
            "vm boot ",
            [f"vm boot {word}" for word in ("ami-1", "ami-2", *OPTIONS)],
        ),
        ("vm boot ami-2 --f", ["vm boot ami-2 --flavor"]),
        ("vm boot ami-2 --flavor ", ["vm boot ami-2 --flavor t2.micro", "vm boot ami-2 --flavor t3.micro"]),
        ("vm boot --flavor t3.micro ami", ["vm boot --flavor t3.micro ami-1", "vm boot --flavor t3.micro ami-2"]),
        ("vm boot ami-2 --location us-west-1a --l", []),
        ("vm boot --name ", []),
        ("volume create data ", ["volume create data --size", "volume create data --location"]),
        ("set default ", ["set default cloud=aws", "set default cloud=demo"]),
        ("set default cloud=d", ["set default cloud=demo"]),
        ("set default cloud=aws ", []),
        ("zzz", []),
        ("zzz ", []),
        ("vm zzz ", []),
        ("vm  ", []),
        ("vm list x y ", []),
    ],
)
def test_complete(line: str, lines: list[str]) -> None:
    assert complete(line, names) == lines


def test_complete_offers_only_the_commands_there_are() -> None:
    harmless = [one for one in COMMANDS if one.effect == "reads"]
    assert complete("vm ", names, harmless) == ["vm refresh", "vm list"]
    assert complete("vm boot ", names, harmless) == []


@pytest.mark.parametrize("one", COMMANDS, ids=lambda one: one.name)
def test_every_command_is_reached_by_completing(one: Command) -> None:
    first, second = one.words
    assert first in complete(first[:1], names)
    assert one.name in complete(f"{first} {second[:1]}", names)


def test_what_is_completed_is_parsed() -> None:
    """Each completion of each line with every required word is a line that the grammar takes, or wants more of."""
    for start in ("vm boot ", "vm boot ami-1 --flavor ", "vm stop ", "set default ", "vm boot --location "):
        for line in complete(start, names):
            if not line.rpartition(" ")[2].startswith("--"):
                assert parse(split(line)).line == line


# --- the table -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one", COMMANDS, ids=lambda one: one.name)
def test_every_command_is_whole(one: Command) -> None:
    assert one.help
    assert one.help[0].isupper()
    assert not one.help.endswith(".")
    assert len(one.words) == 2
    assert command(one.name) is one
    assert set(one.on) <= set(KINDS)
    names_of = [param.name for param in one.params]
    assert len(set(names_of)) == len(names_of)
    assert all(param.help and (param.kind is None or param.kind in KINDS) for param in one.params)
    if one.effect == "destroys":
        assert any(param.kind and param.required for param in one.params)
    for kind in one.on:
        # A key acts on a row of the tab or opens a dialog; a refresh is of the tab itself.
        assert one.target(kind) or one.params or one.refreshes == kind


def test_names_are_unique() -> None:
    assert len({one.name for one in COMMANDS}) == len(COMMANDS)


def test_an_unknown_name() -> None:
    with pytest.raises(KeyError):
        command("vm fly")


@pytest.mark.parametrize("kind", KINDS)
def test_no_two_commands_share_a_key_on_a_tab(kind: str) -> None:
    keys = [one.key for one in COMMANDS if one.key and (not one.on or kind in one.on)]
    assert keys
    assert len(set(keys)) == len(keys)
    own = {key.strip() for binding in OWN_BINDINGS for key in binding.key.split(",")}
    assert "q" in own
    assert not own & set(keys)


def test_every_kind_can_be_refreshed_and_listed() -> None:
    for kind in KINDS:
        assert command(f"{kind} refresh").refreshes == kind
        assert command(f"{kind} list").shows == kind
