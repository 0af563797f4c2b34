"""Security groups: what is opened and closed is what was said, and nothing else; what is in use stays."""

from dataclasses import replace
from typing import Any

import pytest

from backend.cache import Cache
from backend.cache.documents import flatten
from backend.catalog import KINDS, kind_named
from backend.commands.grammar import parse, split
from backend.commands.model import Context, Result
from backend.commands.run import execute, execute_all
from backend.config import Cloud
from backend.errors import CloudError, NotFoundError, RefusedError, UsageError
from backend.kinds.secgroup import SECGROUP
from backend.kinds.secgroup.groups import deleting
from backend.providers.protocol import Item, Provider
from backend.session import Session
from tests.backend.cloud_support import boot_many, only, outcomes, run, send_raw, sent
from tests.backend.command_support import listed, row
from tests.backend.ec2_faults import listing, refusal
from tests.ec2_proxy import Proxy

OFFICE = "203.0.113.0/24"


def native(outcome: Result) -> str:
    return str(dict(outcome.fields)["id"])


def created(session: Session, name: str = "web", more: str = "") -> str:
    return native(run(session, f"secgroup create '{name}' --description 'for tests' {more}"))


def group(ec2: Provider, word: str) -> Item:
    (found,) = (item for item in listed(ec2.of("secgroup").list()) if word in (item["id"], item["name"]))
    return found


def vpc(cloud: Cloud) -> str:
    """Make a network beside the default one and return its id."""
    return send_raw(cloud, "CreateVpc", {"CidrBlock": "10.9.0.0/16"}).partition("<vpcId>")[2].partition("<")[0]


def preview(session: Session, *words: str) -> Any:
    return deleting(Context(session, {}), words)


# --- the kind --------------------------------------------------------------------------------------------------------


def test_it_has_no_number_key_and_many_names() -> None:
    assert SECGROUP.tab is None
    assert list(KINDS)[-1] == "secgroup"  # behind those with a key
    for word in ("secgroup", "secgroups", "security-groups", "SG", "firewall"):
        assert kind_named(word) is SECGROUP


def test_the_line_of_the_issue(session: Session, ec2: Provider) -> None:
    made = created(session)
    outcome = run(session, "secgroup allow web 22 --from 203.0.113.0/24")
    assert outcome.message == f"Security group web ({made}) lets in tcp 22 from 203.0.113.0/24."
    assert outcome.undo == f"secgroup revoke {made} 22 --from 203.0.113.0/24"
    assert group(ec2, "web")["ports"] == ["tcp 22 from 203.0.113.0/24"]
    shown = row(session, "secgroup", "web")
    assert shown["ports"] == ("tcp 22 from 203.0.113.0/24",)
    assert shown["description"] == "for tests"
    assert shown["network"].startswith("vpc-")
    run(session, outcome.undo)
    assert group(ec2, "web")["ports"] == []
    assert row(session, "secgroup", "web")["ports"] is None


def test_all_rules_are_in_the_details(session: Session, cloud: Cloud) -> None:
    made, other = created(session), created(session, "db")
    rule = {
        "GroupId": made,
        "IpPermissions.1.IpProtocol": "tcp",
        "IpPermissions.1.FromPort": "443",
        "IpPermissions.1.ToPort": "443",
        "IpPermissions.1.IpRanges.1.CidrIp": "0.0.0.0/0",
        "IpPermissions.1.IpRanges.1.Description": "https, for all",
        "IpPermissions.1.Ipv6Ranges.1.CidrIpv6": "2001:db8::/32",
        "IpPermissions.1.PrefixListIds.1.PrefixListId": "pl-12345678",
        "IpPermissions.1.Groups.1.GroupId": other,
    }
    send_raw(cloud, "AuthorizeSecurityGroupIngress", rule)
    run(session, "secgroup refresh")
    document = session.details(SECGROUP, made)
    assert document is not None
    said = dict(flatten(document))
    rules = [value for name, value in said.items() if name.startswith("extra.inbound.")]
    assert rules == [
        "tcp 443 from 0.0.0.0/0 (https, for all)",
        "tcp 443 from 2001:db8::/32",
        "tcp 443 from pl-12345678",
        f"tcp 443 from {other}",
    ]
    assert said["extra.outbound.1"] == "all traffic to 0.0.0.0/0"
    assert not any("ipPermissions" in name for name in said)
    for peer in ("pl-12345678", "2001:db8:0::/32", "db"):  # each can be closed, and opened again
        undo = run(session, f"sg revoke web 443 --from {peer}").undo
        again = run(session, undo)
        run(session, again.undo)
    closed = run(session, "sg revoke web 443 --from 0.0.0.0/0")
    assert closed.lost == "The rule's description is gone: https, for all."
    assert row(session, "secgroup", "web")["ports"] is None


