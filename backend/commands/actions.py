"""What the commands do: each carries out one verb, writes what the cloud then says to the cache, and reports."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from backend import keyfiles
from backend.commands.lookup import find
from backend.commands.model import Call, Outcome
from backend.config import expanded
from backend.errors import CacheError, CloudmeshError, NotFoundError, RefusedError
from backend.format import Flight
from backend.kinds import KINDS, Kind, Row
from backend.providers import Boot, Provider
from backend.refresh import Difference, refresh, refresh_many
from backend.session import cloud_named
from backend.state import remember
from backend.text import safe

# --- listings --------------------------------------------------------------------------------------------------------


def refresh_kind(kind: Kind) -> Callable[[Call], Outcome]:
    """Return the function of `KIND refresh`."""

    def run(call: Call) -> Outcome:
        done = fetch(call, kind)
        return Outcome(message=summary(done), kind=kind, differences=(done,))

    return run


def list_kind(kind: Kind) -> Callable[[Call], Outcome]:
    """Return the function of `KIND list`: from the cache when refresh is off, fetched first when it is on.

    When fetching fails the rows of the cache are listed all the same, and the failure is told.
    """

    def run(call: Call) -> Outcome:
        failure = ""
        if call.session.refresh:
            try:
                fetch(call, kind)
            except CloudmeshError as error:
                failure = str(error)
        rows = tuple(call.session.cache.rows(kind, call.session.scope))
        return Outcome(kind=kind, rows=rows, failure=failure)

    return run


def fetch(call: Call, kind: Kind) -> Difference:
    """Refresh one kind of the current cloud."""
    session = call.session
    provider = session.connect(call.check)
    return refresh(kind, provider, session.cache, session.scope, check=call.check, progress=call.progress)


def refresh_all(call: Call) -> Outcome:
    """Refresh every kind; one that fails leaves the others refreshed."""
    session = call.session
    done = refresh_many(
        list(KINDS.values()), session.connect, session.cache, session.scope, check=call.check, progress=call.progress
    )
    failures = [one.error for one in done if one.error]
    message = "; ".join(summary(one) for one in done if not one.error)
    return Outcome(message, differences=tuple(done), failure=" ".join(failures))


def summary(done: Difference) -> str:
    """Return one line about a refresh: "images: 1,177 (12 new, 3 changed, 1 gone) in 2.1 s"."""
    parts = [
        f"{count:,} {word}"
        for count, word in ((done.added, "new"), (done.changed, "changed"), (done.removed, "gone"))
        if count
    ]
    return f"{KINDS[done.kind].plural}: {done.count:,} ({', '.join(parts) or 'unchanged'}) in {done.seconds:.1f} s"


# --- VMs -------------------------------------------------------------------------------------------------------------


def boot(call: Call) -> Outcome:
    """Boot a VM from an image; nothing is sent to the cloud before image, flavor and keypair are known to exist."""
    session, args = call.session, call.args
    image, flavor = find(call, "image", args["image"]), find(call, "flavor", args["flavor"])
    _check_architecture(image, flavor)
    keypair = find(call, "keypair", args["keypair"]) if args["keypair"] else None
    zone = _zone(call, args["location"])
    request = Boot(
        image=KINDS["image"].value(image, "id"),
        flavor=KINDS["flavor"].value(flavor, "id"),
        token=secrets.token_hex(16),
        location=zone,
        keypair=KINDS["keypair"].value(keypair, "name") if keypair else None,
        name=args["name"],
    )
    call.check()
    item = session.connect(call.check).boot(request)
    call.objects.append(item["id"])

    flight = Flight("boot", datetime.now(UTC))
    return _vm_outcome(
        call,
        item["id"],
        f"{_label(args['name'], item['id'])} is booting from {request.image}.",
        lambda: session.cache.put(KINDS["vm"], session.scope, [item], flight=flight),
    )


def _check_architecture(image: Row, flavor: Row) -> None:
    wanted = KINDS["image"].value(image, "architecture")
    offered = KINDS["flavor"].value(flavor, "architecture")
    if wanted and offered and wanted not in offered.replace(",", " ").split():
        raise RefusedError(
            f"Image {KINDS['image'].value(image, 'id')} is for {wanted}, and flavor "
            f"{KINDS['flavor'].value(flavor, 'id')} has {offered}; nothing was booted.",
            f"Choose a flavor with {wanted}.",
        )


def _zone(call: Call, location: str | None) -> str | None:
    """Return the availability zone that `location` names; None for the cloud's region itself, where EC2 chooses."""
    if not location or location == call.session.cloud.region:
        return None
    return str(KINDS["location"].value(find(call, "location", location), "name"))


