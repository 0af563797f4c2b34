"""Reads the answers of AWS's Price List API: pages of products, each a JSON text with its terms."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from backend.providers.failures import Malformed
from backend.redact import redacted

LONGEST = 64 << 20
"""The most bytes of a page; AWS's have 2 MB."""

MOST = 100_000.0
"""More USD per hour than any flavor costs."""

FILTERS = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
}
"""The attributes of the products that a VM without reservation or licence is billed as, beside its region."""

_FLAVOR = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
"""What the name of a flavor looks like; MongoDB and terminals take any such name."""


class PageReader:
    """Collects one page, and parses it when it is complete; `request` is never known."""

    request = ""

    def __init__(self, region: str) -> None:
        self._wanted = {"regionCode": region, **FILTERS}
        self._body = bytearray()
        self.token = ""
        """The token of the next page, "" on the last one; after close()."""

    def feed(self, data: bytes) -> list[Any]:
        """Take a piece of the page. Raises Malformed if it does not end."""
        self._body += data
        if len(self._body) > LONGEST:
            raise Malformed("it does not end")
        return []

    def close(self) -> list[Any]:
        """Return (flavor, USD per hour) for each product that has both. Raises Malformed."""
        page = _object(bytes(self._body), "it is not JSON")
        products, token = page.get("PriceList"), page.get("NextToken")
        if not isinstance(products, list):
            raise Malformed("it has no PriceList")
        self.token = token if isinstance(token, str) else ""
        return [price for product in products if (price := self._price(product))]

    def _price(self, text: Any) -> tuple[str, float] | None:
        """Return flavor and price of a product; None for a product that is not understood, or was not asked for."""
        try:
            product = _object(text, "")
            attributes = product["product"]["attributes"]
            flavor = attributes["instanceType"]
            if any(attributes.get(name, value) != value for name, value in self._wanted.items()):
                return None
            found = {usd(price) for price in _hourly(product["terms"]["OnDemand"])}
        except (Malformed, KeyError, TypeError, AttributeError):
            return None
        price = found.pop() if len(found) == 1 else None
        return (flavor, price) if price and isinstance(flavor, str) and _FLAVOR.fullmatch(flavor) else None


def _hourly(terms: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the price of each hourly dimension of the on-demand terms; None where it has none in USD."""
    for term in terms.values():
        for dimension in term["priceDimensions"].values():
            if dimension["unit"] == "Hrs":
                yield dimension["pricePerUnit"].get("USD")


def usd(value: Any) -> float | None:
    """Return a price; None for what cannot be one: text, nothing, zero, less, or more than anything costs."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        price = float(value)
    except (ValueError, OverflowError):
        return None
    return price if 0 < price < MOST else None


def refused(body: bytes) -> tuple[str, str]:
    """Return the code and the message of an error in AWS's JSON, each "" if it is not there."""
    try:
        said = _object(body, "")
    except Malformed:
        return "", ""
    code, message = said.get("__type"), said.get("message", said.get("Message"))
    code = code.rpartition("#")[2] if isinstance(code, str) else ""
    return redacted(code), message if isinstance(message, str) else ""


def _object(text: Any, why: str) -> dict[str, Any]:
    """Parse a JSON object. Raises Malformed with the reason."""
    try:
        found = json.loads(text)
    except (ValueError, TypeError, RecursionError):  # ValueError: text that is not UTF-8, too
        found = None
    if not isinstance(found, dict):
        raise Malformed(why)
    return found
