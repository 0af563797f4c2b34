"""Previews: what deleting or stopping VMs would destroy, and what would stay."""

from collections.abc import Iterable, Sequence

from backend.commands.common import absent, label
from backend.commands.model import Context
from backend.commands.preview import Preview, Target
from backend.commands.production import is_production
from backend.format import counted, duration
from backend.kinds.vm import VM
from backend.kinds.vm.actions import STOP
from backend.kinds.vm.facts import Facts, facts, group_of, is_spot
from backend.kinds.volume.facts import holders, total_size
from backend.lifecycle import GONE, state_of
from backend.providers.protocol import Item
from backend.providers.registry import meaning
from backend.text import safe


def deleting(context: Context, ids: Sequence[str]) -> Preview:
    """Return what deleting these VMs would do. All facts except prices on demand are read from the cloud now."""
    natives, seen = facts(context, ids, protection=True)
    rules = context.session.settings.production
    targets = tuple(
        _deleted(seen, native, rules) if native in seen.items else absent(context, VM, native) for native in natives
    )
    return Preview(targets, tuple(_deleted_totals(seen, targets, rules)), notes=seen.notes)


def _deleted(seen: Facts, native: str, rules: Iterable[str]) -> Target:
    item, protected, addresses = seen.items[native], seen.protected.get(native), seen.elastic(native)
    state, group = str(item.get("state")), group_of(item)
    production = is_production(item, rules)
    deleted = seen.volumes_of([native], die=True)
    in_production = [volume for volume in deleted if is_production(volume, rules)]
    warnings = []
    if group:
        warnings.append(f"Auto Scaling group {safe(group)} would boot another in its place.")
    if request := item.get("spot_request"):
        warnings.append(f"Its spot request {safe(str(request))} boots another in its place if it is persistent.")
    if production:
        warnings.append("It is tagged as production.")
    warnings += [
        f"Volume {label(volume.get('name'), volume['id'])}, which is deleted with it, is tagged as production."
        for volume in in_production
    ]
    left_out = ""
    if state_of(item) in GONE:
        left_out = f"it is {safe(state)} already"
    elif protected:
        left_out = f"it is protected; vm unprotect {native} lifts that"
    store = seen.store(native)
    return Target(
        native,
        safe(item.get("name") or native),
        (
            *_facts(seen, native),
            ("Protected", "unknown" if protected is None else "yes" if protected else "no"),
            ("Elastic IP", "unknown" if seen.addresses is None else ", ".join(map(safe, addresses)) or "none"),
            ("Auto Scaling", safe(group) or "no group"),
        ),
        losses=(
            *(_volume_line(volume, native) for volume in deleted),
            *([store] if store else []),
        ),
        stays=(
            *(_volume_line(one, native) for one in seen.volumes_of([native], die=False)),
            *(f"elastic IP {safe(address)}, billed while nothing uses it" for address in addresses),
        ),
        warnings=tuple(warnings),
        left_out=left_out,
        production=production or bool(in_production),
    )


def _deleted_totals(seen: Facts, targets: Sequence[Target], rules: Iterable[str]) -> Iterable[str]:
    acted_on = [one.id for one in targets if not one.left_out]
    if not acted_on:
        return
    yield f"{counted(len(acted_on), 'VM')}: {_cost(seen, acted_on, 'now')}."
    them = "them" if len(acted_on) > 1 else "it"
    if deleted := seen.volumes_of(acted_on, die=True):
        yield f"{counted(len(deleted), 'volume')} ({total_size(deleted)}) deleted with {them}."
    if kept := seen.volumes_of(acted_on, die=False):
        yield f"{counted(len(kept), 'volume')} ({total_size(kept)}) left by {them}."
    if stores := sum(bool(seen.store(native)) for native in acted_on):
        yield f"{counted(stores, 'instance store')} lost with {them}."
    if addresses := sum(len(seen.elastic(native)) for native in acted_on):
        yield f"{counted(addresses, 'elastic IP')} left, billed while unused."
    if replaced := sum(bool(group_of(seen.items[native])) for native in acted_on):
        yield f"{replaced} would come back: Auto Scaling groups boot others."
    if production := sum(one.production for one in targets if not one.left_out):
        tagged = sum(is_production(seen.items[native], rules) for native in acted_on)
        yield f"{production} tagged as production{', or with a volume that is' if tagged < production else ''}."


