"""What `volume create`, `delete`, `attach` and `detach` do."""

import shlex
from dataclasses import replace
from typing import Any

from backend.commands.common import label, listed, may_repeat, present, with_row, written, zone
from backend.commands.listings import fetch
from backend.commands.model import Call, Outcome
from backend.commands.production import check_production
from backend.errors import RefusedError
from backend.kinds import KINDS
from backend.providers import Item, Provider
from backend.text import safe

_VOLUME, _VM = KINDS["volume"], KINDS["vm"]

# --- creating and deleting -------------------------------------------------------------------------------------------


def create(call: Call) -> Outcome:
    """Create a volume in the named zone, else in the default location's, else in the region's first available one."""
    name, size = call.args["name"], call.args["size"]
    where = zone(call, call.args["location"]) or _first_zone(call)
    call.check()
    provider = call.connect()
    before = [item["id"] for item in _named(provider, name)]
    call.journal.sending(name=name, size=size, location=where, before=before)
    return _created(call, provider.create_volume(name, size, where, call.journal.token))


def came_of_create(call: Call) -> Outcome | None:
    """Look for a volume like it that was not there before and that no other command has made; where there is none, ask
    for it once more.

    EC2 knows the token of the first request, so that it makes no second volume. Elsewhere this look comes first.
    """
    entry = call.journal
    name, size, where, before = (entry.request[key] for key in ("name", "size", "location", "before"))
    provider = call.connect()
    for item in _named(provider, name):
        like = (item["size"], item["location"]) == (size, where) and item["id"] not in before
        if like and not _made_by_another(call, item["id"]):
            return _created(call, item)
    if not may_repeat(entry):
        return None
    return _created(call, provider.create_volume(name, size, where, entry.token))


def _made_by_another(call: Call, native: str) -> bool:
    entries = call.session.cache.entries_of(call.session.scope, native)
    return any(
        entry["_id"] != call.journal.token and entry["command"].startswith("volume create ") for entry in entries
    )


def _named(provider: Provider, name: str) -> list[Item]:
    return [item for page in provider.volumes() for item in page if item["name"] == name]


def _created(call: Call, item: Item) -> Outcome:
    name, size, where = (call.journal.request[key] for key in ("name", "size", "location"))
    call.journal.objects.append(item["id"])
    outcome = Outcome(
        f"Volume {safe(name)} ({item['id']}, {size} GiB) created in {where}.",
        kind=_VOLUME,
        fields=(("id", item["id"]), ("name", name), ("size", size), ("location", where)),
    )
    return written(outcome, lambda: call.session.cache.put(_VOLUME, call.session.scope, [item]))


def _first_zone(call: Call) -> str:
    kind, session = KINDS["location"], call.session
    if session.cache.refreshed(kind, session.scope).finished is None:
        fetch(call, kind)
    rows = session.cache.rows(kind, session.scope)
    zones = sorted(kind.value(row, "name") for row in rows if kind.value(row, "state") == "available")
    if not zones:
        raise RefusedError(f"Region {session.cloud.region} has no available zone.", "Give one with --location ZONE.")
    return str(zones[0])


def delete(call: Call) -> Outcome:
    """Delete a volume and all that is on it; the cloud refuses it while the volume is attached."""
    provider, volume = present(call, _VOLUME, call.args["volume"], fresh=True)
    native = str(volume["id"])
    check_production(call, _VOLUME, volume)
    call.check()
    call.journal.sending(native, name=volume.get("name"))
    provider.delete_volume(native)
    return _deleted(call, native)


def came_of_delete(call: Call) -> Outcome | None:
    """Look whether a volume is gone, or going."""
    (native,) = call.journal.objects
    item = listed(call.connect(), _VOLUME, native)
    return _deleted(call, native) if item is None or item["state"] == "deleting" else None


def _deleted(call: Call, native: str) -> Outcome:
    outcome = Outcome(f"Volume {label(call.journal.request.get('name'), native)} deleted.", kind=_VOLUME)
    return written(outcome, lambda: call.session.cache.remove(_VOLUME, call.session.scope, [native]))


# --- attaching and detaching -----------------------------------------------------------------------------------------

DEVICES = tuple(f"/dev/sd{letter}" for letter in "fghijklmnop")
"""The names that EC2 recommends for data volumes (EC2 User Guide, device names)."""


