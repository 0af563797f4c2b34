"""An EC2 endpoint in a process of its own that lists as many images and VMs as are wanted, fast.

    python -m tests.bench.endpoint --images 100000 --vms 1000 --delay 0.05 --changing 2

prints its port, then serves on the loopback interface until it is interrupted. GET /counts answers how often each
action was called. What it lists is in tests.bench.content.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count, takewhile
from pathlib import Path
from threading import Lock
from urllib.parse import parse_qsl, urlsplit
from urllib.request import urlopen

from backend.mongod_keeper import dies_with
from tests.bench import content

XMLNS = "http://ec2.amazonaws.com/doc/2016-11-15/"
BLOCK = 1000
"""Images that are compressed together: the largest page that EC2 gives."""
_ALONE = 5000
"""Images up to which starting a pool of processes takes longer than it saves."""
_LEVEL = 1
"""Of the compression: 6 is no more like EC2's, and four times slower."""


class Refused(Exception):
    """A call is answered with an error; its arguments are EC2's code and message."""


class World:
    """What the endpoint lists, as the members of a gzip file (RFC 1952 lets several follow each other).

    So the items of a page are compressed once, before anybody asks, whatever head and token surround them later.
    """

    def __init__(
        self, images: int, vms: int, changing: float, changed: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._images = images
        # Spread over all pages, as changes in a cloud are.
        self._changed = frozenset(number * images // changed for number in range(changed))
        self._blocks = self._compressed()
        self._vms = {content.vm_id(index): index for index in range(vms)}
        self._changing = changing
        self._clock = clock
        self._began = clock()

    def answer(self, action: str, form: Mapping[str, str]) -> Iterator[bytes]:
        """Yield the members of one answer. Raises Refused."""
        if action == "DescribeImages":
            start, end, token = _page(form, self._images)
            return _answer(action, "imagesSet", self._members(start, end), token)
        if action == "DescribeInstances":
            wanted = self._wanted(form)
            start, end, token = _page(form, len(wanted))
            return _answer(action, "reservationSet", [_member(content.vms(wanted[start:end], self._step()))], token)
        if action in content.FEW:
            collection, items = content.FEW[action]
            inside = "".join(f"        <item>{item}</item>\n" for item in items)
            return _answer(action, collection, [_member(inside.encode())])
        raise Refused("InvalidAction", f"The action {action} is not valid for this web service.")

    def _compressed(self) -> list[bytes]:
        block = partial(_block, self._images, self._changed)
        starts = range(0, self._images, BLOCK)
        if self._images <= _ALONE:
            return list(map(block, starts))
        with ProcessPoolExecutor() as pool:
            return list(pool.map(block, starts, chunksize=4))

    def _members(self, start: int, end: int) -> Iterator[bytes]:
        """Yield the images of a page: ready blocks where they lie within it, the rest compressed now."""
        while start < end:
            upto = min(end, start - start % BLOCK + BLOCK)
            if start % BLOCK == 0 and upto in (start + BLOCK, self._images):
                yield self._blocks[start // BLOCK]
            else:
                yield _member(content.images(start, upto, self._changed))
            start = upto

    def _step(self) -> int | None:
        return int((self._clock() - self._began) / self._changing) if self._changing else None

    def _wanted(self, form: Mapping[str, str]) -> list[int]:
        """Return the VMs that a call names, in its parameters or a filter: all if it names none."""
        named = set(_values(form, "InstanceId"))
        for number in takewhile(lambda number: f"Filter.{number}.Name" in form, count(1)):
            if form[f"Filter.{number}.Name"] == "instance-id":
                named |= set(_values(form, f"Filter.{number}.Value"))
        return [index for vm, index in self._vms.items() if not named or vm in named]


def _values(form: Mapping[str, str], name: str) -> Iterator[str]:
    """Yield a list in EC2's notation: InstanceId.1, InstanceId.2 …"""
    names = (f"{name}.{number}" for number in count(1))
    return (form[key] for key in takewhile(form.__contains__, names))


def _page(form: Mapping[str, str], total: int) -> tuple[int, int, str]:
    """Return where a page starts and ends, and the token of the next. Without MaxResults it ends with the last item."""
    try:
        start = int(form.get("NextToken", "from-0").removeprefix("from-"))
        end = min(total, start + int(form["MaxResults"])) if "MaxResults" in form else total
    except ValueError:
        raise Refused("InvalidParameterValue", "MaxResults or NextToken is not one of ours.") from None
    return start, end, f"from-{end}" if end < total else ""


def _block(images: int, changed: frozenset[int], start: int) -> bytes:
    return _member(content.images(start, min(start + BLOCK, images), changed))


def _member(data: bytes) -> bytes:
    return gzip.compress(data, _LEVEL, mtime=0)


def _answer(action: str, collection: str, items: Iterable[bytes], token: str = "") -> Iterator[bytes]:
    yield _member(
        f'<?xml version="1.0" encoding="UTF-8"?>\n<{action}Response xmlns="{XMLNS}">\n'
        f"    <requestId>00000000-0000-4000-8000-000000000000</requestId>\n    <{collection}>\n".encode()
    )
    yield from items
    following = f"    <nextToken>{token}</nextToken>\n" if token else ""
    yield _member(f"    </{collection}>\n{following}</{action}Response>\n".encode())


# --- HTTP -------------------------------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Serves a world, `delay` seconds after each call."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, world: World, delay: float) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.world = world
        self.delay = delay
        self._counts: Counter[str] = Counter()
        self._counting = Lock()

    def note(self, action: str) -> None:
        """Count a call."""
        with self._counting:
            self._counts[action] += 1

    def counts(self) -> dict[str, int]:
        """Return how often each action was called."""
        with self._counting:
            return dict(self._counts)


class Handler(BaseHTTPRequestHandler):
    """Answers the forms of POST (ours, boto3's) and the queries of GET (libcloud's)."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server

    def do_POST(self) -> None:
        self._call(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/counts":
            self._send(200, [json.dumps(self.server.counts()).encode()], {"Content-Type": "application/json"})
        else:
            self._call(parts.query)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: stdout is for the port alone."""

    def _call(self, form: str) -> None:
        wanted = dict(parse_qsl(form, keep_blank_values=True))
        action = wanted.get("Action", "")
        self.server.note(action)
        time.sleep(self.server.delay)
        headers = {"Content-Type": "text/xml;charset=UTF-8"}
        try:
            members = list(self.server.world.answer(action, wanted))
        except Refused as refusal:
            code, message = refusal.args
            error = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
            self._send(400, [f"<Response><Errors>{error}</Errors></Response>".encode()], headers)
            return
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            self._send(200, members, headers | {"Content-Encoding": "gzip"})
        else:
            self._send(200, list(map(gzip.decompress, members)), headers)

    def _send(self, status: int, parts: Sequence[bytes], headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(sum(map(len, parts))))
        try:
            self.end_headers()
            for part in parts:
                self.wfile.write(part)
        except ConnectionError:  # the refresh was cancelled meanwhile
            self.close_connection = True


# --- the process ------------------------------------------------------------------------------------------------------


@contextmanager
def serving(
    images: int = 0, vms: int = 0, delay: float = 0.0, changing: float = 0.0, changed: int = 0
) -> Iterator[str]:
    """Run an endpoint and yield its URL once it is ready.

    `delay`: seconds before each answer; `changing`: seconds between two steps of every VM's state, 0 for none;
    `changed`: how many images differ from what they are without it.
    """
    options = {"images": images, "vms": vms, "delay": delay, "changing": changing, "changed": changed}
    options["parent"] = os.getpid()
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.endpoint", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().strip()
            if not port:
                raise RuntimeError("The endpoint of the benchmark did not start.")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def counts(url: str) -> dict[str, int]:
    """Return how often each action of an endpoint was called."""
    with urlopen(f"{url}/counts") as answer:  # noqa: S310 - our own server
        found: dict[str, int] = json.load(answer)
    return found


def main() -> None:
    """Serve until interrupted."""
    known = argparse.ArgumentParser(prog="python -m tests.bench.endpoint", description=__doc__)
    known.add_argument("--images", type=int, default=0, help="how many images there are")
    known.add_argument("--vms", type=int, default=0, help="how many VMs there are")
    known.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    known.add_argument("--changing", type=float, default=0.0, help="seconds between steps of every VM's state")
    known.add_argument("--changed", type=int, default=0, help="how many images differ from what they are without it")
    known.add_argument("--parent", type=int, help="a process whose child it is and with which it ends, however it dies")
    options = known.parse_args()
    if options.parent:
        dies_with(options.parent)()
    world = World(options.images, options.vms, options.changing, options.changed)
    with Server(world, options.delay) as server, suppress(KeyboardInterrupt):
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
