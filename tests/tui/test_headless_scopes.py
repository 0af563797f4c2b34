"""Several clouds and regions without a screen: what is refreshed, listed, found by name, refused and recovered."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pymongo.database import Database

from backend.config import Cloud
from backend.providers.ec2.provider import EC2Provider
from tests.backend.ec2_faults import refusal
from tests.ec2_proxy import Proxy
from tests.tui.shell import SECRET, Shell, booted, sentence

REGIONS = ("us-east-1", "us-west-2", "eu-west-1")


def provider_in(cloud: Cloud, region: str) -> EC2Provider:
    return EC2Provider(replace(cloud, images=("self",), default=replace(cloud.default, location=region)))


@pytest.fixture
def bad(cloud: Cloud) -> Iterator[Proxy]:
    """A proxy for the region that fails."""
    with Proxy(str(cloud.endpoint)) as proxy:
        yield proxy


@pytest.fixture
def shell(bare: Shell, proxy: Proxy, bad: Proxy, mongodb: str, database: Database[dict[str, Any]]) -> Shell:
    """A shell with the cloud `east` of two regions and the cloud `far` of another account behind a proxy of its own."""
    keys = f"{{EC2_ACCESS_KEY: KEY, EC2_SECRET_KEY: {SECRET}}}"
    bare.config.parent.mkdir()
    bare.config.write_text(
        f"""
cloudmesh:
  mongodb: {{uri: "{mongodb}", database: {database.name}}}
  clouds:
    east:
      endpoint: "{proxy.endpoint}"
      images: self
      regions: [us-east-1, us-west-2]
      credentials: {keys.replace(": KEY,", ": AKIAEAST,")}
    far:
      endpoint: "{bad.endpoint}"
      images: self
      credentials: {keys.replace(": KEY,", ": AKIAFAR,")}
      default: {{location: eu-west-1}}
