"""`vm start`, `stop`, `reboot` and `delete`: one function for all, made from the table of actions."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from backend.commands.common import label, present, with_row
from backend.commands.model import Context, Result
from backend.commands.production import check_production
from backend.errors import (
    Cancelled,
    CloudmeshError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    RefusedError,
    UnknowableError,
)
from backend.format import flight_text
from backend.kinds.vm import VM
from backend.kinds.vm.face import vms
from backend.kinds.vm.facts import dying_volumes, lost_address, lost_by_stop
from backend.kinds.volume import VOLUME
from backend.lifecycle import ACTIONS, Action, Flight, flight_of
from backend.log import logger
from backend.providers.protocol import Item, Provider
from backend.providers.registry import meaning
from backend.text import safe

START, STOP, REBOOT, DELETE = (ACTIONS[verb] for verb in ("start", "stop", "reboot", "delete"))

_SEND: dict[str, Callable[[Provider, str], str | None]] = {
    "start": lambda provider, vm: vms(provider).start(vm),
    "stop": lambda provider, vm: vms(provider).stop(vm),
    "reboot": lambda provider, vm: vms(provider).reboot(vm),
    "delete": lambda provider, vm: vms(provider).delete(vm),
}
"""Sends an action and returns the new state of the VM, None if the cloud does not say it."""


def do(action: Action) -> Callable[[Context], Result]:
    """Return the function of `vm start`, `stop`, `reboot` or `delete`."""

    def run(context: Context) -> Result:
        provider, item = present(context, VM, context.args["vm"], fresh=action is DELETE)
        native, state = str(item["id"]), str(item["state"] or "")
        named = label(item.get("name"), native)
        before = _may_begin(context, action, native, named, state)
        if action is DELETE:
            check_production(context, VM, item)
            _check_volumes(context, provider, item)
        losses = _losses(context, action, provider, item)
        context.check()
        context.journal.sending(native, before=state, name=item.get("name"), **losses)
        flight = Flight(action.verb, datetime.now(UTC), before=state)
        set_flight = partial(context.session.cache.flights.replace, VM, context.session.scope, native)
        # If two keys, dashboards or commands act at once, only one sets its flight.
        if not set_flight(flight, before):
            raise RefusedError(f"Another command is acting on {named}; nothing was done.", "Wait until it has settled.")
        try:
            now = _SEND[action.verb](provider, native)
        except OutcomeUnknownError:
            raise  # it may be under way
        except (CloudmeshError, Cancelled):
            set_flight(before, flight)
            raise
        # If the VM is in another flight by now, that one is newer than this answer.
        return _done(context, action, native, named, lambda: set_flight(flight, flight, state=now))

    return run


def probe(action: Action) -> Callable[[Context], Result | None]:
    """Return what finds out, by the state that the VM is in, whether the action was done."""

    def find_out(context: Context) -> Result | None:
        (native,) = context.journal.objects
        try:
            _, item = present(context, VM, native)
        except NotFoundError:
            if action is not DELETE:
                raise
            return Result(f"VM {native} is gone.")
        state, named = str(item["state"]), label(item.get("name"), native)
        if not action.shown_by:
            raise UnknowableError(f"No state shows whether {named} was {action.past}; it is {safe(state)}.")
        set_flight = partial(context.session.cache.flights.replace, VM, context.session.scope, native)
        found = _flight(context, native)
        ours = found is None or found.action == action.verb
        if meaning(state) in action.shown_by:
            flight = found or Flight(action.verb, context.journal.at, before=context.journal.request.get("before"))
            now = None if meaning(state) == action.to else flight
            return _done(context, action, native, named, lambda: ours and set_flight(now, found, state=state))
        if found and ours:
            set_flight(None, found)
        return None

    return find_out


def _may_begin(context: Context, action: Action, native: str, named: str, state: str) -> Flight | None:
    """Return the flight that the action displaces, None if the VM has none.

    Raises RefusedError if the state of the VM, or an action under way, does not allow it.
    """
    flight = _flight(context, native)
    under_way = flight if flight and not flight.overdue and not flight.is_over(state) else None
    what = flight_text(under_way) if under_way else ""
    if under_way and under_way.action == action.verb:
        raise RefusedError(f"{named} is {action.doing} already ({what}); nothing was done.")
    if under_way and not action.displaces and not _is_displaced(under_way):
        raise RefusedError(
            f"{named} cannot be {action.past} now: its {under_way.action} is under way ({what}); nothing was done.",
            "Wait until it has settled.",
        )
    if meaning(state) in action.impossible_in:
        raise RefusedError(f"{named} is {state}, so there is nothing to {action.verb}; nothing was done.")
    return flight


def _is_displaced(flight: Flight) -> bool:
    known = ACTIONS.get(flight.action)
    return known is not None and known.displaced


def _losses(context: Context, action: Action, provider: Provider, item: Item) -> dict[str, str]:
    """Return what a stop loses, or what a start does not bring back: an address, and sentences about all of it."""
    if action is STOP:
        address = lost_address(provider, item) if context.session.has("elastic addresses") else ""
        return {"address": address, "lost": lost_by_stop(context, item, address)}
    if action is START and (address := _address_before(context, str(item["id"]))):
        return {"lost": f"Its public address {address} of before the stop does not come back: it gets another."}
    return {}


def _done(context: Context, action: Action, native: str, named: str, write: Callable[[], object]) -> Result:
    undo = f"vm {action.reverse} {native}" if action.reverse else ""
    lost = str(context.journal.request.get("lost") or "")
    return with_row(context, VM, native, Result(f"{named} is {action.doing}.", undo=undo, lost=lost), write)


def _check_volumes(context: Context, provider: Provider, vm: Item) -> None:
    """Raise UsageError if deleting a VM deletes a volume that is production and not confirmed."""
    if not context.session.settings.production or not context.session.has("volume"):
        return
    try:
        volumes = dying_volumes(provider, vm)
    except PermissionDeniedError as error:  # their tags are not for these keys; the preview says so
        logger.info("the volumes of %s are not known: %s", vm["id"], error)
        return
    check_production(context, VOLUME, *volumes, goes_with=vm)


def _address_before(context: Context, native: str) -> str:
    """Return the public address that a VM has lost by its last stop, "" if none is known."""
    for entry in context.session.cache.journal.of(context.session.scope, native):
        if entry["command"].startswith("vm stop ") and entry["outcome"] == "done":
            return safe(str(entry["request"].get("address") or ""))
    return ""


def _flight(context: Context, native: str) -> Flight | None:
    rows = context.session.cache.rows.named(VM, context.session.scope, native)
    return flight_of(VM, rows[0]) if rows else None
