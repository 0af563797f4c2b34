"""Writes the parameters of requests in EC2's notation."""

from collections.abc import Iterable

from backend.providers.protocol import Boot


def booting(boot: Boot) -> dict[str, str | None]:
    """Return the parameters of RunInstances for one VM."""
    return {
        "ImageId": boot.image,
        "InstanceType": boot.flavor,
        "MinCount": "1",
        "MaxCount": "1",
        "ClientToken": boot.token or None,
        "Placement.AvailabilityZone": boot.location,
        "KeyName": boot.keypair,
        **named(boot.name, "instance", "volume"),
    }


def numbered(name: str, values: Iterable[str]) -> dict[str, str]:
    """Return a list in EC2's notation, which counts from 1: Owner.1, Owner.2 …"""
    return {f"{name}.{number}": value for number, value in enumerate(values, 1)}


def filtered(name: str, values: Iterable[str]) -> dict[str, str]:
    """Return the filter for objects that have one of `values` in the field `name`."""
    return {"Filter.1.Name": name, **numbered("Filter.1.Value", values)}


def named(name: str | None, *resources: str) -> dict[str, str]:
    """Return the Name tag to set at creation: the object never exists without it, not even after a failure."""
    if not name:
        return {}
    params: dict[str, str] = {}
    for number, resource in enumerate(resources, 1):
        spec = f"TagSpecification.{number}"
        params |= {f"{spec}.ResourceType": resource, f"{spec}.Tag.1.Key": "Name", f"{spec}.Tag.1.Value": name}
    return params