def stopping(context: Context, ids: Sequence[str]) -> Preview:
    """Return what stopping these VMs would lose for good, and what would still be billed."""
    natives, seen = facts(context, ids, protection=False)
    targets = tuple(
        _stopped(seen, native) if native in seen.items else absent(context, VM, native) for native in natives
    )
    return Preview(targets, tuple(_stopped_totals(seen, targets)), notes=seen.notes, destroys=False)


def _stopped(seen: Facts, native: str) -> Target:
    item = seen.items[native]
    group, store, address = group_of(item), seen.store(native), seen.lost_address(native)
    volumes = seen.volumes_of([native])
    warnings = []
    if group:
        warnings.append(f"Auto Scaling group {safe(group)} deletes a stopped VM and boots another.")
    if is_spot(item):
        warnings.append("It is a spot VM: it starts again only when there is spot capacity for it.")
    left_out = ""
    if state_of(item) in STOP.impossible_in:
        left_out = f"it is {safe(str(item.get('state')))} already"
    elif item.get("ephemeral_root"):
        left_out = "its root disk is an instance store, and such a VM cannot be stopped"
    return Target(
        native,
        safe(item.get("name") or native),
        _facts(seen, native),
        losses=(
            *([store] if store else []),
            *([f"public address {address} is not elastic: it is lost"] if address else []),
            *(["its public address is lost unless it is elastic"] if address is None else []),
        ),
        stays=(
            *([f"its {_volumes(volumes)}, still billed"] if volumes else []),
            *(f"elastic IP {safe(one)}, still billed" for one in seen.elastic(native)),
        ),
        warnings=tuple(warnings),
        left_out=left_out,
        final=bool(store or group),
    )


def _stopped_totals(seen: Facts, targets: Sequence[Target]) -> Iterable[str]:
    acted_on = [one.id for one in targets if not one.left_out]
    if not acted_on:
        return
    yield f"{counted(len(acted_on), 'VM')}: {_cost(seen, acted_on, 'less')}."
    if volumes := seen.volumes_of(acted_on):
        yield f"{counted(len(volumes), 'volume')} ({total_size(volumes)}) still billed."
    if stores := sum(bool(seen.store(native)) for native in acted_on):
        yield f"{counted(stores, 'instance store')} lost."
    if addresses := sum(bool(seen.lost_address(native)) for native in acted_on):
        yield f"{counted(addresses, 'public address', 'public addresses')} lost: not elastic."
    if replaced := sum(bool(group_of(seen.items[native])) for native in acted_on):
        yield f"{replaced} deleted and replaced by Auto Scaling groups."


def _facts(seen: Facts, native: str) -> tuple[tuple[str, str], ...]:
    item = seen.items[native]
    state, launched, price = safe(str(item.get("state"))), item.get("launched"), seen.price(native)
    source = safe(seen.price_source(native))
    running = f"{price:.4f}{f' ({source})' if source else ''}" if price else "unknown"
    return (
        ("State", state),
        ("Age", duration((seen.now - launched).total_seconds()) if launched else "unknown"),
        ("Location", safe(str(item.get("location") or "unknown"))),
        ("Flavor", safe(str(item.get("flavor") or "unknown"))),
        ("USD/hour", running if seen.is_billed(native) else _unbilled(state, "its")),
    )


def _cost(seen: Facts, acted_on: Sequence[str], when: str) -> str:
    """Return what the compute of these VMs costs; a stopped VM costs none."""
    prices = {native: seen.price(native) for native in acted_on if seen.is_billed(native)}
    known = {native: price for native, price in prices.items() if price}
    sources = "; ".join(dict.fromkeys(safe(source) for native in known if (source := seen.price_source(native))))
    cost = [f"{sum(known.values()):.4f} USD/hour {when}{f' ({sources})' if sources else ''}"] if known else []
    cost += [f"{len(prices) - len(known)} of unknown price"] if len(known) < len(prices) else []
    return ", ".join(cost) or _unbilled("stopped", "its" if len(acted_on) == 1 else "their")


def _unbilled(state: str, its: str) -> str:
    return (
        f"{state}: no compute is billed"
        if meaning(state) in GONE
        else f"{state}: no compute is billed, {its} volumes are"
    )


def _volumes(volumes: Sequence[Item]) -> str:
    return f"{'volume' if len(volumes) == 1 else f'{len(volumes)} volumes'}, {total_size(volumes)}"


def _volume_line(volume: Item, native: str) -> str:
    size = f"{volume['size']} GiB" if volume.get("size") else "unknown size"
    others = [one for one in holders(volume) if one != native]
    also = f", attached to {', '.join(map(safe, others))} too" if others else ""
    return f"volume {label(volume.get('name'), volume['id'])}, {size}{also}"
