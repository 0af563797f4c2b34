"""The program without a screen when words, configuration, cloud or cache are wrong: one sentence."""

import json
import os
import re
import socket
import stat
from typing import Any

import pytest
from pymongo.database import Database

from backend.cache import Cache
from backend.cache.store import Store
from backend.config import Cloud, Defaults, Settings
from backend.providers.ec2.provider import EC2Provider
from backend.session import Session
from tests.backend.cloud_support import abandoned
from tests.backend.ec2_faults import refusal
from tests.ec2_proxy import Proxy
from tests.tui.shell import SECRET, TOKEN, Shell, sentence

# --- wrong words and configurations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--refresh", "imagse"], "Did you mean 'image"),
        (["--refresh", "vms", "zzz"], "There is no kind 'zzz'. Known: image"),
        (["vm", "boott"], "Did you mean 'vm boot'?"),
        (["volum", "list"], "Did you mean 'volume'?"),
        (["vm", "list", "more"], "Usage: vm list"),
        (["vm", "boot", "--flavour", "t2.micro"], "Did you mean '--flavor'?"),
        (["--jsn", "vm", "list"], "There is no option '--jsn'. Did you mean '--json'?"),
        (["--ref"], "There is no option '--ref'."),
        (["vm", "start"], "vm start needs VM."),
        (["volume", "create", "data", "--size", "0"], "at least 1"),
        (["--json"], "--json needs --refresh or a command."),
        (["--refresh", "--json", "vmss"], "There is no kind 'vmss'. Did you mean 'vms'?"),
        (["--cloud", "wst", "vm", "list"], "Did you mean 'west'?"),
        (["--config", "no.yaml", "vm", "list"], "no.yaml that --config names does not exist."),
        (["vm", "list", "--config"], "expected one argument"),
        (["--log-file", "/nonexistent/log", "vm", "list"], "The log file /nonexistent/log cannot be written"),
        (["--log-level", "debug", "vm", "list"], "--log-level needs --log-file FILE."),
        (["--log-level", "debgu", "vm", "list"], "There is no log level 'debgu'. Did you mean 'debug'?"),
        (["--log-file", "log", "--log-level", "all", "vm", "list"], "There is no log level 'all'. Known: info, debug."),
        (["--demo-fault", "shop"], "--demo-fault needs --demo."),
        (["--demo", "--demo-fault", "us-east-2"], "There is no cloud or region of the demo 'us-east-2'. Did you mean"),
        ([], "needs a terminal"),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_wrong_words_end_with_2_and_a_sentence(forgetful: Shell, proxy: Proxy, words: list[str], said: str) -> None:
    result = forgetful.run(*words)
    assert (result.returncode, result.stdout, proxy.asked) == (2, "", [])
    assert said in sentence(result)


def test_without_a_configuration_the_demo_is_offered(bare: Shell) -> None:
    for words in ((), ("vm", "list")):
        result = bare.run(*words)
        assert (result.returncode, result.stdout) == (2, "")
        assert "There is no configuration" in sentence(result)
        assert "cloudmesh-tui --demo" in result.stderr
    assert not bare.home.exists()


def test_a_broken_configuration_is_pointed_to_and_not_quoted(forgetful: Shell) -> None:
    text = forgetful.config.read_text()
    forgetful.config.write_text(f"{text}  - {{ {SECRET}")
    result = forgetful.run("vm", "list")
    assert (result.returncode, result.stdout) == (2, "")
    assert re.search(r"cloudmesh\.yaml is not valid YAML in line \d+, column \d+", sentence(result))
    assert SECRET not in result.stderr
    forgetful.config.write_text(text.replace("mongodb:", "mongdb:"))
    result = forgetful.run("vm", "list")
    assert result.returncode == 2
    assert "cloudmesh.yaml: cloudmesh.mongdb is not a known key. Did you mean 'mongodb'?" in sentence(result)


def test_a_configuration_that_others_may_read_is_warned_about(bare: Shell, proxy: Proxy) -> None:
    bare.configure(proxy.endpoint, "memory", mode=0o644)
    result = bare.run("location", "list", "--json")
    assert result.returncode == 0
    assert f"chmod 600 {bare.config}" in result.stderr
    assert len(json.loads(result.stdout)) > 0