def act_on_vm(
    action: str, act: Callable[[Provider, str], str], done: str, allowed: frozenset[str]
) -> Callable[[Call], Outcome]:
    """Return the function of `vm start|stop|reboot|delete`.

    The cloud is asked for the VM's present state first: the cache may be old, and an action that does not fit is
    refused before it is sent.
    """

    def run(call: Call) -> Outcome:
        session, vm = call.session, KINDS["vm"]
        native = vm.value(find(call, "vm", call.args["vm"]), "id")
        provider = session.connect(call.check)
        now = [item for page in provider.vms([native]) for item in page]
        if not now:
            session.cache.remove(vm, session.scope, [native])
            raise NotFoundError(
                f"VM {native} no longer exists in cloud {session.cloud.name}, region {session.cloud.region}."
            )
        session.cache.put(vm, session.scope, now)
        label = _label(now[0].get("name"), native)
        state = now[0].get("state")
        if state not in allowed:
            raise RefusedError(f"{label} is {safe(str(state))}, so there is nothing to {action}; nothing was done.")
        call.check()
        call.objects.append(native)
        began = datetime.now(UTC)
        state = act(provider, native)
        return _vm_outcome(
            call,
            native,
            f"{label} is {done}.",
            lambda: session.cache.set_flight(session.scope, native, Flight(action, began), state),
        )

    return run


def _label(name: str | None, native: str) -> str:
    return f"{safe(name)} ({native})" if name else native


def _vm_outcome(call: Call, native: str, message: str, write: Callable[[], object]) -> Outcome:
    """Return the outcome of what was done to a VM, with its row as it is in the cache after `write`."""
    vm = KINDS["vm"]
    fields: list[tuple[str, object]] = [("id", native)]

    def write_and_read() -> None:
        write()
        for row in call.session.cache.named(vm, call.session.scope, native):
            fields[:] = [(column.name, value) for column, value in zip(vm.columns, row, strict=True)]

    outcome = written(Outcome(message, kind=vm), write_and_read)
    return replace(outcome, fields=tuple(fields))


def written(outcome: Outcome, write: Callable[[], object]) -> Outcome:
    """Write what was done in the cloud to the cache; where that fails, tell both: it was done all the same."""
    try:
        write()
    except CacheError as error:
        return replace(outcome, failure=f"{outcome.message} But the cache does not have it yet: {error}")
    return outcome


# --- keypairs --------------------------------------------------------------------------------------------------------


def get_keypair(call: Call) -> Outcome:
    """Tell a keypair's name, fingerprint and whether its private key is here."""
    kind, session = KINDS["keypair"], call.session
    row = find(call, "keypair", call.args["keypair"])
    path = keyfiles.place(session.home, session.scope, kind.value(row, "name"))
    fields = [(column.name, kind.value(row, column.name)) for column in kind.columns]
    fields.append(("private_key", str(path) if path.exists() else None))
    where = f"its private key is {path}" if path.exists() else "its private key is not here"
    return Outcome(f"Keypair {safe(kind.value(row, 'name'))}: {where}.", kind=kind, fields=tuple(fields))