def attach(call: Call) -> Outcome:
    """Attach a volume to a VM of its zone, as the first free device where none is named."""
    provider, volume = present(call, _VOLUME, call.args["volume"])
    _, vm = present(call, _VM, call.args["vm"])
    named, holder = label(volume.get("name"), volume["id"]), label(vm.get("name"), vm["id"])
    if volume.get("vm"):
        held = f"Volume {named} is {'being detached from' if _leaving(volume) else 'attached to'} {volume['vm']}"
        cure = "Wait until it is available." if _leaving(volume) else "Detach it first."
        raise RefusedError(f"{held}; nothing was done.", cure)
    if volume["location"] != vm["location"]:
        raise RefusedError(
            f"Volume {named} is in {volume['location']} and VM {holder} in {vm['location']}; nothing was done.",
            "A volume can only be attached within its zone.",
        )
    device = call.args["device"] or _free_device(provider, vm["id"])
    call.check()
    call.journal.sending(volume["id"], vm["id"], device=device)
    provider.attach(volume["id"], vm["id"], device)
    return _attached(call, volume, vm["id"], device)


def came_of_attach(call: Call) -> Outcome | None:
    """Look whether a volume is attached where it should be."""
    native, vm = call.journal.objects
    _, volume = present(call, _VOLUME, native)
    return _attached(call, volume, vm, call.journal.request["device"]) if volume.get("vm") == vm else None


def _attached(call: Call, volume: Item, vm: str, device: str) -> Outcome:
    named = label(volume.get("name"), volume["id"])
    outcome = Outcome(f"Volume {named} is attached to {vm} as {safe(device)}.", undo=f"volume detach {volume['id']}")
    return _moved(call, volume, outcome, vm)


def detach(call: Call) -> Outcome:
    """Detach a volume; what is mounted from it should be unmounted first."""
    provider, volume = present(call, _VOLUME, call.args["volume"])
    named, vm = label(volume.get("name"), volume["id"]), volume.get("vm")
    if not vm:
        raise RefusedError(f"Volume {named} is not attached; nothing was done.")
    if len(volume["extra"].get("attachmentSet") or []) > 1:
        raise RefusedError(
            f"Volume {named} is attached to several VMs, and which is meant is not said; nothing was done.",
            "Detach it in the AWS console.",
        )
    call.check()
    call.journal.sending(volume["id"], vm, device=_device(volume))
    provider.detach(volume["id"], vm)
    return _detached(call, volume, vm, _device(volume))


def came_of_detach(call: Call) -> Outcome | None:
    """Look whether a volume is no longer attached where it was."""
    native, vm = call.journal.objects
    _, volume = present(call, _VOLUME, native)
    gone = volume.get("vm") != vm or _leaving(volume)
    return _detached(call, volume, vm, call.journal.request["device"]) if gone else None


def _detached(call: Call, volume: Item, vm: str, device: str | None) -> Outcome:
    named, as_device = label(volume.get("name"), volume["id"]), f" --device {shlex.quote(device)}" if device else ""
    undo = f"volume attach {volume['id']} {vm}{as_device}"
    return _moved(call, volume, Outcome(f"Volume {named} is being detached from {vm}.", undo=undo), None)


def _moved(call: Call, volume: Item, outcome: Outcome, vm: str | None) -> Outcome:
    # As it will be when EC2 is done: the next listing says how far it is.
    now = volume | {"vm": vm, "state": "in-use" if vm else "available"}
    put = replace(outcome, kind=_VOLUME)
    return with_row(
        call, _VOLUME, volume["id"], put, lambda: call.session.cache.put(_VOLUME, call.session.scope, [now])
    )


def _leaving(volume: Item) -> bool:
    return _attachment(volume).get("status") in ("detaching", "detached")


def _device(volume: Item) -> str | None:
    return _attachment(volume).get("device")


def _attachment(volume: Item) -> dict[str, Any]:
    """Return what EC2 says of where a volume is attached, which is nothing where it is not."""
    attachments = volume["extra"].get("attachmentSet") or []
    return attachments[0] if attachments and isinstance(attachments[0], dict) else {}


def _free_device(provider: Provider, vm: str) -> str:
    taken = {_device(item) for page in provider.volumes(vms=[vm]) for item in page}
    for device in DEVICES:
        if device not in taken:
            return device
    raise RefusedError(f"VM {vm} has no free device from {DEVICES[0]} to {DEVICES[-1]}.", "Name one with --device.")