# --- clouds and caches that do not answer -----------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("vm", "list"), ("--refresh", "vms", "volumes"), ("volume", "create", "data")])
def test_an_endpoint_that_nobody_listens_on(bare: Shell, words: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        host = f"127.0.0.1:{taken.getsockname()[1]}"
    bare.configure(f"http://{host}", "memory")
    result = bare.run(*words)
    assert result.returncode == 1
    said = result.stdout if "--refresh" in words else sentence(result)
    assert f"{host} cannot be reached. Check the network and `endpoint` of cloud east" in said
    assert "Traceback" not in result.stdout + result.stderr


def test_wrong_keys_leave_the_old_rows_and_are_repeated_nowhere(
    shell: Shell, proxy: Proxy, provider: EC2Provider
) -> None:
    provider.of("keypair").create("mine")
    shell.done("--refresh", "keypairs")
    proxy.answers["*"] = refusal(401, "AuthFailure", f"AWS was not able to validate {SECRET} {TOKEN}")
    log = shell.folder / "log"
    result = shell.run("keypair", "list", "--log-file", str(log))
    assert result.returncode == 1
    assert "mine" in result.stdout
    assert "does not know these keys" in sentence(result)
    assert "EC2_ACCESS_KEY" in result.stderr

    proxy.answers["*"] = refusal(400, "Strange", f"You sent {SECRET} and {TOKEN}")
    strange = shell.run("--refresh", "keypairs", "vms", "--log-file", str(log))
    assert strange.returncode == 1
    assert strange.stdout.count("You sent *** and ***") == 2
    logged = log.read_text()
    assert "does not know these keys" in logged
    assert "You sent *** and ***" in logged
    for text in (result.stdout, result.stderr, strange.stdout, strange.stderr, logged):
        assert SECRET not in text
        assert TOKEN not in text


def test_the_log_is_its_owners_and_says_what_was_run_and_how_it_ended(forgetful: Shell) -> None:
    log = forgetful.folder / "log"
    everything = 0o000
    old = os.umask(everything)  # the program inherits it, and must not follow it
    try:
        forgetful.done("--log-file", str(log), "keypair", "create", "mine")
    finally:
        os.umask(old)
    forgetful.run("--log-file", str(log), "vm", "stop", "nothing")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    text = log.read_text()
    assert re.search(r"INFO \[\d+ MainThread\] headless: keypair create mine: Keypair mine created", text)
    assert re.search(r"ERROR \[\d+ MainThread\] cli: There is no VM 'nothing'", text)
    assert SECRET not in text
    assert "PRIVATE KEY" not in text


def test_libclouds_own_log_is_not_written(forgetful: Shell) -> None:
    """It would be of whole requests, with the session token."""
    dump = forgetful.folder / "dump"
    result = forgetful.run("vm", "list", env={**forgetful.environment, "LIBCLOUD_DEBUG": str(dump)})
    assert result.returncode == 0
    assert sentence(result).startswith("LIBCLOUD_DEBUG is ignored: ")
    assert not dump.exists()


def test_a_cache_without_a_server(bare: Shell, proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        host = f"127.0.0.1:{taken.getsockname()[1]}"
    bare.configure(proxy.endpoint, f"mongodb://me:{TOKEN.replace('/', '%2F')}@{host}/?serverSelectionTimeoutMS=100")
    result = bare.run("vm", "list")
    assert (result.returncode, result.stdout, proxy.asked) == (1, "", [])
    assert f"The cache (MongoDB at {host}) cannot be reached" in sentence(result)
    assert "planted" not in result.stderr


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("mongodb://me:hush-hush@db:27o17/", "the port of the host is not a number from 1 to 65535. Write HOST:PORT"),
        ("mongodb://me:hush-hush@db/?tsl=true", "it has no option tsl. Did you mean one of tls"),
        ("mongodb://me:hush@hush@db/", "its user or password has a character that needs encoding"),
    ],
)
def test_a_wrong_address_of_the_cache_says_which_part_of_it(bare: Shell, proxy: Proxy, address: str, said: str) -> None:
    bare.configure(proxy.endpoint, address)
    result = bare.run("vm", "list")
    assert (result.returncode, result.stdout, proxy.asked) == (2, "", [])
    assert said in sentence(result)
    assert "hush" not in result.stderr


@pytest.mark.parametrize("count", [1, 2])
def test_why_what_is_resumed_has_failed_is_said_once(shell: Shell, database: Database[Any], count: int) -> None:
    cloud = Cloud("east", default=Defaults(location="us-east-1"))
    cache = Cache(Store(database.client, database.name, "mongodb", "here"))
    session = Session(Settings({"east": cloud}, "east"), cloud, cache, shell.home)
    lines = [f"vm stop i-0123456789abcdef{number}" for number in range(count)]
    for line in lines:
        abandoned(session, line, outcome="waiting")
    result = shell.run("--yes", "journal", "resume")
    assert result.returncode == 1
    assert f"{count} of {count} failed: " in result.stderr
    for line in lines:
        assert f"  {line}: " in result.stdout
        assert (result.stdout + result.stderr).count(f"There is no VM {line.split()[-1]!r}") == count
