"""`vm protect` and `vm unprotect`: termination protection."""

from collections.abc import Callable

from backend.commands.common import label, present, with_row
from backend.commands.model import Call, Outcome
from backend.kinds.vm import VM
from backend.kinds.vm.face import vms
from backend.providers.protocol import Item


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


def probe(on: bool) -> Callable[[Call], Outcome | None]:
    """Return what probes for the outcome of `vm protect` or `vm unprotect`."""

    def find_out(call: Call) -> Outcome | None:
        provider, item = present(call, VM, call.journal.objects[0])
        return _protected(call, item, on) if vms(provider).protected(item["id"]) == on else None

    return find_out


def _protected(call: Call, item: Item, on: bool) -> Outcome:
    native = str(item["id"])
    now = "protected from being deleted" if on else "no longer protected from being deleted"
    outcome = Outcome(
        f"{label(item.get('name'), native)} is {now}.", undo=f"vm {'unprotect' if on else 'protect'} {native}"
    )
    return with_row(
        call, VM, native, outcome, lambda: call.session.cache.rows.set_protected(VM, call.session.scope, native, on)
    )
