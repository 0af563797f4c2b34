"""The dashboard over a cache full of damaged documents: all valid rows are shown, and nothing crashes."""

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from backend.cache import Cache
from backend.catalog import KINDS
from backend.journal.model import JOURNAL
from backend.kinds.model import Kind, Row, Scope
from tests.damaged import BEYOND, GOOD, ODD, Damage, damages, waiting
from tests.tui.dashboard import TABS, World, copied, driven
from tui.screens.details import DetailsScreen
from tui.screens.journal import JournalScreen

pytestmark = pytest.mark.thorough


def drawn(scope: Scope) -> list[Damage]:
    """Return many damaged documents of every collection, but no records: each kind has only one."""
    found: list[Damage] = []
    collections = (*(kind.plural for kind in KINDS.values()), "journal")

    @settings(max_examples=5, phases=[Phase.generate])
    @given(several=st.lists(damages(scope, ODD | BEYOND, collections), min_size=40, max_size=60))
    def draw(several: list[Damage]) -> None:
        found.extend(several)

    draw()
    return found


def _ids(rows: Iterable[Row], kind: Kind) -> set[str]:
    return {kind.value(row, "id") for row in rows}


async def test_all_that_is_good_is_there_and_can_be_worked_with(world: World, embedded: Cache) -> None:
    there = {name: _ids(world.cache.rows.snapshot(kind, world.scope), kind) for name, kind in TABS.items()}
    world = world.with_cache(copied(world.cache, embedded))
    damaged = drawn(world.scope)
    assert len(damaged) > 150
    embedded.journal.add([waiting(native, world.scope, datetime.now(UTC)) for native in GOOD])
    for one in damaged[::2]:
        one.write(embedded)
    app = world.app()

    def shown() -> bool:
        return all(_ids(user.rows(name), kind) >= there[name] for name, kind in TABS.items())

    def listed() -> bool:
        return all(_ids(user.rows(name), kind) == there[name] for name, kind in TABS.items())

    async with driven(app) as user:
        await user.until(shown)
        for name, kind in TABS.items():
            await user.show(name)
            for _ in kind.columns:  # sorted by each, both ways
                await user.press("s", "S")
            await user.press("home", "down", "end", "up")
        for one in damaged[1::2]:  # while it is followed
            one.write(embedded)
        await user.run("refresh all")
        await user.until(listed, 30)
        await user.show("vm")
        await user.press("home", "enter")
        await user.until(lambda: isinstance(app.screen, DetailsScreen))
        await user.press("escape")
        await user.back()
        await user.press("J")
        await user.until(lambda: isinstance(app.screen, JournalScreen) and app.screen.table.total)
        journal = app.screen
        assert isinstance(journal, JournalScreen)
        await user.until(lambda: _ids(journal.table.rows.all(), JOURNAL) >= set(GOOD))
        for _ in JOURNAL.columns:
            await user.press("s", "S")
        for _ in range(10):
            await user.press("down", "enter")
            await user.until(lambda: isinstance(app.screen, DetailsScreen))
            await user.press("escape")
            await user.until(lambda: app.screen is journal)
        assert "CACHE LOST" not in user.screen
    assert app.return_code == 0
