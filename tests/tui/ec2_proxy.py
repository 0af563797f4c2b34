"""A proxy in front of a simulated EC2 that refuses or holds up single calls, and keeps what it was asked."""

from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from tests.backend.ec2_faults import Reply

FLAVORS = ("t2.micro", "t4g.micro")
_NARROWED = "&Filter.1.Name=instance-type" + "".join(
    f"&Filter.1.Value.{number}={flavor}" for number, flavor in enumerate(FLAVORS, 1)
)


class Proxy:
    """A context manager. Of the 1,400 flavors that moto takes seconds to list it asks for FLAVORS alone."""

    def __init__(self, endpoint: str) -> None:
        self.asked: list[str] = []
        """The actions in the order they came."""
        self.answers: dict[str, Reply] = {}
        """What an action ("*": any) is answered, instead of being passed on."""
        self.held: set[str] = set()
        """The actions that are passed on when they are released."""
        self.reached = Event()
        """One of them has come."""
        self.released = Event()
        proxy, moto = self, urlsplit(endpoint)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                [action] = parse_qs(body.decode())["Action"]
                proxy.asked.append(action)
                if action in proxy.held:
                    proxy.reached.set()
                    proxy.released.wait()
                reply = proxy.answers.get(action) or proxy.answers.get("*") or self._passed_on(action, body)
                sent = reply.body.encode() if isinstance(reply.body, str) else reply.body
                try:
                    self.send_response(reply.status)
                    self.send_header("Content-Type", "text/xml")
                    self.send_header("Content-Length", str(len(sent)))
                    self.end_headers()
                    self.wfile.write(sent)
                except ConnectionError:  # the program was interrupted meanwhile
                    self.close_connection = True

            def _passed_on(self, action: str, body: bytes) -> Reply:
                if action in ("DescribeInstanceTypes", "DescribeInstanceTypeOfferings"):
                    body += _NARROWED.encode()
                names = ("Authorization", "Content-Type", "X-Amz-Date")
                connection = HTTPConnection(str(moto.hostname), moto.port)
                try:
                    headers = {name: self.headers[name] for name in names if name in self.headers}
                    connection.request("POST", self.path, body, headers)
                    answer = connection.getresponse()
                    return Reply(answer.read(), answer.status)
                finally:
                    connection.close()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
