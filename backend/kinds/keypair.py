"""The keypairs: SSH keys to log in to VMs with."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from backend import keyfiles
from backend.commands.common import absent, label, written
from backend.commands.lookup import find, id_of
from backend.commands.model import Command, Context, Param, Result, one_of
from backend.commands.preview import Preview, Target
from backend.commands.production import check_production, is_production
from backend.config import expanded
from backend.errors import MissingError, NotFoundError, RefusedError, UnknowableError, UnusableError
from backend.format import counted
from backend.journal.entry import here
from backend.kinds.model import TAGS, Column, Kind, id_column, name_column
from backend.kinds.vm.face import vms
from backend.lifecycle import state_of
from backend.providers.protocol import Item, Page, Provider
from backend.providers.registry import is_id
from backend.text import safe


class MissingKeypairError(MissingError):
    """A keypair does not exist; the dashboard offers to create it for a boot."""

    def __init__(self, name: str, message: str, match: str | None) -> None:
        create = f"Create it with: keypair create {shlex.quote(safe(name))}"
        super().__init__("keypair", name, message, f"Did you mean {safe(match)!r}?" if match else create)


KEYPAIR = Kind(
    "keypair",
    "keypairs",
    (
        name_column(28),
        id_column(),
        Column("type", "Type", width=8),
        Column("fingerprint", "Fingerprint", width=59),
        Column("created", "Created", "time", 16),
        TAGS,
    ),
    max_age=30,
    by_row=True,
    empty="No keypairs here. c creates one and saves its private key; r refreshes.",
    aliases=("key", "keys"),
    handle="name",
    tab=4,
    missing=MissingKeypairError,
)


class Keypairs(Protocol):
    """What the commands on keypairs need of a provider. An item has its tags."""

    def list(self, ids: Sequence[str] = ()) -> Iterator[Page]:
        """List all keypairs, or those of `ids`; what no longer exists is absent."""
        ...

    def create(self, name: str) -> tuple[Item, str]:
        """Return the keypair and its private key (PEM), which the cloud never shows again."""
        ...

    def delete(self, name: str, native: str) -> None:
        """Delete a keypair; NotFoundError if the one of that name is not the one of that id."""
        ...


def keypairs(provider: Provider) -> Keypairs:
    """Return the keypairs of a cloud."""
    face: Keypairs = provider.of(KEYPAIR.name)
    return face


def get(context: Context) -> Result:
    """Return a keypair's name, fingerprint and whether its private key is here."""
    row = find(context, KEYPAIR, context.args["keypair"])
    path = keyfiles.path_of(context.session.home, context.session.scope, KEYPAIR.value(row, "name"))
    fields = [(column.name, KEYPAIR.value(row, column.name)) for column in KEYPAIR.columns]
    fields.append(("private_key", str(path) if path.exists() else None))
    where = f"its private key is {path}" if path.exists() else "its private key is not here"
    message = f"Keypair {safe(KEYPAIR.value(row, 'name'))}: {where}."
    return Result(message, kind=KEYPAIR, fields=tuple(fields), shows_fields=True)


def create(context: Context) -> Result:
    """Create a keypair and save its private key, readable by its owner only."""
    session, name = context.session, context.args["name"]
    if is_id(name):
        raise RefusedError(f"{safe(name)} would be read as the id of a keypair, so it is no name for one.")
    if context.args["to"]:
        path, top = expanded(context.args["to"]), None
    else:
        path, top = keyfiles.path_of(session.home, session.scope, name), keyfiles.folder(session.home)
    with keyfiles.reserved(path, top) as file:
        provider = context.connect()
        context.journal.sending(name=name, path=str(path), before=_named(provider, name) is not None)
        item, key = keypairs(provider).create(name)
        context.journal.objects.append(item["id"])
        file.write(key)
    outcome = Result(
        f"Keypair {safe(name)} created; its private key is {path}.",
        kind=KEYPAIR,
        fields=(("id", item["id"]), ("name", name), ("private_key", str(path))),
        shows_fields=True,
    )
    return written(outcome, lambda: session.cache.rows.put(KEYPAIR, session.scope, [item], made=True))


