"""What the cloud says now about VMs that are to be deleted or stopped, and what they would lose."""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from backend.commands.lookup import id_of
from backend.commands.model import Context
from backend.errors import CacheError, Cancelled, CloudError, NotFoundError
from backend.kinds.flavor import FLAVOR
from backend.kinds.flavor.face import flavors
from backend.kinds.flavor.prices import known_prices, priced, source_of
from backend.kinds.vm import VM, note_protection
from backend.kinds.vm.face import vms
from backend.kinds.volume.face import volumes
from backend.kinds.volume.facts import attachment, holders
from backend.lifecycle import GONE, state_of
from backend.log import logger
from backend.providers.protocol import Item, Provider
from backend.refresh import Progress
from backend.text import safe

_ASKING = 4
"""Threads that ask whether VMs are protected: a request for each VM."""

T = TypeVar("T")


# --- one VM or volume ------------------------------------------------------------------------------------------------


def group_of(vm: Item) -> str:
    """Return the Auto Scaling group that a VM is in, "" for none."""
    return str(vm.get("group") or "")


def is_spot(vm: Item) -> bool:
    """Return whether a VM runs on spare capacity: then it has the price of that."""
    return bool(vm.get("spot") or vm.get("spot_request"))


def lost_address(provider: Provider, vm: Item) -> str:
    """Return the public address that a VM loses when it stops; "" if it has none, or an elastic one."""
    address = str(vm.get("public_ip") or "")
    if not address or vm.get("elastic") is False:
        return address
    try:
        elastic = vms(provider).addresses([vm["id"]]).get(vm["id"], ())
    except CloudError:  # then the address is not mentioned
        return ""
    return "" if address in elastic else address


def lost_by_stop(context: Context, vm: Item, address: str) -> str:
    """Return sentences on what a stop loses for good, such as `address`, and on what is still billed."""
    flavors = _known_flavors(context, {str(vm.get("flavor"))})
    disks = vm.get("volumes") or ()
    said = []
    if address:
        said.append(f"Its public address {safe(address)} is gone: it is not elastic, and a start gives another.")
    if any(one.get("disk") for one in flavors.values()):
        said.append("What was on its instance store is lost.")
    if group := group_of(vm):
        said.append(f"Auto Scaling group {safe(group)} replaces it.")
    if disks:
        said.append("Its volume is still billed." if len(disks) == 1 else f"Its {len(disks)} volumes are still billed.")
    return " ".join(said)


def dies(volume: Item, vm: Item) -> bool:
    """Return whether a volume is deleted with a VM that it is attached to; yes if the cloud does not say."""
    disks: list[dict[str, Any]] = [one for one in vm.get("volumes") or () if one["id"] == volume["id"]]
    for one in (*disks, attachment(volume, vm["id"])):
        if (said := one.get("dies")) is not None:
            return bool(said)
    return True


def dying_volumes(provider: Provider, vm: Item) -> list[Item]:
    """Return the volumes that are deleted with a VM, as the cloud lists them now; not those of other VMs too."""
    attached = (one for page in volumes(provider).list(vms=[vm["id"]]) for one in page)
    return [one for one in attached if set(holders(one)) <= {vm["id"]} and dies(one, vm)]


# --- several VMs -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Facts:
    """What the cloud says about VMs; the mappings are by id."""

    items: Mapping[str, Item]
    volumes: Mapping[str, Sequence[Item]]
    """A volume that is attached to several VMs is listed for each."""
    addresses: Mapping[str, Sequence[str]] | None
    """Elastic IPs; None if they are not known."""
    protected: Mapping[str, bool]
    flavors: Mapping[str, Item]
    """Price on demand, its source, and the size of the instance store, by flavor."""
    spot: Mapping[str, Mapping[str, float]]
    """What a spot VM costs now, by flavor and location."""
    now: datetime
    notes: tuple[str, ...] = ()
    """What is not known, and why."""

    def price(self, native: str) -> float | None:
        """Return what a running VM costs, in USD per hour; None if that is not known."""
        item = self.items[native]
        if item.get("special"):  # prices are those of Linux on shared hardware
            return None
        if is_spot(item):
            return self.spot.get(str(item.get("flavor")), {}).get(str(item.get("location")))
        price: float | None = self._flavor(native).get("price")
        return price

    def price_source(self, native: str) -> str:
        """Return where that price is from: "on demand, 27 Nov 2026"; "" if that is not known."""
        return "spot, now" if is_spot(self.items[native]) else str(self._flavor(native).get("priced") or "")

    def is_billed(self, native: str) -> bool:
        """Return whether compute is billed: none is billed for a VM that is stopped, deleted or on its way there."""
        return state_of(self.items[native]) not in {"stopping", "stopped", *GONE}

    def store(self, native: str) -> str:
        """Return the words for a VM's instance store in a list of losses; "" if there is nothing to lose."""
        if state_of(self.items[native]) == "stopped":
            return ""
        size, flavor = self._flavor(native).get("disk"), safe(str(self.items[native].get("flavor")))
        if size:
            return f"instance store of {flavor}, {size:,} GB, and all that is on it"
        return "its root disk, which is an instance store" if self.items[native].get("ephemeral_root") else ""

    def elastic(self, native: str) -> Sequence[str]:
        """Return the known elastic IPs of a VM."""
        return self.addresses.get(native, ()) if self.addresses else ()

    def lost_address(self, native: str) -> str | None:
        """Return the public address that a stop loses, "" if there is none, None if that is not known."""
        address = str(self.items[native].get("public_ip") or "")
        if address and self.addresses is None and self.items[native].get("elastic") is not False:
            return None
        return "" if address in self.elastic(native) else safe(address)

    def dies(self, volume: Item, native: str) -> bool:
        """Return whether a volume is deleted with a VM; yes if the cloud does not say.

        A volume that is attached to other VMs too stays as long as one of them does, such as a protected VM.
        """
        if not set(holders(volume)) <= {native, *(one for one in self.items if not self.protected.get(one))}:
            return False
        return dies(volume, self.items[native])

    def volumes_of(self, ids: Sequence[str], *, die: bool | None = None) -> list[Item]:
        """Return the volumes of these VMs, each once. With `die`, only those that are deleted with a VM, or are not."""
        found: dict[str, Item] = {}
        dead = {one["id"] for native in ids for one in self.volumes.get(native, ()) if self.dies(one, native)}
        for native in ids:
            found |= {one["id"]: one for one in self.volumes.get(native, ())}
        return [one for one in found.values() if die is None or (one["id"] in dead) == die]

    def _flavor(self, native: str) -> Item:
        return self.flavors.get(str(self.items[native].get("flavor")), {})


