"""Shared by the tests of single commands: fills their cache beforehand, and reads cloud and cache."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from backend.cache import Cache
from backend.catalog import KINDS
from backend.commands.model import Command, Parsed
from backend.config import Cloud
from backend.providers.protocol import Item, Provider
from backend.session import Session
from tests.backend.cloud_support import AMI, run

ARM_AMI = "ami-0e9271c829888680e"
ZONES = ("us-east-1a", "us-east-1b")

STOCK: dict[str, list[Item]] = {
    "image": [
        {"id": AMI, "name": "ubuntu", "architecture": "x86_64"},
        {"id": ARM_AMI, "name": "ubuntu-arm", "architecture": "arm64"},
    ],
    "flavor": [
        {"id": "t2.micro", "name": "t2.micro", "architecture": "i386, x86_64"},
        {"id": "t4g.micro", "name": "t4g.micro", "architecture": "arm64"},
    ],
    "location": [
        {"id": f"use1-az{number}", "name": zone, "region": "us-east-1", "state": "available"}
        for number, zone in enumerate(ZONES)
    ],
}
"""Rows that never change, written to a test's cache beforehand: moto takes seconds to list them."""


def defaulting(session: Session, **defaults: str) -> Session:
    """Return the session with other defaults of its cloud."""
    return replace(session, cloud=replace(session.cloud, default=replace(session.cloud.default, **defaults)))


def listed(pages: Iterator[list[Item]]) -> list[Item]:
    return [item for page in pages for item in page]


def vms(ec2: Provider) -> dict[str, Item]:
    return {item["id"]: item for item in listed(ec2.of("vm").list())}


def booted(session: Session, line: str = f"vm boot {AMI}") -> str:
    return str(dict(run(session, line).fields)["id"])


def row(session: Session, kind: str, word: str) -> dict[str, Any]:
    """The row of one object in the cache."""
    (found,) = session.cache.rows.named(KINDS[kind], session.scope, word)
    return {column.name: value for column, value in KINDS[kind].cells(found)}


def everything(cache: Cache) -> str:
    """The whole database as text."""
    found = [list(cache.store.database[name].find()) for name in cache.store.database.list_collection_names()]
    assert any(found)
    return repr(found)


def untouched(_cloud: Cloud, *_hooks: Any) -> NoReturn:
    pytest.fail("the cloud was asked")


def full(one: Command) -> Parsed:
    """Return a line of the command with a value for every required parameter."""
    fitting = {"cloud": "other", "image": AMI, "tag": "key=value", "file": "/nowhere/x.csv"}
    fitting |= {"port": "22", "from": "10.0.0.0/8"}
    return Parsed(one, {param.name: fitting.get(param.name, "x") for param in one.params if param.required})