def probe_create(context: Context) -> Result | None:
    """Find out whether a keypair was created; without its private key, which the lost answer had, it is of no use."""
    name, path = context.journal.request["name"], Path(context.journal.request["path"])
    item = _named(context.connect(), name)
    # Reserved by a process of this machine that was killed, it would stand in the way of the next attempt. A relative
    # path, which earlier versions kept, may name somebody else's file here.
    if path.is_absolute() and here(context.journal) and context.journal.vouched:
        keyfiles.give_up(path)
    if item is None or context.journal.request["before"]:
        return None
    context.session.cache.rows.put(KEYPAIR, context.session.scope, [item])
    context.journal.objects.append(item["id"])
    if not path.is_absolute():
        raise UnknowableError(
            f"Keypair {safe(name)} was created, but it is not known whether its private key was saved: it was to be "
            f"saved as {safe(str(path))} in the folder where the command was run.",
            f"Look there. If it is missing, delete the keypair: keypair delete {shlex.quote(safe(name))}.",
        )
    if keyfiles.is_saved(path):
        return Result(f"Keypair {safe(name)} created; its private key is {path}.", kind=KEYPAIR)
    raise UnusableError(
        f"Keypair {safe(name)} was created, but its private key was lost on the way. "
        f"{context.session.cloud.provider.title} never sends it again.",
        f"Delete it and create it again: keypair delete {shlex.quote(safe(name))}.",
    )


def delete(context: Context) -> Result:
    """Delete a keypair from the cloud; a private key file stays where it is."""
    row = find(context, KEYPAIR, context.args["keypair"])
    name, native = KEYPAIR.value(row, "name"), KEYPAIR.value(row, "id")
    provider = context.connect()
    item = _named(provider, name)
    if item is None or item["id"] != native:  # nothing is sent about an object that is not listed
        where = f"cloud {context.session.cloud.name}, region {context.session.cloud.region}"
        raise NotFoundError(
            f"Keypair {label(name, native)} is not listed in {where}; nothing was done.", "Refresh keypairs."
        )
    check_production(context, KEYPAIR, item)
    context.check()
    context.journal.sending(native, name=name)
    keypairs(provider).delete(name, native)
    return _deleted(context, name, native)


def probe_delete(context: Context) -> Result | None:
    """Find out whether a keypair is gone."""
    (native,), name = context.journal.objects, context.journal.request["name"]
    item = _named(context.connect(), name)
    return _deleted(context, name, native) if item is None or item["id"] != native else None


def _deleted(context: Context, name: str, native: str) -> Result:
    session = context.session
    path = keyfiles.path_of(session.home, session.scope, name)
    kept = f" Its private key stays in {path}." if path.exists() else ""
    outcome = Result(f"Keypair {safe(name)} deleted.{kept}", kind=KEYPAIR)
    return written(outcome, lambda: session.cache.rows.remove(KEYPAIR, session.scope, [native]))


def _named(provider: Provider, name: str) -> Item | None:
    return next((item for page in keypairs(provider).list() for item in page if item["name"] == name), None)


def deleting(context: Context, ids: Sequence[str]) -> Preview:
    """Return what deleting these keypairs would do; their private keys still open the VMs that have them."""
    session = context.session
    provider = context.connect()
    items = {str(item["id"]): item for page in keypairs(provider).list() for item in page}
    targets = []
    for native in dict.fromkeys(id_of(context, KEYPAIR, word) for word in ids):
        if native not in items:
            targets.append(absent(context, KEYPAIR, native))
            continue
        item = items[native]
        name = str(item["name"])
        users = [vm for page in vms(provider).list(keypair=name) for vm in page if state_of(vm) != "terminated"]
        users = [vm for vm in users if vm.get("keypair") == name]
        path = keyfiles.path_of(session.home, session.scope, name)
        facts = (
            ("Type", safe(str(item.get("type") or "unknown"))),
            ("Fingerprint", safe(str(item.get("fingerprint") or "unknown"))),
            ("Used by", ", ".join(label(vm.get("name"), vm["id"]) for vm in users) or "no VM"),
            ("Private key", f"stays in {path}" if path.exists() else "not here"),
        )
        production = is_production(item, session.settings.production)
        warnings = []
        if users:
            warnings.append("Its private key can still log in to those VMs, and boots no other.")
        if production:
            warnings.append("It is tagged as production.")
        targets.append(Target(native, safe(name), facts, warnings=tuple(warnings), production=production))
    acted_on = sum(not one.left_out for one in targets)
    return Preview(tuple(targets), (f"{counted(acted_on, 'keypair')} would be deleted.",) if acted_on else ())


COMMANDS: tuple[Command, ...] = (
    Command(
        ("keypair", "get"),
        "Show a keypair and whether its private key is here",
        get,
        params=(one_of(KEYPAIR),),
        key="i",
        on=("keypair",),
        opens=True,
    ),
    Command(
        ("keypair", "create"),
        "Create a keypair and save its private key",
        create,
        params=(
            Param("name", "Name of the new keypair", required=True),
            Param("to", "File for the private key instead of the data directory's", "option", type="path"),
        ),
        effect="changes",
        key="c",
        on=("keypair",),
        probe=probe_create,
    ),
    Command(
        ("keypair", "delete"),
        "Delete a keypair from the cloud",
        delete,
        params=(one_of(KEYPAIR),),
        effect="destroys",
        key="d",
        on=("keypair",),
        preview=deleting,
        probe=probe_delete,
    ),
)