def facts(context: Context, words: Sequence[str], *, protection: bool) -> tuple[list[str], Facts]:
    """Return the ids of the VMs that `words` name, and what the cloud says about them now; write them to the cache.

    `protection`: ask whether each VM is protected, with one request for each. If the keys do not allow one of the
    questions, or it fails, a note says so. Raises CloudError if the VMs themselves cannot be listed.
    """
    session = context.session
    natives = list(dict.fromkeys(id_of(context, VM, word) for word in words))
    provider = context.connect()
    items = {item["id"]: item for page in vms(provider).list(natives) for item in page}
    session.cache.rows.put(VM, session.scope, items.values())
    listed = list(items)
    notes: list[str] = []

    def ask(what: str, otherwise: T, asking: Callable[[], T]) -> T:
        try:
            return asking() if listed else otherwise
        except CloudError as error:
            notes.append(f"{what} could not be read: {error}")
        except (Cancelled, CacheError):
            raise
        except Exception as error:  # noqa: BLE001 - an internal error costs one fact, and a note says so
            logger.exception("%s could not be read", what)
            notes.append(f"{what} could not be read: {type(error).__name__}, a bug in cloudmesh-tui.")
        return otherwise

    no_volumes: dict[str, list[Item]] = {}
    no_addresses: Mapping[str, Sequence[str]] | None = None if listed else {}
    unknown: dict[str, bool] = {}
    no_prices: Mapping[str, Mapping[str, float]] = {}
    flavors = _known_flavors(context, {str(item["flavor"]) for item in items.values() if item.get("flavor")})
    return natives, Facts(
        items,
        ask("Volumes", no_volumes, lambda: _attached(provider, listed)) if session.has("volume") else {},
        ask("Elastic IPs", no_addresses, lambda: vms(provider).addresses(listed))
        if session.has("elastic addresses")
        else {},
        ask("Termination protection", unknown, lambda: _protection(context, listed))
        if protection and session.has("termination protection")
        else {},
        ask("Instance stores", flavors, lambda: flavors | _other_flavors(context, provider, items, flavors))
        if session.has("flavor")
        else flavors,
        ask("Spot prices", no_prices, lambda: _spot_prices(provider, items, session.now()))
        if session.has("spot prices")
        else {},
        session.now(),
        tuple(notes),
    )


def _attached(provider: Provider, ids: Sequence[str]) -> dict[str, list[Item]]:
    found: dict[str, list[Item]] = {}
    listed = {item["id"]: item for page in volumes(provider).list(vms=ids) for item in page}
    for volume in listed.values():
        for native in holders(volume):
            found.setdefault(native, []).append(volume)
    return found


def _known_flavors(context: Context, names: set[str]) -> dict[str, Item]:
    """Return price, its source and disk of these flavors, as they were last listed."""
    session = context.session
    found: dict[str, Item] = {}
    for name in names:
        for row in session.cache.rows.named(FLAVOR, session.scope, name):
            document = session.cache.rows.document(FLAVOR, session.scope, FLAVOR.value(row, "id")) or {}
            found[name] = _costs(document)
    return found


def _costs(flavor: Mapping[str, Any]) -> Item:
    return {"price": flavor.get("price"), "disk": flavor.get("disk"), "priced": flavor.get("extra", {}).get("priced")}


def _other_flavors(
    context: Context, provider: Provider, items: Mapping[str, Item], known: Mapping[str, Item]
) -> dict[str, Item]:
    """List the flavors that the cache does not have: an instance store must not be overlooked."""
    names = sorted({str(item["flavor"]) for item in items.values() if item.get("flavor")} - set(known))
    source = source_of(provider)
    prices = known_prices(source, context.session.cache) if source and names else None
    pages = flavors(provider).list(names) if names else ()
    return {item["id"]: _costs(item) for page in pages for item in (priced(page, prices) if prices else page)}


def _spot_prices(provider: Provider, items: Mapping[str, Item], now: datetime) -> Mapping[str, Mapping[str, float]]:
    """Ask what the spot VMs among these cost now; one request for all of them."""
    names = sorted({str(item["flavor"]) for item in items.values() if is_spot(item) and item.get("flavor")})
    return flavors(provider).spot_prices(names, now) if names else {}


def _protection(context: Context, ids: Sequence[str]) -> dict[str, bool]:
    """Ask whether these VMs are protected, several at once; each thread has a connection of its own."""
    session = context.session

    def ask(mine: Sequence[str]) -> dict[str, bool]:
        provider, found = context.connect(), {}
        for native in mine:
            try:
                found[native] = vms(provider).protected(native)
            except NotFoundError:  # it was deleted meanwhile
                continue
            note_protection(session.cache, session.scope, native, found[native])
            done.append(native)
            context.progress(Progress("vm", len(done), 0, len(ids), 0))
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
