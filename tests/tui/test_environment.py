"""Variables of the environment that the program or its libraries read: honoured, or named in one sentence."""

import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from ssl import PROTOCOL_TLS_SERVER, SSLContext

import pytest

from tests.backend.ec2_faults import Faults, listing
from tests.backend.team_server import certificates
from tests.tui.shell import Result, Shell, sentence
from tests.tui.terminal import Terminal

KEYPAIRS = listing("DescribeKeyPairs", "keySet", ["<keyName>ops</keyName><keyPairId>key-1</keyPairId>"])
BUNDLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


class Authority:
    """An authority, and what a server needs to be trusted by all that trust its `file`."""

    def __init__(self, folder: Path) -> None:
        self.file, server = certificates(folder)
        self.server = SSLContext(PROTOCOL_TLS_SERVER)
        self.server.load_cert_chain(server)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("theirs"))


@pytest.fixture
def plain() -> Iterator[Faults]:
    with Faults(KEYPAIRS) as faults:
        yield faults


@pytest.fixture
def over_tls(ours: Authority) -> Iterator[Faults]:
    with Faults(KEYPAIRS, tls=ours.server) as faults:
        yield faults


def listed(shell: Shell, faults: Faults, **environ: str) -> Result:
    """List the keypairs of an endpoint with these variables in the environment."""
    shell.configure(faults.url, "memory")
    return shell.run("keypair", "list", "--json", env=shell.environment | environ)


def works(result: Result) -> bool:
    return (result.returncode, result.stderr, [row["name"] for row in json.loads(result.stdout)]) == (0, "", ["ops"])


# --- certificates -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUNDLES)
def test_every_usual_variable_names_the_certificates_to_trust(
    bare: Shell, over_tls: Faults, ours: Authority, name: str
) -> None:
    assert works(listed(bare, over_tls, **{name: str(ours.file)}))


def test_the_first_variable_counts(bare: Shell, over_tls: Faults, ours: Authority, theirs: Authority) -> None:
    for before, after in pairwise(BUNDLES):
        assert works(listed(bare, over_tls, **{before: str(ours.file), after: "/gone"}))
        result = listed(bare, over_tls, **{before: str(theirs.file), after: str(ours.file)})
        assert result.returncode == 1
        assert "no trusted TLS connection to 127.0.0.1" in sentence(result)
        assert f"in the file that {before} names" in result.stderr


def test_a_certificate_of_an_unknown_authority_is_explained(bare: Shell, over_tls: Faults) -> None:
    for environ in ({}, {"SSL_CERT_FILE": "", "AWS_CA_BUNDLE": ""}):
        result = listed(bare, over_tls, **environ)
        assert result.returncode == 1
        assert re.search(r"no trusted TLS connection to 127\.0\.0\.1:\d+: unable to get local issuer", sentence(result))
        assert "For an authority of your own, set AWS_CA_BUNDLE to a file with its certificates." in result.stderr
    assert over_tls.asked == []


def wrong_files(folder: Path) -> dict[str, str]:
    """Return files that hold no certificates, and what is said of each."""
    (folder / "empty.pem").touch()
    (folder / "words.pem").write_text("-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n")
    return {
        "/opt/gone/cacert.pem": "No such file or directory",
        str(folder): "it is a folder",
        str(folder / "empty.pem"): "there is no certificate in it",
        str(folder / "words.pem"): "there is no certificate in it",
        "/dev/null": "it is not a file",
    }


def test_a_file_that_cannot_be_used_is_named_over_tls_and_no_matter_without(
    bare: Shell, over_tls: Faults, plain: Faults, tmp_path: Path
) -> None:
    files = wrong_files(tmp_path)
    for number, (file, why) in enumerate(files.items()):
        name = BUNDLES[-1 - number % len(BUNDLES)] if number else "SSL_CERT_FILE"
        result = listed(bare, over_tls, **{name: file})
        assert result.returncode == 1
        said = f"{name} names {file} as the file of certificates to trust, but it cannot be used: {why}."
        assert sentence(result) == f"{said} Correct or unset {name}.\n"
        assert works(listed(bare, plain, **{name: file, "SSL_CERT_FILE": file}))
    assert works(listed(bare, plain, SSL_CERT_FILE=""))


def test_a_key_log_that_cannot_be_written_is_named(bare: Shell, over_tls: Faults, plain: Faults) -> None:
    result = listed(bare, over_tls, SSLKEYLOGFILE="/gone/keys")
    assert result.returncode == 1
    assert sentence(result).startswith("SSLKEYLOGFILE names /gone/keys, which cannot be written: No such file")
    assert works(listed(bare, plain, SSLKEYLOGFILE="/gone/keys"))


# --- proxies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4"])
@pytest.mark.parametrize("name", ["ALL_PROXY", "http_proxy"])
def test_a_socks_proxy_without_its_library_names_the_extra(bare: Shell, plain: Faults, name: str, scheme: str) -> None:
    if find_spec("socks"):
        pytest.skip("PySocks is installed")
    result = listed(bare, plain, HTTPS_PROXY="http://127.0.0.1:1", **{name: f"{scheme}://me:hush-hush@127.0.0.1:1"})
    assert result.returncode == 1
    assert f": {name} names a SOCKS proxy, but PySocks is not installed" in sentence(result)
    assert "pip install 'cloudmesh-tui[socks]'" in result.stderr
    assert "hush" not in result.stderr
    assert plain.asked == []


