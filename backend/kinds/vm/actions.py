"""What `vm boot`, `start`, `stop`, `reboot`, `delete`, `protect` and `unprotect` do."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from backend.commands.common import check_name, label, listed, present, with_row, zone
from backend.commands.lookup import find
from backend.commands.model import Call, Outcome
from backend.commands.production import check_production
from backend.errors import (
    Cancelled,
    CloudmeshError,
    NotFoundError,
    PermissionDeniedError,
    RefusedError,
    UnsureError,
    UntoldError,
)
from backend.format import GONE, Flight, flight_text
from backend.kinds.flavor import FLAVOR
from backend.kinds.image import IMAGE
from backend.kinds.keypair import KEYPAIR
from backend.kinds.model import Row
from backend.kinds.vm import VM
from backend.kinds.vm.face import vms
from backend.kinds.vm.facts import dying_volumes, lost_address, lost_by_stop
from backend.kinds.volume import VOLUME
from backend.log import logger
from backend.providers.protocol import Boot, Item, Provider
from backend.refresh import TARGET, is_over
from backend.text import safe

# --- booting ---------------------------------------------------------------------------------------------------------


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


def came_of_boot(call: Call) -> Outcome | None:
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


# --- starting, stopping, rebooting, deleting -------------------------------------------------------------------------


@dataclass(frozen=True)
class Act:
    """Something that is done to a VM."""

    verb: str
    doing: str
    """As in "web is …"."""
    send: Callable[[Provider, str], str | None]
    """Sends it and returns the VM's new state, None where the cloud does not say it."""
    impossible_in: frozenset[str]
    """The states in which it surely cannot work; in all others, known or not, the cloud decides."""
    heading: frozenset[str] | None
    """The states that tell that it has been done; None: none does."""
    reverse: str = ""
    """The verb that takes it back."""

    def run(self, call: Call) -> Outcome:
        """Do it, unless the VM's present state or what else is under way speaks against it."""
        session = call.session
        provider, item = present(call, VM, call.args["vm"], fresh=self.verb == "delete")
        native, state = str(item["id"]), str(item["state"] or "")
        named = label(item.get("name"), native)
        under_way = self._under_way(call, native, named, state)
        if state in self.impossible_in:
            raise RefusedError(f"{named} is {state}, so there is nothing to {self.verb}; nothing was done.")
        if self.verb == "delete":
            check_production(call, VM, item)
            _check_volumes(call, provider, item)
        losses = self._losses(call, provider, item)
        call.check()
        call.journal.sending(native, before=state, name=item.get("name"), **losses)
        flight = Flight(self.verb, datetime.now(UTC), before=state)
        # Of two keys, two dashboards or two commands at once one alone acts.
        if not session.cache.flights.claim(VM, session.scope, native, flight, under_way):
            raise RefusedError(f"Somebody else acts on {named} at this moment; nothing was done.", "Look at it again.")
        try:
            now = self.send(provider, native)
        except UnsureError:
            raise  # it may be under way
        except (CloudmeshError, Cancelled):
            session.cache.flights.claim(VM, session.scope, native, under_way, flight)
            raise
        # Where it is another flight by now, its listing is newer than this answer.
        return self._done(
            call,
            native,
            named,
            lambda: session.cache.flights.claim(VM, session.scope, native, flight, flight, state=now),
        )

    def came_of(self, call: Call) -> Outcome | None:
        """Look whether it has been done, by the state that the VM is in now."""
        (native,) = call.journal.objects
        cache, scope = call.session.cache, call.session.scope
        try:
            _, item = present(call, VM, native)
        except NotFoundError:
            if self.verb != "delete":
                raise
            return Outcome(f"VM {native} is gone.")
        state, named = item["state"], label(item.get("name"), native)
        if self.heading is None:
            raise UntoldError(f"Nothing tells whether {named} was {_PAST[self.verb]}; it is {safe(str(state))}.")
        under_way = _flight(call, native)
        ours = under_way is None or under_way.action == self.verb
        if state in self.heading:
            begun = under_way or Flight(self.verb, call.journal.at, before=call.journal.request.get("before"))
            flight = None if state == TARGET[self.verb] else begun
            return self._done(
                call,
                native,
                named,
                lambda: ours and cache.flights.claim(VM, scope, native, flight, under_way, state=state),
            )
        if under_way and ours:
            cache.flights.claim(VM, scope, native, None, under_way)
        return None

    def _losses(self, call: Call, provider: Provider, item: Item) -> dict[str, str]:
        """Return what a stop loses, or what a start does not bring back: an address, and sentences about all of it."""
        if self.verb == "stop":
            address = lost_address(provider, item)
            return {"address": address, "lost": lost_by_stop(call, item, address)}
        if self.verb == "start" and (address := _address_before(call, str(item["id"]))):
            return {"lost": f"Its public address {address} of before the stop does not come back: it gets another."}
        return {}

    def _done(self, call: Call, native: str, named: str, write: Callable[[], object]) -> Outcome:
        undo = f"vm {self.reverse} {native}" if self.reverse else ""
        lost = str(call.journal.request.get("lost") or "")
        return with_row(call, VM, native, Outcome(f"{named} is {self.doing}.", undo=undo, lost=lost), write)

    def _under_way(self, call: Call, native: str, named: str, state: str) -> Flight | None:
        """Return the flight that a VM in `state` has, which may be over; raise what it is when it stands in the way."""
        flight = _flight(call, native)
        if flight is None or flight.overdue or is_over(flight, state):
            return flight
        what = flight_text(flight)
        if flight.action == self.verb:
            raise RefusedError(f"{named} is {self.doing} already ({what}); nothing was done.")
        if self.verb == "delete" or flight.action == "reboot":  # EC2 stops and deletes a VM that reboots
            return flight
        raise RefusedError(
            f"{named} cannot be {_PAST[self.verb]} now: its {flight.action} is under way ({what}); nothing was done.",
            "Wait until it has settled.",
        )


