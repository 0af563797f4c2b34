"""The command palette, and its entries: every command, and every command for every VM that it fits."""

from collections.abc import Iterator
from functools import partial

from textual.command import CommandList, CommandPalette, DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.fuzzy import Matcher

from backend.catalog import KINDS
from backend.commands.model import Command, Parsed
from backend.commands.run import allowed
from backend.text import safe
from tui.messages import Asked
from tui.screens.steady import Steady
from tui.selection import fits


class Palette(CommandPalette, Steady[None]):  # in this order: textual takes styles from the first
    """textual's own, whose keys may come before it is laid out and after it was left."""

    def _action_command_list(self, action: str) -> None:
        if self.query_one(CommandList).scrollable_content_region or action == "select":
            super()._action_command_list(action)  # else there is no page to move by


class Commands(Provider):
    """Searches COMMANDS, and the VMs by name and id with the commands that fit their state and what is under way."""

    async def discover(self) -> Hits:
        """Offer every command before anything is typed."""
        for command in self._allowed():
            yield DiscoveryHit(
                Content(command.name), partial(self._ask, Parsed(command, {})), command.name, command.help
            )

    async def search(self, query: str) -> Hits:
        """Offer what matches: commands first, then VMs."""
        matcher = self.matcher(query)
        for command in self._allowed():
            score = max(matcher.match(command.name), matcher.match(command.help) * 0.8)
            if score > 0:
                parsed = Parsed(command, {})
                display = _highlighted(matcher, command.name)
                yield Hit(score, display, partial(self._ask, parsed), command.name, command.help)
        for parsed, text in self._for_vms(query):
            if (score := matcher.match(text)) > 0:
                display = _highlighted(matcher, text)
                yield Hit(score * 0.9, display, partial(self._ask, parsed), text, parsed.command.help)

    def _allowed(self) -> list[Command]:
        session = getattr(self.app, "session", None)
        commands = getattr(self.app, "commands", ())
        return [command for command in commands if session is not None and allowed(command, session)]

    def _for_vms(self, query: str) -> Iterator[tuple[Parsed, str]]:
        """Yield the commands for the VMs whose name or id has a word of the query: fuzzy matching all is too slow."""
        kind = KINDS["vm"]
        words = query.casefold().split()
        commands = [
            (command, target)
            for command in self._allowed()
            if "vm" in command.on and (target := command.target("vm")) and target.required
        ]
        for row in self.app.rows("vm"):  # type: ignore[attr-defined]
            native, name = kind.value(row, "id"), kind.value(row, "name")
            label = f"{name} {native}".casefold() if name else native
            if any(word in label for word in words):
                for command, target in commands:
                    if fits(command, kind, row):
                        parsed = Parsed(command, {target.name: native})
                        yield parsed, safe(f"{command.name} {name or ''} {native}")

    def _ask(self, parsed: Parsed) -> None:
        self.app.post_message(Asked(parsed))


def _highlighted(matcher: Matcher, text: str) -> Content:
    """Return `text` with what matched set off; the matcher's own `highlight` takes names for markup."""
    content = Content(text)
    for offset in matcher.fuzzy_search.match(matcher.query, text)[1]:
        if not text[offset].isspace():
            content = content.stylize(matcher.match_style, offset, offset + 1)
    return content
