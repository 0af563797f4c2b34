"""`vm boot`."""

from dataclasses import asdict
from datetime import UTC, datetime

from backend.commands.common import check_name, label, listed, with_row
from backend.commands.lookup import find
from backend.commands.model import Context, Result
from backend.errors import NotFoundError, RefusedError, UnknowableError
from backend.kinds.flavor import FLAVOR
from backend.kinds.image import IMAGE
from backend.kinds.keypair import KEYPAIR
from backend.kinds.location import zone
from backend.kinds.model import Row
from backend.kinds.vm import VM
from backend.kinds.vm.face import vms
from backend.lifecycle import Flight, state_of
from backend.providers.protocol import Boot, Item, Provider
from backend.text import safe


def boot(context: Context) -> Result:
    """Boot a VM from an image; nothing is sent before image, flavor and keypair are known to exist."""
    session, args = context.session, context.args
    image, flavor = find(context, IMAGE, args["image"]), find(context, FLAVOR, args["flavor"])
    _check_architecture(image, flavor)
    keypair = find(context, KEYPAIR, args["keypair"]) if args["keypair"] else None
    request = Boot(
        image=IMAGE.value(image, "id"),
        flavor=FLAVOR.value(flavor, "id"),
        token=context.journal.token if context.entry else "",
        location=zone(context, args["location"]),
        keypair=KEYPAIR.value(keypair, "name") if keypair else None,
        name=args["name"],
    )
    context.check()
    provider = context.connect()
    _check_called(provider, args["image"], request.image)
    if args["dry-run"]:
        vms(provider).try_boot(request)
        where = f"in {request.location or session.cloud.region} of cloud {session.cloud.name}"
        return Result(f"You may boot a {request.flavor} VM from {request.image} {where}; nothing was booted.")
    context.journal.sending(**{name: value for name, value in asdict(request).items() if name != "token"})
    return _booted(context, request, vms(provider).boot(request))


def probe(context: Context) -> Result | None:
    """Find the VM of a boot whose answer was lost, by the token of its request.

    Raises UnknowableError where the cloud takes no tokens: to boot again could make a second VM.
    """
    request = _request(context)
    if not context.session.has("request tokens"):
        raise UnknowableError(
            f"{context.session.cloud.provider.title} does not say which request has made a VM.",
            "Look whether it is there before you boot it again.",
        )
    item = vms(context.connect()).booted(request)
    return _booted(context, request, item) if item else None


def boot_again(context: Context) -> Result:
    """Send the same request once more: the cloud knows its token, so that it makes no second VM."""
    request = _request(context)
    return _booted(context, request, vms(context.connect()).boot(request))


def _request(context: Context) -> Boot:
    return Boot(**context.journal.request, token=context.journal.token)


def _booted(context: Context, request: Boot, item: Item) -> Result:
    native = str(item["id"])
    context.journal.objects.append(native)
    flight = Flight("boot", datetime.now(UTC)) if state_of(item) == "pending" else None
    return with_row(
        context,
        VM,
        native,
        Result(f"{label(request.name, native)} is booting from {request.image}."),
        lambda: context.session.cache.rows.put(VM, context.session.scope, [item], made=True, flight=flight),
    )


def _check_called(provider: Provider, word: str, native: str) -> None:
    """Raise unless the image found by a name has that name in the cloud too: the cache may be out of date."""
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
