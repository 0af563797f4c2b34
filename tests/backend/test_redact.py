"""What is redacted from text before it leaves the program, and what stays."""

import copy
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from backend.config import MongoDB
from backend.errors import CloudError
from backend.providers.ec2.entry import ec2_keys
from backend.redact import add_environment, redacted
from backend.secret import Secret
from tests.planted import Planted, written

TREE = Path(__file__).parents[2]
KEY = 'wJalr/XUtn+FEMI K7&MD"ENG<b=\\é'
Secret(KEY)


@pytest.mark.parametrize("form", written(KEY))
def test_a_known_secret_is_found_in_every_form(form: str) -> None:
    text = f"It says: {written(KEY)[form]} (HTTP 400)."
    assert Planted({"key": KEY}).found_in(text) != []
    left = redacted(text)
    assert Planted({"key": KEY}).found_in(left) == []
    assert left.startswith("It says: ")
    assert left.endswith(" (HTTP 400).")
    assert "***" in left
    assert redacted(left) == left


def test_the_search_finds_each_form() -> None:
    """What the other tests search with: a secret that it does not see would not be missed."""
    planted = Planted({"key": KEY})
    for form, text in written(KEY).items():
        assert planted.found_in(f"before {text} after"), form
        assert planted.found_in(f"before {text} after".encode()), form
    assert planted.found_in("nothing") == []


def test_what_is_kept_like_a_secret_and_is_none_stays() -> None:
    for word in ("embedded", "memory", "demo", "", "k"):
        assert Secret(word).reveal() == word
    text = "The demo's cache is in memory, not embedded; ok."
    assert redacted(text) == text


def test_a_short_secret_is_hidden_where_it_is_a_word() -> None:
    Secret("hunter2")
    assert redacted("hunter2, 'hunter2' and user:hunter2@") == "***, '***' and user:***@"
    assert redacted("hunter20") == "hunter20"


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://boss:p%40ss%2Fword%3Aone@db.example.org/?authSource=admin",
        "mongodb+srv://boss:p%40ss%2Fword%3Aone@db.example.org",
        "mongodb://db/?tls=true&tlsCertificateKeyFilePassword=p%40ss%2Fword%3Aone",
        "mongodb://db/?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:p%40ss%2Fword%3Aone",
    ],
)
def test_of_an_address_the_password_is_hidden_and_the_host_is_not(uri: str) -> None:
    MongoDB(Secret(uri))
    assert redacted("db.example.org says no to p@ss/word:one.") == "db.example.org says no to ***."
    assert "p%40ss" not in redacted(uri)
    assert "p@ss" not in redacted(uri)


def test_proxies_and_keys_of_the_environment_are_known() -> None:
    add_environment(
        {
            "AWS_SECRET_ACCESS_KEY": "of/the+environment",
            "https_proxy": "http://me:proxy%2Fpass@h:3128",
            "HTTP_PROXY": "me:schemeless@h:3128",
            "PATH": "/usr/bin:/somewhere",
        }
    )
    text = "of/the+environment proxy/pass proxy%2Fpass schemeless /usr/bin:/somewhere me:schemeless@h:3128"
    assert redacted(text) == "*** *** *** *** /usr/bin:/somewhere ***@h:3128"


PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow+/AB\ncd==\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"key {PEM} end", "key *** end"),
        (f"{PEM}\n{PEM}", "***\n***"),
        (repr(PEM), "'***'"),
        (PEM.replace("\n", "␊") + " end", "*** end"),
        (PEM[:50], "***"),
        (repr(PEM)[:52] + "', 5", "'***', 5"),
        (PEM.replace("RSA ", "") + ".", "***."),
        (PEM.replace("RSA", "OPENSSH") + ".", "***."),
        ("http://user:pa:ss@proxy:3128/x, http://host/x", "http://***@proxy:3128/x, http://host/x"),
        ("Failed to parse: http://user:pa/ss@proxy:3128", "Failed to parse: http://***@proxy:3128"),
        (
            "AWS4-HMAC-SHA256 Credential=ASIAXYZ/20260101/us-east-1/ec2, SignedHeaders=host, Signature=0a1b2c",
            "AWS4-HMAC-SHA256 Credential=***, SignedHeaders=host, Signature=***",
        ),
        ("{'X-Amz-Security-Token': 'Fwo+/x y', 'Host': 'h'}", "{'X-Amz-Security-Token': '***', 'Host': 'h'}"),
        ("x-amz-security-token:Fwo+/x", "x-amz-security-token:***"),
        ("Proxy-Authorization: Basic dTpw", "Proxy-Authorization: ***"),
        ("aws_secret_access_key = abc+/d", "aws_secret_access_key = ***"),
        ("EC2_SECRET_KEY: abc, EC2_SESSION_TOKEN: 'd e'}", "EC2_SECRET_KEY: ***, EC2_SESSION_TOKEN: '***'}"),
        ('{\\"EC2_ACCESS_KEY\\": \\"abc\\"}', '{\\"EC2_ACCESS_KEY\\": \\"***"}'),
        ("<SecretAccessKey>a b</SecretAccessKey>", "<SecretAccessKey>***</SecretAccessKey>"),
        ("AWSAccessKeyId=abc&AWSSecretKey=d+e&x=1", "AWSAccessKeyId=***&AWSSecretKey=***&x=1"),
        ("proxy_password: 'a b', password=c;", "proxy_password: '***', password=***;"),
        ("?tlsCertificateKeyFilePassword=a%20b&tls=true", "?tlsCertificateKeyFilePassword=***&tls=true"),
        ("<keyMaterial>MIIE\nAB+/\n</keyMaterial><x>y</x>", "<keyMaterial>***</keyMaterial><x>y</x>"),
        ("http://host/?a,http://user:pa://ss@proxy", "http://***@proxy"),
        ("GET /?X-Amz-Signature=0a1b&X-Amz-Date=1", "GET /?X-Amz-Signature=***&X-Amz-Date=1"),
        ("AKIAIOSFODNN7EXAMPLE and ASIAIOSFODNN7EXAMPLE", "*** and ***"),
    ],
)
def test_what_looks_like_a_secret_is_hidden_whosever_it_is(text: str, left: str) -> None:
    assert redacted(text) == left
    assert redacted(left) == left


@pytest.mark.parametrize(
    "text",
    [
        "Check EC2_ACCESS_KEY and EC2_SECRET_KEY of cloud aws (temporary keys need EC2_SESSION_TOKEN too).",
        "Put EC2_ACCESS_KEY into it, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY into the environment.",
        "the signature does not match: the secret key or this computer's clock is wrong",
        "The cache (MongoDB at 127.0.0.1:27017, /tmp/m.sock) refuses the user name or the password.",
        "http://127.0.0.1:5000 cannot be reached; me@example.org, i-0abc, ami-0183d861 and key-0123456789abcdef0 can.",
        "cloudmesh.clouds.aws.credentials.EC2_SECRET_KEY must be text, not a list.",
        "arn:aws:iam::111122223333:user/me is not authorized to perform: ec2:CreateTags",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


HOSTILE = (
    "://", "-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----!", "-----BEGIN PRIVATE KEY-----! -----END ",
    "signature=", 'signature="', "signature     ", "<keyMaterial>", "_password", "a", "\\u00", "&#0", "%25", "AKIA",
)  # fmt: skip

TIMED = """
import json, sys, time
from backend.redact import redacted

def seconds(text):
    began = time.process_time()
    redacted(text * (1_000_000 // len(text)))
    return time.process_time() - began

print(json.dumps([[text, seconds(text) / seconds("x ")] for text in json.load(sys.stdin)]))
"""


def test_no_strangers_text_takes_much_longer_than_another() -> None:
    # In a process of its own, which knows none of the secrets of other tests: looking for those takes time too.
    words = [sys.executable, "-c", TIMED]
    said = subprocess.run(words, cwd=TREE, input=json.dumps(HOSTILE), capture_output=True, text=True, check=True).stdout
    assert [(text, times) for text, times in json.loads(said) if times > 3] == []


def test_an_error_holds_no_secret() -> None:
    error = CloudError(f"EC2 says: {KEY}.", f"Do without {KEY}.")
    assert (str(error), error.message, error.cure) == (
        "EC2 says: ***. Do without ***.",
        "EC2 says: ***.",
        "Do without ***.",
    )
    assert KEY not in f"{error!r} {error.args} {vars(error)}"
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert str(again) == str(error)


def test_a_secret_shows_nowhere() -> None:
    credentials = ec2_keys(Secret(KEY), Secret(KEY), Secret(KEY))
    assert KEY not in f"{credentials} {credentials!r}"
    assert f"{Secret(KEY)!s:>5} {Secret(KEY)}" == "  *** ***"
    with pytest.raises(TypeError):
        pickle.dumps(credentials)
    assert copy.deepcopy(credentials) == credentials
