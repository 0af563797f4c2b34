"""A proxy in front of a simulated EC2 that refuses, delays or cuts off single calls, and records all."""

import random
import re
from collections import defaultdict
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Lock, Thread
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, quote_plus, urlsplit

from tests.backend.ec2_faults import Reply, refusal, send

FLAVORS = ("t2.micro", "t4g.micro")
_NARROWED = "&Filter.1.Name=instance-type" + "".join(
    f"&Filter.1.Value.{number}={flavor}" for number, flavor in enumerate(FLAVORS, 1)
)
_CUT = Reply(hang_up=True)
_KEYPAIR_ID = re.compile(rb"KeyPairId=([\w-]+)")
_KEYPAIR = re.compile(rb"<keyPairId>(.*?)</keyPairId>.*?<keyName>(.*?)</keyName>", re.DOTALL)


@dataclass(frozen=True)
class Call:
    """A request as it came; `params` are its form without Action and Version."""

    action: str
    params: dict[str, str]
    passed: bool
    """It was passed on to moto, not answered by the proxy."""


@dataclass
class _First:
    """The first call with a ClientToken that moto carried out."""

    form: dict[str, str] = field(default_factory=dict)
    reply: Reply | None = None
    lock: Lock = field(default_factory=Lock)
    """Held while a call with the token is passed on."""


