"""Finds the provider of a cloud."""

from collections.abc import Callable, Mapping
from typing import Any

from backend.callbacks import ignore
from backend.config import Cloud
from backend.errors import ConfigError
from backend.kinds.model import Kind
from backend.providers.protocol import Provider, Waiting


def connect(cloud: Cloud, check: Callable[[], None] = ignore, waits: Callable[[Waiting], None] = ignore) -> Provider:
    """Return a provider for `cloud`, for one thread at a time; nothing is sent.

    `check` is called during every wait, and ends it by what it raises; `waits` is called when a request waits to be
    sent again.
    """
    if cloud.provider == "ec2":
        from backend.providers.ec2.provider import EC2Provider  # libcloud takes a third of start-up: load it late

        return EC2Provider(cloud, check, waits=waits)
    raise ConfigError(f"Cloud {cloud.name!r} has the unknown provider {cloud.provider!r}.", "Known: ec2.")


def opened(kind: Kind, extra: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the "extra" of an object of the cache for people to read: every field by itself."""
    if not kind.vast:
        return extra
    from backend.providers.ec2 import rows

    return rows.IMAGE.opened(extra)
