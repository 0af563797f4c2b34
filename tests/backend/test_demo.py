import os
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from http.client import HTTPConnection
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from backend.config import Cloud
from backend.demo import DemoCloud
from backend.errors import ConfigError
from backend.providers.ec2.entry import KEY

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Refused(Exception):
    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message


def ask(cloud: Cloud, action: str, **params: str) -> ET.Element:
    """Make one request and return the answer without its namespaces."""
    query = urllib.parse.urlencode({"Action": action, "Version": "2016-11-15", **params})
    # moto checks no signature; the scope tells it the region.
    scope = f"{cloud.credentials[KEY].reveal()}/20261123/{cloud.region}/ec2/aws4_request"
    request = urllib.request.Request(  # noqa: S310
        f"{cloud.endpoint}/?{query}",
        headers={"Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310
            root = ET.fromstring(response.read())  # noqa: S314
    except urllib.error.HTTPError as error:
        with error:
            root = ET.fromstring(error.read())  # noqa: S314
        text = {element.tag.rpartition("}")[2]: element.text or "" for element in root.iter()}
        raise Refused(text["Code"], text["Message"]) from None
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


def texts(root: ET.Element, path: str) -> list[str]:
    return [element.text or "" for element in root.findall(path)]


VMS = "reservationSet/item/instancesSet/item"


def states(cloud: Cloud) -> dict[str, str]:
    """Return the state of every VM by id."""
    items = ask(cloud, "DescribeInstances").findall(VMS)
    for item in items:
        names = {"0": "pending", "16": "running", "32": "shutting-down", "48": "terminated", "64": "stopping"}
        assert names.get(item.findtext("instanceState/code", ""), "stopped") == item.findtext("instanceState/name")
    return {item.findtext("instanceId", ""): item.findtext("instanceState/name", "") for item in items}


def named(cloud: Cloud, name: str) -> str:
    """Return the id of the VM called `name`."""
    root = ask(cloud, "DescribeInstances", **{"Filter.1.Name": "tag:Name", "Filter.1.Value.1": name})
    return texts(root, f"{VMS}/instanceId")[0]


def boot(cloud: Cloud, **params: str) -> str:
    default = {
        "ImageId": cloud.default.image or "",
        "InstanceType": cloud.flavor,
        "KeyName": cloud.default.keypair or "",
        "MinCount": "1",
        "MaxCount": "1",
    }
    return texts(ask(cloud, "RunInstances", **(default | params)), "instancesSet/item/instanceId")[0]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def demo(clock: Clock) -> Iterator[DemoCloud]:
    with DemoCloud(4.0, clock=clock, now=NOW) as demo:
        yield demo


@pytest.fixture
def east(demo: DemoCloud) -> Cloud:
    return demo.settings().clouds["demo"]


# --- the content ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["demo", "demo-west", "shop", "shop-us"])
def test_the_defaults_of_each_cloud_exist_and_boot(demo: DemoCloud, name: str) -> None:
    cloud = demo.settings().clouds[name]
    image = cloud.default.image or ""
    assert texts(ask(cloud, "DescribeImages", **{"ImageId.1": image}), "imagesSet/item/imageId") == [image]
    flavor = ask(cloud, "DescribeInstanceTypes", **{"InstanceType.1": cloud.flavor})
    assert texts(flavor, "instanceTypeSet/item/instanceType") == [cloud.flavor]
    assert cloud.default.keypair in texts(ask(cloud, "DescribeKeyPairs"), "keySet/item/keyName")
    zones = ask(cloud, "DescribeAvailabilityZones")
    assert set(texts(zones, "availabilityZoneInfo/item/regionName")) == {cloud.region}
    assert boot(cloud) in states(cloud)


def test_east_has_realistic_content(east: Cloud) -> None:
    images = ask(east, "DescribeImages")
    aliases = Counter(item.findtext("imageOwnerAlias") for item in images.findall("imagesSet/item"))
    assert aliases["amazon"] > 400
    assert aliases["aws-marketplace"]
    assert set(texts(images, "imagesSet/item/architecture")) == {"x86_64", "arm64"}
    assert len({text[:4] for text in texts(images, "imagesSet/item/creationDate")}) >= 3
    own = ask(east, "DescribeImages", **{"Owner.1": "self"})
    assert 3 <= len(own.findall("imagesSet/item")) <= 12
    assert '[bold red]not markup[/] & <b>not XML</b> "quoted"' in texts(own, "imagesSet/item/description")
    assert any("übung" in name for name in texts(own, "imagesSet/item/name"))

    flavors = texts(ask(east, "DescribeInstanceTypes"), "instanceTypeSet/item/instanceType")
    assert 300 < len(flavors) < 600
    offered = texts(ask(east, "DescribeInstanceTypeOfferings"), "instanceTypeOfferingSet/item/instanceType")
    assert set(offered) <= set(flavors)

    vms = ask(east, "DescribeInstances").findall(VMS)
    assert {vm.findtext("instanceType") for vm in vms} <= set(flavors)
    counts = Counter(vm.findtext("instanceState/name") for vm in vms)
    assert counts == {"running": 9, "stopped": 3, "pending": 1, "stopping": 1, "terminated": 1}
    names = Counter(vm.findtext("tagSet/item[key='Name']/value") for vm in vms)
    assert names["worker"] == 2
    assert {"web-1", "gpu-train-01", '[/]bold "quoted" <b>&', "東京-バックアップ", None} <= set(names)
    assert {vm.findtext("launchTime") for vm in vms if vm.findtext("keyName") == "ci deploy (github)"} == {
        "2026-11-23T12:00:00.000Z",
        "2026-11-23T09:36:00.000Z",
    }
    assert not [vm for vm in vms if vm.findtext("instanceState/name") == "stopped" and vm.findtext("ipAddress")]

    assert len(ask(east, "DescribeKeyPairs").findall("keySet/item")) == 4
    volumes = ask(east, "DescribeVolumes").findall("volumeSet/item")
    beside = {
        volume.findtext("tagSet/item[key='Name']/value"): volume.findtext("status")
        for volume in volumes
        if volume.find("tagSet/item[key='Name']") is not None
    }
    assert Counter(beside.values()) == {"in-use": 5, "available": 3}
    # A root volume for each VM but the terminated one.
    assert len(volumes) == len(beside) + len(vms) - 1


def test_west_is_its_own_smaller_cloud(demo: DemoCloud) -> None:
    clouds = demo.settings().clouds
    east, west = (
        set(texts(ask(clouds[name], "DescribeImages"), "imagesSet/item/imageId")) for name in ("demo", "demo-west")
    )
    assert 100 < len(west) < len(east)
    assert not east & west
    assert not set(states(clouds["demo"])) & set(states(clouds["demo-west"]))


def test_the_settings(demo: DemoCloud) -> None:
    settings = demo.settings()
    assert settings.cloud == "demo"
    assert settings.mongodb.uri.reveal() == "memory"
    assert settings.poll.in_flight == 1.0


# --- states -----------------------------------------------------------------------------------------------------------


def test_a_booted_vm_is_pending_then_running(east: Cloud, clock: Clock) -> None:
    vm = boot(east)
    assert states(east)[vm] == "pending"
    clock.now += 3.9
    assert states(east)[vm] == "pending"
    clock.now += 0.1
    assert states(east)[vm] == "running"


def test_stop_start_reboot_terminate(east: Cloud, clock: Clock) -> None:
    vm = named(east, "web-1")

    def through(action: str, between: str, final: str) -> None:
        ask(east, action, **{"InstanceId.1": vm})
        assert states(east)[vm] == between
        clock.now += 4
        assert states(east)[vm] == final

    through("RebootInstances", "running", "running")
    through("StopInstances", "stopping", "stopped")
    through("StopInstances", "stopped", "stopped")
    through("StartInstances", "pending", "running")
    through("TerminateInstances", "shutting-down", "terminated")
    clock.now += 59
    assert states(east)[vm] == "terminated"
    clock.now += 1
    assert vm not in states(east)
    with pytest.raises(Refused) as refused:
        ask(east, "StartInstances", **{"InstanceId.1": vm})
    assert refused.value.code == "InvalidInstanceID.NotFound"


def test_vms_in_flight_at_the_start_settle(east: Cloud, clock: Clock) -> None:
    runner, student = named(east, "ci-runner-1"), named(east, "class-student-08")
    clock.now += 7.9
    assert (states(east)[runner], states(east)[student]) == ("pending", "stopping")
    clock.now += 0.1
    assert (states(east)[runner], states(east)[student]) == ("running", "stopped")


def test_a_vm_in_flight_can_be_filtered_by_its_state(east: Cloud) -> None:
    root = ask(east, "DescribeInstances", **{"Filter.1.Name": "instance-state-name", "Filter.1.Value.1": "pending"})
    assert texts(root, f"{VMS}/instanceId") == [named(east, "ci-runner-1")]


@pytest.mark.parametrize(
    ("action", "name"),
    [
        ("StartInstances", "ci-runner-0"),  # terminated
        ("StartInstances", "class-student-08"),  # stopping
        ("StopInstances", "ci-runner-1"),  # pending
        ("RebootInstances", "class-student-07"),  # stopped
    ],
)
def test_what_does_not_fit_the_state_is_refused(east: Cloud, action: str, name: str) -> None:
    before = states(east)
    with pytest.raises(Refused) as refused:
        ask(east, action, **{"InstanceId.1": named(east, "web-2"), "InstanceId.2": named(east, name)})
    assert refused.value.code == "IncorrectInstanceState"
    assert states(east) == before


# --- wrong input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"ImageId": "ami-0123456789abcdef0"}, "InvalidAMIID.NotFound"),
        ({"ImageId": "nonsense"}, "InvalidAMIID.Malformed"),
        ({"InstanceType": "t3.micr"}, "InvalidParameterValue"),
        ({"InstanceType": "m1.small"}, "InvalidParameterValue"),  # EC2 has it, the demo does not
        ({"InstanceType": "t4g.micro"}, "InvalidParameterValue"),  # arm64, the image is not
        ({"KeyName": "nobody"}, "InvalidKeyPair.NotFound"),
        ({"Placement.AvailabilityZone": "us-west-2a"}, "InvalidParameterValue"),
    ],
)
def test_a_wrong_boot_is_refused_and_leaves_nothing(east: Cloud, params: dict[str, str], code: str) -> None:
    before = states(east)
    with pytest.raises(Refused) as refused:
        boot(east, **params)
    assert refused.value.code == code
    assert states(east) == before


