"""What `volume create`, `delete`, `attach` and `detach` do."""

import shlex
from dataclasses import replace

from backend.commands.common import label, listed, present, with_row, written
from backend.commands.lookup import fetch, find
from backend.commands.model import Context, Result
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


def create(context: Context) -> Result:
    """Create a volume in the named zone, else in the default location's, else in the region's first available one."""
    name, size = context.args["name"], context.args["size"]
    where = zone(context, context.args["location"]) or _first_zone(context)
    context.check()
    provider = context.connect()
    before = [item["id"] for item in _named(provider, name)]
    context.journal.sending(name=name, size=size, location=where, before=before)
    return _created(context, volumes(provider).create(name, size, where, context.journal.token))


def probe_create(context: Context) -> Result | None:
    """Find a volume like it that was not there before and that no other command made."""
    name, size, where, before = (context.journal.request[key] for key in ("name", "size", "location", "before"))
    for item in _named(context.connect(), name):
        like = (item["size"], item["location"]) == (size, where) and item["id"] not in before
        if like and not _made_by_another(context, item["id"]):
            return _created(context, item)
    return None


def create_again(context: Context) -> Result:
    """Send the same request once more: the cloud knows its token, so that it makes no second volume."""
    name, size, where = (context.journal.request[key] for key in ("name", "size", "location"))
    return _created(context, volumes(context.connect()).create(name, size, where, context.journal.token))


def _made_by_another(context: Context, native: str) -> bool:
    entries = context.session.cache.journal.of(context.session.scope, native)
    return any(
        entry["_id"] != context.journal.token and entry["command"].startswith("volume create ") for entry in entries
    )


def _named(provider: Provider, name: str) -> list[Item]:
    return [item for page in volumes(provider).list() for item in page if item["name"] == name]


def _created(context: Context, item: Item) -> Result:
    name, size, where = (context.journal.request[key] for key in ("name", "size", "location"))
    context.journal.objects.append(item["id"])
    outcome = Result(
        f"Volume {safe(name)} ({item['id']}, {size} GiB) created in {where}.",
        kind=VOLUME,
        fields=(("id", item["id"]), ("name", name), ("size", size), ("location", where)),
    )
    return written(outcome, lambda: context.session.cache.rows.put(VOLUME, context.session.scope, [item], made=True))


def _first_zone(context: Context) -> str:
    kind, session = LOCATION, context.session
    if session.cache.refreshes.of(kind, session.scope).finished is None:
        fetch(context, kind)
    rows = session.cache.rows.snapshot(kind, session.scope)
    named = sorted((str(kind.value(row, "state")), str(kind.value(row, "name"))) for row in rows)
    # One that is available, else one in a state that is not known to be bad: not every endpoint uses these words.
    zones = [name for state, name in named if state == "available"] or [
        name for state, name in named if state not in ("impaired", "unavailable")
    ]
    if not zones:
        raise RefusedError(f"Region {session.cloud.region} has no available zone.", "Give one with --location ZONE.")
    return zones[0]


def delete(context: Context) -> Result:
    """Delete a volume and all that is on it; the cloud refuses it while the volume is attached."""
    provider, volume = present(context, VOLUME, context.args["volume"], fresh=True)
    native = str(volume["id"])
    check_production(context, VOLUME, volume)
    context.check()
    context.journal.sending(native, name=volume.get("name"))
    volumes(provider).delete(native)
    return _deleted(context, native)


def probe_delete(context: Context) -> Result | None:
    """Find out whether a volume is deleted or being deleted."""
    (native,) = context.journal.objects
    item = listed(context.connect(), VOLUME, native)
    return _deleted(context, native) if item is None or item["state"] == "deleting" else None


def _deleted(context: Context, native: str) -> Result:
    outcome = Result(f"Volume {label(context.journal.request.get('name'), native)} deleted.", kind=VOLUME)
    return written(outcome, lambda: context.session.cache.rows.remove(VOLUME, context.session.scope, [native]))


# --- attaching and detaching -----------------------------------------------------------------------------------------


