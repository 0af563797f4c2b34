"""What `volume create`, `delete`, `attach` and `detach` do."""

import shlex
from dataclasses import replace

from backend.commands.common import label, listed, present, with_row, written
from backend.commands.lookup import fetch, find
from backend.commands.model import Call, Outcome
from backend.commands.production import check_production
from backend.errors import Cancelled, CloudError, RefusedError
from backend.kinds.location import LOCATION, zone
from backend.kinds.model import Row
from backend.kinds.vm import VM
from backend.kinds.volume import VOLUME
from backend.kinds.volume.face import volumes
from backend.kinds.volume.facts import attachment, holders
from backend.providers.protocol import Item, Provider
from backend.providers.registry import is_id
from backend.text import safe

# --- creating and deleting -------------------------------------------------------------------------------------------


def create(call: Call) -> Outcome:
    """Create a volume in the named zone, else in the default location's, else in the region's first available one."""
    name, size = call.args["name"], call.args["size"]
    where = zone(call, call.args["location"]) or _first_zone(call)
    call.check()
    provider = call.connect()
    before = [item["id"] for item in _named(provider, name)]
    call.journal.sending(name=name, size=size, location=where, before=before)
    return _created(call, volumes(provider).create(name, size, where, call.journal.token))


def came_of_create(call: Call) -> Outcome | None:
    """Look for a volume like it that was not there before and that no other command has made."""
    name, size, where, before = (call.journal.request[key] for key in ("name", "size", "location", "before"))
    for item in _named(call.connect(), name):
        like = (item["size"], item["location"]) == (size, where) and item["id"] not in before
        if like and not _made_by_another(call, item["id"]):
            return _created(call, item)
    return None


def create_again(call: Call) -> Outcome:
    """Send the same request once more: EC2 knows its token for a day, so that it makes no second volume."""
    name, size, where = (call.journal.request[key] for key in ("name", "size", "location"))
    return _created(call, volumes(call.connect()).create(name, size, where, call.journal.token))


def _made_by_another(call: Call, native: str) -> bool:
    entries = call.session.cache.journal.of(call.session.scope, native)
    return any(
        entry["_id"] != call.journal.token and entry["command"].startswith("volume create ") for entry in entries
    )


def _named(provider: Provider, name: str) -> list[Item]:
    return [item for page in volumes(provider).list() for item in page if item["name"] == name]


def _created(call: Call, item: Item) -> Outcome:
    name, size, where = (call.journal.request[key] for key in ("name", "size", "location"))
    call.journal.objects.append(item["id"])
    outcome = Outcome(
        f"Volume {safe(name)} ({item['id']}, {size} GiB) created in {where}.",
        kind=VOLUME,
        fields=(("id", item["id"]), ("name", name), ("size", size), ("location", where)),
    )
    return written(outcome, lambda: call.session.cache.rows.put(VOLUME, call.session.scope, [item], made=True))


def _first_zone(call: Call) -> str:
    kind, session = LOCATION, call.session
    if session.cache.refreshes.of(kind, session.scope).finished is None:
        fetch(call, kind)
    rows = session.cache.rows.snapshot(kind, session.scope)
    named = sorted((str(kind.value(row, "state")), str(kind.value(row, "name"))) for row in rows)
    # One that is available, else one in a state that is not known to be bad: not every endpoint uses EC2's words.
    zones = [name for state, name in named if state == "available"] or [
        name for state, name in named if state not in ("impaired", "unavailable")
    ]
    if not zones:
        raise RefusedError(f"Region {session.cloud.region} has no available zone.", "Give one with --location ZONE.")
    return zones[0]


def delete(call: Call) -> Outcome:
    """Delete a volume and all that is on it; the cloud refuses it while the volume is attached."""
    provider, volume = present(call, VOLUME, call.args["volume"], fresh=True)
    native = str(volume["id"])
    check_production(call, VOLUME, volume)
    call.check()
    call.journal.sending(native, name=volume.get("name"))
    volumes(provider).delete(native)
    return _deleted(call, native)


def came_of_delete(call: Call) -> Outcome | None:
    """Look whether a volume is gone, or going."""
    (native,) = call.journal.objects
    item = listed(call.connect(), VOLUME, native)
    return _deleted(call, native) if item is None or item["state"] == "deleting" else None


def _deleted(call: Call, native: str) -> Outcome:
    outcome = Outcome(f"Volume {label(call.journal.request.get('name'), native)} deleted.", kind=VOLUME)
    return written(outcome, lambda: call.session.cache.rows.remove(VOLUME, call.session.scope, [native]))


# --- attaching and detaching -----------------------------------------------------------------------------------------

DEVICES = tuple(f"/dev/sd{letter}" for letter in "fghijklmnop")
"""The names that EC2 recommends for data volumes (EC2 User Guide, device names)."""