def test_a_vm_needs_no_keypair(east: Cloud) -> None:
    assert boot(east, KeyName="") in states(east)


# --- the server -------------------------------------------------------------------------------------------------------


def test_it_listens_on_loopback_alone(demo: DemoCloud) -> None:
    server: Any = demo._server
    assert server.socket.getsockname()[0] == "127.0.0.1"
    assert server.server_port > 1024


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/", {"Authorization": ""}),
        ("/", {"Authorization": "{other key}"}),
        ("/", {"Authorization": "{key} of batch"}),
        ("/", {"Authorization": "{key} cut"}),
        ("/", {"Origin": "http://127.0.0.1"}),
        ("/", {"Host": "localhost.example:{port}"}),
        ("/", {"Host": "batch.us-east-1.amazonaws.com"}),
        ("http://batch.us-east-1.amazonaws.com/", {}),
        ("/moto-api/data.json", {}),
        ("/v1/describejobqueues", {}),
    ],
)
def test_it_answers_nobody_else_and_nothing_but_ec2(east: Cloud, path: str, headers: dict[str, str]) -> None:
    key = east.credentials[KEY].reveal()
    port = (east.endpoint or "").rpartition(":")[2]

    def scope(key: str, service: str = "ec2") -> str:
        return (
            f"AWS4-HMAC-SHA256 Credential={key}/20261123/us-east-1/{service}/aws4_request, "
            "SignedHeaders=host, Signature=0"
        )

    meant = {"{other key}": scope("demo"), "{key} of batch": scope(key, "batch"), "{key} cut": scope(key[:-1])}

    def status(path: str, headers: dict[str, str]) -> int:
        sent = {"Host": f"127.0.0.1:{port}", "Authorization": scope(key), **headers}
        connection = HTTPConnection("127.0.0.1", int(port), timeout=30)
        with closing(connection):
            connection.putrequest("GET", f"{path}?Action=DescribeKeyPairs", skip_host=True)
            for name, value in sent.items():
                connection.putheader(name, meant.get(value, value.replace("{port}", port)))
            connection.endheaders()
            return connection.getresponse().status

    assert status("/", {}) == 200
    assert status(path, headers) == 403


