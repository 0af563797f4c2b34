"""`vm protect` and `vm unprotect`: termination protection."""

from collections.abc import Callable

from backend.commands.common import label, present, with_row
from backend.commands.model import Context, Result
from backend.kinds.vm import VM, note_protection
from backend.kinds.vm.face import vms
from backend.providers.protocol import Item


def protect(on: bool) -> Callable[[Context], Result]:
    """Return the function of `vm protect` or `vm unprotect`."""

    def run(context: Context) -> Result:
        provider, item = present(context, VM, context.args["vm"])
        native = str(item["id"])
        if vms(provider).protected(native) == on:
            note_protection(context.session.cache, context.session.scope, native, on)
            already = "protected already" if on else "not protected"
            return Result(f"{label(item.get('name'), native)} is {already}; nothing was done.", kind=VM)
        context.check()
        context.journal.sending(native)
        vms(provider).protect(native, on)
        return _protected(context, item, on)

    return run


def probe(on: bool) -> Callable[[Context], Result | None]:
    """Return what probes for the outcome of `vm protect` or `vm unprotect`."""

    def find_out(context: Context) -> Result | None:
        provider, item = present(context, VM, context.journal.objects[0])
        return _protected(context, item, on) if vms(provider).protected(item["id"]) == on else None

    return find_out


def _protected(context: Context, item: Item, on: bool) -> Result:
    native = str(item["id"])
    now = "protected from being deleted" if on else "no longer protected from being deleted"
    outcome = Result(
        f"{label(item.get('name'), native)} is {now}.", undo=f"vm {'unprotect' if on else 'protect'} {native}"
    )
    return with_row(
        context,
        VM,
        native,
        outcome,
        lambda: note_protection(context.session.cache, context.session.scope, native, on),
    )
