"""Plants secrets, causes every fault, and searches everything that the program has written for them."""

import asyncio
import html
import json
import logging
import os
import pickle
import subprocess
import sys
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pymongo import MongoClient

from backend import log
from backend.cache import open_cache
from backend.catalog import KINDS
from backend.commands.grammar import parse
from backend.commands.run import execute
from backend.config import Cloud, MongoDB, Settings
from backend.errors import CloudError, CloudmeshError
from backend.providers.ec2 import rules
from backend.providers.ec2.entry import ec2_keys
from backend.providers.ec2.provider import EC2Provider
from backend.secret import Secret
from backend.session import Session
from tests.backend.cache_support import Standalone
from tests.backend.ec2_faults import Faults, Reply, Time, refusal
from tests.ec2_proxy import Proxy
from tests.faults.model import Ground, Section
from tests.planted import Planted, fresh, written
from tests.tui.dashboard import Launch, driven
from tests.tui.shell import TREE, Shell
from tui.app import CloudmeshApp
from tui.widgets.commandline import CommandLine

HOW = (
    "Keys, a session token, the passwords of a MongoDB and of a proxy and a private key, each one of a kind, are "
    "planted in the configuration and in the environment; endpoints repeat them in every answer, in every form. "
    "All that is written is searched for them: as they are, percent-encoded, with escapes, as XML, in base64 and in "
    "hexadecimal."
)


class Pile:
    """All that was written, by where."""

    def __init__(self) -> None:
        self._found: defaultdict[str, list[bytes]] = defaultdict(list)

    def add(self, where: str, *texts: object) -> None:
        self._found[where] += [
            text if isinstance(text, bytes) else str(text).encode(errors="replace") for text in texts
        ]

    def section(self, planted: Planted) -> Section:
        """Search it."""
        section = Section("Secrets", HOW, ("searched", "secrets planted", "texts", "bytes", "found"))
        for where, texts in self._found.items():
            found = sorted({f"{one} in {where}" for text in texts for one in planted.found_in(text)})
            size = sum(map(len, texts))
            section.rows.append((where, str(len(planted.secrets)), f"{len(texts):,}", f"{size:,}", str(len(found))))
            section.bad += [f"{one} was found." for one in found]
            if not size:
                section.bad.append(f"There is nothing to search in {where}.")
        return section


def sections(ground: Ground) -> Iterator[Section]:
    """Try everything and yield what was found."""
    planted, pile = fresh(), Pile()
    with _logged(ground.folder / "in-process.log", pile):
        _rules(ground, planted, pile)
        _objects(ground, planted, pile)
        asyncio.run(_dashboard(ground, planted, pile))
    pem = _program(ground, planted, pile)
    yield pile.section(planted.with_key(pem))


def _cloud(ground: Ground, planted: Planted, endpoint: str = "") -> Cloud:
    names = ("access key", "secret key", "session token")
    keys = ec2_keys(*(Secret(planted.secrets[name]) for name in names))
    return replace(ground.cloud("east"), endpoint=endpoint or ground.moto, credentials=keys)


def _uri(planted: Planted, host: str) -> str:
    return f"mongodb://me:{quote(planted.secrets['MongoDB password'], safe='')}@{host}/?serverSelectionTimeoutMS=100"


def _echo(planted: Planted, names: tuple[str, ...] = ("access key", "secret key", "session token")) -> str:
    """Return words that repeat our keys, in every form."""
    return "You sent " + " and ".join(text for name in names for text in written(planted.secrets[name]).values())


@contextmanager
def _logged(path: Path, pile: Pile) -> Iterator[None]:
    """Log all of the block at debug level, and search that too."""
    levels = {name: logging.getLogger(name).level for name in ("backend", "tui")}
    handler = log.write_to(path, "debug")
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        pile.add("log file at debug level", *(one.read_bytes() for one in path.parent.glob(f"{path.name}*")))


# --- what the cloud says ----------------------------------------------------------------------------------------------