def test_each_demo_has_a_key_of_its_own() -> None:
    keys = []
    for _ in range(2):
        with DemoCloud() as demo:
            keys.append(demo.settings().clouds["demo"].credentials[KEY].reveal())
    assert keys[0] != keys[1]
    assert min(map(len, keys)) >= 32


def test_nothing_is_left_after_stop(clock: Clock) -> None:
    threads, environ = set(threading.enumerate()), dict(os.environ)
    demo = DemoCloud(clock=clock)
    demo.start()
    cloud = demo.settings().clouds["demo"]
    port = int((cloud.endpoint or "").rpartition(":")[2])
    ask(cloud, "DescribeImages")
    demo.stop()
    assert set(threading.enumerate()) <= threads  # those of earlier tests may have ended meanwhile
    assert dict(os.environ) == environ
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(("127.0.0.1", port))
    demo.stop()
    with pytest.raises(RuntimeError):
        demo.settings()


def test_each_demo_starts_afresh_and_the_same(clock: Clock) -> None:
    def run() -> dict[str, str]:
        with DemoCloud(clock=clock) as demo:
            cloud = demo.settings().clouds["demo"]
            fresh = states(cloud)
            ask(cloud, "TerminateInstances", **{"InstanceId.1": named(cloud, "web-1")})
            boot(cloud)
            return fresh

    assert run() == run()


