"""Looks what destroying VMs, volumes and keypairs would take along and leave behind."""

import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from backend import keyfiles
from backend.commands.common import attachment, label, not_yet
from backend.commands.lookup import id_of, known
from backend.commands.model import Call
from backend.commands.preview import Preview, Target
from backend.errors import CloudError, NotFoundError
from backend.format import cell, duration
from backend.kinds import KINDS, Kind, Row
from backend.providers import Item, Page
from backend.refresh import Progress
from backend.text import safe

_VM, _VOLUME, _KEYPAIR = KINDS["vm"], KINDS["volume"], KINDS["keypair"]

_ASKING = 4
"""Threads that ask whether VMs are protected: a call for each."""

_GROUP = "aws:autoscaling:groupName"

T = TypeVar("T")


# --- VMs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Seen:
    """What was found out about VMs, by id."""

    items: Mapping[str, Item]
    volumes: Mapping[str, Sequence[Item]]
    addresses: Mapping[str, Sequence[str]]
    protected: Mapping[str, bool]
    prices: Mapping[str, float]
    """By flavor."""
    now: datetime

    def price(self, native: str) -> float | None:
        return self.prices.get(str(self.items[native].get("flavor")))

    def dies(self, volume: Item, vm: str) -> bool:
        """Return whether a volume is deleted with one of its VMs; one of which nothing says so counts as lost."""
        holder = self.items.get(vm, {})
        mapped = [one.get("ebs") for one in _dicts(holder.get("extra", {}).get("blockDeviceMapping"))]
        for one in (*_dicts(mapped), {"volumeId": volume["id"], **attachment(volume, vm)}):
            if one.get("volumeId") == volume["id"] and one.get("deleteOnTermination"):
                return str(one["deleteOnTermination"]).lower() != "false"
        return True


def vms(call: Call, ids: Sequence[str]) -> Preview:
    """Return what deleting these VMs would do; every fact is asked of the cloud now, but for prices."""
    session = call.session
    natives = [id_of(call, _VM, word) for word in ids]
    provider = call.connect()
    items = {item["id"]: item for page in provider.vms(natives) for item in page}
    session.cache.put(_VM, session.scope, items.values())
    there = list(items)
    notes: list[str] = []
    attached: dict[str, list[Item]] = {}
    no_volumes: list[Item] = []
    for volume in _asked(notes, "Volumes", no_volumes, lambda: _flat(provider.volumes(vms=there) if there else ())):
        for vm in volume.get("vm") or ():
            attached.setdefault(vm, []).append(volume)
    no_addresses: dict[str, list[str]] = {}
    unknown: dict[str, bool] = {}
    seen = _Seen(
        items,
        attached,
        _asked(notes, "Elastic IPs", no_addresses, lambda: provider.addresses(there)),
        _asked(notes, "Termination protection", unknown, lambda: _protection(call, there)),
        _prices(call, {str(item.get("flavor")) for item in items.values()}),
        session.now(),
    )
    rules = session.settings.production
    targets = tuple(
        _vm(seen, native, rules) if native in items else _absent(call, _VM, native) for native in dict.fromkeys(natives)
    )
    return Preview(targets, tuple(_vm_totals(seen, targets)), notes=tuple(notes))


def _vm(seen: _Seen, native: str, rules: Iterable[str]) -> Target:
    item = seen.items[native]
    state, launched, price = str(item.get("state")), item.get("launched"), seen.price(native)
    protected, addresses = seen.protected.get(native), seen.addresses.get(native, ())
    tags: Mapping[str, str] = item["extra"].get("tags") or {}
    facts = (
        ("State", safe(state)),
        ("Age", duration((seen.now - launched).total_seconds()) if launched else "unknown"),
        ("Location", safe(str(item.get("location") or "unknown"))),
        ("Flavor", safe(str(item.get("flavor") or "unknown"))),
        ("USD/hour", f"{price:.4f}" if price else "unknown"),
        ("Protected", "unknown" if protected is None else "yes" if protected else "no"),
        ("Elastic IP", ", ".join(map(safe, addresses)) or "none"),
        ("Auto Scaling", safe(tags[_GROUP]) if _GROUP in tags else "no group"),
    )
    production = _is_production(tags, rules)
    warnings = []
    if _GROUP in tags:
        warnings.append(f"Auto Scaling group {safe(tags[_GROUP])} would boot another in its place.")
    if production:
        warnings.append("It is tagged as production.")
    left_out = ""
    if state in ("shutting-down", "terminated"):
        left_out = f"it is {safe(state)} already"
    elif protected:
        left_out = f"it is protected; vm unprotect {native} lifts that"
    volumes = seen.volumes.get(native, ())
    return Target(
        native,
        safe(item.get("name") or native),
        facts,
        losses=tuple(_volume_line(one) for one in volumes if seen.dies(one, native)),
        stays=(
            *(_volume_line(one) for one in volumes if not seen.dies(one, native)),
            *(f"elastic IP {safe(address)}, billed while nothing uses it" for address in addresses),
        ),
        warnings=tuple(warnings),
        left_out=left_out,
        production=production,
    )


