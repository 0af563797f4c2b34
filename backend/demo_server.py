"""The demo's web server: who may ask, which account and region a request is for, and answers that are sent again.

Importing this module imports moto, which takes 0.3 s: only backend.demo does so, when a demo starts.
"""

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hmac import compare_digest
from io import BytesIO
from threading import RLock
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

from botocore.exceptions import ClientError  # type: ignore[import-untyped]
from moto.core.request import Request
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from backend.demo_accounts import REGION_NAMES, Account
from backend.demo_answers import DemoResponse
from backend.demo_moto import Backends

_log = logging.getLogger(__name__)

_SIGNED = re.compile(r"AWS4-HMAC-SHA256 Credential=(\w+)/\d{8}/([a-z0-9-]+)/(ec2|sts|iam)/aws4_request,")
"""The authorization header of a request, with its access key, region and service."""


@dataclass(frozen=True)
class Answer:
    """A status and an XML text."""

    status: int
    body: str


def _error(status: int, code: str, message: str) -> Answer:
    text = f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors></Response>"
    return Answer(status, text)


_OUTAGE = _error(503, "Unavailable", "The service is unavailable. Please try again shortly.")

_NOT_ENABLED = _error(
    401, "OptInRequired", f"You are not subscribed to this service. The demo has {', '.join(REGION_NAMES)}."
)

_IDENTITY = {
    "GetCallerIdentity": (
        "https://sts.amazonaws.com/doc/2011-06-15/",
        "<Arn>{0.arn}</Arn><UserId>AROADEMO:ada</UserId><Account>{0.id}</Account>",
    ),
    "ListAccountAliases": (
        "https://iam.amazonaws.com/doc/2010-05-08/",
        "<IsTruncated>false</IsTruncated><AccountAliases><member>{0.alias}</member></AccountAliases>",
    ),
}
"""What the demo answers for STS and IAM: the namespace and the result of each action."""

_FIXED = {"DescribeImages", "DescribeInstanceTypes", "DescribeInstanceTypeOfferings"}
"""Large listings that are the same in every demo of this process; that of images until a request changes one."""

_fixed: dict[tuple[str, str, bytes], Answer] = {}

_MOST = 32
"""The most answers in `_fixed`: one of images takes 1 MB."""

_CHANGES_IMAGES = re.compile(r"(?!Describe|Get|Run)\w*(Image|Tags)")


class _Handler(WSGIRequestHandler):  # type: ignore[misc]
    # One request for each connection, so that no connection is open when the server stops.
    protocol_version = "HTTP/1.0"
    timeout = 5
    """Seconds that a client has to send its request or to read a part of the answer."""

    def log(self, _type: str, message: str, *args: Any) -> None:
        """Write to our own log: werkzeug's log would write over the dashboard in the terminal."""
        _log.debug(message, *args)


class _Request(Request):  # type: ignore[misc]
    from_wsgi_server = True


class DemoServer(ThreadedWSGIServer):  # type: ignore[misc]
    """The accounts of the demo on a free loopback port; `keys` are their access keys, `faults` their failing regions.

    Every user of this computer can reach the port, and so can every web page in a browser. It answers only requests
    that are signed with one of the keys, for the account of that key. moto checks no signature.
    """

    # server_close() then waits for the open requests.
    daemon_threads = False

    def __init__(
        self, backends: Backends, keys: Mapping[str, Account], faults: Collection[tuple[Account, str]]
    ) -> None:
        self._backends = backends
        self._keys = {key.encode(): account for key, account in keys.items()}
        self._faults = faults
        # moto's tables are not thread-safe.
        self._one = RLock()
        super().__init__("127.0.0.1", 0, self._answer, _Handler)

    def _answer(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        signed = _SIGNED.match(environ.get("HTTP_AUTHORIZATION", ""))
        account = self._account(signed[1].encode()) if signed else None
        if signed is None or account is None or not self._is_meant(environ):
            answer = Answer(403, "")
        else:
            # Outside the lock, for which a client that does not send would let all others wait.
            asked = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            with self._one:
                answer = self._ask(environ, asked, account, signed[2], signed[3])
        body = answer.body.encode()
        headers = [
            ("Content-Type", "text/xml"),
            ("Content-Length", str(len(body))),
            ("x-amzn-requestid", str(uuid4())),
        ]
        start_response(f"{answer.status} {HTTP_STATUS_CODES[answer.status]}", headers)
        return [body]

    def _account(self, key: bytes) -> Account | None:
        return next((account for known, account in self._keys.items() if compare_digest(known, key)), None)

    def _is_meant(self, environ: dict[str, Any]) -> bool:
        return (
            environ["PATH_INFO"] == "/"
            and environ.get("HTTP_HOST")
            == f"127.0.0.1:{self.server_port}"  # not another name that resolves to this address
            and "HTTP_ORIGIN" not in environ
        )

    def _ask(self, environ: dict[str, Any], asked: bytes, account: Account, region: str, service: str) -> Answer:
        query = asked or environ["QUERY_STRING"].encode()
        action = parse_qs(query.decode()).get("Action", [""])[0]
        if service != "ec2":
            return _identity(action, account)
        if region not in REGION_NAMES:
            return _NOT_ENABLED
        if (account, region) in self._faults:
            return _OUTAGE
        backend = self._backends.at(account, region)
        if _CHANGES_IMAGES.match(action):
            backend.images_as_filled = False
        place = account.id, region, query
        fixed = action in _FIXED and (backend.images_as_filled or action != "DescribeImages")
        if fixed and (known := _fixed.get(place)):
            return known
        answer = _moto(environ, asked, account)
        if fixed and len(_fixed) < _MOST:
            _fixed[place] = answer
        return answer

    def log(self, _type: str, message: str, *args: Any) -> None:
        # The user sees a failure inside moto as the status of the answer; its traceback goes to the log file.
        _log.info(message, *args)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        _log.info("A request to the demo failed.", exc_info=True)


def _identity(action: str, account: Account) -> Answer:
    if action not in _IDENTITY:
        return _error(403, "AccessDenied", f"The demo has no {action}.")
    namespace, result = _IDENTITY[action]
    inner = f"<{action}Result>{result.format(account)}</{action}Result>"
    return Answer(200, f'<{action}Response xmlns="{namespace}">{inner}</{action}Response>')


def _moto(environ: dict[str, Any], asked: bytes, account: Account) -> Answer:
    """Let moto answer a request for EC2; it takes the region from the authorization header."""
    request = _Request({**environ, "wsgi.input": BytesIO(asked), "HTTP_X_MOTO_ACCOUNT_ID": account.id})
    try:
        status, _, body = DemoResponse.dispatch(request)
    except ClientError as error:
        return _error(400, error.response["Error"]["Code"], error.response["Error"]["Message"])
    return Answer(int(status), body)