"""
    )
    bare.config.chmod(0o600)
    return bare


@pytest.fixture
def vms(cloud: Cloud) -> dict[str, str]:
    """The id of a VM in each region, called as its region."""
    return {region: booted_in(cloud, region, f"web-{region}") for region in REGIONS}


def booted_in(cloud: Cloud, region: str, name: str) -> str:
    there = replace(cloud, default=replace(cloud.default, location=region))
    return booted(there, provider_in(cloud, region), name)


@pytest.mark.usefixtures("vms")
def test_a_refresh_prints_a_line_for_each_cloud_region_and_kind(shell: Shell) -> None:
    out = shell.done("--cloud", "all", "--refresh", "vms", "keypairs", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    found = {(line["cloud"], line["region"], line["kind"]): line["count"] for line in lines}
    places = [("east", "us-east-1"), ("east", "us-west-2"), ("far", "eu-west-1")]
    assert found == {(*place, kind): int(kind == "vm") for place in places for kind in ("vm", "keypair")}
    assert len(lines) == 6
    table = shell.done("--cloud", "all", "--refresh", "vms").splitlines()
    assert table[0].split()[:3] == ["Cloud", "Region", "Kind"]
    assert [line.split()[:4] for line in table[1:]] == [[*place, "vms", "1"] for place in places]


def test_images_are_listed_in_each_region_only_if_they_are_named(shell: Shell, proxy: Proxy, bad: Proxy) -> None:
    shell.done("--cloud", "all", "--refresh")
    assert (proxy.count("DescribeImages"), bad.count("DescribeImages")) == (1, 0)
    shell.done("--cloud", "all", "--refresh", "images")
    assert (proxy.count("DescribeImages"), bad.count("DescribeImages")) == (3, 1)


def test_a_list_has_the_rows_of_all_with_their_cloud_and_region(shell: Shell, vms: dict[str, str]) -> None:
    rows = json.loads(shell.done("vm", "list", "--cloud", "all", "--json"))
    assert [(row["id"], row["cloud"], row["region"]) for row in rows] == [
        (vms["us-east-1"], "east", "us-east-1"),
        (vms["us-west-2"], "east", "us-west-2"),
        (vms["eu-west-1"], "far", "eu-west-1"),
    ]
    table = shell.done("vm", "list", "--cloud", "all").splitlines()
    assert table[0].split()[:3] == ["Name", "Cloud", "Region"]
    assert table[3].split()[:3] == ["web-eu-west-1", "far", "eu-west-1"]
    assert shell.done("vm", "list", "--cloud", "east").splitlines()[0].split()[:2] == ["Name", "Region"]
    assert shell.done("vm", "list", "--cloud", "far").splitlines()[0].split()[:2] == ["Name", "ID"]
    shell.done("--cloud", "all", "vm", "export", "vms.csv")
    header, *lines = (shell.config.parent / "vms.csv").read_text().splitlines()
    assert header.startswith("name,cloud,region,id")
    assert [line.split(",")[:3] for line in lines][2] == ["web-eu-west-1", "far", "eu-west-1"]


def test_a_scope_that_fails_is_named_and_hides_no_other(shell: Shell, bad: Proxy, vms: dict[str, str]) -> None:
    shell.done("vm", "list", "--cloud", "all")
    bad.answers["DescribeInstances"] = refusal(403, "UnauthorizedOperation", "You are not authorized.")
    result = shell.run("vm", "list", "--cloud", "all", "--json")
    assert result.returncode == 1
    assert sentence(result).startswith("far eu-west-1: vms: ")
    assert "ec2:DescribeInstances" in result.stderr
    assert {row["id"] for row in json.loads(result.stdout)} == set(vms.values())
    result = shell.run("--cloud", "all", "--refresh", "vms", "volumes", "--json")
    assert result.returncode == 1
    assert sentence(result).startswith("far eu-west-1: vms: ")
    errors = {(line["region"], line["kind"]) for line in map(json.loads, result.stdout.splitlines()) if line["error"]}
    assert errors == {("eu-west-1", "vm")}


def test_a_name_finds_its_scope_and_one_of_two_scopes_is_refused(
    shell: Shell, cloud: Cloud, vms: dict[str, str]
) -> None:
    shell.done("--cloud", "all", "vm", "reboot", "web-eu-west-1")
    entries = json.loads(shell.done("--cloud", "all", "journal", "list", "--json"))
    assert [(entry["cloud"], entry["region"], entry["outcome"]) for entry in entries] == [("far", "eu-west-1", "done")]
    twin = booted_in(cloud, "us-west-2", "web-us-east-1")
    result = shell.run("--cloud", "all", "vm", "reboot", "web-us-east-1")
    assert result.returncode == 1
    assert sentence(result) == (
        f"2 VMs are named 'web-us-east-1': {vms['us-east-1']} in east us-east-1, {twin} in east us-west-2. "
        "Give the id, or show one region.\n"
    )
    shell.done("--cloud", "all", "vm", "reboot", twin)
    result = shell.run("--cloud", "all", "vm", "reboot", "nobody")
    assert sentence(result).startswith("There is no VM 'nobody' known in east us-east-1, us-west-2; far eu-west-1. ")


def test_a_name_is_not_acted_on_while_a_region_that_may_have_it_cannot_be_listed(
    shell: Shell, bad: Proxy, proxy: Proxy, vms: dict[str, str]
) -> None:
    bad.answers["DescribeInstances"] = refusal(403, "UnauthorizedOperation", "You are not authorized.")
    result = shell.run("--cloud", "all", "vm", "reboot", "web-us-east-1")
    assert result.returncode == 1
    assert sentence(result).startswith(
        "Another VM may be named 'web-us-east-1'. far eu-west-1 cannot be listed: Listing VMs "
    )
    result = shell.run("--cloud", "all", "vm", "reboot", "nobody")
    assert "There is no VM 'nobody' known in" in sentence(result)
    assert "far eu-west-1 cannot be listed" in sentence(result)
    assert "RebootInstances" not in proxy.asked
    shell.done("--cloud", "all", "vm", "reboot", vms["us-east-1"])
    assert "RebootInstances" in proxy.asked


@pytest.mark.usefixtures("vms")
def test_the_option_for_regions_replaces_those_that_were_chosen(shell: Shell) -> None:
    shell.done("set", "default", "cloud=east/us-west-2")
    rows = json.loads(shell.done("--region", "us-east-1", "vm", "list", "--json"))
    assert [row["region"] for row in rows] == ["us-east-1"]
    result = shell.run("--cloud", "east/us-west-2", "--region", "us-east-1", "vm", "list")
    assert (result.returncode, sentence(result)) == (
        2,
        "--cloud and --region both name regions. Leave out one of them.\n",
    )


def test_regions_are_checked_before_anything_is_asked_of_them(shell: Shell, proxy: Proxy) -> None:
    result = shell.run("--region", "eu-west-11", "vm", "list")
    assert (result.returncode, sentence(result)) == (
        2,
        "Cloud east has no region 'eu-west-11'. Did you mean 'eu-west-1'?\n",
    )
    assert proxy.asked == ["DescribeRegions"]
    out = shell.done("--region", "all", "--refresh", "keypairs", "--json")
    regions = [json.loads(line)["region"] for line in out.splitlines()]
    assert len(regions) == len(set(regions)) > 10
    assert proxy.asked.count("DescribeRegions") == 1, "the regions are remembered"
    proxy.answers["DescribeRegions"] = refusal(403, "UnauthorizedOperation", "You are not authorized.")
    state = shell.home / "state.json"
    state.unlink()
    result = shell.run("--region", "all", "--refresh", "keypairs")
    assert result.returncode == 1
    assert "ec2:DescribeRegions" in sentence(result)


@pytest.mark.usefixtures("vms")
def test_a_selection_is_remembered(shell: Shell) -> None:
    assert shell.done("set", "default", "cloud=all") == (
        "Shown from now on: east us-east-1, us-west-2; far eu-west-1.\n"
    )
    assert len(json.loads(shell.done("vm", "list", "--json"))) == 3
    assert shell.done("set", "default", "cloud=far") == "The default cloud is far (ec2, eu-west-1).\n"
    assert len(json.loads(shell.done("vm", "list", "--json"))) == 1


@pytest.mark.usefixtures("vms")
def test_what_a_run_left_is_found_out_in_every_scope(shell: Shell, bad: Proxy) -> None:
    shell.done("--cloud", "all", "--refresh", "vms")
    bad.hold_reply("StopInstances")
    with shell.start("--cloud", "far", "vm", "stop", "web-eu-west-1") as process:
        assert bad.acted.wait(30)
        process.kill()
    bad.released.set()
    bad.wait_idle()
    result = shell.run("--cloud", "all", "journal", "list", "--json")
    assert "Left unfinished" in result.stderr
    assert [entry["outcome"] for entry in json.loads(result.stdout)] == ["done"]


def test_the_scopes_are_listed_with_those_that_are_shown(shell: Shell) -> None:
    rows = json.loads(shell.done("--cloud", "east", "scope", "list", "--json"))
    found = {row["id"]: (row["shown"], row["enabled"]) for row in rows}
    assert found["east/us-west-2"] == (True, True)
    assert found["far/eu-west-1"] == found["east/eu-west-1"] == (False, True)
    assert {"Cloud", "Region", "Shown"} <= set(shell.done("scope", "list").splitlines()[0].split())
