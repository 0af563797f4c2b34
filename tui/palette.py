"""The command palette: every command, and every command on every object that it fits."""

from collections.abc import Iterator
from functools import partial
from typing import Protocol, cast

from textual.command import CommandList, CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.fuzzy import Matcher

from backend.commands.model import Command, Parsed
from backend.kinds.model import Kind
from backend.text import safe
from tui.host import Tables
from tui.messages import Asked
from tui.screens.steady import Steady
from tui.selection import fits


class Palette(CommandPalette, Steady[None]):  # in this order: textual takes styles from the first
    """textual's palette; keys before its layout and after its end do no harm."""

    def _action_command_list(self, action: str) -> None:
        if self.query_one(CommandList).scrollable_content_region or action == "select":
            super()._action_command_list(action)  # without a layout there is no page to move by


class Source(Protocol):
    """What the palette uses of the app."""

    @property
    def main(self) -> Tables:
        """The tables."""

    def offered(self) -> list[Command]:
        """Return the commands that can be run now."""


class Commands(Provider):
    """Searches commands, and objects by name and id, each with the commands that fit its state and its flight."""

    async def discover(self) -> Hits:
        """Offer every command before anything is typed."""
        for command in self._source.offered():
            yield DiscoveryHit(
                Content(command.name), partial(self._ask, Parsed(command, {})), command.name, command.help
            )

    async def search(self, query: str) -> Hits:
        """Offer what matches: commands first, then objects."""
        matcher = self.matcher(query)
        for command in self._source.offered():
            score = max(matcher.match(command.name), matcher.match(command.help) * 0.8)
            if score > 0:
                parsed = Parsed(command, {})
                display = _highlighted(matcher, command.name)
                yield Hit(score, display, partial(self._ask, parsed), command.name, command.help)
        for parsed, text in self._for_rows(query):
            if (score := matcher.match(text)) > 0:
                display = _highlighted(matcher, text)
                yield Hit(score * 0.9, display, partial(self._ask, parsed), text, parsed.command.help)

    @property
    def _source(self) -> Source:
        return cast(Source, self.app)

    def _for_rows(self, query: str) -> Iterator[tuple[Parsed, str]]:
        """Yield the commands on rows whose name or id has a word of the query: fuzzy matching of all is too slow."""
        words = query.casefold().split()
        for kind in self._source.main.kinds.values():
            if kind.in_palette:
                yield from self._for_kind(kind, words)

    def _for_kind(self, kind: Kind, words: list[str]) -> Iterator[tuple[Parsed, str]]:
        commands = [
            (command, target)
            for command in self._source.offered()
            if kind.name in command.on and (target := command.target(kind.name)) and target.required
        ]
        for row in self._source.main.table_of(kind.name).rows.all():
            native, name = kind.value(row, "id"), kind.value(row, "name")
            label = f"{name} {native}".casefold() if name else native
            if any(word in label for word in words):
                for command, target in commands:
                    if fits(command, kind, row):
                        parsed = Parsed(command, {target.name: native}, scope=kind.scope(row))
                        yield parsed, safe(f"{command.name} {name or ''} {native}")

    def _ask(self, parsed: Parsed) -> None:
        self.app.post_message(Asked(parsed))


def _highlighted(matcher: Matcher, text: str) -> Content:
    """Return `text` with the matches highlighted; the matcher's own `highlight` takes names for markup."""
    content = Content(text)
    for offset in matcher.fuzzy_search.match(matcher.query, text)[1]:
        if not text[offset].isspace():
            content = content.stylize(matcher.match_style, offset, offset + 1)
    return content