# --- opening and closing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("22 --from 203.0.113.7", "tcp 22 from 203.0.113.7/32"),
        ("22 --from 203.0.113.0/255.255.255.0", "tcp 22 from 203.0.113.0/24"),
        ("8000-8080 --from 203.0.113.0/24 --protocol udp", "udp 8000-8080 from 203.0.113.0/24"),
        ("80-80 --from 203.0.113.0/24", "tcp 80 from 203.0.113.0/24"),
        ("all --from 203.0.113.0/24", "tcp all from 203.0.113.0/24"),
        ("0-65535 --from 203.0.113.0/24", "tcp all from 203.0.113.0/24"),
        ("ALL --from 203.0.113.0/24 --protocol ALL", "all traffic from 203.0.113.0/24"),
        ("all --from 203.0.113.0/24 --protocol icmp", "icmp all from 203.0.113.0/24"),
        ("all --from 2001:DB8::/32 --protocol icmp", "icmpv6 all from 2001:db8::/32"),
        ("22 --from 2001:db8::1", "tcp 22 from 2001:db8::1/128"),
        ("8 --from 203.0.113.0/24 --protocol icmp", "icmp 8 from 203.0.113.0/24"),
        ("3/4 --from 203.0.113.0/24 --protocol icmp", "icmp 3/4 from 203.0.113.0/24"),
        ("8/0 --from 203.0.113.0/24 --protocol 1", "icmp 8/0 from 203.0.113.0/24"),
        ("128 --from 2001:db8::/32 --protocol icmp", "icmpv6 128 from 2001:db8::/32"),
        ("128/0 --from default --protocol icmpv6", "icmpv6 128/0 from {default}"),
        ("all --from 203.0.113.0/24 --protocol 50", "protocol 50 all from 203.0.113.0/24"),
        ("22 --from 203.0.113.0/24 --protocol 006", "tcp 22 from 203.0.113.0/24"),
    ],
)
def test_what_is_opened_is_closed_by_the_same_words(session: Session, ec2: Provider, words: str, rule: str) -> None:
    made = created(session)
    rule = rule.format(default=group(ec2, "default")["id"])
    opened = run(session, f"secgroup allow web {words}")
    assert opened.message == f"Security group web ({made}) lets in {rule}."
    assert group(ec2, "web")["ports"] == [rule]
    again = run(session, f"secgroup allow web {words}")
    assert again.message == f"Security group web ({made}) lets in {rule} already; nothing was done."
    closed = run(session, f"secgroup revoke web {words}")
    assert closed.message == f"Security group web ({made}) no longer has the rule {rule}."
    assert group(ec2, "web")["ports"] == []
    run(session, closed.undo)
    assert group(ec2, "web")["ports"] == [rule]
    run(session, opened.undo)
    assert group(ec2, "web")["ports"] == []


def test_a_group_may_be_let_in(session: Session, ec2: Provider) -> None:
    made, other = created(session), created(session, "my servers")
    run(session, "secgroup allow web 5432 --from 'my servers'")
    run(session, f"secgroup allow web 5432 --from {made}")  # itself
    assert sorted(group(ec2, "web")["ports"]) == sorted(f"tcp 5432 from {one}" for one in (made, other))
    with pytest.raises(NotFoundError, match="There is no security group 'nobody'"):
        run(session, "secgroup allow web 5432 --from nobody")


