"""`vm boot`."""

from dataclasses import asdict
from datetime import UTC, datetime

from backend.commands.common import check_name, label, listed, with_row, zone
from backend.commands.lookup import find
from backend.commands.model import Call, Outcome
from backend.errors import (
    NotFoundError,
    RefusedError,
)
from backend.kinds.flavor import FLAVOR
from backend.kinds.image import IMAGE
from backend.kinds.keypair import KEYPAIR
from backend.kinds.model import Row
from backend.kinds.vm import VM
from backend.kinds.vm.face import vms
from backend.lifecycle import Flight
from backend.providers.protocol import Boot, Item, Provider
from backend.text import safe


def boot(call: Call) -> Outcome:
    """Boot a VM from an image; nothing is sent to the cloud before image, flavor and keypair are known to exist."""
    session, args = call.session, call.args
    image, flavor = find(call, IMAGE, args["image"]), find(call, FLAVOR, args["flavor"])
    _check_architecture(image, flavor)
    keypair = find(call, KEYPAIR, args["keypair"]) if args["keypair"] else None
    request = Boot(
        image=IMAGE.value(image, "id"),
        flavor=FLAVOR.value(flavor, "id"),
        token=call.journal.token if call.entry else "",
        location=zone(call, args["location"]),
        keypair=KEYPAIR.value(keypair, "name") if keypair else None,
        name=args["name"],
    )
    call.check()
    provider = call.connect()
    _check_called(provider, args["image"], request.image)
    if args["dry-run"]:
        vms(provider).try_boot(request)
        where = f"in {request.location or session.cloud.region} of cloud {session.cloud.name}"
        return Outcome(f"You may boot a {request.flavor} VM from {request.image} {where}; nothing was booted.")
    call.journal.sending(**{name: value for name, value in asdict(request).items() if name != "token"})
    return _booted(call, request, vms(provider).boot(request))


def probe(call: Call) -> Outcome | None:
    """Find the VM that a boot whose answer was lost has made."""
    request = _request(call)
    item = vms(call.connect()).booted(request)
    return _booted(call, request, item) if item else None


def boot_again(call: Call) -> Outcome:
    """Send the same request once more: EC2 knows its token for a day, so that it makes no second VM."""
    request = _request(call)
    return _booted(call, request, vms(call.connect()).boot(request))


def _request(call: Call) -> Boot:
    return Boot(**call.journal.request, token=call.journal.token)


def _booted(call: Call, request: Boot, item: Item) -> Outcome:
    native = str(item["id"])
    call.journal.objects.append(native)
    flight = Flight("boot", datetime.now(UTC)) if item.get("state") == "pending" else None
    return with_row(
        call,
        VM,
        native,
        Outcome(f"{label(request.name, native)} is booting from {request.image}."),
        lambda: call.session.cache.rows.put(VM, call.session.scope, [item], made=True, flight=flight),
    )


def _check_called(provider: Provider, word: str, native: str) -> None:
    """Raise unless the image that a name has led to is called so by EC2 itself: the cache may say so of another."""
    if word == native:
        return
    image = listed(provider, IMAGE, native)
    if image is None:
        raise NotFoundError(f"Image {safe(word)} ({native}) no longer exists; nothing was booted.", "Refresh images.")
    check_name(IMAGE, word, image)


def _check_architecture(image: Row, flavor: Row) -> None:
    wanted = IMAGE.value(image, "architecture")
    offered = FLAVOR.value(flavor, "architecture")
    if wanted and offered and wanted not in offered.replace(",", " ").split():
        raise RefusedError(
            f"Image {IMAGE.value(image, 'id')} is for {wanted}, and flavor "
            f"{FLAVOR.value(flavor, 'id')} has {offered}; nothing was booted.",
            f"Choose a flavor with {wanted}.",
        )
