"""Writes what is asked for in the notation of EC2's parameters."""

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
    """Return EC2's notation of a list: Owner.1, Owner.2 …; it counts from 1."""
    return {f"{name}.{number}": value for number, value in enumerate(values, 1)}


def filtered(name: str, values: Iterable[str]) -> dict[str, str]:
    """Return the filter that leaves what has one of `values` in the field `name`."""
    return {"Filter.1.Name": name, **numbered("Filter.1.Value", values)}


def named(name: str | None, *resources: str) -> dict[str, str]:
    """Return the Name tag given at creation: no moment, and no failure, leaves the thing without it."""
    if not name:
        return {}
    params: dict[str, str] = {}
    for number, resource in enumerate(resources, 1):
        spec = f"TagSpecification.{number}"
        params |= {f"{spec}.ResourceType": resource, f"{spec}.Tag.1.Key": "Name", f"{spec}.Tag.1.Value": name}
    return params