def _vm_totals(seen: _Seen, targets: Sequence[Target]) -> Iterable[str]:
    going = [one for one in targets if not one.left_out]
    if not going:
        return
    prices = [seen.price(one.id) for one in going if seen.items[one.id].get("state") != "stopped"]
    known = [price for price in prices if price]
    cost = [f"{sum(known):.4f} USD/hour now"] if known or not prices else []
    cost += [f"{len(prices) - len(known)} of unknown price"] if len(known) < len(prices) else []
    yield f"{_count(len(going), 'VM')}: {', '.join(cost)}."
    volumes: dict[bool, dict[str, Item]] = {True: {}, False: {}}  # by id: several of these VMs may share one
    for one in going:
        for volume in seen.volumes.get(one.id, ()):
            volumes[seen.dies(volume, one.id)][volume["id"]] = volume
    lost = volumes[True]
    for ends, some in (
        ("deleted with", list(lost.values())),
        ("left by", [volume for native, volume in volumes[False].items() if native not in lost]),
    ):
        if some:
            size = sum(volume.get("size") or 0 for volume in some)
            yield f"{_count(len(some), 'volume')} ({size:,} GiB) {ends} {'them' if len(going) > 1 else 'it'}."
    if addresses := sum(len(seen.addresses.get(one.id, ())) for one in going):
        yield f"{_count(addresses, 'elastic IP')} left, billed while unused."
    if back := sum(_GROUP in (seen.items[one.id]["extra"].get("tags") or {}) for one in going):
        yield f"{back} would come back: Auto Scaling groups boot others."
    if production := sum(one.production for one in going):
        yield f"{production} tagged as production."


def _absent(call: Call, kind: Kind, word: str) -> Target:
    """Return what is said of a word by which the cloud lists nothing."""
    rows = known(call, kind, word)
    why = f"{len(rows)} {kind.nouns} share that name" if len(rows) > 1 else "it no longer exists"
    if len(rows) == 1 and not_yet(call.session, kind, word):
        why = "EC2 does not list it yet; try again in a moment"
    name = kind.value(rows[0], "name") if len(rows) == 1 else None
    return Target(word, safe(str(name or word)), left_out=why)


def _flat(pages: Iterable[Page]) -> list[Item]:
    return [item for page in pages for item in page]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _volume_line(volume: Item) -> str:
    size = f"{volume['size']} GiB" if volume.get("size") else "unknown size"
    return f"volume {label(volume.get('name'), volume['id'])}, {size}"


