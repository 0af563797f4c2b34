"""Finds the hourly prices of EC2 flavors in the price list of libcloud."""

import json
import logging
from datetime import UTC, datetime
from functools import cache
from typing import Any

from libcloud.pricing import get_pricing_file_path

log = logging.getLogger(__name__)


@cache
def prices(region: str) -> tuple[dict[str, float], str | None]:
    """Return USD per hour by flavor (on demand, Linux) in `region`, and the date of the list (ISO).

    A price of 0.0, which libcloud's scraper often leaves, counts as unknown and is left out. If the list cannot be
    read, there are no prices; that is not an error. ~/.libcloud/pricing.json, if it exists, overrides libcloud's list.
    """
    try:
        # libcloud.pricing.get_pricing hides the date, and would parse the 4.5 MB again.
        with open(get_pricing_file_path(), encoding="utf-8") as file:
            document: dict[str, Any] = json.load(file)
        flavors = document["compute"]["ec2_linux"]
        found = {flavor: float(by_region[region]) for flavor, by_region in flavors.items() if by_region.get(region)}
        return found, datetime.fromtimestamp(document["updated"], UTC).date().isoformat()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("the price list cannot be used: %s", type(error).__name__)
        return {}, None