def test_a_second_demo_at_the_same_time_is_refused(east: Cloud) -> None:
    with pytest.raises(RuntimeError, match="Another DemoCloud"):
        DemoCloud().start()
    assert states(east)


def test_the_terminal_stays_clean(demo: DemoCloud, east: Cloud, capfd: pytest.CaptureFixture[str]) -> None:
    states(east)
    with pytest.raises(Refused):
        boot(east, KeyName="nobody")
    address = ("127.0.0.1", int((east.endpoint or "").rpartition(":")[2]))
    for request in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b""):
        with socket.create_connection(address) as client:
            client.sendall(request)
            # A close with data unread resets the connection.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    demo.stop()
    assert capfd.readouterr() == ("", "")


def test_a_profile_that_does_not_exist_is_not_asked_for() -> None:
    # In a process of its own: it is moto's first import that asks.
    code = "from backend.demo import DemoCloud\nimport os\nwith DemoCloud(): pass\nprint(os.environ['AWS_PROFILE'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "AWS_PROFILE": "nope"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("nope\n", "")


def test_it_needs_nothing_of_motos_own_server() -> None:
    code = (
        "import sys\n"
        "sys.modules['flask'] = sys.modules['docker'] = None\n"
        "from backend.demo import DemoCloud\n"
        "from tests.backend.test_demo import states\n"
        "with DemoCloud() as demo: print(len(states(demo.settings().clouds['demo'])))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("15\n", "")


def test_without_moto_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "backend.demo_moto", raising=False)
    monkeypatch.delattr("backend.demo_moto", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "moto"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "moto", None)
    demo = DemoCloud()
    with pytest.raises(ConfigError, match=r"pip install 'cloudmesh-tui\[demo\]'") as error:
        demo.start()
    assert "moto" in error.value.message
    demo.stop()
