"""Writes docs/commands.md from the options, COMMANDS and KINDS: python -m tests.docs."""

from argparse import Action
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from backend.catalog import KINDS
from backend.commands.model import Command, Effect, Param
from backend.commands.table import COMMANDS
from backend.kinds.model import Column, Kind, Type
from tui.cli import parser

PATH = Path(__file__).parents[1] / "docs" / "commands.md"

_INTRODUCTION = """\
# Commands

<!-- Written by `make docs` from the tables that the program runs on; a test compares. Change those, not this. -->

```
cloudmesh-tui [options]                         the dashboard
cloudmesh-tui [options] --refresh [KIND ...]    refresh these kinds, or all, into the cache
cloudmesh-tui [options] COMMAND ...             run one command; a leading `aws` is passed over
```

The same commands run from the dashboard's `:` line, its palette (`Ctrl+P`) and, where they have one, by their key. With
`--demo` all of this works on a simulated EC2 with a throw-away cache."""

_STATUS = """\
## Exit status

| status | means |
|---|---|
| 0 | done |
| 1 | failed, or some kinds failed: the others were refreshed |
| 2 | the words or the configuration are wrong; nothing was done |
| 129 | the dashboard's terminal went away, or SIGHUP came |
| 130 | interrupted by Ctrl-C or SIGINT |
| 143 | ended by SIGTERM |

Results go to stdout, everything else to stderr: what failed, warnings, and progress when stderr is a terminal. Where
stdout cannot be written, such as on a full disk, a sentence says so and the status is 1.

Ctrl-C ends a listing at once and leaves the cache's old rows. While something is being changed in the cloud, it waits
for the cloud's answer; a second one does not.

The dashboard ends within two seconds of each of these signals and restores the terminal, also while that does not read.
Ctrl-Z suspends it, and the shell's `fg` comes back to the screen as it was."""

_ENVIRONMENT = (
    ("`CLOUDMESH_CONFIG`", "names the configuration, where `--config` does not"),
    ("`CLOUDMESH_HOME`", "names the data directory instead of `~/.cloudmesh`"),
    (
        "`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`",
        "are the keys of a cloud whose `credentials` are empty",
    ),
    (
        "`AWS_REGION`, else `AWS_DEFAULT_REGION`",
        "is the region of a cloud whose `default.location` is empty; without either only an `endpoint` can be asked, "
        "in us-east-1",
    ),
    (
        "`AWS_ENDPOINT_URL_PRICING`",
        "is the address of the price list to ask instead of AWS's, also for a cloud with an `endpoint`",
    ),
    (
        "`AWS_CA_BUNDLE`, else `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`, `SSL_CERT_FILE`",
        "names the file of the certificates to trust over TLS, instead of certifi's; REQUESTS_CA_BUNDLE may name a "
        "folder that `openssl rehash` has prepared",
    ),
    (
        "`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`",
        "name the proxy to a cloud, and what needs none; SOCKS needs `pip install 'cloudmesh-tui[socks]'`",
    ),
)
"""Variables and what they do."""

_GRAMMAR = """\
## The grammar

`CAPITALS` stand for values, `[…]` may be left out. Options may stand anywhere after the verb, as `--name web` or
`--name=web`; after `--` a word is a value even if it begins with `--`. Kinds may be written in the plural or by an
alias. A VM, keypair or volume is named by its id, or by its name if that is unique. The cloud's `default` in
`cloudmesh.yaml` gives the arguments that you leave out of `vm boot` and `volume create`.

- **reads**: changes nothing in a cloud; `refresh` writes the cache.
- **changes**: changes something in the cloud, and is journalled. `--read-only` refuses it.
- **destroys**: the same, and cannot be undone. The dashboard asks first; the shell wants `--yes`, and
  `--production NAME`, a name or an id, for each object that is tagged as production (see `cloudmesh.yaml.example`)."""