def _replies(planted: Planted, *, long: bool) -> Iterator[Reply]:
    """Yield an answer for every rule of backend.providers.ec2.rules that an answer can meet."""
    words = _echo(planted)
    lengths = range(0, 320, 40) if long else (0,)
    for patterns, _rule in rules.RULES:
        for pattern in patterns if long else patterns[:1]:
            name = pattern.replace("???", "00").replace("??", "03").replace("*", "Odd")
            if name.startswith("HTTP "):
                status = int(name[5:]) if name[5:].isdigit() else 418
                yield Reply(f"<html>{html.escape(words)}</html>", status)
                yield refusal(status, "Odd", html.escape(words))
            elif name[:1].isupper():
                for length in lengths:  # a message is cut somewhere: not in the middle of a key
                    yield refusal(400, name, "x" * length + html.escape(words))
    yield refusal(400, html.escape(planted.secrets["session token"]), "No.")
    for body in (words, f"<html>{html.escape(words)}</html>", f"<{planted.secrets['access key']}/>"):
        yield Reply(body)
    yield Reply(hang_up=True)
    yield Reply(words, missing=10)
    yield Reply(words, 302, {"Location": f"http://127.0.0.1:9/{quote(words)}"})


def _rules(ground: Ground, planted: Planted, pile: Pile) -> None:
    calls: tuple[Callable[[EC2Provider], object], ...] = (
        lambda ec2: [*ec2.of("vm").list()],
        lambda ec2: ec2.of("vm").stop("i-1"),
        lambda ec2: ec2.of("keypair").create("mine"),
    )
    for reply in _replies(planted, long=ground.long):
        with Faults(reply) as faults:
            provider = EC2Provider(_cloud(ground, planted, faults.url), policy=Time().policy(tries=2, unread=2))
            for call in calls:
                _fail(pile, lambda call=call, provider=provider: call(provider))  # type: ignore[misc]
            asked = {f"{one.method} {one.path}" for one in faults.asked}
            assert asked == {"POST /"}, asked  # all that a user gives is in the body
            pile.add("addresses and methods of requests", *asked)
        for endpoint in ("http://127.0.0.1:1", faults.url.replace("http", "https"), "http://no-such-host.invalid")[
            : 3 if ground.long else 1
        ]:
            broken = EC2Provider(_cloud(ground, planted, endpoint), policy=Time().policy(tries=1))
            _fail(pile, lambda broken=broken: [*broken.of("vm").list()])  # type: ignore[misc]


def _fail(pile: Pile, call: Callable[[], object]) -> None:
    try:
        call()
    except CloudError as error:
        pile.add("error messages", str(error), repr(error), vars(error), error.args)
        pile.add("tracebacks", *traceback.format_exception(error))
        found = traceback.TracebackException.from_exception(error, capture_locals=True)
        pile.add("tracebacks with the values of variables", *found.format())
        logging.getLogger("backend").error("it failed", exc_info=error)
    else:
        raise AssertionError("It was to fail.")


# --- objects ----------------------------------------------------------------------------------------------------------