def attach(call: Call) -> Outcome:
    """Attach a volume to a VM of its zone, as the first free device where none is named."""
    provider, volume = present(call, VOLUME, call.args["volume"])
    _, vm = present(call, VM, call.args["vm"])
    named, holder = label(volume.get("name"), volume["id"]), label(vm.get("name"), vm["id"])
    if held := _hindrance(volume, vm["id"]):
        leaving = attachment(volume, held).get("state") in _LEAVING
        raise RefusedError(
            f"Volume {named} is {'being detached from' if leaving else 'attached to'} {held}; nothing was done.",
            "Wait until it is available." if leaving else "" if held == vm["id"] else "Detach it first.",
        )
    if volume["location"] != vm["location"]:
        raise RefusedError(
            f"Volume {named} is in {volume['location']} and VM {holder} in {vm['location']}; nothing was done.",
            "A volume can only be attached within its zone.",
        )
    device = call.args["device"] or _free_device(provider, vm["id"])
    call.check()
    call.journal.sending(volume["id"], vm["id"], device=device)
    volumes(provider).attach(volume["id"], vm["id"], device)
    return _attached(call, _again(provider, volume), vm["id"], device)


def _hindrance(volume: Item, vm: str) -> str | None:
    """Return the VM that surely keeps a volume from being attached to `vm`, None where the cloud decides.

    A volume that may have several VMs is refused for this one alone.
    """
    vms = holders(volume)
    if volume.get("multi_attach"):
        return vm if vm in vms else None
    return vms[0] if vms else None


def came_of_attach(call: Call) -> Outcome | None:
    """Look whether a volume is attached where it should be."""
    native, vm = call.journal.objects
    _, volume = present(call, VOLUME, native)
    return _attached(call, volume, vm, call.journal.request["device"]) if vm in holders(volume) else None


def _attached(call: Call, volume: Item, vm: str, device: str) -> Outcome:
    named, undo = label(volume.get("name"), volume["id"]), f"volume detach {volume['id']} --vm {vm}"
    outcome = Outcome(f"Volume {named} is attached to {vm} as {safe(device)}.", undo=undo)
    return _moved(call, volume, outcome)


def detach(call: Call) -> Outcome:
    """Detach a volume from the VM that is named, or from its only one; what is mounted should be unmounted first."""
    provider, volume = present(call, VOLUME, call.args["volume"])
    vm = _holder(call, volume)
    device = attachment(volume, vm).get("device")
    call.check()
    call.journal.sending(volume["id"], vm, device=device)
    volumes(provider).detach(volume["id"], vm)
    return _detached(call, _again(provider, volume), vm, device)


def _holder(call: Call, volume: Item) -> str:
    """Return the VM that a volume is to be detached from. Raises RefusedError where there is none, or no single one."""
    named, vms = label(volume.get("name"), volume["id"]), holders(volume)
    if not vms:
        raise RefusedError(f"Volume {named} is not attached; nothing was done.")
    if word := call.args["vm"]:
        vm = word if is_id(word) else str(VM.value(find(call, VM, word), "id"))
        if vm not in vms:
            where = ", ".join(vms)
            raise RefusedError(f"Volume {named} is attached to {where}, not to {safe(vm)}; nothing was done.")
        return vm
    if len(vms) > 1:
        raise RefusedError(
            f"Volume {named} is attached to {len(vms)} VMs: {', '.join(vms)}; nothing was done.",
            "Name the VM to detach it from with --vm VM.",
        )
    return vms[0]


def is_shared(row: Row) -> bool:
    """Return whether a volume is attached to several VMs, as it was listed."""
    return len(VOLUME.value(row, "vm") or ()) > 1


def came_of_detach(call: Call) -> Outcome | None:
    """Look whether a volume is no longer attached where it was."""
    native, vm = call.journal.objects
    _, volume = present(call, VOLUME, native)
    gone = vm not in holders(volume) or attachment(volume, vm).get("state") in _LEAVING
    return _detached(call, volume, vm, call.journal.request["device"]) if gone else None


def _detached(call: Call, volume: Item, vm: str, device: str | None) -> Outcome:
    named, as_device = label(volume.get("name"), volume["id"]), f" --device {shlex.quote(device)}" if device else ""
    undo = f"volume attach {volume['id']} {vm}{as_device}"
    return _moved(call, volume, Outcome(f"Volume {named} is being detached from {vm}.", undo=undo))


def _moved(call: Call, volume: Item, outcome: Outcome) -> Outcome:
    put = replace(outcome, kind=VOLUME)
    return with_row(
        call, VOLUME, volume["id"], put, lambda: call.session.cache.rows.put(VOLUME, call.session.scope, [volume])
    )


_LEAVING = ("detaching", "detached")


def _again(provider: Provider, volume: Item) -> Item:
    """Return a volume as the cloud lists it after it was moved: EC2's answer does not say its state.

    It is as it was before where that cannot be seen now; the next listing says it.
    """
    try:
        return listed(provider, VOLUME, volume["id"]) or volume
    except (CloudError, Cancelled):  # it was done all the same
        return volume


def _free_device(provider: Provider, vm: str) -> str:
    taken = {attachment(item, vm).get("device") for page in volumes(provider).list(vms=[vm]) for item in page}
    for device in DEVICES:
        if device not in taken:
            return device
    raise RefusedError(f"VM {vm} has no free device from {DEVICES[0]} to {DEVICES[-1]}.", "Name one with --device.")
