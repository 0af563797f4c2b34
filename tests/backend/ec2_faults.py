"""An EC2 endpoint that sends the replies of the test, faults included, and records the requests."""

import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl

from backend.config import Cloud
from backend.providers.ec2.entry import ec2_keys
from backend.providers.ec2.provider import EC2Provider
from backend.providers.protocol import Item, Page
from backend.providers.retry import RetryPolicy
from backend.secret import Secret

XMLNS = "http://ec2.amazonaws.com/doc/2016-11-15/"


@dataclass(frozen=True)
class Reply:
    """One answer. `missing`: bytes that Content-Length promises and that never come; `hang_up`: no answer at all.

    `silent`: none, and the connection stays open; `drip`: seconds between a byte and the next; `reset`: the connection
    is broken off after that many bytes.
    """

    body: str | bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    missing: int = 0
    hang_up: bool = False
    silent: bool = False
    drip: float = 0
    reset: int | None = None


def send(handler: BaseHTTPRequestHandler, reply: Reply, over: Event) -> None:
    """Answer a request; `over` ends what would take for ever."""
    broken = reply.reset is not None
    if reply.missing or reply.hang_up or reply.silent or broken:
        handler.close_connection = True
    if reply.hang_up:
        return
    if reply.silent:
        over.wait()
        return
    body = reply.body.encode() if isinstance(reply.body, str) else reply.body
    handler.send_response(reply.status)
    for name, value in reply.headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Type", "text/xml")  # without a charset, as moto does
    handler.send_header("Content-Length", str(len(body) + reply.missing))
    handler.end_headers()
    if reply.drip:
        for byte in body:
            if over.wait(reply.drip):
                return
            handler.wfile.write(bytes([byte]))
    handler.wfile.write(b"" if reply.drip else body[: reply.reset])
    if broken:
        # Closed at once and with a reset, not with a polite end.
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


def listing(action: str, collection: str, items: Iterable[str], token: str = "", xmlns: str = XMLNS) -> Reply:
    """Return a page of a Describe… call; `items` are the insides of its <item>s."""
    inside = "".join(f"<item>{item}</item>" for item in items)
    following = f"<nextToken>{token}</nextToken>" if token else "<nextToken/>"
    return Reply(
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{action}Response xmlns="{xmlns}"><requestId>r</requestId>'
        f"<{collection}>{inside}</{collection}>{following}</{action}Response>".encode()
    )


def images(ids: Iterable[str], token: str = "", xmlns: str = XMLNS) -> Reply:
    """Return a page of images that have nothing but an id and a name."""
    return listing(
        "DescribeImages", "imagesSet", (f"<imageId>{i}</imageId><name>{i}</name>" for i in ids), token, xmlns
    )


def refusal(status: int, code: str, message: str = "No.", xmlns: str = "") -> Reply:
    """Return an error as EC2 (or with an xmlns, as moto) words it."""
    space = f' xmlns="{xmlns}"' if xmlns else ""
    error = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
    return Reply(f"<Response{space}>{error}<RequestID>r</RequestID></Response>", status)


DENIED = refusal(403, "UnauthorizedOperation", "You are not authorized to perform this operation.")


class Faults:
    """A context manager: serves `replies` in turn, the last one for ever; over TLS if it has a context for that."""

    def __init__(self, *replies: Reply, tls: SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        waiting = list(replies)
        asked = self.asked
        self.arrived = arrived = Event()
        """A request has come."""
        self.left = left = Event()
        """Whoever asked has gone before the answer was whole."""
        self._over = over = Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                asked.append(Asked(self.command, self.path, dict(self.headers), body))
                reply = waiting.pop(0) if len(waiting) > 1 else waiting[0]
                arrived.set()
                try:
                    send(self, reply, over)
                except ConnectionError:  # the client has gone
                    self.close_connection = True
                    left.set()

            do_GET = do_POST

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "http" if tls is None else "https"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def policy(self, **settings: Any) -> RetryPolicy:
        return RetryPolicy(clock=lambda: self.now, sleep=self.sleep, random=lambda: 1.0, **settings)


def at(faults: Faults, **changes: Any) -> Cloud:
    """Return a cloud at that endpoint."""
    keys = ec2_keys(Secret("AKIATESTING"), Secret("testing-secret"), Secret("testing-token"))
    return replace(Cloud("aws", endpoint=faults.url, credentials=keys), **changes)


def impatient(cloud: Cloud) -> EC2Provider:
    """Return a provider that never really waits."""
    return EC2Provider(cloud, policy=Time().policy())


def every(pages: Iterator[Page]) -> list[Item]:
    """Return the items of all pages."""
    return [item for page in pages for item in page]
