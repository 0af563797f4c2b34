"""Preview: what deleting volumes would do."""

from collections.abc import Sequence
from datetime import timedelta

from backend.commands.common import absent, label
from backend.commands.lookup import id_of
from backend.commands.model import Context
from backend.commands.preview import Preview, Target
from backend.commands.production import is_production
from backend.format import cell, counted
from backend.kinds.vm import VM
from backend.kinds.volume import VOLUME
from backend.kinds.volume.face import volumes
from backend.kinds.volume.facts import holders, total_size
from backend.providers.protocol import Item
from backend.text import safe

NEW = timedelta(hours=1)
"""A volume that was created empty less than this ago, and that nothing has attached since, holds no data."""


def deleting(context: Context, ids: Sequence[str]) -> Preview:
    """Return what deleting these volumes would do."""
    session = context.session
    natives = [id_of(context, VOLUME, word) for word in ids]
    items = {item["id"]: item for page in volumes(context.connect()).list(natives) for item in page}
    session.cache.rows.put(VOLUME, session.scope, items.values())
    targets = [
        _volume(context, items[native], native) if native in items else absent(context, VOLUME, native)
        for native in dict.fromkeys(natives)
    ]
    acted_on = [items[one.id] for one in targets if not one.left_out]
    total = f"{counted(len(acted_on), 'volume')} ({total_size(acted_on)}) would be deleted, with all that is on them."
    return Preview(tuple(targets), (total,) if acted_on else ())


def _volume(context: Context, item: Item, native: str) -> Target:
    facts = [
        (column.title, cell(item.get(column.name), column))
        for column in VOLUME.columns
        if column.name in ("size", "state", "type", "location", "created")
    ]
    users = ", ".join(_vm_named(context, vm) for vm in holders(item))
    facts.append(("Used by", users or "nothing"))
    production = is_production(item, context.session.settings.production)
    return Target(
        native,
        safe(item.get("name") or native),
        tuple(facts),
        losses=("all that is on it",),
        warnings=("It is tagged as production.",) if production else (),
        left_out=f"it is attached to {users}; detach it first" if users else "",
        production=production,
        final=_may_hold_data(context, item),
    )


def _may_hold_data(context: Context, volume: Item) -> bool:
    """Return whether a volume may hold what a VM has written: all but those that were created empty a moment ago.

    No cloud says what a volume was attached to before; that this dashboard attached it is in the journal.
    """
    session, created = context.session, volume.get("created")
    if volume.get("snapshot") or created is None or session.now() - created >= NEW:
        return True
    entries = session.cache.journal.of(session.scope, volume["id"])
    return any(entry["command"].startswith("volume attach ") for entry in entries)


def _vm_named(context: Context, native: str) -> str:
    rows = context.session.cache.rows.named(VM, context.session.scope, native)
    return label(VM.value(rows[0], "name") if rows else None, safe(native))
