"""COMMANDS: one entry per verb. Keys, palette, command line, shell, help and docs/commands.md are made from it."""

from backend.catalog import KINDS, commands_of
from backend.commands import listings
from backend.commands.model import Command, Param
from backend.commands.scoping import COMMANDS as SCOPE_COMMANDS
from backend.journal.commands import COMMANDS as JOURNAL_COMMANDS
from backend.kinds.model import Kind

_REGION = Param(
    "region",
    "Regions of those that are shown, joined by commas, each REGION or CLOUD/REGION; or all; else the first",
    "option",
    type="region",
    word="NAMES",
)
"""Where to list a vast kind: choosing many regions does not list it in all of them."""


def _of_kind(kind: Kind) -> tuple[Command, ...]:
    return (
        Command(
            (kind.name, "refresh"),
            f"Fetch all {kind.nouns} from the cloud into the cache",
            listings.refresh_kind(kind),
            key="r",
            on=(kind.name,),
            params=(_REGION,) if kind.vast else (),
            refreshes=kind.name,
            everywhere=True,
        ),
        Command(
            (kind.name, "list"),
            f"List the {kind.nouns}, fetched first when refresh is on",
            listings.list_kind(kind),
            shows=kind.name,
            everywhere=True,
        ),
        Command(
            (kind.name, "export"),
            f"Write {kind.nouns} to a file, .csv or .json",
            listings.export_kind(kind),
            params=(
                Param("file", "File to make: .csv or .json", type="path", required=True),
                Param(
                    "only",
                    "Ids or unique names, joined by commas; else all",
                    "option",
                    kind=kind.name,
                    many=True,
                    word="IDS",
                ),
            ),
            key="e",
            minor=True,
            on=(kind.name,),
            asks=True,
            everywhere=True,
        ),
    )


COMMANDS: tuple[Command, ...] = (
    *(command for kind in KINDS.values() for command in _of_kind(kind)),
    *(command for kind in KINDS.values() for command in commands_of(kind)),
    *JOURNAL_COMMANDS,
    *SCOPE_COMMANDS,
    Command(
        ("refresh", "all"),
        "Fetch every kind from the cloud into the cache",
        listings.refresh_all,
        key="R",
        refreshes="all",
        everywhere=True,
    ),
    Command(
        ("refresh", "on"),
        "Fetch what is stale when it is shown or listed",
        listings.switch_refresh(True),
        sets=True,
        everywhere=True,
    ),
    Command(
        ("refresh", "off"),
        "Show the cache until a refresh is asked for",
        listings.switch_refresh(False),
        sets=True,
        everywhere=True,
    ),
    Command(
        ("set", "default"),
        "Show other clouds or regions of the configuration",
        listings.set_default,
        sets=True,
        everywhere=True,
        button="Switch",
        params=(
            Param(
                "cloud",
                "Names joined by commas, each NAME, NAME/REGION or NAME/all; or all",
                "assignment",
                type="cloud",
                required=True,
            ),
        ),
    ),
)


def command(name: str) -> Command:
    """Return the command of that exact name; KeyError when there is none."""
    return _BY_NAME[name]


_BY_NAME = {entry.name: entry for entry in COMMANDS}
