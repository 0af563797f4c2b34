"""Tags of EC2: every object with an id can have them."""

from backend.providers.ec2.requests import Requests
from backend.providers.failures import Request


class Tags:
    """The operations on the tags of one kind."""

    name_tag = "Name"

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def tag(self, native: str, key: str, value: str) -> None:
        request = Request("CreateTags", f"Tagging {native}", changes=True)
        self._requests.change(request, {"ResourceId.1": native, "Tag.1.Key": key, "Tag.1.Value": value})

    def untag(self, native: str, key: str) -> None:
        request = Request("DeleteTags", f"Removing a tag of {native}", changes=True)
        self._requests.change(request, {"ResourceId.1": native, "Tag.1.Key": key})