_KEYS = """\
## What a key acts on

- **The marked rows** that the filter shows; if no row is marked, the cursor's row. If the filter hides all marked
  rows, a key acts on nothing and says so (`2 marked, none shown`). If it hides some, the dialog says how many are
  shown and how many are left out; these stay marked. A key that only shows an object always takes the cursor's row.
- **An export** (`e`) writes the marked rows that are shown; if none is marked, all rows that the filter shows. Its
  dialog says how many before anything is written.
- **`space`** marks the row and goes down to the next one.
- **The row that a filter has found** is the cursor's row, also when the filter goes. `Esc` drops one thing at a time:
  the message, the filter, the marks. The cursor stays on its row through all of them.
- **The name of a kind** alone on the `:` line shows that kind: `:vm`, `:vms`, `:instances`. A kind without a number key
  opens this way, or from the palette, as a tab at the end of the line. It is read and refreshed while it is open.
  Another such kind takes its place. `Esc`, if there is nothing else to drop, closes it and shows the previous tab.
- **A dim key** says why it cannot be used. Letters typed right after it, at most half a second apart, were meant
  for its dialog and run nothing; `Esc`, `Enter` and a pause end that.
- **The cursor** goes to the object that `b` or `c` has created, on its own tab.
- **Settings** (`refresh on|off`, `set default`) take effect in the order in which you give them. `refresh on|off` keeps
  what `z` undoes."""

_KINDS = """\
## Kinds

`KIND list --json` prints an array of objects with these members, then the `cloud` and `region` of the object. A member
is `null` where the cloud said nothing; a list is always an array and tags are always an object. CSV joins the entries
of both by commas, as tables do.

A table fits the terminal: the widest texts are cut with `…`, never ids and addresses. If that is not enough, columns
are left out, and stderr names those that are not empty. In a pipe or a file nothing is cut, and a text of more than 80
cells widens only its own line.

`--refresh --json` and `KIND refresh --json` print one object a line for each kind: `cloud`, `region`, `kind`, `count`,
`added`, `changed`, `removed`, `seconds`, `error` (a sentence, or `null`)."""

_EFFECTS: dict[Effect, str] = {"reads": "reads", "changes": "**changes**", "destroys": "**destroys**"}

_JSON: dict[Type, str] = {
    "text": "text",
    "state": "text",
    "int": "number",
    "mib": "number, MiB",
    "gib": "number, GiB",
    "usd": "number, USD",
    "time": "ISO 8601, UTC",
    "flag": "true or false",
    "flight": "object: `action`, `since`, `overdue`, `before`",
    "list": "array of texts, empty for none",
    "tags": "object of key and value, empty for none",
}


def commands_md() -> str:
    """Return what docs/commands.md should be."""
    return "\n\n".join(
        [
            _INTRODUCTION,
            "## Options\n\n" + _table(["option", "does"], map(_option, options())),
            _STATUS,
            "## The environment\n\n" + _table(["variable", "does"], _ENVIRONMENT),
            "An empty variable counts as absent. The demo uses none of them.",
            _GRAMMAR,
            _KEYS,
            *_commands(),
            _KINDS,
            *map(_kind, KINDS.values()),
        ]
    ).rstrip() + "\n"  # fmt: skip


def options() -> list[Action]:
    """Return the options that --help lists."""
    return list(parser()._actions)


def _option(option: Action) -> list[str]:
    value = {"KIND": " [KIND ...]"}.get(str(option.metavar), f" {option.metavar}" if option.metavar else "")
    names = ", ".join(f"`{name}{value}`" for name in option.option_strings)
    return [names, str(option.help)]


def _commands() -> Iterator[str]:
    for first in dict.fromkeys(command.words[0] for command in COMMANDS):
        group = [command for command in COMMANDS if command.words[0] == first]
        yield f"## `{first}`"
        yield _table(["command", "does", "effect", "key"], map(_command, group))
        values = [[f"`{command.name}`", *_param(param)] for command in group for param in command.params]
        if values:
            yield _table(["command", "value", "meaning"], values)


def _command(command: Command) -> list[str]:
    where = " and ".join(KINDS[kind].plural for kind in command.on)
    key = f"`{command.key}` on {where}" if where else f"`{command.key}`"
    return [f"`{command.usage}`", command.help, _EFFECTS[command.effect], key if command.key else ""]


def _param(param: Param) -> list[str]:
    notes = [param.help]
    if param.minimum is not None:
        notes.append(f"at least {param.minimum}")
    return [f"`{param.usage.strip('[]')}`", ", ".join(notes)]


def _kind(kind: Kind) -> str:
    names = ", ".join(f"`{name}`" for name in (kind.name, kind.plural, *kind.aliases))
    return f"### {kind.plural}\n\nWritten {names}.\n\n" + _table(["column", "JSON", ""], map(_column, kind.columns))


def _column(column: Column) -> list[str]:
    return [f"`{column.name}`", _JSON[column.type], column.help]


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    PATH.write_text(commands_md(), encoding="utf-8")
