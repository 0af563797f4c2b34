"""Opening a cache at an address, on the embedded server or in memory, and every way that fails."""

import socket
import time
from pathlib import Path

import pytest
from pymongo.errors import AutoReconnect, ConfigurationError, OperationFailure

from backend.cache import Cache, open_cache
from backend.cache.address import address_of
from backend.cache.documents import validator
from backend.cache.faults import sentence
from backend.cache.opening import NO_MONGOD
from backend.catalog import KINDS
from backend.config import MongoDB
from backend.errors import CacheError, ConfigError
from backend.secret import Secret
from tests.backend.cache_support import HERE, VM, Standalone, ids, items


def test_an_address_with_a_user(plain: Cache, standalone: Standalone) -> None:
    assert (plain.mode, plain.address, plain.note) == ("mongodb", standalone.socket, "")
    assert plain.rows.put(VM, HERE, items(VM, "a")) == (1, 0)
    assert ids(plain, VM) == ["a"]
    assert plain.store.database["vms"].options()["validator"] == validator(VM)


def test_a_wrong_password(standalone: Standalone) -> None:
    with pytest.raises(CacheError, match="refuses the user name or the password") as caught:
        open_cache(MongoDB(Secret(standalone.uri(password="wr@ng")), "test"), Path("/nowhere"), KINDS.values())
    assert standalone.socket in str(caught.value)
    assert "wr@ng" not in str(caught.value)
    assert "mongodb.uri" in caught.value.cure


def test_a_server_that_is_down() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(CacheError, match=f"127.0.0.1:{port}") as caught:
        open_cache(MongoDB(Secret(f"mongodb://user:hush@127.0.0.1:{port}/")), Path("/nowhere"), KINDS.values())
    assert time.monotonic() - began < 4.5
    assert "hush" not in str(caught.value)
    assert "user" not in str(caught.value)
    assert str(caught.value).count("refused") == 1


def test_the_address_may_set_how_long_a_server_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    uri = f"mongodb://127.0.0.1:{port}/?serverselectiontimeoutMS=100&connectTimeoutMS=100"
    began = time.monotonic()
    with pytest.raises(CacheError, match="refused"):
        open_cache(MongoDB(Secret(uri)), Path("/nowhere"), KINDS.values())
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("uri", "what", "cure"),
    [
        ("mongodb://user:p@hush@db.example.org/", "a character that needs encoding", "%40"),
        ("mongodb+srv://user:p@hush@db.example.org/", "a character that needs encoding", "%40"),
        ("mongodb://user:hush%zz@db.example.org/", "a character that needs encoding", "%40"),
        ("mongodb://user:pa:hush@db.example.org/", "a character that needs encoding", "%40"),
        ("mongodb://user:p/hush@db.example.org/", "it has a / or ? before its @", "%40"),
        ("mongodb://user:p?hush@db.example.org/", "it has a / or ? before its @", "%40"),
        ("mongodb://:hush@db.example.org/", "no user before its @", "USER:PASSWORD@HOST"),
        ("mongodb://user:hush", "the port of the host is not a number from 1 to 65535", "before an @"),
        ("mongodb://db:27o17/", "the port of the host is not a number from 1 to 65535", "HOST:PORT"),
        ("mongodb://user:hush@db:99999/", "the port of the host is not a number from 1 to 65535", "HOST:PORT"),
        ("mongodb://user:hush@db:0/", "the port of the host is not a number from 1 to 65535", "HOST:PORT"),
        ("mongodb://user:hush@db:/", "the port of the host is not a number from 1 to 65535", "HOST:PORT"),
        ("mongodb://user:hush@a,b:x/", "the port of host 2 of 2 is not a number from 1 to 65535", "HOST:PORT"),
        ("mongodb://user:hush@[::1]:x/", "the port of the host is not a number from 1 to 65535", "HOST:PORT"),
        ("mongodb://user:hush@[::1", "begins with [ but has no ]", "[::1]:27017"),
        ("mongodb://user:hush@a,,b/", "host 2 of 3 is empty", "comma"),
        ("mongodb://", "it names no host", "HOST:PORT"),
        ("mongodb://user:hush@%2Ftmp%2Fx/", "a path that does not end in .sock", "%2F"),
        ("mongodb+srv://user:hush", "takes no port", "before an @"),
        ("mongodb+srv://user:hush@a.example.org,b.example.org/", "takes one host", "mongodb://"),
        ("mongodb+srv://user:hush@a.example.org:27017/", "takes no port", "Remove the port"),
        ("mongodb+srv://user:hush@h/?srvMaxHosts=x", "its option srvMaxHosts is wrong: The value", "value"),
        ("mongodb://user:hush@db/a/b", "the database name after its host", "mongodb.database"),
        ("mongodb://user:hush@db/?tsl=true", "it has no option tsl", "Did you mean one of tls"),
        ("mongodb+srv://user:hush@db/?tsl=true", "it has no option tsl", "Did you mean one of tls"),
        (
            "mongodb://user:hush@db/?tls=maybe",
            "its option tls is wrong: The value of tls must be 'true' or 'false'",
            "",
        ),
        ("mongodb://db/?connectTimeoutMS=soon", "connectTimeoutMS is wrong: connecttimeoutms must be an integer", ""),
        (
            "mongodb://db/?zlibCompressionLevel=best",
            "zlibCompressionLevel is wrong: zlibcompressionlevel must be an",
            "",
        ),
        ("mongodb://db/?readPreference=any", "its option readPreference is wrong", "primary, primaryPreferred"),
        ("mongodb://user:hush@db/?authMechanism=no", "authmechanism must be in (", ""),
        ("mongodb://db/?authMechanismProperties=hush", "authMechanismProperties has a value that is not allowed", ""),
        ("mongodb://user:hush@db/?tls", "a part after its ? is not NAME=VALUE", "?NAME=VALUE&NAME=VALUE"),
        ("mongodb://user:hush@db/?tls=true&ssl=false", "do not fit together: Can not specify conflicting", "options"),
        ("mongodb://user:hush@a,b/?directConnection=true", "do not fit together: Cannot specify multiple hosts", ""),
    ],
)
def test_what_is_wrong_with_an_address(uri: str, what: str, cure: str) -> None:
    with pytest.raises(ConfigError, match="not a valid MongoDB address: ") as caught:
        open_cache(MongoDB(Secret(uri)), Path("/nowhere"), KINDS.values())
    assert what in caught.value.message
    assert cure in caught.value.cure
    assert "hush" not in str(caught.value)
    assert ("percent" in str(caught.value)) is ("%40" in cure)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_file_of_certificates_that_is_not_there() -> None:
    uri = "mongodb://user:hush@db.example.org/?tls=true&tlsCAFile=/nonexistent/ca.pem"
    with pytest.raises(ConfigError, match=r"names a file that cannot be read: /nonexistent/ca\.pem: No such file"):
        open_cache(MongoDB(Secret(uri)), Path("/nowhere"), KINDS.values())