class Proxy:
    """A context manager. Of the 1,400 flavors that moto takes seconds to list it asks for FLAVORS alone.

    What befalls a call, in this order: `throttle`, `held`, `answers`, `denied`, `cut`, `tokens`, `hold_reply`,
    `spoilt`.
    """

    def __init__(self, endpoint: str) -> None:
        self.asked: list[str] = []
        """The actions in the order they came."""
        self.calls: list[Call] = []
        """The requests in the order they came; `passed` is False until one is passed on."""
        self.answers: dict[str, Reply] = {}
        """What an action ("*": any) is answered, instead of being passed on."""
        self.spoilt: dict[str, Callable[[Call, Reply], Reply]] = {}
        """What becomes of moto's reply to an action ("*": any) on its way."""
        self.denied: set[str] = set()
        """The ids of what may not be changed: EC2's permissions may hang on tags."""
        self.tokens = True
        """A ClientToken makes a repeated RunInstances the same one, as at AWS; moto would boot twice."""
        self.keypair_ids = True
        """A keypair is deleted by its KeyPairId, as at AWS; moto knows the KeyName alone."""
        self.held: set[str] = set()
        """The actions that are passed on when they are released."""
        self.reached = Event()
        """One of them has come."""
        self.acted = Event()
        """moto has carried out a call of `hold_reply`."""
        self.released = Event()
        self._busy = 0
        self._idle = Condition()
        self._moto = urlsplit(endpoint)
        self._one = Lock()
        """One call at a time: moto's tables change under those that read them, and it answers 500 then."""
        self._lock = Lock()
        self._throttled: Callable[[str], bool] = lambda _: False
        self._cuts: defaultdict[str, list[bool]] = defaultdict(list)
        self._withheld: set[str] = set()
        self._firsts: defaultdict[str, _First] = defaultdict(_First)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                names = ("Authorization", "Content-Type", "X-Amz-Date")
                headers = {name: self.headers[name] for name in names if name in self.headers}
                with proxy._counted():
                    reply = proxy._answer(body, partial(proxy._ask_moto, self.path, headers))
                try:
                    send(self, reply, proxy.released)
                except ConnectionError:  # the program was interrupted meanwhile
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._idle:
            self._busy += 1
        try:
            yield
        finally:
            with self._idle:
                self._busy -= 1
                self._idle.notify_all()

    def wait_idle(self) -> None:
        """Wait until no call is on its way to moto or back: what a killed client has sent has then been done."""
        with self._idle:
            assert self._idle.wait_for(lambda: self._busy == 0, 30)

    def count(self, action: str) -> int:
        """Return how many calls of the action were passed on."""
        with self._lock:
            return sum(call.passed and call.action == action for call in self.calls)

    def throttle(self, share: float, seed: int, actions: Container[str] | None = None) -> None:
        """From now on refuse that share of the calls (of `actions`) unread; 0 ends it."""
        dice = random.Random(seed)  # noqa: S311 - a test's dice

        def throttled(action: str) -> bool:
            return (actions is None or action in actions) and dice.random() < share

        with self._lock:
            self._throttled = throttled

    def cut(self, action: str, times: int = 1, after: bool = True) -> None:
        """Close the connection of the next `times` calls without a reply, after or before they are passed on."""
        with self._lock:
            self._cuts[action] += [after] * times

    def hold_reply(self, action: str) -> None:
        """Pass the next call on, set `acted` and withhold the reply until it is released."""
        with self._lock:
            self._withheld.add(action)

    def _answer(self, body: bytes, ask: Callable[[str, bytes], Reply]) -> Reply:
        """Return what a request is answered; `ask` passes it on."""
        form = dict(parse_qsl(body.decode(), keep_blank_values=True))
        action = form["Action"]
        params = {name: value for name, value in form.items() if name not in ("Action", "Version")}
        call = Call(action, params, passed=False)
        with self._lock:
            self.asked.append(action)
            self.calls.append(call)
            throttled = self._throttled(action)
        if throttled:
            return refusal(503, "RequestLimitExceeded", "Request limit exceeded.")
        if action in self.held:
            self.reached.set()
            self.released.wait()
        if answer := self.answers.get(action) or self.answers.get("*"):
            return answer
        if not action.startswith("Describe") and self.denied & set(params.values()):
            return refusal(403, "UnauthorizedOperation", "You are not authorized to perform this operation.")
        with self._lock:
            cuts = self._cuts[action]
            cut = bool(cuts)
            after = cuts.pop(0) if cuts else True
            withheld = after and action in self._withheld
            if withheld:
                self._withheld.remove(action)
        if not after:
            return _CUT

        def pass_on() -> Reply:
            self._mark(call)
            return ask(action, body)

        once = self.tokens and action == "RunInstances" and "ClientToken" in form
        reply = self._once(form, pass_on) if once else pass_on()
        if withheld:
            self.acted.set()
            self.released.wait()
        spoil = self.spoilt.get(action) or self.spoilt.get("*")
        return _CUT if cut else spoil(call, reply) if spoil else reply

    def _mark(self, call: Call) -> None:
        """Keep that a call is passed on."""
        with self._lock:
            for index, kept in enumerate(self.calls):
                if kept is call:  # others may be equal; and a test may have cleared the list
                    self.calls[index] = replace(call, passed=True)

    def _once(self, form: dict[str, str], pass_on: Callable[[], Reply]) -> Reply:
        """Return the reply to a form with a ClientToken, which is passed on unless one with the token was before."""
        with self._lock:
            first = self._firsts[form["ClientToken"]]
        with first.lock:  # of two at once, the second waits for the reply to the first
            if first.reply is None:
                reply = pass_on()
                if reply.status == 200:  # what was refused, as a dry run is, uses up no token
                    first.form, first.reply = form, reply
                return reply
            if form != first.form:
                return refusal(400, "IdempotentParameterMismatch", "The token was used with other parameters.")
            return first.reply

    def _ask_moto(self, path: str, headers: dict[str, str], action: str, body: bytes) -> Reply:
        if action in ("DescribeInstanceTypes", "DescribeInstanceTypeOfferings"):
            body += _NARROWED.encode()
        if action == "DeleteKeyPair" and self.keypair_ids and (found := _KEYPAIR_ID.search(body)):
            described = self._ask_moto(path, headers, "", b"Action=DescribeKeyPairs&Version=2016-11-15")
            names = dict(
                _KEYPAIR.findall(bytes(described.body, "utf-8") if isinstance(described.body, str) else described.body)
            )
            body = body.replace(found[0], b"KeyName=" + quote_plus(names.get(found[1], b"")).encode())
        connection = HTTPConnection(str(self._moto.hostname), self._moto.port)
        try:
            with self._one:
                connection.request("POST", path, body, headers)
                answer = connection.getresponse()
                return Reply(answer.read(), answer.status)
        finally:
            connection.close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