def _check_volumes(call: Call, provider: Provider, vm: Item) -> None:
    """Raise UsageError where deleting a VM deletes a volume that is production and not confirmed."""
    if not call.session.settings.production:
        return
    try:
        volumes = dying_volumes(provider, vm)
    except PermissionDeniedError as error:  # their tags are not for these keys; the preview says so
        logger.info("the volumes of %s are not known: %s", vm["id"], error)
        return
    check_production(call, VOLUME, *volumes, goes_with=vm)


def _address_before(call: Call, native: str) -> str:
    """Return the public address that a VM has lost by its last stop, "" where none is known."""
    for entry in call.session.cache.journal.of(call.session.scope, native):
        if entry["command"].startswith("vm stop ") and entry["outcome"] == "done":
            return safe(str(entry["request"].get("address") or ""))
    return ""


def _flight(call: Call, native: str) -> Flight | None:
    rows = call.session.cache.rows.named(VM, call.session.scope, native)
    return VM.value(rows[0], "flight") if rows else None


_PAST = {"start": "started", "stop": "stopped", "reboot": "rebooted", "delete": "deleted"}

_BUSY = frozenset({"pending", "running"})
_RESTING = frozenset({"stopping", "stopped"})

START = Act("start", "starting", lambda provider, vm: vms(provider).start(vm), _BUSY | GONE, _BUSY, reverse="stop")
STOP = Act("stop", "stopping", lambda provider, vm: vms(provider).stop(vm), _RESTING | GONE, _RESTING, reverse="start")
REBOOT = Act("reboot", "rebooting", lambda provider, vm: vms(provider).reboot(vm), GONE | {"stopped"}, None)
DELETE = Act("delete", "being deleted", lambda provider, vm: vms(provider).delete(vm), GONE, GONE)

# --- termination protection ------------------------------------------------------------------------------------------


def protect(on: bool) -> Callable[[Call], Outcome]:
    """Return the function of `vm protect` or `vm unprotect`."""

    def run(call: Call) -> Outcome:
        provider, item = present(call, VM, call.args["vm"])
        native = str(item["id"])
        if vms(provider).protected(native) == on:
            call.session.cache.rows.set_protected(VM, call.session.scope, native, on)
            already = "protected already" if on else "not protected"
            return Outcome(f"{label(item.get('name'), native)} is {already}; nothing was done.", kind=VM)
        call.check()
        call.journal.sending(native)
        vms(provider).protect(native, on)
        return _protected(call, item, on)

    return run


def came_of_protect(on: bool) -> Callable[[Call], Outcome | None]:
    """Return what probes for the outcome of `vm protect` or `vm unprotect`."""

    def look(call: Call) -> Outcome | None:
        provider, item = present(call, VM, call.journal.objects[0])
        return _protected(call, item, on) if vms(provider).protected(item["id"]) == on else None

    return look


def _protected(call: Call, item: Item, on: bool) -> Outcome:
    native = str(item["id"])
    now = "protected from being deleted" if on else "no longer protected from being deleted"
    outcome = Outcome(
        f"{label(item.get('name'), native)} is {now}.", undo=f"vm {'unprotect' if on else 'protect'} {native}"
    )
    return with_row(
        call, VM, native, outcome, lambda: call.session.cache.rows.set_protected(VM, call.session.scope, native, on)
    )
