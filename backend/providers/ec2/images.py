"""The EC2 face of images: lists them."""

from collections.abc import Container, Iterator, Sequence

from backend.providers.ec2 import rows
from backend.providers.ec2.entry import OWNERS
from backend.providers.ec2.params import numbered
from backend.providers.ec2.requests import Listing, Requests
from backend.providers.failures import Request
from backend.providers.protocol import Page

IMAGES = Listing(Request("DescribeImages", "Listing images"), "imagesSet", rows.IMAGE.item, vast=True)


class Images:
    """The operations on images."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def list(self, ids: Sequence[str] = (), known: Container[int] = ()) -> Iterator[Page]:
        """List the images of the owners in the configuration, or those of `ids`.

        An image whose digest is in `known` may be listed as only {"digest": …}.
        """
        if ids:
            return self._requests.of(IMAGES, "image-id", ids)
        owners = self._requests.cloud.images or OWNERS
        return self._requests.pages(IMAGES, {} if "all" in owners else numbered("Owner", owners), known)
