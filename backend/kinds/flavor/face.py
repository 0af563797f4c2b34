"""What commands need of a provider for flavors."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from backend.kinds.flavor import FLAVOR
from backend.providers.protocol import Page, PriceSource, Provider


class Flavors(Protocol):
    """The flavors of a cloud. Those of a cloud without a capability have no methods for it."""

    prices: PriceSource
    """Where their prices come from; no listing has them. Of a cloud with "price list"."""

    def list(self, ids: Sequence[str] = ()) -> Iterator[Page]:
        """List flavors, or those of `ids`, then without their locations."""
        ...

    def spot_prices(self, flavors: Sequence[str], now: datetime) -> Mapping[str, Mapping[str, float]]:
        """Return what a spot VM of these flavors costs now, in USD per hour, by flavor and location."""
        ...


def flavors(provider: Provider) -> Flavors:
    """Return the flavors of a cloud."""
    face: Flavors = provider.of(FLAVOR.name)
    return face