def _dicts(value: Any) -> list[dict[str, Any]]:
    """Return the structures in a list of EC2's; what is none is left out."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _is_production(tags: Mapping[str, str], rules: Iterable[str]) -> bool:
    pairs = [f"{key}={value}".casefold() for key, value in tags.items()]
    return any(fnmatchcase(pair, rule.casefold()) for rule in rules for pair in pairs)


def _prices(call: Call, flavors: Iterable[str]) -> dict[str, float]:
    """Return the price of each flavor of which one is known, as last listed."""
    kind, session = KINDS["flavor"], call.session
    found = {}
    for flavor in flavors:
        for row in session.cache.named(kind, session.scope, flavor):
            if price := kind.value(row, "price"):
                found[flavor] = price
    return found


def _protection(call: Call, ids: Sequence[str]) -> dict[str, bool]:
    """Ask whether these VMs are protected, several at once; each thread has a connection of its own."""
    session = call.session

    def ask(mine: Sequence[str]) -> dict[str, bool]:
        provider, found = call.connect(), {}
        for native in mine:
            try:
                found[native] = provider.protected(native)
            except NotFoundError:  # it is gone since
                continue
            session.cache.set_protected(session.scope, native, found[native])
            done.append(native)
            call.progress(Progress("vm", len(done), 0, len(ids), 0))
        return found

    done: list[str] = []
    found_of: dict[str, bool] = {}
    results: queue.SimpleQueue[dict[str, bool] | BaseException] = queue.SimpleQueue()

    def work(mine: Sequence[str]) -> None:
        try:
            results.put(ask(mine))
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            results.put(error)

    parts = [part for at in range(_ASKING) if (part := ids[at::_ASKING])]
    for part in parts:  # daemons: quitting waits for no socket that says nothing
        threading.Thread(target=work, args=(part,), name="protection", daemon=True).start()
    for _ in parts:
        one = results.get()
        if isinstance(one, BaseException):
            raise one
        found_of |= one
    return found_of


def _asked(notes: list[str], what: str, otherwise: T, ask: Callable[[], T]) -> T:
    """Return what was asked for; where the cloud refuses that, note it and return `otherwise`."""
    try:
        return ask()
    except CloudError as error:
        notes.append(f"{what} could not be looked at: {error}")
        return otherwise


# --- volumes and keypairs --------------------------------------------------------------------------------------------


def volumes(call: Call, ids: Sequence[str]) -> Preview:
    """Return what deleting these volumes would do."""
    session = call.session
    natives = [id_of(call, _VOLUME, word) for word in ids]
    items = {item["id"]: item for page in call.connect().volumes(natives) for item in page}
    session.cache.put(_VOLUME, session.scope, items.values())
    targets = [
        _volume(call, items[native], native) if native in items else _absent(call, _VOLUME, native)
        for native in dict.fromkeys(natives)
    ]
    going = [items[one.id] for one in targets if not one.left_out]
    size = sum(item.get("size") or 0 for item in going)
    total = f"{_count(len(going), 'volume')} ({size:,} GiB) would be deleted, with all that is on them."
    return Preview(tuple(targets), (total,) if going else ())


def _volume(call: Call, item: Item, native: str) -> Target:
    facts = [
        (column.title, cell(item.get(column.name), column))
        for column in _VOLUME.columns
        if column.name in ("size", "state", "type", "location", "created")
    ]
    vms = item.get("vm") or ()
    holder = ", ".join(_name_of(call.session.cache.named(_VM, call.session.scope, vm), vm) for vm in vms)
    facts.append(("Used by", holder or "nothing"))
    return Target(
        native,
        safe(item.get("name") or native),
        tuple(facts),
        losses=("all that is on it",),
        left_out=f"it is attached to {holder}; detach it first" if vms else "",
    )


def _name_of(rows: Sequence[Row], native: str) -> str:
    return label(_VM.value(rows[0], "name") if rows else None, safe(native))


def keypairs(call: Call, ids: Sequence[str]) -> Preview:
    """Return what deleting these keypairs would do: who boots and logs in with them stays as it is."""
    session = call.session
    provider = call.connect()
    items = {str(item["id"]): item for page in provider.keypairs() for item in page}
    targets = []
    for native in dict.fromkeys(id_of(call, _KEYPAIR, word) for word in ids):
        if native not in items:
            targets.append(_absent(call, _KEYPAIR, native))
            continue
        item = items[native]
        name = str(item["name"])
        users = [vm for page in provider.vms(keypair=name) for vm in page if vm.get("state") != "terminated"]
        users = [vm for vm in users if vm.get("keypair") == name]
        path = keyfiles.place(session.home, session.scope, name)
        facts = (
            ("Type", safe(str(item.get("type") or "unknown"))),
            ("Fingerprint", safe(str(item.get("fingerprint") or "unknown"))),
            ("Used by", ", ".join(label(vm.get("name"), vm["id"]) for vm in users) or "no VM"),
            ("Private key", f"stays in {path}" if path.exists() else "not here"),
        )
        warning = "Who holds its private key can still log in to those VMs; nobody can boot another with it."
        targets.append(Target(native, safe(name), facts, warnings=(warning,) if users else ()))
    going = sum(not one.left_out for one in targets)
    return Preview(tuple(targets), (f"{_count(going, 'keypair')} would be deleted.",) if going else ())
