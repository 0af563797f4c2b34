"""Finds the hourly prices of EC2 flavors in the price list that libcloud brings; it is as old as libcloud."""

import json
import logging
from datetime import UTC, datetime
from functools import cache
from typing import Any

from libcloud.pricing import get_pricing_file_path

from backend.providers.ec2.pricelist import usd
from backend.providers.protocol import PriceList

log = logging.getLogger(__name__)

SOURCE = "libcloud's list of"


@cache
def bundled(region: str) -> PriceList:
    """Return what libcloud's list says about `region` (on demand, Linux).

    A price of 0.0, which libcloud's scraper often leaves, counts as unknown and is left out. If the list cannot be
    read, there are no prices; that is not an error. ~/.libcloud/pricing.json, if it exists, overrides libcloud's list.
    """
    try:
        # libcloud.pricing.get_pricing hides the date, and would parse the 4.5 MB again.
        with open(get_pricing_file_path(), encoding="utf-8") as file:
            document: dict[str, Any] = json.load(file)
        flavors = document["compute"]["ec2_linux"]
        found = {flavor: usd(by_region.get(region)) for flavor, by_region in flavors.items()}
        at = datetime.fromtimestamp(document["updated"], UTC)
    except (OSError, ValueError, OverflowError, KeyError, TypeError, AttributeError) as error:
        log.warning("libcloud's price list cannot be used: %s", type(error).__name__)
        return PriceList(SOURCE, None, {})
    return PriceList(SOURCE, at, {flavor: price for flavor, price in found.items() if price})
