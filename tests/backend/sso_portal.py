"""A small SSO portal for tests: role credentials for a token, the device flow that gives one, and metadata."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

START_URL = "https://acme.awsapps.com/start"


@dataclass
class Portal:
    """What the portal knows, and what it was asked."""

    url: str = ""
    tokens: set[str] = field(default_factory=lambda: {"good-token"})
    confirmed: Event = field(default_factory=Event)
    """Set when the user has entered the code of the device flow."""
    seconds: float = 3600
    """How long the keys that it gives are valid."""
    asked: list[str] = field(default_factory=list)

    def keys(self, account: str, role: str) -> dict[str, Any]:
        """Return the keys of a role; always the same ones, so that two programs get the same."""
        return {
            "accessKeyId": f"ASIASSO{account}{role.upper()}",
            "secretAccessKey": f"sso-secret-of-{account}-{role}",
            "sessionToken": f"sso-session-of-{account}-{role}",
            "expiration": int((time.time() + self.seconds) * 1000),
        }


def save_token(home: Path, token: str, *, session: str | None = None, url: str = START_URL, ends: float = 3600) -> None:
    """Save a token as `aws sso login` does; `ends` is in seconds from now."""
    folder = home / ".aws" / "sso" / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    name = sha1((session or START_URL).encode(), usedforsecurity=False).hexdigest()
    at = (datetime.now(UTC) + timedelta(seconds=ends)).strftime("%Y-%m-%dT%H:%M:%SZ")
    said = {"startUrl": url, "region": "us-east-1", "accessToken": token, "expiresAt": at}
    (folder / f"{name}.json").write_text(json.dumps(said))


@contextmanager
def sso_portal() -> Iterator[Portal]:
    """Serve a portal on a port of its own."""
    portal = Portal()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            portal.asked.append(address.path)
            query = parse_qs(address.query)
            if address.path.startswith("/latest/meta-data/placement/"):  # moto's metadata has no zones
                self._answer(200, "eu-north-1b")
                return
            if self.headers.get("x-amz-sso_bearer_token") not in portal.tokens:
                self._answer(401, {"message": "Session token not found or invalid"}, "UnauthorizedException")
            elif query["role_name"] == ["Forbidden"]:
                self._answer(403, {"message": "No access"}, "ForbiddenException")
            else:
                self._answer(200, {"roleCredentials": portal.keys(query["account_id"][0], query["role_name"][0])})

        def do_PUT(self) -> None:
            self._answer(200, "metadata-token")

        def do_POST(self) -> None:
            portal.asked.append(self.path)
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path == "/client/register":
                late = int(time.time()) + 86_400
                self._answer(200, {"clientId": "c", "clientSecret": "client-secret", "clientSecretExpiresAt": late})
            elif self.path == "/device_authorization":
                self._answer(
                    200,
                    {
                        "deviceCode": "device-code",
                        "userCode": "ABCD-EFGH",
                        "verificationUri": "https://device.sso.example/",
                        "verificationUriComplete": "https://device.sso.example/?code=ABCD-EFGH",
                        "expiresIn": 60,
                        "interval": 1,
                    },
                )
            elif said["grantType"].endswith("device_code") and not portal.confirmed.is_set():
                self._answer(400, {"error": "authorization_pending"}, "AuthorizationPendingException")
            else:
                portal.tokens.add("new-token")
                self._answer(200, {"accessToken": "new-token", "expiresIn": 3600, "refreshToken": "refresh-token"})

        def _answer(self, status: int, said: dict[str, Any] | str, error: str = "") -> None:
            data = said.encode() if isinstance(said, str) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if error:
                self.send_header("x-amzn-ErrorType", error)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    portal.url = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield portal
    server.shutdown()
    server.server_close()