@pytest.mark.parametrize("peer", ["0.0.0.0/0", "::/0"])
def test_the_whole_internet_is_called_so(session: Session, peer: str) -> None:
    created(session)
    assert run(session, f"sg allow web 22 --from {peer}").message.endswith(". The whole internet may connect.")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("22", "secgroup allow needs SOURCE."),
        ("--from 0.0.0.0/0", "secgroup allow needs PORT."),
        ("22 --from 203.0.113.7/24", "Write 203.0.113.0/24 for the network, or 203.0.113.7 for the address alone."),
        ("22 --from 2001:db8::1/64", "Write 2001:db8::/64 for the network, or 2001:db8::1 for the address alone."),
        ("22 --from 203.0.113.300", "'203.0.113.300' is no address and no network."),
        ("22 --from 203.0.113.0/33", "'203.0.113.0/33' is no address and no network."),
        ("22 --from 10.0/8", "'10.0/8' is no address and no network."),
        ("22 --from fe80::1%eth0", "Leave out the % and what follows."),
        ("65536 --from 10.0.0.0/8", "'65536' is no port."),
        ("80-22 --from 10.0.0.0/8", "'80-22' is no port."),
        ("-1 --from 10.0.0.0/8", "'-1' is no port."),
        ("ssh --from 10.0.0.0/8", "'ssh' is no port."),
        ("٢٢ --from 10.0.0.0/8", "is no port."),
        ("22, --from 10.0.0.0/8", "'22,' is no port."),
        ("22 --from 10.0.0.0/8 --protocol sctp", "Known: tcp, udp, icmp, icmpv6, all and numbers such as 50."),
        ("all --from 10.0.0.0/8 --protocol 256", "'256' is no protocol of a rule."),
        ("all --from 10.0.0.0/8 --protocol -1", "'-1' is no protocol of a rule."),
        ("0-65535 --from 10.0.0.0/8 --protocol 50", "A rule for 50 has no port 0-65535."),
        ("22 --from 10.0.0.0/8 --protocol all", "A rule for all has no port 22. Write all in place of the port."),
        ("256 --from 10.0.0.0/8 --protocol icmp", "'256' is no type of icmp."),
        ("8/-1 --from 10.0.0.0/8 --protocol icmp", "Write a type such as 8, a type and its code as 3/4, or all."),
        ("8-9 --from 10.0.0.0/8 --protocol icmpv6", "'8-9' is no type of icmpv6."),
    ],
)
@pytest.mark.parametrize("verb", ["allow", "revoke"])
def test_words_that_open_and_close_nothing(session: Session, ec2: Provider, verb: str, words: str, said: str) -> None:
    created(session)
    parsed = parse(split(f"secgroup {verb} web {words}"))
    for attempt in (
        lambda: parsed.bind(session),  # as the dialog does
        lambda: execute(parsed, session),
        lambda: execute_all([parse(split("secgroup tag web a=b")), parsed], session),
    ):
        with pytest.raises(UsageError) as caught:
            attempt()
        assert said.replace("allow", verb) in str(caught.value)
    assert group(ec2, "web")["ports"] == []
    assert [line.split()[1] for line, _ in outcomes(session.cache)] == ["create"]  # none of them is in the journal


RULES = (
    ({"IpProtocol": "icmp", "FromPort": "8", "ToPort": "-1"}, "icmp 8", "8 --protocol icmp"),
    ({"IpProtocol": "icmp", "FromPort": "3", "ToPort": "4"}, "icmp 3/4", "3/4 --protocol icmp"),
    ({"IpProtocol": "icmp", "FromPort": "-1", "ToPort": "-1"}, "icmp all", "all --protocol icmp"),
    ({"IpProtocol": "icmpv6", "FromPort": "-1", "ToPort": "-1"}, "icmpv6 all", "all --protocol icmpv6"),
    ({"IpProtocol": "-1"}, "all traffic", "all --protocol all"),
    ({"IpProtocol": "50", "FromPort": "0", "ToPort": "65535"}, "protocol 50 all", "all --protocol 50"),
    ({"IpProtocol": "tcp", "FromPort": "0", "ToPort": "65535"}, "tcp all", "all --protocol tcp"),
)
"""A rule in EC2's notation, as it is listed, and the words that close it."""


