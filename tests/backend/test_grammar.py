"""Parsing, writing and completing the words of every command."""

from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from backend.cache import Cache, open_cache
from backend.catalog import KINDS
from backend.commands.grammar import complete, parse, split
from backend.commands.model import ON, Command, Param, Parsed
from backend.commands.table import COMMANDS, command
from backend.config import Cloud, Defaults, MongoDB, Settings
from backend.errors import UsageError
from backend.secret import Secret
from backend.session import Session
from tui.screens.keys import OWN_BINDINGS


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cache]:
    opened = open_cache(MongoDB(Secret("memory")), tmp_path_factory.mktemp("home"), KINDS.values())
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


# --- every command of the design --------------------------------------------------------------------------------------

GRAMMAR: list[tuple[str, str, dict[str, str]]] = [
    *((f"{kind} {verb}", f"{kind} {verb}", {}) for kind in KINDS for verb in ("refresh", "list")),
    *((f"{kind} export all.csv", f"{kind} export", {"file": "all.csv"}) for kind in KINDS),
    ("vm export some.json --only i-1,web", "vm export", {"file": "some.json", "only": "i-1,web"}),
    ("vm boot", "vm boot", {}),
    ("vm boot ami-1", "vm boot", {"image": "ami-1"}),
    (
        "vm boot ami-1 --name web --flavor m5.large --location us-west-1b --keypair me",
        "vm boot",
        {"image": "ami-1", "name": "web", "flavor": "m5.large", "location": "us-west-1b", "keypair": "me"},
    ),
    ("vm boot --dry-run", "vm boot", {"dry-run": ON}),
    ("vm boot ami-1 --keypair me --dry-run", "vm boot", {"image": "ami-1", "keypair": "me", "dry-run": ON}),
    ("vm start web", "vm start", {"vm": "web"}),
    ("vm stop i-1", "vm stop", {"vm": "i-1"}),
    ("vm reboot i-1", "vm reboot", {"vm": "i-1"}),
    ("vm delete i-1", "vm delete", {"vm": "i-1"}),
    ("vm protect web", "vm protect", {"vm": "web"}),
    ("vm unprotect web", "vm unprotect", {"vm": "web"}),
    ("vm tag i-1 env=test", "vm tag", {"vm": "i-1", "tag": "env=test"}),
    ("vm untag i-1 env", "vm untag", {"vm": "i-1", "key": "env"}),
    ("keypair get me", "keypair get", {"keypair": "me"}),
    ("keypair create me", "keypair create", {"name": "me"}),
    ("keypair create me --to me.pem", "keypair create", {"name": "me", "to": "me.pem"}),
    ("keypair delete me", "keypair delete", {"keypair": "me"}),
    ("volume create data", "volume create", {"name": "data"}),
    ("volume create data --size 8", "volume create", {"name": "data", "size": "8"}),
    ("volume delete vol-1", "volume delete", {"volume": "vol-1"}),
    ("volume attach vol-1 web", "volume attach", {"volume": "vol-1", "vm": "web"}),
    (
        "volume attach vol-1 web --device /dev/sdf",
        "volume attach",
        {"volume": "vol-1", "vm": "web", "device": "/dev/sdf"},
    ),
    ("volume detach vol-1", "volume detach", {"volume": "vol-1"}),
    ("volume tag vol-1 env=test", "volume tag", {"volume": "vol-1", "tag": "env=test"}),
    ("volume untag vol-1 env", "volume untag", {"volume": "vol-1", "key": "env"}),
    ("vm console web", "vm console", {"vm": "web"}),
    (
        "secgroup create web --description 'Web servers' --network vpc-1",
        "secgroup create",
        {"name": "web", "description": "Web servers", "network": "vpc-1"},
    ),
    ("secgroup delete 'two words'", "secgroup delete", {"secgroup": "two words"}),
    (
        "secgroup allow web 22 --from 203.0.113.0/24",
        "secgroup allow",
        {"secgroup": "web", "port": "22", "from": "203.0.113.0/24"},
    ),
    (
        "secgroup revoke web 8000-8080 --from db --protocol udp",
        "secgroup revoke",
        {"secgroup": "web", "port": "8000-8080", "from": "db", "protocol": "udp"},
    ),
    ("secgroup tag web env=test", "secgroup tag", {"secgroup": "web", "tag": "env=test"}),
    ("secgroup untag web env", "secgroup untag", {"secgroup": "web", "key": "env"}),
    ("price refresh", "price refresh", {}),
    ("journal list", "journal list", {}),
    ("journal list --last 5", "journal list", {"last": "5"}),
    ("journal resume", "journal resume", {}),
    ("journal resume --only 1f,2e", "journal resume", {"only": "1f,2e"}),
    ("journal drop", "journal drop", {}),
    ("scope list", "scope list", {}),
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
        ("vm boot --dry-run ami-1", {"dry-run": ON, "image": "ami-1"}),
        ("vm boot --dry-run --dry-run", {"dry-run": ON}),
        ("vm boot --name --dry-run", {"name": "--dry-run"}),
        ("vm boot -- --dry-run", {"image": "--dry-run"}),
        ("vm boot --name 'two words' \"ami 1\"", {"name": "two words", "image": "ami 1"}),
        (r"vm stop two\ words", {"vm": "two words"}),
        ("vm stop -x", {"vm": "-x"}),
        ("vm stop -- --name", {"vm": "--name"}),
        ("vm stop -- --", {"vm": "--"}),
        ("keypair create --to f -- --to", {"name": "--to", "to": "f"}),
        ("keypair create name=x", {"name": "name=x"}),
        ("vm tag web tag=b=c", {"vm": "web", "tag": "tag=b=c"}),
        ("vm tag -- --vm --a=b", {"vm": "--vm", "tag": "--a=b"}),
        ("volume attach --device=/dev/sdf vol-1 web", {"device": "/dev/sdf", "volume": "vol-1", "vm": "web"}),
        ("set default cloud=a=b", {"cloud": "a=b"}),
        ("vm stop ''", {"vm": ""}),
    ],
)
def test_ways_to_write_arguments(line: str, given: dict[str, str]) -> None:
    assert parse(split(line)).given == given


