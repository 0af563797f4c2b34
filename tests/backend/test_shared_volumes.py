"""A volume that is attached to several VMs: each attachment counts in previews, exports and names."""

import json
from pathlib import Path

from backend.catalog import KINDS
from backend.commands.model import Context
from backend.config import Cloud
from backend.kinds.vm import preview as vm_preview
from backend.kinds.volume import preview as volume_preview
from backend.kinds.volume.actions import is_shared
from backend.session import Session
from tests.backend.cloud_support import boot_many, run
from tests.backend.ec2_faults import listing
from tests.ec2_proxy import Proxy

VOLUME = KINDS["volume"]
NATIVE = "vol-0123456789abcdef0"


def shared(proxy: Proxy, first: str, second: str) -> None:
    """Let EC2 list one volume on two VMs, which is deleted with the second one if that is its last."""
    attachments = "".join(
        f"<item><volumeId>{NATIVE}</volumeId><instanceId>{vm}</instanceId><device>{device}</device>"
        f"<status>attached</status><deleteOnTermination>{dies}</deleteOnTermination></item>"
        for vm, device, dies in ((first, "/dev/sdf", "false"), (second, "/dev/sdg", "true"))
    )
    volume = (
        f"<volumeId>{NATIVE}</volumeId><size>8</size><status>in-use</status><multiAttachEnabled>true</multiAttachEnabled>"
        f"<availabilityZone>us-east-1a</availabilityZone><attachmentSet>{attachments}</attachmentSet>"
    )
    proxy.answers["DescribeVolumes"] = listing("DescribeVolumes", "volumeSet", [volume])


def test_the_preview_of_each_vm_has_the_volume(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, proxy = both
    first, second = boot_many(cloud, 2)
    shared(proxy, first, second)
    (one,) = vm_preview.deleting(Context(session, {}), [first]).targets
    assert (len(one.losses), len(one.stays)) == (0, 1)
    (other,) = vm_preview.deleting(Context(session, {}), [second]).targets
    assert (other.losses, other.stays) == ((), (f"volume {NATIVE}, 8 GiB, attached to {first} too",))
    together = vm_preview.deleting(Context(session, {}), [first, second])
    assert [(len(one.losses), len(one.stays)) for one in together.targets] == [(0, 1), (1, 0)]
    assert [total for total in together.totals if "volume" in total] == ["1 volume (8 GiB) deleted with them."]


def test_the_preview_of_the_volume_names_every_vm(both: tuple[Session, Proxy], cloud: Cloud) -> None:
    session, proxy = both
    first, second = boot_many(cloud, 2)
    shared(proxy, first, second)
    run(session, "vm refresh")
    (target,) = volume_preview.deleting(Context(session, {}), [NATIVE]).targets
    assert target.left_out == f"it is attached to {first}, {second}; detach it first"
    assert dict(target.facts)["Used by"] == f"{first}, {second}"


def test_rows_and_files_have_every_attachment(both: tuple[Session, Proxy], cloud: Cloud, tmp_path: Path) -> None:
    session, proxy = both
    first, second = boot_many(cloud, 2)
    shared(proxy, first, second)
    run(session, "volume refresh")
    (row,) = session.cache.rows.snapshot(VOLUME, session.scope)
    assert VOLUME.value(row, "vm") == (first, second)
    assert is_shared(row)
    for suffix in ("json", "csv"):
        run(session, f"volume export {tmp_path / 'out'}.{suffix}")
    assert [one["vm"] for one in json.loads((tmp_path / "out.json").read_text())] == [[first, second]]
    assert f'"{first}, {second}"' in (tmp_path / "out.csv").read_text()