def test_what_the_driver_finds_wrong_when_it_opens_an_address(tmp_path: Path) -> None:
    empty = tmp_path / "ca.pem"
    empty.touch()
    for uri, what in (
        (
            f"mongodb://db.example.org/?tls=true&tlsCAFile={empty}",
            "mongodb.uri names a certificate file without a certificate",
        ),
        ("mongodb://user@db.example.org/?authMechanism=MONGODB-X509&authSource=x", "authentication source must be"),
    ):
        with pytest.raises(CacheError, match=rf"db\.example\.org:27017\) cannot be used: {what}.*mongodb\.uri"):
            open_cache(MongoDB(Secret(uri)), Path("/nowhere"), KINDS.values())


def test_a_password_that_the_driver_or_the_server_repeats_is_hidden_and_not_cut_in_two() -> None:
    Secret("mongodb://user:the-password-of-the-cache@db/")
    for before in range(130, 200):
        words = f"{'x' * before} the-password-of-the-cache and on it goes"
        for error in (OperationFailure(words, 1), ConfigurationError(words), AutoReconnect(words)):
            assert "the-pass" not in str(sentence(error, "db"))


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("mongodb://user:p%40ss@db.example.org/cm?retryWrites=true", "db.example.org:27017"),
        ("mongodb://a.example.org,b.example.org:27018/?replicaSet=rs", "a.example.org:27017, b.example.org:27018"),
        ("mongodb://user:hush@%2Ftmp%2Fx.sock/", "/tmp/x.sock"),  # noqa: S108 - never opened
        ("mongodb://[::1]:27018", "::1:27018"),
        ("mongodb+srv://user:p%40ss@cluster.example.org/cm?retryWrites=true", "cluster.example.org"),
        ("mongodb+srv://cluster.example.org", "cluster.example.org"),
        ("mongodb+srv://user:hush@cluster.example.org/?w=majority", "cluster.example.org"),
        ("mongodb+srv://cluster.example.org/?srvMaxHosts=2&srvServiceName=team&tls=true", "cluster.example.org"),
        ("mongodb://db.example.org/?compressors=odd", "db.example.org:27017"),
    ],
)
def test_a_place_names_no_user(uri: str, place: str) -> None:
    assert address_of(uri) == place


def test_no_mongod_means_memory(tmp_path: Path) -> None:
    opened = open_cache(MongoDB(), tmp_path, KINDS.values(), find=lambda: None)
    try:
        assert (opened.mode, opened.note) == ("memory", NO_MONGOD)
        opened.rows.put(VM, HERE, items(VM, "a"))
        assert ids(opened, VM) == ["a"]
        assert not list(tmp_path.iterdir())
    finally:
        opened.close()


def test_a_mongod_that_does_not_run_means_memory(tmp_path: Path) -> None:
    broken = tmp_path / "mongod"
    broken.write_text("#!/bin/sh\necho no libcrypto >&2\nexit 127\n")
    broken.chmod(0o755)
    opened = open_cache(MongoDB(), tmp_path / "home", KINDS.values(), find=lambda: str(broken))
    try:
        assert opened.mode == "memory"
        assert "no libcrypto" in opened.note
        assert "lost when you quit" in opened.note
    finally:
        opened.close()


def test_memory_that_was_asked_for_has_no_note() -> None:
    opened = open_cache(MongoDB(Secret("memory")), Path("/nowhere"), KINDS.values(), find=lambda: None)
    assert (opened.mode, opened.note, opened.address) == ("memory", "", "memory")
    opened.close()


def test_what_is_embedded_lasts(server_home: Path, embedded: Cache) -> None:
    embedded.rows.put(VM, HERE, items(VM, "a"))
    again = open_cache(MongoDB(Secret("embedded"), embedded.store.database.name), server_home, KINDS.values())
    try:
        assert (again.mode, again.note) == ("embedded", "")
        assert ids(again, VM) == ["a"]
    finally:
        again.close()