@pytest.mark.parametrize("rule", RULES, ids=[said for _, said, _ in RULES])
@pytest.mark.parametrize("peer", ["a network", "a group"])
def test_a_rule_that_somebody_else_made_is_closed_by_the_words_that_are_listed(
    session: Session, cloud: Cloud, ec2: Provider, rule: tuple[dict[str, str], str, str], peer: str
) -> None:
    raw, said, words = rule
    made = created(session)
    source = OFFICE if peer == "a network" else group(ec2, "default")["id"]
    field = "IpRanges.1.CidrIp" if peer == "a network" else "Groups.1.GroupId"
    params = {f"IpPermissions.1.{name}": value for name, value in {**raw, field: source}.items()}
    send_raw(cloud, "AuthorizeSecurityGroupIngress", {"GroupId": made, **params})
    run(session, "secgroup refresh")
    assert row(session, "secgroup", "web")["ports"] == (f"{said} from {source}",)
    closed = run(session, f"secgroup revoke web {words} --from {source}")
    assert row(session, "secgroup", "web")["ports"] is None
    assert group(ec2, "web")["ports"] == []
    run(session, closed.undo)
    assert group(ec2, "web")["ports"] == [f"{said} from {source}"]


def test_a_type_of_icmp_has_all_its_codes(session: Session) -> None:
    created(session)
    run(session, f"sg allow web 8 --from {OFFICE} --protocol icmp")
    outcome = run(session, f"sg revoke web 8/0 --from {OFFICE} --protocol icmp")
    assert outcome.message.endswith(f"It is open by another rule: icmp 8 from {OFFICE}.")


def test_what_is_not_open_says_so(both: tuple[Session, Proxy]) -> None:
    session, proxy = both
    made = created(session)
    run(session, f"sg allow web 20-25 --from {OFFICE}")
    run(session, f"sg allow web 22 --from {OFFICE} --protocol udp")
    before = sent(proxy)
    outcome = run(session, f"sg revoke web 22 --from {OFFICE}")
    assert outcome.message == (
        f"Security group web ({made}) has no rule tcp 22 from {OFFICE}; nothing was done. "
        f"It is open by another rule: tcp 20-25 from {OFFICE}."
    )
    assert run(session, f"sg revoke web 26 --from {OFFICE}").message.endswith("; nothing was done.")
    assert run(session, "sg revoke web 22 --from 10.0.0.0/8").message.endswith("; nothing was done.")
    assert sent(proxy) == before


# --- names -----------------------------------------------------------------------------------------------------------


def test_one_name_in_two_networks(session: Session, cloud: Cloud, ec2: Provider) -> None:
    first, second = created(session), created(session, more=f"--network {vpc(cloud)}")
    for line in ("secgroup delete web", "secgroup allow web 22 --from 10.0.0.0/8"):
        with pytest.raises(RefusedError) as caught:
            run(session, line)
        assert f"2 security groups share the name 'web': {', '.join(sorted((first, second)))}." in str(caught.value)
    run(session, f"secgroup allow {second} 22 --from 10.0.0.0/8")
    assert (group(ec2, first)["ports"], group(ec2, second)["ports"]) == ([], ["tcp 22 from 10.0.0.0/8"])
    assert only(preview(session, "web")).left_out == "2 security groups share that name"


def test_a_name_that_looks_like_an_id(session: Session, ec2: Provider) -> None:
    for name in ("sg-12345678", "i-0123456789abcdef0"):
        with pytest.raises(RefusedError, match="would be read as the id"):
            created(session, name)
    assert [item["name"] for item in listed(ec2.of("secgroup").list())] == ["default"]


def test_a_name_that_is_taken(session: Session) -> None:
    created(session)
    with pytest.raises(CloudError, match="the name is taken"):
        created(session)
    assert [outcome for _, outcome in outcomes(session.cache)] == ["done", "failed"]


def test_a_description_is_needed(session: Session) -> None:
    with pytest.raises(UsageError, match="secgroup create needs TEXT"):
        run(session, "secgroup create web")


def test_the_tag_name_is_not_the_name(session: Session, ec2: Provider) -> None:
    made = created(session, "two words")
    run(session, "secgroup tag 'two words' Name=other")
    shown = row(session, "secgroup", made)
    assert (shown["name"], shown["tags"]) == ("two words", (("Name", "other"),))
    run(session, f"secgroup untag {made} Name")
    assert (row(session, "secgroup", made)["name"], group(ec2, made)["tags"]) == ("two words", {})


