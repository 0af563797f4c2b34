"""Turns words such as `vm boot ami-1 --name web` into a command and its arguments, back again, and completes them."""

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from backend.catalog import kind_named
from backend.commands.model import ON, Command, Param, Parsed
from backend.commands.table import COMMANDS
from backend.errors import UsageError
from backend.names import nearest
from backend.text import safe

_FIRST = sorted({command.words[0] for command in COMMANDS})


def split(line: str) -> list[str]:
    """Return the words of a typed line, quotes heeded; raises UsageError when a quote is not closed."""
    try:
        return shlex.split(line)
    except ValueError:
        raise UsageError(f"A quote is not closed in {safe(line)!r}.", "Close it, or put \\ before it.") from None


def parse(words: Sequence[str]) -> Parsed:
    """Return the command that `words` call, a leading `aws` passed over; values are not looked up here.

    Raises UsageError for unknown words, with the nearest match, for an unknown option, for a word too many, or for one
    that is no text.
    """
    for word in words:
        if any(
            "\ud800" <= char <= "\udfff" for char in word
        ):  # a byte that is not UTF-8: neither cloud nor cache has it
            raise UsageError(f"The word {safe(word)!r} is not UTF-8 text.")
    rest = list(words[1:] if words and words[0] == "aws" else words)
    if not rest:
        raise UsageError("There is no command.", f"Commands begin with: {', '.join(_FIRST)}.")
    first = rest.pop(0).lower()
    if first not in _FIRST:
        try:
            first = kind_named(first).name
        except UsageError:
            raise nearest(first, _FIRST, what="command", known=_FIRST) from None
    verbs = {command.words[1]: command for command in COMMANDS if command.words[0] == first}
    if not rest:
        raise UsageError(f"{first} needs a verb.", f"Known: {', '.join(verbs)}.")
    verb = rest.pop(0).lower()
    if verb not in verbs:
        raise nearest(f"{first} {verb}", [f"{first} {known}" for known in verbs], what="command", known=verbs)
    return Parsed(verbs[verb], _arguments(verbs[verb], rest))


def _arguments(command: Command, words: list[str]) -> dict[str, str]:
    named = {f"--{param.name}": param for param in command.params if param.style in ("option", "switch")}
    assigned = {param.name: param for param in command.params if param.style == "assignment"}
    places = [param for param in command.params if param.style == "positional"]
    given: dict[str, str] = {}
    rest = iter(words)
    literal = False
    for word in rest:
        if word == "--" and not literal:
            literal = True
        elif word.startswith("--") and not literal:
            option, equals, value = word.partition("=")
            if option not in named:
                raise nearest(option, named, what=f"option of {command.name}", known=named or ["none"])
            if named[option].style == "switch":
                if equals:
                    raise UsageError(f"{option} takes no value.", f"Usage: {command.usage}")
                given[named[option].name] = ON
                continue
            given_value = value if equals else next(rest, None)
            if given_value is None:
                raise UsageError(f"{option} needs a value.", f"Usage: {command.usage}")
            given[named[option].name] = given_value
        elif (parts := word.partition("="))[1] and parts[0] in assigned:
            given[parts[0]] = parts[2]
        elif place := next((param for param in places if param.name not in given), None):
            given[place.name] = word
        else:
            raise UsageError(f"{command.name} does not take {safe(word)!r}.", f"Usage: {command.usage}")
    return given


# --- completion ------------------------------------------------------------------------------------------------------

Names = Callable[[Param], Iterable[str]]
"""Gives the known values of a parameter: ids and names of its kind, or clouds."""


def complete(line: str, names: Names, commands: Iterable[Command] = COMMANDS) -> list[str]:
    """Return the lines that `line`, as far as typed, may become; at most one more word each, in table order."""
    words = line.split(" ")
    done, last = words[:-1], words[-1]
    known = list(commands)
    said = _plain_words(done)
    if len(said) < 2:
        at = len(said)
        # Each once, before they are counted: there are more commands than words that they begin with.
        matches: Iterable[str] = dict.fromkeys(one.words[at] for one in known if list(one.words[:at]) == said)
    else:
        command = next((command for command in known if list(command.words) == said[:2]), None)
        matches = _values(command, said[2:], names) if command else []
    found = dict.fromkeys(islice((word for word in matches if word.startswith(last) and word != last), _OFFERED))
    return [" ".join([*done, word]) for word in found]


def _plain_words(done: list[str]) -> list[str]:
    """Return typed words without a leading `aws`, with a plural or an alias as its kind's name."""
    rest = done[1:] if done[:1] == ["aws"] else done
    try:
        return [kind_named(rest[0]).name, *rest[1:]] if rest else []
    except UsageError:
        return rest


def _values(command: Command, done: list[str], names: Names) -> Iterator[str]:
    """Yield the words that may come next; lazily, for a kind may have 100,000 names."""
    options = {f"--{param.name}": param for param in command.params if param.style in ("option", "switch")}
    if done and done[-1] in options and options[done[-1]].style == "option":
        yield from _unquoted(_known(options[done[-1]], names))
        return
    taken = sum(
        not word.startswith("--") and not (position and _takes_next(options.get(done[position - 1])))
        for position, word in enumerate(done)
    )
    for place in [param for param in command.params if f"--{param.name}" not in options][taken : taken + 1]:
        prefix = f"{place.name}=" if place.style == "assignment" else ""
        yield from (prefix + value for value in _unquoted(_known(place, names)))
    yield from (option for option in options if option not in done)


def _known(param: Param, names: Names) -> Iterator[str]:
    yield from param.known
    yield from names(param)


def _takes_next(param: Param | None) -> bool:
    return param is not None and param.style == "option"


def _unquoted(values: Iterable[str]) -> Iterator[str]:
    # A name with blanks needs quotes, which a half-typed line does not have: its id is offered instead.
    return (value for value in values if _PLAIN.fullmatch(value))


_PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)
"""What needs no quotes in a shell; see shlex.quote."""

_OFFERED = 50
"""At most this many words are offered: another letter finds the rest."""