def create_keypair(call: Call) -> Outcome:
    """Create a keypair and save its private key, once and for its owner's eyes only."""
    kind, session, name = KINDS["keypair"], call.session, call.args["name"]
    path = expanded(call.args["to"]) if call.args["to"] else keyfiles.place(session.home, session.scope, name)
    with keyfiles.reserved(path) as file:
        item, key = session.connect(call.check).create_keypair(name)
        call.objects.append(item["id"])
        file.write(key)
    outcome = Outcome(
        f"Keypair {safe(name)} created; its private key is {path}.",
        kind=kind,
        fields=(("id", item["id"]), ("name", name), ("private_key", str(path))),
    )
    return written(outcome, lambda: session.cache.put(kind, session.scope, [item]))


def delete_keypair(call: Call) -> Outcome:
    """Delete a keypair from the cloud; a private key file stays where it is."""
    kind, session = KINDS["keypair"], call.session
    row = find(call, "keypair", call.args["keypair"])
    name, native = kind.value(row, "name"), kind.value(row, "id")
    call.check()
    call.objects.append(native)
    session.connect(call.check).delete_keypair(name)
    path = keyfiles.place(session.home, session.scope, name)
    kept = f" Its private key stays in {path}." if path.exists() else ""
    outcome = Outcome(f"Keypair {safe(name)} deleted.{kept}", kind=kind)
    return written(outcome, lambda: session.cache.remove(kind, session.scope, [native]))


# --- volumes ---------------------------------------------------------------------------------------------------------


def create_volume(call: Call) -> Outcome:
    """Create a volume in the named zone, else in the default location's, else in the region's first available one."""
    kind, session = KINDS["volume"], call.session
    name, size = call.args["name"], call.args["size"]
    zone = _zone(call, call.args["location"]) or _first_zone(call)
    call.check()
    item = session.connect(call.check).create_volume(name, size, zone)
    call.objects.append(item["id"])
    outcome = Outcome(
        f"Volume {safe(name)} ({item['id']}, {size} GiB) created in {zone}.",
        kind=kind,
        fields=(("id", item["id"]), ("name", name), ("size", size), ("location", zone)),
    )
    return written(outcome, lambda: session.cache.put(kind, session.scope, [item]))


def _first_zone(call: Call) -> str:
    kind, session = KINDS["location"], call.session
    if session.cache.refreshed(kind, session.scope).finished is None:
        fetch(call, kind)
    rows = session.cache.rows(kind, session.scope)
    zones = sorted(kind.value(row, "name") for row in rows if kind.value(row, "state") == "available")
    if not zones:
        raise RefusedError(f"Region {session.cloud.region} has no available zone.", "Give one with --location ZONE.")
    return str(zones[0])


def delete_volume(call: Call) -> Outcome:
    """Delete a volume and all that is on it; the cloud refuses it while the volume is attached."""
    kind, session = KINDS["volume"], call.session
    row = find(call, "volume", call.args["volume"])
    native = kind.value(row, "id")
    call.check()
    call.objects.append(native)
    session.connect(call.check).delete_volume(native)
    outcome = Outcome(f"Volume {_label(kind.value(row, 'name'), native)} deleted.", kind=kind)
    return written(outcome, lambda: session.cache.remove(kind, session.scope, [native]))


# --- settings --------------------------------------------------------------------------------------------------------


def switch_refresh(on: bool) -> Callable[[Call], Outcome]:
    """Return the function of `refresh on` or `refresh off`."""

    def run(call: Call) -> Outcome:
        remember(call.session.settings, call.session.home, refresh=on)
        message = (
            "refresh is on: what is stale is fetched when it is shown or listed."
            if on
            else "refresh is off: the cache is shown until you ask for a refresh."
        )
        return Outcome(message, session=replace(call.session, refresh=on))

    return run


def set_default(call: Call) -> Outcome:
    """Switch to another configured cloud, now and in later runs."""
    cloud = cloud_named(call.session.settings, call.args["cloud"])
    remember(call.session.settings, call.session.home, cloud=cloud.name)
    message = f"The default cloud is {cloud.name} ({cloud.provider}, {cloud.region})."
    return Outcome(message, session=call.session.switched(cloud.name))