VM_VERBS = (
    "refresh", "list", "export", "boot", "start", "stop", "reboot", "delete", "protect", "unprotect", "tag", "untag",
    "console",
)  # fmt: skip


@pytest.mark.parametrize(
    ("line", "message", "cure"),
    [
        (
            "",
            "There is no command.",
            "Commands begin with: flavor, image, journal, keypair, location, price, refresh, scope, secgroup, set, vm, "
            "volume.",
        ),
        ("aws", "There is no command.", "Commands begin with: "),
        ("imgae list", "There is no command 'imgae'.", "Did you mean 'image'?"),
        ("vmm list", "There is no command 'vmm'.", "Did you mean 'vm'?"),
        ("quit", "There is no command 'quit'.", "Known: flavor, image,"),
        ("aws aws vm list", "There is no command 'aws'.", ""),
        ("vm\x1b list", "There is no command 'vm␛'.", "Did you mean 'vm'?"),
        ("vm", "vm needs a verb.", f"Known: {', '.join(VM_VERBS)}."),
        ("nodes", "vm needs a verb.", "Known: refresh, list, export, boot"),
        ("journal", "journal needs a verb.", "Known: list, resume, drop."),
        ("set", "set needs a verb.", "Known: default."),
        ("vm bot", "There is no command 'vm bot'.", "Did you mean 'vm boot'?"),
        ("image delete", "There is no command 'image delete'.", ""),
        ("volumes creat x", "There is no command 'volume creat'.", "Did you mean 'volume create'?"),
        ("refresh of", "There is no command 'refresh of'.", "Did you mean 'refresh off'?"),
        ("vm boot --flavour x", "There is no option of vm boot '--flavour'.", "Did you mean '--flavor'?"),
        (
            "vm boot --zzz=x",
            "There is no option of vm boot '--zzz'.",
            "Known: --name, --flavor, --location, --keypair, --dry-run.",
        ),
        ("vm boot --dryrun", "There is no option of vm boot '--dryrun'.", "Did you mean '--dry-run'?"),
        ("vm boot --dry-run=on", "--dry-run takes no value.", "Usage: vm boot IMAGE"),
        ("vm boot --dry-run=", "--dry-run takes no value.", "Usage: vm boot IMAGE"),
        ("vm tag i-1 a=b c=d", "vm tag does not take 'c=d'.", "Usage: vm tag VM KEY=VALUE"),
        ("journal resume all", "journal resume does not take 'all'.", "Usage: journal resume"),
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


# --- back to a line ---------------------------------------------------------------------------------------------------

HOSTILE = [
    "a b", "'", '"', "\\", "''", "a'b\"c", "--", "--name", "--name=x", "-n", "=", "a=b", "cloud=x", "$(x)", "*", ";",
    "#x", "!x", "~", "new\nline", "tab\t", "\x1b[2J", "é漢字🚀", "\u202e", "aws", "vm", "{}", " ", "\\n",
]  # fmt: skip


@pytest.mark.parametrize("one", [one for one in COMMANDS if one.params], ids=lambda one: one.name)
def test_a_line_reads_back_as_what_it_was_written_from(one: Command) -> None:
    places = [param for param in one.params if param.style == "positional"]
    for first, other in product(HOSTILE, HOSTILE):
        words = [
            ON if param.style == "switch" else (first, other)[number % 2] for number, param in enumerate(one.params)
        ]
        given = {param.name: word for param, word in zip(one.params, words, strict=True)}
        parsed = Parsed(one, given)
        assert parse(split(parsed.line)) == parsed
        for param in one.params:
            # A positional parameter is found by those before it.
            needed = places[: places.index(param)] if param in places else []
            alone = Parsed(one, {some.name: given[some.name] for some in (*needed, param)})
            assert parse(split(alone.line)) == alone


def test_a_switch_is_written_alone() -> None:
    boot = command("vm boot")
    assert Parsed(boot, {"dry-run": ON, "image": "ami-1", "name": "x"}).line == "vm boot ami-1 --name x --dry-run"
    assert Parsed(boot, {"dry-run": "", "image": "ami-1"}).line == "vm boot ami-1"  # unticked again in its dialog
    assert Parsed(boot, {"dry-run": ON, "image": "--x"}).line == "vm boot --dry-run -- --x"
    assert Parsed(boot, {"image": "ami-1"}).line == "vm boot ami-1"


def test_an_empty_value_is_said_and_means_none(session: Session) -> None:
    parsed = parse(split("vm boot ami-1 --keypair= --location ''"))
    assert parsed.given == {"image": "ami-1", "keypair": "", "location": ""}
    assert parse(split(parsed.line)).given == parsed.given
    bound = parsed.bind(session)
    assert (bound["keypair"], bound["location"], bound["flavor"]) == (None, None, "m5.large")
    assert [param.name for param in parse(split("vm boot ''")).missing(session)] == ["image"]


# --- arguments --------------------------------------------------------------------------------------------------------


def test_bind_takes_the_configuration_where_the_user_says_nothing(session: Session) -> None:
    everything = {
        "image": "ami-1", "name": None, "flavor": "m5.large", "location": "us-west-1b", "keypair": "me",
        "dry-run": None,
    }  # fmt: skip
    assert parse(["vm", "boot"]).bind(session) == everything
    assert parse(["vm", "boot", "--dry-run"]).bind(session) == everything | {"dry-run": ON}
    assert Parsed(command("vm boot"), {"dry-run": ""}).bind(session) == everything
    said = parse(split("vm boot ami-2 --name web --flavor t2.nano --location us-west-1a --keypair you"))
    assert said.bind(session) == {
        "image": "ami-2", "name": "web", "flavor": "t2.nano", "location": "us-west-1a", "keypair": "you",
        "dry-run": None,
    }  # fmt: skip
    assert parse(split("volume create data")).bind(session) == {"name": "data", "size": 1, "location": "us-west-1b"}
    assert parse(split("volume create data --size 8")).bind(bare(session)) == {
        "name": "data", "size": 8, "location": "us-east-1",
    }  # fmt: skip
    assert parse(split("journal list")).bind(session) == {"last": 1_000}


@pytest.mark.parametrize("one", [one for one in COMMANDS if one.params], ids=lambda one: one.name)
def test_what_is_required_and_said_by_nobody_is_asked_for(session: Session, one: Command) -> None:
    poor = bare(session)
    required = [param for param in one.params if param.required]
    assert required or one.name in ("image refresh", "journal list", "journal resume")
    for parsed in (Parsed(one, {}), Parsed(one, {param.name: "" for param in one.params})):
        assert parsed.missing(poor) == required
        if not required:
            assert set(parsed.bind(poor)) == {param.name for param in one.params}
            continue
        with pytest.raises(UsageError) as caught:
            parsed.bind(poor)
        assert caught.value.message == f"{one.name} needs {' and '.join(param.metavar for param in required)}."
        assert caught.value.cure == f"Usage: {one.usage}"
    whole = Parsed(one, {param.name: "a=1" if param.type == "tag" else "1" for param in required})
    assert whole.missing(poor) == []
    assert set(whole.bind(poor)) == {param.name for param in one.params}


@pytest.mark.parametrize(("name", "param"), [("volume create", "size"), ("journal list", "last")])
@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("0", "must be at least 1, not 0."),
        ("-5", "must be at least 1, not -5."),
        ("1.5", "must be a whole number, not '1.5'."),
        ("8GB", "must be a whole number, not '8GB'."),
        ("\x1b", "must be a whole number, not '␛'."),
        ("9" * 5000, f"must be a whole number, not '{'9' * 5000}'."),
        ("2147483648", "must be at most 2147483647, not 2147483648."),
    ],
)
def test_numbers_that_are_none(session: Session, name: str, param: str, word: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Parsed(command(name), {"name": "data", param: word}).bind(session)
    assert caught.value.message == f"{param} {message}"


def test_usage_lines() -> None:
    assert command("vm list").usage == "vm list"
    assert command("vm export").usage == "vm export FILE [--only IDS]"
    options = "[--name NAME] [--flavor FLAVOR] [--location LOCATION] [--keypair KEYPAIR] [--dry-run]"
    assert command("vm boot").usage == f"vm boot IMAGE {options}"
    assert command("vm tag").usage == "vm tag VM KEY=VALUE"
    assert command("volume attach").usage == "volume attach VOLUME VM [--device DEVICE]"
    assert command("journal list").usage == "journal list [--last N]"
    assert command("journal resume").usage == "journal resume [--only IDS]"
    assert command("volume create").usage == "volume create NAME [--size N] [--location LOCATION]"
    assert command("keypair create").usage == "keypair create NAME [--to FILE]"
    assert command("set default").usage == "set default cloud=NAME"


# --- completion -------------------------------------------------------------------------------------------------------


OPTIONS = ("--name", "--flavor", "--location", "--keypair", "--dry-run")


OPENING = ("--from", "--protocol")
"""The options of the commands that open and close a port."""


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
        (
            "",
            [
                "image",
                "flavor",
                "vm",
                "keypair",
                "location",
                "volume",
                "secgroup",
                "price",
                "journal",
                "scope",
                "refresh",
                "set",
            ],
        ),
        ("v", ["vm", "volume"]),
        ("vm", []),
        ("vm ", [f"vm {verb}" for verb in VM_VERBS]),
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
        ("vm boot ami-2 --d", ["vm boot ami-2 --dry-run"]),
        (
            "vm boot --dry-run ",  # which takes no value
            [f"vm boot --dry-run {word}" for word in ("ami-1", "ami-2", *OPTIONS[:-1])],
        ),
        ("vm boot ami-2 --dry-run --f", ["vm boot ami-2 --dry-run --flavor"]),
        ("vm boot ami-2 --dry-run ami", []),
        ("vm tag ", ["vm tag web", "vm tag i-1"]),
        ("vm tag web ", []),
        ("vm export ", ["vm export --only"]),
        ("vm export x.csv --only ", ["vm export x.csv --only web", "vm export x.csv --only i-1"]),
        ("volume attach vol-1 ", [f"volume attach vol-1 {word}" for word in ("web", "i-1", "--device")]),
        ("volume attach vol-1 web ", ["volume attach vol-1 web --device"]),
        ("volume attach --device x vol-1 w", ["volume attach --device x vol-1 web"]),
        ("secgroup allow web ", ["secgroup allow web all", *(f"secgroup allow web {one}" for one in OPENING)]),
        (
            "secgroup revoke web 8 --protocol i",
            [f"secgroup revoke web 8 --protocol {one}" for one in ("icmp", "icmpv6")],
        ),
        ("j", ["journal"]),
        ("journal ", ["journal list", "journal resume", "journal drop"]),
        ("journal list ", ["journal list --last"]),
        ("journal resume ", ["journal resume --only"]),
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
    assert complete("vm ", names, harmless) == ["vm refresh", "vm list", "vm export", "vm console"]
    assert complete("vm boot ", names, harmless) == []


@pytest.mark.parametrize("one", COMMANDS, ids=lambda one: one.name)
def test_every_command_is_reached_by_completing(one: Command) -> None:
    first, second = one.words
    assert first in complete(first[:1], names)
    assert one.name in complete(f"{first} {second[:1]}", names)


def test_what_is_completed_is_parsed() -> None:
    """Each completion of each line with every required word is a line that the grammar takes, or wants more of."""
    starts = ["vm boot ", "vm boot ami-1 --flavor ", "vm stop ", "set default ", "vm boot --location "]
    starts += ["volume attach vol-1 ", "vm export x.csv --only "]
    for start in starts:
        for line in complete(start, names):
            if not line.rpartition(" ")[2].startswith("--"):
                assert parse(split(line)).line == line


# --- the table --------------------------------------------------------------------------------------------------------


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
    # What is destroyed is named and looked at before; what changes a cloud can be found out afterwards. One that goes
    # on with others names what they name, and they are found out.
    if one.effect == "destroys":
        assert not one.journalled or any(param.kind and param.required for param in one.params)
    assert (one.preview is not None) == (one.effect == "destroys" or one.name == "vm stop")
    assert (one.probe is not None) == (one.effect != "reads" and one.journalled)
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


def test_every_kind_can_be_exported_whole_or_what_is_marked() -> None:
    for kind in KINDS:
        target = command(f"{kind} export").target(kind)
        assert target is not None
        assert (target.name, target.many, target.required) == ("only", True, False)
