"""A team's MongoDB: a replica set of one with users and passwords, over TLS, with its own authority."""

import datetime
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from backend.mongod import find_binary
from tests.backend.cache_support import PASSWORD, eventually

DATABASE = "team"

_ADMIN, _FIRST = "admin", "boss"


def certificates(folder: Path, host: str = "127.0.0.1") -> tuple[Path, Path]:
    """Make an authority and a server's key with its certificate; return the files of both."""
    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of our own")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    known = authority.public_key()
    root = _certificate(issuer, known).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(host))])
    leaf = _certificate(subject, server.public_key()).issuer_name(issuer).add_extension(names, critical=False)
    ca, pem = folder / "ca.pem", folder / "server.pem"
    ca.write_bytes(root.issuer_name(issuer).sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    key = server.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(key + leaf.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return ca, pem


def _certificate(subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(subject).public_key(key).serial_number(x509.random_serial_number())
    return made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))


class TeamServer:
    """A mongod with users, a key file and TLS on a port of this machine; a replica set of one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca, self._pem = certificates(folder)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port = taken.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _start(self) -> None:
        binary, key_file, data = find_binary(), self._folder / "members.key", self._folder / "data"
        assert binary is not None
        key_file.write_text("an0ldKeyOfTheMembers" * 4)
        key_file.chmod(0o600)
        data.mkdir()
        words = [binary, "--bind_ip", "127.0.0.1", "--port", str(self.port), "--nounixsocket", "--replSet", "rs"]
        words += ["--keyFile", str(key_file), "--tlsMode", "requireTLS", "--tlsCAFile", str(self.ca)]
        words += ["--tlsCertificateKeyFile", str(self._pem), "--tlsAllowConnectionsWithoutCertificates"]
        words += ["--oplogSize", "50", "--wiredTigerCacheSizeGB", "0.25", "--dbpath", str(data)]
        words += ["--setParameter", "diagnosticDataCollectionEnabled=false", "--logpath", str(self._folder / "log")]
        self._process = subprocess.Popen(words, stdout=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"})
        eventually(self._is_primary, 40)
        # The first user may be made without being one, from this machine.
        with self._client("", "directConnection=true") as client:
            client[_ADMIN].command("createUser", _FIRST, pwd=PASSWORD, roles=["root"])

    def _is_primary(self) -> bool:
        with suppress(PyMongoError), self._client("", "directConnection=true") as client:
            if client.admin.command("hello").get("isWritablePrimary"):
                return True
            member = {"_id": 0, "host": f"127.0.0.1:{self.port}"}
            client.admin.command({"replSetInitiate": {"_id": "rs", "members": [member]}})
        return False

    def _client(self, user: str, options: str = "") -> MongoClient[dict[str, Any]]:
        return MongoClient(self.uri(user, options), serverSelectionTimeoutMS=2_000)

    def uri(self, user: str = _FIRST, options: str = "", *, tls: bool = True) -> str:
        """Return the address as a user writes it; without a user if that is ""."""
        who = f"{user}:{quote(PASSWORD, safe='')}@" if user else ""
        parts = [f"tls=true&tlsCAFile={quote(str(self.ca), safe='')}"] if tls else []
        parts += [options] if options else ["replicaSet=rs", "authSource=admin"]
        return f"mongodb://{who}127.0.0.1:{self.port}/?{'&'.join(parts)}"

    @contextmanager
    def administered(self) -> Iterator[Any]:
        """Give the server to its administrator."""
        with self._client(_FIRST) as client:
            yield client

    def add_user(self, name: str, *roles: str, privileges: dict[str, list[str]] | None = None) -> str:
        """Make a user with roles on DATABASE, and privileges by collection ("" for any); return the address."""
        with self.administered() as client:
            given: list[Any] = [{"role": role, "db": DATABASE} for role in roles]
            if privileges is not None:
                granted = [
                    {"resource": {"db": DATABASE, "collection": collection}, "actions": actions}
                    for collection, actions in privileges.items()
                ]
                client.admin.command("createRole", f"role-of-{name}", privileges=granted, roles=[])
                given.append({"role": f"role-of-{name}", "db": _ADMIN})
            client.admin.command("createUser", name, pwd=PASSWORD, roles=given)
        return self.uri(name)

    def empty(self) -> None:
        """Drop the team's database."""
        with self.administered() as client:
            client.drop_database(DATABASE)