def _objects(ground: Ground, planted: Planted, pile: Pile) -> None:
    cloud = _cloud(ground, planted)
    mongodb = MongoDB(Secret(_uri(planted, "127.0.0.1:1")))
    settings = Settings({"east": cloud}, "east", mongodb=mongodb)
    cache = open_cache(MongoDB(Secret("memory")), ground.folder, KINDS.values())
    session = Session(settings, cloud, cache, ground.folder)
    client: MongoClient[dict[str, Any]] = MongoClient(mongodb.uri.reveal(), connect=False)
    provider = session.connect()
    where = "repr, str, vars, asdict and pickle of settings, session, cache and provider"
    for one in (settings, cloud, cloud.credentials, mongodb, session, cache, provider, client, Launch(lambda: session)):
        pile.add(where, repr(one), f"{one}")
        if one is not client:  # pymongo's own, which holds the password to use it
            pile.add(where, getattr(one, "__dict__", ""))
        with suppress(TypeError, AttributeError, pickle.PicklingError):  # what is refused is not written
            pile.add(where, pickle.dumps(one))
    pile.add(where, asdict(settings), json.dumps(asdict(cloud), default=str))
    client.close()

    def crash(settings: Settings, session: Session, provider: object) -> None:
        raise RuntimeError(f"{_echo(planted)} {settings.cloud} {session.cloud.name} {provider}")

    try:
        crash(settings, session, provider)
    except RuntimeError as error:
        # The text of a mistake is raw: it is the log's to hide it, and the values of variables are in no log.
        logging.getLogger("backend").error("a mistake", exc_info=error)
    with Faults(refusal(400, "Odd", html.escape(_echo(planted)))) as faults:
        failing = replace(session, cloud=_cloud(ground, planted, faults.url))
        for line in ("keypair create mine", "volume create data --size 1 --location us-east-1a"):
            with suppress(CloudmeshError):
                execute(parse(line.split()), failing)
    journal = list(cache.store.database["journal"].find())
    assert len(journal) == 2, journal
    pile.add("journal", *journal)
    cache.close()


# --- the dashboard ----------------------------------------------------------------------------------------------------


async def _dashboard(ground: Ground, planted: Planted, pile: Pile) -> None:
    with Faults(refusal(400, "Odd", html.escape(_echo(planted)))) as faults:
        cloud = _cloud(ground, planted, faults.url)
        settings = Settings({"east": cloud}, "east", mongodb=MongoDB(Secret(_uri(planted, "127.0.0.1:1"))))
        cache = open_cache(MongoDB(Secret("memory")), ground.folder, KINDS.values())
        session = Session(settings, cloud, cache, ground.folder / "home")
        app = CloudmeshApp(Launch(lambda: session))
        async with driven(app) as user:
            for kind in ("vm", "keypair", "volume"):
                await user.until(lambda: app.session is not None)
                await user.show(kind)
                await user.sees("You sent ***")
                pile.add("screens, as painted and as SVG", user.screen, app.export_screenshot())
            await user.run("keypair create mine")
            await user.until(lambda: cache.store.database["journal"].count_documents({"outcome": "failed"}))
            pile.add("screens, as painted and as SVG", user.screen, app.export_screenshot())
            await user.press("J")
            await user.sees("keypair create mine")
            pile.add("screens, as painted and as SVG", user.screen, app.export_screenshot())
            pile.add("history of the command line", *app.main.query_one(CommandLine).history)
        cache.close()


# --- the program ------------------------------------------------------------------------------------------------------

KEEPING = """
import sys
from pathlib import Path
from backend.mongod import EmbeddedServer
with EmbeddedServer(Path(sys.argv[1])) as server:
    print(server.start(), flush=True)
    sys.stdin.read()
"""


