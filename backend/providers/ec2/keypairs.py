"""Keypairs of EC2."""

from collections.abc import Iterator, Sequence

from backend.providers.ec2 import rows
from backend.providers.ec2.params import filtered
from backend.providers.ec2.requests import Listing, Requests
from backend.providers.failures import Malformed, Refusal, Request
from backend.providers.protocol import Item, Page

KEYPAIRS = Listing(Request("DescribeKeyPairs", "Listing keypairs"), "keySet", rows.KEYPAIR.item, 0)


class Keypairs:
    """What can be done with keypairs."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def list(self, ids: Sequence[str] = ()) -> Iterator[Page]:
        for page in self._requests.pages(KEYPAIRS):  # not every endpoint can list them by id
            yield [item for item in page if item["id"] in ids] if ids else page

    def create(self, name: str) -> tuple[Item, str]:
        request = Request("CreateKeyPair", f"Creating keypair {name}", changes=True)
        answer = self._requests.change(request, {"KeyName": name})
        pem = answer.pop("keyMaterial", None)  # out of the answer before anything is made of it: extra is cached
        # EC2 says neither type (RSA is its default) nor time here; the next listing does.
        item = self._requests.made(request, rows.KEYPAIR.item({"keyType": "rsa", **answer}))
        if not isinstance(pem, str):
            raise self._requests.explained(Malformed("it has no private key"), request)
        return item, pem

    def delete(self, name: str, native: str) -> None:
        request = Request("DeleteKeyPair", f"Deleting keypair {name}", changes=True)
        # EC2 calls deleting what is not there a success.
        if not self._has(name, native):
            raise self._requests.explained(Refusal(400, "InvalidKeyPair.NotFound"), request)
        if native == name:  # the endpoint gives no ids
            self._requests.change(request, {"KeyName": name})
            return
        # By its id: under its name another may have been created since.
        answer = self._requests.change(request, {"KeyPairId": native})
        if answer.get("keyPairId") != native and self._has(name, native):  # moto passes over the id
            self._requests.change(request, {"KeyName": name})

    def _has(self, name: str, native: str) -> bool:
        listed = self._requests.pages(KEYPAIRS, filtered("key-name", [name]))
        return any((item["name"], item["id"]) == (name, native) for page in listed for item in page)