def attach(context: Context) -> Result:
    """Attach a volume to a VM of its zone, as the first free device unless one is named or the cloud chooses."""
    provider, volume = present(context, VOLUME, context.args["volume"])
    _, vm = present(context, VM, context.args["vm"])
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
    device = context.args["device"] or _free_device(context, provider, vm["id"])
    context.check()
    context.journal.sending(volume["id"], vm["id"], device=device)
    volumes(provider).attach(volume["id"], vm["id"], device)
    return _attached(context, _again(provider, volume), vm["id"], device)


def _hindrance(volume: Item, vm: str) -> str | None:
    """Return the VM that makes attaching a volume to `vm` impossible, None if the cloud decides.

    A volume that may have several VMs is refused for this one alone.
    """
    vms = holders(volume)
    if volume.get("multi_attach"):
        return vm if vm in vms else None
    return vms[0] if vms else None


def probe_attach(context: Context) -> Result | None:
    """Find out whether a volume is attached to its VM."""
    native, vm = context.journal.objects
    _, volume = present(context, VOLUME, native)
    return _attached(context, volume, vm, context.journal.request["device"]) if vm in holders(volume) else None


def _attached(context: Context, volume: Item, vm: str, device: str) -> Result:
    named, undo = label(volume.get("name"), volume["id"]), f"volume detach {volume['id']} --vm {vm}"
    as_device = f" as {safe(device)}" if device else ""
    outcome = Result(f"Volume {named} is attached to {vm}{as_device}.", undo=undo)
    return _moved(context, volume, outcome)


def detach(context: Context) -> Result:
    """Detach a volume from the VM that is named, or from its only one; what is mounted should be unmounted first."""
    provider, volume = present(context, VOLUME, context.args["volume"])
    vm = _holder(context, volume)
    device = attachment(volume, vm).get("device")
    context.check()
    context.journal.sending(volume["id"], vm, device=device)
    volumes(provider).detach(volume["id"], vm)
    return _detached(context, _again(provider, volume), vm, device)


def _holder(context: Context, volume: Item) -> str:
    """Return the VM that a volume is to be detached from. Raises RefusedError if there is none, or no single one."""
    named, vms = label(volume.get("name"), volume["id"]), holders(volume)
    if not vms:
        raise RefusedError(f"Volume {named} is not attached; nothing was done.")
    if word := context.args["vm"]:
        vm = word if is_id(word) else str(VM.value(find(context, VM, word), "id"))
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


def probe_detach(context: Context) -> Result | None:
    """Find out whether a volume is no longer attached to its VM."""
    native, vm = context.journal.objects
    _, volume = present(context, VOLUME, native)
    gone = vm not in holders(volume) or attachment(volume, vm).get("state") in _LEAVING
    return _detached(context, volume, vm, context.journal.request["device"]) if gone else None


def _detached(context: Context, volume: Item, vm: str, device: str | None) -> Result:
    named, as_device = label(volume.get("name"), volume["id"]), f" --device {shlex.quote(device)}" if device else ""
    undo = f"volume attach {volume['id']} {vm}{as_device}"
    return _moved(context, volume, Result(f"Volume {named} is being detached from {vm}.", undo=undo))


def _moved(context: Context, volume: Item, outcome: Result) -> Result:
    put = replace(outcome, kind=VOLUME)
    return with_row(
        context,
        VOLUME,
        volume["id"],
        put,
        lambda: context.session.cache.rows.put(VOLUME, context.session.scope, [volume]),
    )


_LEAVING = ("detaching", "detached")


def _again(provider: Provider, volume: Item) -> Item:
    """Return a volume as the cloud lists it after it was moved: the answer may not have its state.

    It is as it was before where that cannot be seen now; the next listing says it.
    """
    try:
        return listed(provider, VOLUME, volume["id"]) or volume
    except (CloudError, Cancelled):  # it was done nevertheless
        return volume


def _free_device(context: Context, provider: Provider, vm: str) -> str:
    """Return the first device that a VM has free, "" where the cloud chooses one."""
    devices = context.session.cloud.provider.devices
    if not devices:
        return ""
    taken = {attachment(item, vm).get("device") for page in volumes(provider).list(vms=[vm]) for item in page}
    for device in devices:
        if device not in taken:
            return device
    raise RefusedError(f"VM {vm} has no free device from {devices[0]} to {devices[-1]}.", "Name one with --device.")
