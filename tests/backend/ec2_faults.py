"""An EC2 endpoint that gives the answers it was told to, faults included, and keeps what it was asked."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl

from backend.config import Cloud, Credentials
from backend.providers import Item, Page
from backend.providers.ec2 import EC2Provider
from backend.providers.patience import Patience
from backend.secret import Secret

XMLNS = "http://ec2.amazonaws.com/doc/2016-11-15/"


@dataclass(frozen=True)
class Reply:
    """One answer. `missing`: bytes that Content-Length promises and that never come; `hang_up`: no answer at all."""

    body: str | bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    missing: int = 0
    hang_up: bool = False


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


class Faults:
    """A context manager: serves `replies` in turn, the last one for ever."""

    def __init__(self, *replies: Reply) -> None:
        self.asked: list[Asked] = []
        waiting = list(replies)
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                asked.append(Asked(self.command, self.path, dict(self.headers), body))
                reply = waiting.pop(0) if len(waiting) > 1 else waiting[0]
                if reply.missing or reply.hang_up:
                    self.close_connection = True
                if reply.hang_up:
                    return
                sent = reply.body.encode() if isinstance(reply.body, str) else reply.body
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "text/xml")  # without a charset, as moto does
                self.send_header("Content-Length", str(len(sent) + reply.missing))
                self.end_headers()
                self.wfile.write(sent)

            do_GET = do_POST

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
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

    def patience(self, **settings: Any) -> Patience:
        return Patience(clock=lambda: self.now, sleep=self.sleep, random=lambda: 1.0, **settings)


def at(faults: Faults, **changes: Any) -> Cloud:
    """Return a cloud at that endpoint."""
    keys = Credentials(Secret("AKIATESTING"), Secret("testing-secret"), Secret("testing-token"))
    return replace(Cloud("aws", endpoint=faults.url, credentials=keys), **changes)


def impatient(cloud: Cloud) -> EC2Provider:
    """Return a provider that never really waits."""
    return EC2Provider(cloud, patience=Time().patience())


def every(pages: Iterator[Page]) -> list[Item]:
    """Return the items of all pages."""
    return [item for page in pages for item in page]