def _program(ground: Ground, planted: Planted, pile: Pile) -> str:
    """Run the program without a screen, with its embedded server; return the private key that it has saved."""
    shell = Shell(ground.folder, ground.folder / "data")
    shell.config.parent.mkdir()
    secrets = planted.secrets
    environment = shell.environment | {name: secrets[name] for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")}
    tunnel = f"http://me:{quote(secrets['proxy password'], safe='')}@127.0.0.1:1"
    environment |= {"HTTPS_PROXY": tunnel, "https_proxy": tunnel}
    number = 0

    def run(*words: str, variables: dict[str, str] | None = None) -> None:
        nonlocal number
        number += 1
        path = ground.folder / f"{number}.log"
        given = (*words, "--log-file", str(path), "--log-level", "debug")
        result = shell.run(*given, env=environment | (variables or {}))
        assert "Traceback" not in result.stdout + result.stderr, result
        pile.add("stdout and stderr", result.stdout, result.stderr)
        pile.add("log file at debug level", path.read_bytes())

    with Proxy(ground.cloud().endpoint or "") as proxy, subprocess.Popen(
        [sys.executable, "-c", KEEPING, str(shell.home)],
        cwd=TREE, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as keeping:  # fmt: skip
        assert keeping.stdout is not None
        address = keeping.stdout.readline().strip()
        assert address.startswith("mongodb://")
        _configure(shell, planted, proxy.endpoint, "embedded")
        run("keypair", "create", "mine", "--json")
        (key,) = shell.home.rglob("*.pem")
        refused = refusal(400, "Odd", html.escape(_echo(planted)))
        proxy.answers["*"] = refused
        run("--refresh", "--json")
        run("--refresh", "vms", "keypairs")
        run("keypair", "delete", "mine", "--yes")
        run("vm", "list", variables={"http_proxy": tunnel})  # it leads nowhere
        run("vm", "list", variables={"http_proxy": f"http://me:{secrets['proxy password']}@127.0.0.1:1"})
        if ground.long:
            for code in _codes():
                proxy.answers["*"] = refusal(403, code, html.escape(_echo(planted)))
                run("keypair", "list", "--json")
            _configure(shell, planted, proxy.endpoint, _uri(planted, "127.0.0.1:1"))
            run("vm", "list")
            with _refusing(ground.folder / "refusing") as server:
                _configure(shell, planted, proxy.endpoint, server.uri(password=secrets["MongoDB password"]))
                run("vm", "list")
        _configure(
            shell, planted, proxy.endpoint, _uri(planted, "127.0.0.1:1") + "&" + quote(secrets["MongoDB password"])
        )
        run("vm", "list")
        _configure(shell, planted, f"http://me:{secrets['secret key']}@127.0.0.1:1", "memory")
        run("vm", "list")
        shell.config.write_text(f"{shell.config.read_text()}  - {{ {secrets['secret key']}")
        run("vm", "list")
        _search_server(shell, pile, address)
        keeping.communicate()
    for path in (one for one in shell.home.rglob("*") if one.is_file() and one != key):
        pile.add("files of the data directory, but the private key", path.read_bytes())
    return key.read_text()


@contextmanager
def _refusing(folder: Path) -> Iterator[Standalone]:
    """Run a MongoDB server that knows another password."""
    folder.mkdir()
    server = Standalone(folder)
    server.start()
    try:
        server.make_users()
        yield server
    finally:
        server.kill()


def _codes() -> list[str]:
    return [name for patterns, _ in rules.RULES for name in patterns if name.isalpha() and name[0].isupper()]


def _configure(shell: Shell, planted: Planted, endpoint: str, mongodb: str) -> None:
    secrets = planted.secrets
    keys = {
        "EC2_ACCESS_KEY": secrets["access key"],
        "EC2_SECRET_KEY": secrets["secret key"],
        "EC2_SESSION_TOKEN": secrets["session token"],
    }
    cloud = {"endpoint": endpoint, "images": "self", "credentials": keys, "default": {"location": "us-east-1"}}
    # JSON is YAML.
    shell.config.write_text(json.dumps({"cloudmesh": {"mongodb": {"uri": mongodb}, "clouds": {"east": cloud}}}))
    shell.config.chmod(0o600)


def _search_server(shell: Shell, pile: Pile, address: str) -> None:
    client: MongoClient[dict[str, Any]]
    with MongoClient(address) as client:
        for database in client.list_database_names():
            for collection in client[database].list_collection_names():
                documents: list[Any] = list(client[database][collection].find())
                pile.add(f"{'journal' if collection == 'journal' else 'cache: all collections'}", documents)
    processes = 0
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile
            words = (entry / "cmdline").read_bytes()
            if str(shell.home).encode() in words and int(entry.name) != os.getpid():
                pile.add("/proc/*/cmdline of what was started", words)
                if b"EmbeddedServer" not in words:  # which was given them
                    processes += 1
                    pile.add("/proc/*/environ of what was started", (entry / "environ").read_bytes())
    assert processes == 2, "the keeper and its mongod"
