"""The EC2 face of keypairs: lists, creates and deletes them."""

from collections.abc import Iterator, Sequence

from backend.providers.ec2 import rows
from backend.providers.ec2.params import filtered
from backend.providers.ec2.requests import Listing, Requests
from backend.providers.failures import Malformed, Refusal, Request
from backend.providers.protocol import Item, Page

KEYPAIRS = Listing(Request("DescribeKeyPairs", "Listing keypairs"), "keySet", rows.KEYPAIR.item, 0)


class Keypairs:
    """The operations on keypairs."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def list(self, ids: Sequence[str] = ()) -> Iterator[Page]:
        for page in self._requests.pages(KEYPAIRS):  # not every endpoint can list them by id
            yield [item for item in page if item["id"] in ids] if ids else page

    def create(self, name: str) -> tuple[Item, str]:
        request = Request("CreateKeyPair", f"Creating keypair {name}", changes=True)
        answer = self._requests.change(request, {"KeyName": name})
        pem = answer.pop("keyMaterial", None)  # removed first, because the rest of the answer is cached
        # This answer has no type (the default is RSA) and no time; the next listing has both.
        item = self._requests.made(request, rows.KEYPAIR.item({"keyType": "rsa", **answer}))
        if not isinstance(pem, str):
            raise self._requests.explained(Malformed("it has no private key"), request)
        return item, pem

    def delete(self, name: str, native: str) -> None:
        request = Request("DeleteKeyPair", f"Deleting keypair {name}", changes=True)
        # EC2 reports success when the keypair does not exist.
        if not self._has(name, native):
            raise self._requests.explained(Refusal(400, "InvalidKeyPair.NotFound"), request)
        if native == name:  # the endpoint has no ids
            self._requests.change(request, {"KeyName": name})
            return
        # By id: another keypair may have the name by now.
        answer = self._requests.change(request, {"KeyPairId": native})
        if answer.get("keyPairId") != native and self._has(name, native):  # moto ignores the id
            self._requests.change(request, {"KeyName": name})

    def _has(self, name: str, native: str) -> bool:
        listed = self._requests.pages(KEYPAIRS, filtered("key-name", [name]))
        return any((item["name"], item["id"]) == (name, native) for page in listed for item in page)
