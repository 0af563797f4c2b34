"""Replies of AWS's Price List API, which moto does not have; `Faults` serves them over HTTP."""

import json
from typing import Any

from tests.backend.ec2_faults import Asked, Faults, Reply


def product(flavor: Any, usd: Any = "0.0104000000", region: str = "us-east-1", **attributes: Any) -> str:
    """Return a product as the price list has it: a JSON text."""
    return shaped(flavor, {"USD": usd}, "Hrs", regionCode=region, **attributes)


def shaped(flavor: Any, price: Any, unit: Any = "Hrs", **attributes: Any) -> str:
    """Return a product with any price and unit."""
    said = {
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
        "instanceType": flavor,
        "regionCode": "us-east-1",
        **attributes,
    }
    dimension = {"unit": unit, "beginRange": "0", "pricePerUnit": price, "description": "\x1b[2J$ per hour"}
    terms = {
        "OnDemand": {"A.JRTCKXETXF": {"priceDimensions": {"A.JRTCKXETXF.6YS6EN2CT7": dimension}}},
        "Reserved": {"A.4NA7Y494T4": {"priceDimensions": {"x": {"unit": "Hrs", "pricePerUnit": {"USD": "0.001"}}}}},
    }
    return json.dumps({"product": {"attributes": said, "sku": "A"}, "serviceCode": "AmazonEC2", "terms": terms})


def page(*products: Any, token: str = "") -> Reply:
    """Return a page of the price list."""
    said = {"FormatVersion": "aws_v1", "PriceList": list(products)} | ({"NextToken": token} if token else {})
    return Reply(json.dumps(said))


def refusal(status: int, code: str, message: str = "No.") -> Reply:
    """Return an error as the API words it."""
    return Reply(json.dumps({"__type": f"com.amazonaws.pricing#{code}", "Message": message}), status)


DENIED = refusal(
    400,
    "AccessDeniedException",
    "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: pricing:GetProducts because no "
    "identity-based policy allows the pricing:GetProducts action",
)
THROTTLED = refusal(400, "ThrottlingException", "Rate exceeded")


def asked(faults: Faults) -> list[dict[str, Any]]:
    """Return the bodies of the requests that came."""
    return [json.loads(one.body) for one in faults.asked]


def header(asked: Asked, name: str) -> str:
    """Return a header of a request; capitals do not count."""
    return next(value for key, value in asked.headers.items() if key.lower() == name.lower())