# --- deleting --------------------------------------------------------------------------------------------------------


def test_deleting(session: Session, ec2: Provider) -> None:
    made = created(session)
    seen = preview(session, "web")
    target = only(seen)
    assert (target.id, target.name, target.left_out) == (made, "web", "")
    assert dict(target.facts)["Lets in"] == "nothing"
    assert seen.totals == ("1 security group would be deleted, with all rules.",)
    assert run(session, "secgroup delete web").message == f"Security group web ({made}) deleted."
    assert [item["name"] for item in listed(ec2.of("secgroup").list())] == ["default"]
    with pytest.raises(NotFoundError, match="There is no security group 'web'"):
        run(session, "secgroup delete web")


def test_what_cannot_be_deleted_is_left_out(session: Session, cloud: Cloud, ec2: Provider) -> None:
    used, named, naming = created(session, "used"), created(session, "named"), created(session, "naming")
    (vm,) = boot_many(cloud, 1, **{"SecurityGroupId.1": used})
    run(session, "secgroup allow naming 22 --from named")
    run(session, "secgroup allow named 22 --from named")  # its own rules do not keep it
    default = group(ec2, "default")["id"]
    seen = preview(session, default, used, named, naming, "sg-00000000")
    assert {one.id: one.left_out for one in seen.targets} == {
        default: "it is the default group of its network, which cannot be deleted",
        used: f"it is used by {vm}",
        named: f"rules of naming ({naming}) name it; close those first",
        naming: "",
        "sg-00000000": "it no longer exists",
    }
    assert seen.totals == ("1 security group would be deleted, with all rules.",)
    with pytest.raises(RefusedError, match="which cannot be deleted; nothing was done"):
        run(session, "secgroup delete default")
    ec2.of("vm").delete(vm)
    assert preview(session, used).targets[0].left_out == ""


def test_production_is_deleted_only_when_it_is_named(session: Session, ec2: Provider) -> None:
    created(session)
    run(session, "secgroup tag web env=production")
    assert only(preview(session, "web")).production
    with pytest.raises(UsageError, match=r"is tagged as production \(env=production\)"):
        run(session, "secgroup delete web")
    execute(replace(parse(split("secgroup delete web")), production=frozenset({"web"})), session)
    assert [item["name"] for item in listed(ec2.of("secgroup").list())] == ["default"]


# --- what EC2 says ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "line", "code", "said"),
    [
        ("Authorize", "allow web 22 --from 10.0.0.0/8", "InvalidPermission.Duplicate", "has that rule already"),
        (
            "Authorize",
            "allow web 22 --from 10.0.0.0/8",
            "RulesPerSecurityGroupLimitExceeded",
            "as many rules as it may",
        ),
        ("Delete", "delete web", "DependencyViolation", "something still uses it"),
        ("Delete", "delete web", "InvalidGroup.InUse", "something still uses it"),
        ("Delete", "delete web", "CannotDelete", "never deletes the default group"),
        ("Create", "create x --description x", "VPCIdNotSpecified", "Name one with --network VPC."),
        ("Create", "create x --description x", "InvalidGroup.Reserved", "keeps that name for itself"),
        ("Create", "create x --description x", "SecurityGroupLimitExceeded", "a limit of the account is reached"),
    ],
)
def test_refusals_have_a_sentence(both: tuple[Session, Proxy], action: str, line: str, code: str, said: str) -> None:
    session, proxy = both
    created(session)
    ingress = "Ingress" if action == "Authorize" else ""
    proxy.answers[f"{action}SecurityGroup{ingress}"] = refusal(400, code, "Words of EC2.")
    with pytest.raises(CloudError) as caught:
        run(session, f"secgroup {line}")
    assert said in str(caught.value)
    assert "Words of EC2" in str(caught.value)


def test_a_rule_that_ec2_does_not_know(both: tuple[Session, Proxy]) -> None:
    """Outside a default VPC that is no error of EC2's, but an answer that names the rule."""
    session, proxy = both
    created(session)
    run(session, "sg allow web 22 --from 10.0.0.0/8")
    proxy.answers["RevokeSecurityGroupIngress"] = listing(
        "RevokeSecurityGroupIngress", "unknownIpPermissionSet", ["<ipProtocol>tcp</ipProtocol>"]
    )
    with pytest.raises(CloudError, match="has no such rule"):
        run(session, "sg revoke web 22 --from 10.0.0.0/8")


