"""What `secgroup create` and `delete` do, and the preview of deleting."""

from collections.abc import Mapping, Sequence

from backend.commands.common import absent, label, listed, present, with_row, written
from backend.commands.lookup import id_of
from backend.commands.model import Context, Result
from backend.commands.preview import Preview, Target
from backend.commands.production import check_production, is_production
from backend.errors import Cancelled, CloudError, RefusedError, UnknowableError
from backend.format import counted
from backend.kinds.secgroup import SECGROUP
from backend.kinds.secgroup.face import secgroups
from backend.lifecycle import state_of
from backend.providers.protocol import Item, Provider
from backend.providers.registry import is_id
from backend.text import safe


def create(context: Context) -> Result:
    """Create a security group that lets nothing in."""
    name, network = context.args["name"], context.args["network"]
    if is_id(name):
        raise RefusedError(f"{safe(name)} would be read as the id of a security group, so it is no name for one.")
    provider = context.connect()
    before = [item["id"] for item in _called(provider, name)]
    context.check()
    context.journal.sending(name=name, network=network, before=before)
    return _created(context, provider, secgroups(provider).create(name, context.args["description"], network))


def probe_create(context: Context) -> Result | None:
    """Find the group that a request whose answer was lost has created."""
    sent, provider = context.journal.request, context.connect()
    new = [
        item
        for item in _called(provider, sent["name"])
        if item["id"] not in sent["before"] and sent["network"] in (None, item["network"])
    ]
    if len(new) > 1:
        ids = ", ".join(item["id"] for item in new)
        raise UnknowableError(
            f"{len(new)} security groups {safe(sent['name'])} are new: {ids}.", "Delete what is too much."
        )
    return _created(context, provider, new[0]) if new else None


def _created(context: Context, provider: Provider, item: Item) -> Result:
    native = str(item["id"])
    context.journal.objects.append(native)
    try:
        made = listed(provider, SECGROUP, native) or item  # with its network, and the rules that it begins with
    except (CloudError, Cancelled):  # it was created nevertheless
        made = item
    return with_row(
        context,
        SECGROUP,
        native,
        Result(f"Security group {label(item['name'], native)} created; it lets nothing in yet."),
        lambda: context.session.cache.rows.put(SECGROUP, context.session.scope, [made], made=True),
    )


def _called(provider: Provider, name: str) -> list[Item]:
    return [item for page in secgroups(provider).list(name=name) for item in page if item["name"] == name]


def delete(context: Context) -> Result:
    """Delete a security group; the cloud refuses it while something uses it."""
    provider, group = present(context, SECGROUP, context.args["secgroup"], fresh=True)
    native = str(group["id"])
    if group.get("default"):
        raise RefusedError(f"{label(group['name'], native)} is {_DEFAULT}; nothing was done.")
    check_production(context, SECGROUP, group)
    context.check()
    context.journal.sending(native, name=group["name"])
    secgroups(provider).delete(native)
    return _deleted(context, native)


def probe_delete(context: Context) -> Result | None:
    """Find out whether a security group is gone."""
    (native,) = context.journal.objects
    return _deleted(context, native) if listed(context.connect(), SECGROUP, native) is None else None


def _deleted(context: Context, native: str) -> Result:
    named = label(context.journal.request["name"], native)
    return written(
        Result(f"Security group {named} deleted.", kind=SECGROUP),
        lambda: context.session.cache.rows.remove(SECGROUP, context.session.scope, [native]),
    )


_DEFAULT = "the default group of its network, which cannot be deleted"


def deleting(context: Context, ids: Sequence[str]) -> Preview:
    """Return what deleting these security groups would do."""
    provider = context.connect()
    items = {str(item["id"]): item for page in secgroups(provider).list() for item in page}  # all: rules name groups
    context.session.cache.rows.put(SECGROUP, context.session.scope, items.values())
    targets = []
    for native in dict.fromkeys(id_of(context, SECGROUP, word) for word in ids):
        if native in items:
            targets.append(_target(context, provider, items[native], items))
        else:
            targets.append(absent(context, SECGROUP, native))
    acted_on = sum(not one.left_out for one in targets)
    total = f"{counted(acted_on, 'security group')} would be deleted, with all rules."
    return Preview(tuple(targets), (total,) if acted_on else ())


def _target(context: Context, provider: Provider, group: Item, groups: Mapping[str, Item]) -> Target:
    native = str(group["id"])
    vms = [vm for page in secgroups(provider).vms(native) for vm in page if state_of(vm) != "terminated"]
    users = ", ".join(label(vm.get("name"), vm["id"]) for vm in vms)
    others = [one for one in groups.values() if one["id"] != native]
    referring = [one for one in others if any(rule["peer"] == native for rule in one["rules"])]
    referrers = ", ".join(label(one["name"], one["id"]) for one in referring)
    why = _DEFAULT if group.get("default") else f"it is used by {users}" if users else ""
    if referrers and not why:
        why = f"rules of {referrers} name it; close those first"
    production = is_production(group, context.session.settings.production)
    return Target(
        native,
        safe(str(group["name"] or native)),
        (
            ("Description", safe(str(group.get("description") or "none"))),
            ("Lets in", safe(", ".join(group["ports"])) or "nothing"),
            ("Network", safe(str(group.get("network") or "unknown"))),
            ("Used by", users or "no VM"),
            ("Named by rules of", referrers or "no other group"),
        ),
        warnings=("It is tagged as production.",) if production else (),
        left_out=f"it is {why}" if why is _DEFAULT else why,
        production=production,
    )