@pytest.mark.parametrize(
    "proxy", ["junk", "http://[::1", "http://h:port", ":::", "http://", "http://me:hush-hush@h:99999", "ftp://x"]
)
def test_a_proxy_that_is_no_address_is_named(bare: Shell, plain: Faults, proxy: str) -> None:
    result = listed(bare, plain, HTTP_PROXY=proxy)
    assert result.returncode == 1
    assert re.search(
        r"the proxy does not connect to 127\.0\.0\.1:\d+\. Check HTTP_PROXY and NO_PROXY", sentence(result)
    )
    assert "hush" not in result.stderr


def test_what_needs_no_proxy_goes_without(bare: Shell, plain: Faults) -> None:
    for without in ("127.0.0.1", "*", "[, 10.0.0.0/99, 127.0.0.1"):
        assert works(listed(bare, plain, HTTP_PROXY="http://127.0.0.1:1", NO_PROXY=without))


# --- the demo ---------------------------------------------------------------------------------------------------------


def test_the_demo_needs_nothing_of_the_environment(bare: Shell) -> None:
    odd = {
        "SSL_CERT_FILE": "/opt/gone/cacert.pem",
        "AWS_CA_BUNDLE": "/",
        "SSLKEYLOGFILE": "/gone/keys",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "ALL_PROXY": "socks5://127.0.0.1:1",
        "AWS_REGION": "no region",
        "AWS_PROFILE": "gone",
        "MOTO_AMIS_PATH": "/gone",
        "MOTO_ACCOUNT_ID": "junk",
    }
    result = bare.run("--demo", "keypair", "list", "--json", env=bare.environment | odd)
    assert (result.returncode, result.stderr) == (0, "")
    assert "AWS1" in [row["name"] for row in json.loads(result.stdout)]


def test_the_dashboard_needs_nothing_of_textuals_environment(tmp_path: Path) -> None:
    odd = Terminal(
        tmp_path,
        TERM="xterm-256color",
        SSL_CERT_FILE="/gone",
        TEXTUAL_COLOR_SYSTEM="junk",
        TEXTUAL_DRIVER="gone:Driver",
        TEXTUAL_LOG="/gone/log",
        LINES="junk",
    )
    with odd as terminal:
        terminal.sees("images", "vms", "demo · us-east-1 · memory")
        terminal.type("3")
        terminal.sees("db-primary")
        terminal.type("q")
        assert terminal.ends() == 0


# --- regions ----------------------------------------------------------------------------------------------------------


def without_region(shell: Shell, endpoint: str) -> None:
    shell.config.parent.mkdir(exist_ok=True)
    shell.config.write_text(
        f"cloudmesh: {{mongodb: {{uri: memory}}, clouds: {{aws: {{endpoint: '{endpoint}'}}, far: {{default: "
        "{location: us-west-1}}}}"
    )
    shell.config.chmod(0o600)


KEYS = {"AWS_ACCESS_KEY_ID": "AKIATESTING", "AWS_SECRET_ACCESS_KEY": "testing-secret"}


@pytest.mark.parametrize(
    ("environ", "region"),
    [
        ({"AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ({"AWS_DEFAULT_REGION": "eu-west-2", "AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ({}, "us-east-1"),
    ],
)
def test_the_region_of_the_environment(bare: Shell, plain: Faults, environ: dict[str, str], region: str) -> None:
    without_region(bare, plain.url)
    result = bare.run("--refresh", "keypairs", "--json", env=bare.environment | KEYS | environ)
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["region"] == region
    assert f"/{region}/ec2/aws4_request" in plain.asked[0].headers["Authorization"]


def test_aws_without_a_region_is_not_asked(bare: Shell) -> None:
    without_region(bare, "")
    for words in (("vm", "list"), ("--refresh",), ("--refresh", "vms", "--json"), ("vm", "boot", "ami-1")):
        result = bare.run(*words, env=bare.environment | KEYS)
        assert (result.returncode, result.stdout) == (2, "")
        assert "Cloud aws has no region" in sentence(result)
        assert "default.location of cloud aws in cloudmesh.yaml, or set AWS_REGION" in result.stderr
    result = bare.run("set", "default", "cloud=far", "--cloud", "far", env=bare.environment | KEYS)
    assert result.returncode == 0  # another cloud's region is no matter


def test_a_region_of_the_environment_that_is_none(bare: Shell) -> None:
    without_region(bare, "")
    result = bare.run("vm", "list", env=bare.environment | KEYS | {"AWS_REGION": "us east"})
    assert (result.returncode, result.stdout) == (2, "")
    assert sentence(result).startswith("AWS_REGION in the environment is 'us east', not a region.")


def test_the_dashboard_ends_without_a_region(bare: Shell, tmp_path: Path) -> None:
    without_region(bare, "")
    with Terminal(tmp_path, "--config", str(bare.config), TERM="xterm-256color") as terminal:
        assert terminal.ends() == 2
        assert b"Cloud aws has no region" in terminal.output