def test_a_group_of_another_account_is_named_with_its_account(both: tuple[Session, Proxy]) -> None:
    session, proxy = both
    peers = "".join(
        f"<item><userId>{account}</userId><groupId>sg-{digit * 8}</groupId></item>"
        for account, digit in (("111122223333", "1"), ("999988887777", "2"))
    )
    proxy.answers["DescribeSecurityGroups"] = listing(
        "DescribeSecurityGroups",
        "securityGroupInfo",
        [
            "<ownerId>111122223333</ownerId><groupId>sg-00000000</groupId><groupName>web</groupName><ipPermissions>"
            "<item><ipProtocol>tcp</ipProtocol><fromPort>22</fromPort><toPort>22</toPort>"
            f"<groups>{peers}</groups></item></ipPermissions>"
        ],
    )
    for action in ("Revoke", "Authorize"):
        name = f"{action}SecurityGroupIngress"
        proxy.answers[name] = listing(name, "none", [])
    there = "999988887777/sg-22222222"
    closed = run(session, f"secgroup revoke web 22 --from {there}")
    assert row(session, "secgroup", "web")["ports"] == ("tcp 22 from sg-11111111",)
    assert closed.undo == f"secgroup allow sg-00000000 22 --from {there}"
    run(session, "secgroup allow web 80 --from 999988887777/sg-33333333")
    said = [call.params for call in proxy.calls if call.action.endswith("SecurityGroupIngress")]
    for params, group in zip(said, ("sg-22222222", "sg-33333333"), strict=True):
        assert params["IpPermissions.1.Groups.1.UserId"] == "999988887777"
        assert params["IpPermissions.1.Groups.1.GroupId"] == group


ODD = (
    "<groupId>sg-1</groupId><groupName>a</groupName><ipPermissions>"
    "<item/><item>text</item><item><ipProtocol>tcp</ipProtocol><fromPort>x</fromPort><ipRanges>text</ipRanges></item>"
    "<item><ipProtocol>50</ipProtocol><ipRanges><item><cidrIp>10.0.0.0/8</cidrIp></item><item/></ipRanges></item>"
    "<item><ipProtocol>icmp</ipProtocol><fromPort>3</fromPort><toPort>4</toPort>"
    "<groups><item><groupId>sg-2</groupId></item></groups></item>"
    "<item><ipProtocol>icmp</ipProtocol><fromPort>8</fromPort><toPort>-1</toPort>"
    "<groups><item><groupId>sg-2</groupId></item></groups></item>"
    "</ipPermissions><ipPermissionsEgress/>"
)


def test_odd_rules_cost_only_themselves(both: tuple[Session, Proxy]) -> None:
    session, proxy = both
    proxy.answers["DescribeSecurityGroups"] = listing("DescribeSecurityGroups", "securityGroupInfo", ["", ODD])
    run(session, "secgroup refresh")
    assert row(session, "secgroup", "sg-1")["ports"] == (
        "protocol 50 all from 10.0.0.0/8",
        "icmp 8 from sg-2",
        "icmp 3/4 from sg-2",
    )


# --- both caches -----------------------------------------------------------------------------------------------------


def test_the_rows_of_both_caches(cache: Cache, session: Session, ec2: Provider) -> None:
    there = replace(session, cache=cache)
    created(there)
    run(there, f"secgroup allow web 22 --from {OFFICE}")
    run(there, "secgroup refresh")
    shown = run(there, "secgroup list").rows or ()
    assert sorted(SECGROUP.value(one, "name") for one in shown) == ["default", "web"]
    assert row(there, "secgroup", "web")["ports"] == (f"tcp 22 from {OFFICE}",)
    ec2.of("secgroup").delete(group(ec2, "web")["id"])
    with pytest.raises(NotFoundError, match="no longer exists"):
        run(there, "secgroup allow web 80 --from 10.0.0.0/8")
    assert there.cache.rows.named(SECGROUP, there.scope, "web") == []
