"""Lists all images of an endpoint in the ways that ours is compared with: python -m tests.bench.baselines NAME URL.

Prints {"count": …, "seconds": …}; the seconds are those of the listing alone. None of them stores anything.
"""

import json
import sys
import time
from collections.abc import Callable
from urllib.parse import urlsplit

IMPORTS = ("-c", "import libcloud, pymongo")
"""The arguments of the interpreter whose memory a headless refresh is compared with."""

_PAGE = 1000
_SPACE = "{http://ec2.amazonaws.com/doc/2016-11-15/}"
_READ = (
    "imageId", "name", "architecture", "imageOwnerAlias", "imageOwnerId", "creationDate", "imageState",
    "platformDetails",
)  # fmt: skip
"""What the columns of our images tab are made of."""


Listing = Callable[[], int]
"""Lists all images and returns how many there were."""


def floor(url: str) -> Listing:
    """Read the columns of every image with the fastest parser there is and do nothing with them: nobody is faster."""
    import requests
    from lxml import etree

    item, images, following = (f"{_SPACE}{name}" for name in ("item", "imagesSet", "nextToken"))
    read = [f"{_SPACE}{name}" for name in _READ]

    def listing() -> int:
        form = {"Action": "DescribeImages", "Version": "2016-11-15", "MaxResults": str(_PAGE)}
        found = 0
        with requests.Session() as session:
            while True:
                token = None
                with session.post(url, data=form, stream=True) as answer:
                    answer.raise_for_status()
                    answer.raw.decode_content = True
                    for _, element in etree.iterparse(answer.raw, tag=(item, following)):
                        if element.tag == following:
                            token = element.text
                        elif element.getparent().tag == images:  # a disk and a tag are items too
                            # One pass over its children: looking each name up takes as long as all of the parsing.
                            _ = {child.tag: child.text for child in element.iterchildren(*read)}
                            element.clear()
                            found += 1
                if not token:
                    return found
                form["NextToken"] = token

    return listing


def libcloud(url: str) -> Listing:
    """List with the stock driver of libcloud, which asks for all images in one answer."""
    from libcloud.compute.drivers.ec2 import EC2NodeDriver

    parts = urlsplit(url)
    driver = EC2NodeDriver(
        "AKIABENCHMARK",
        "no-secret",
        region="us-east-1",
        host=parts.hostname,
        port=parts.port,
        secure=False,
        signature_version="4",
        timeout=600,
    )
    return lambda: len(driver.list_images())


def boto3(url: str) -> Listing:
    """List with boto3's paginator, and hold one page at a time."""
    from boto3.session import Session

    client = Session("AKIABENCHMARK", "no-secret", region_name="us-east-1").client("ec2", endpoint_url=url)
    pages = client.get_paginator("describe_images").paginate(PaginationConfig={"PageSize": _PAGE})
    return lambda: sum(len(page["Images"]) for page in pages)


BASELINES: dict[str, Callable[[str], Listing]] = {"floor": floor, "libcloud": libcloud, "boto3": boto3}


def main(name: str, url: str) -> None:
    """Run one of BASELINES."""
    listing = BASELINES[name](url)
    began = time.perf_counter()
    found = listing()
    print(json.dumps({"count": found, "seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main(*sys.argv[1:])
