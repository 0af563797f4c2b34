"""The content of cloudmesh.yaml, and the error for every mistake in it."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from backend.account import Account, Role
from backend.catalog import KINDS
from backend.config import PRODUCTION, Cloud, Defaults, MongoDB, Settings, load
from backend.errors import ConfigError
from backend.providers.ec2.entry import EC2, OWNERS, ec2_keys
from backend.secret import Secret
from backend.session import cloud_named
from tests.backend.config_support import document, one, read, refused

TREE = Path(__file__).parents[2]
SECRET = "wJalrXUtnFEMIK7MDENGb"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cloudmesh.yaml"


# --- what it says -----------------------------------------------------------------------------------------------------


def test_the_example_loads_and_says_the_defaults() -> None:
    settings = load(TREE / "cloudmesh.yaml.example", KINDS, {"HOME": "/nowhere"})
    bare = Settings({}, "aws")
    assert settings.cloud == "aws"
    assert settings.clouds["aws"] == Cloud(
        "aws",
        images=OWNERS,
        default=Defaults(location="us-west-1", image="ami-0183d861", size="t2.micro", keypair="AWS1"),
        account=Account(),
    )
    for name in ("refresh", "poll", "mongodb", "production"):
        assert getattr(settings, name) == getattr(bare, name), name
    assert settings.max_age == {kind.name: bare.max_age_of(kind) for kind in KINDS.values()}


def test_a_cloud_with_nothing_said_has_the_defaults(path: Path) -> None:
    settings = read(path, "cloudmesh: {clouds: {aws: }}")
    assert settings == Settings({"aws": Cloud("aws", default=Defaults(location=""), account=Account())}, "aws", path)


def test_everything_said(path: Path) -> None:
    settings = read(
        path,
        """
        cloudmesh:
          default: {cloud: two}
          refresh: off
          read_only: off
          production: [env=live, "tier=?"]
          poll: {in_flight: 0.5, settled: "10", give_up: 60}
          max_age: {vm: 5, image: 7}
          mongodb: {uri: "mongodb://u:p@h/", database: team}
          clouds:
            one: &one
              provider: ec2
              endpoint: http://127.0.0.1:5000
              images: [self, aws-marketplace, 111122223333]
              read_only: on
              credentials: {EC2_ACCESS_KEY: a, EC2_SECRET_KEY: b, EC2_SESSION_TOKEN: c}
              default: {location: us-west-1b, image: ami-1, size: m5.large, keypair: me}
            two:
              <<: *one
              images: all
              read_only: off
            """,
    )
    first = Cloud(
        "one",
        EC2,
        "http://127.0.0.1:5000",
        ("self", "aws-marketplace", "111122223333"),
        ec2_keys(Secret("a"), Secret("b"), Secret("c")),
        Defaults("us-west-1b", "ami-1", "m5.large", "me"),
        read_only=True,
    )
    assert settings.clouds == {"one": first, "two": replace(first, name="two", images=("all",), read_only=False)}
    assert (settings.cloud, settings.refresh) == ("two", False)
    assert settings.production == ("env=live", "tier=?")
    assert (settings.poll.in_flight, settings.poll.settled, settings.poll.give_up) == (0.5, 10, 60)
    assert (settings.max_age["vm"], settings.max_age["image"]) == (5, 7)
    assert settings.max_age_of(KINDS["volume"]) == KINDS["volume"].max_age
    assert settings.mongodb == MongoDB(Secret("mongodb://u:p@h/"), "team")


def test_the_first_cloud_is_the_default_one(path: Path) -> None:
    assert read(path, "cloudmesh: {clouds: {b: , a: }}").cloud == "b"


@pytest.mark.parametrize("word", ["on", '"on"', "On", "yes", "true", "'true'", "${SWITCH}"])
def test_refresh_on(path: Path, word: str) -> None:
    assert read(path, f"cloudmesh:\n  refresh: {word}\n  clouds: {{a: }}", {"SWITCH": "on"}).refresh is True


@pytest.mark.parametrize("word", ["off", '"off"', "OFF", "no", "false", "'false'", "${SWITCH}"])
def test_refresh_off(path: Path, word: str) -> None:
    assert read(path, f"cloudmesh:\n  refresh: {word}\n  clouds: {{a: }}", {"SWITCH": "off"}).refresh is False


@pytest.mark.parametrize(
    ("root", "own", "expected"),
    [
        ("", "", [False, False]),
        ("on", "", [True, True]),
        ("on", "off", [True, True]),  # who locks all locks each
        ("", "on", [True, False]),
        ("off", "${SWITCH}", [True, False]),
        ("'off'", "No", [False, False]),
    ],
)
def test_read_only(path: Path, root: str, own: str, expected: list[bool]) -> None:
    text = f"cloudmesh:\n  read_only: {root}\n  clouds:\n    a:\n      read_only: {own}\n    b:\n"
    assert [cloud.read_only for cloud in read(path, text, {"SWITCH": "on"}).clouds.values()] == expected


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("", PRODUCTION),
        ("[]", ()),  # none is
        ("env=live", ("env=live",)),
        ("[env=live*, 'a b==', stage=]", ("env=live*", "a b==", "stage=")),
        ("['env=${WORD}']", ("env=prod",)),
    ],
)
def test_production(path: Path, rules: str, expected: tuple[str, ...]) -> None:
    text = f"cloudmesh:\n  production: {rules}\n  clouds: {{a: }}"
    assert read(path, text, {"WORD": "prod"}).production == expected


@pytest.mark.parametrize(
    ("owners", "expected"),
    [
        ("all", ("all",)),
        ("self", ("self",)),
        ("[all]", ("all",)),
        ("111122223333", ("111122223333",)),
        ("012345678901", ("012345678901",)),
        ("[012345670123, '099720109477']", ("012345670123", "099720109477")),  # the first is octal in YAML 1.1
        ("[self, '${ACCOUNT}']", ("self", "001122334455")),
        ("[aws-backup-vault]", ("aws-backup-vault",)),
        (
            "[self, amazon, aws-marketplace, aws-backup-vault]",
            ("self", "amazon", "aws-marketplace", "aws-backup-vault"),
        ),
    ],
)
def test_owners(path: Path, owners: str, expected: tuple[str, ...]) -> None:
    assert read(path, one(f"images: {owners}"), {"ACCOUNT": "001122334455"}).clouds["aws"].images == expected


@pytest.mark.parametrize("name", ["0123", "1_000", "0x1F", "1e3", "1.10", "12:30:00", "on", "2026-11-23", "007"])
def test_a_name_is_what_stands_there(path: Path, name: str) -> None:
    """YAML 1.1 would read each of these as something else than text."""
    assert read(path, one(f"default: {{keypair: {name}}}")).clouds["aws"].default.keypair == name


@pytest.mark.parametrize("value", ["", "~", "null", "''", "${EMPTY}"])
def test_an_empty_value_is_an_absent_one(path: Path, value: str) -> None:
    text = one(f"endpoint: {value}\nimages: {value}\ndefault:\n  image: {value}\n  location: {value}")
    expected = Cloud("aws", default=Defaults(location=""), account=Account())
    assert read(path, text, {"EMPTY": ""}).clouds["aws"] == expected


@pytest.mark.parametrize(
    "endpoint", [f"http://user:{SECRET}@host", f"https://{SECRET}@host/x", f"http://h/?p={SECRET}@"]
)
def test_an_endpoint_takes_no_password_and_none_is_repeated(path: Path, endpoint: str) -> None:
    error = refused(path, one(f"endpoint: {endpoint}"))
    assert "endpoint must be a URL without user and password" in error.message
    assert SECRET not in str(error)


@pytest.mark.parametrize("section", ["default", "poll", "max_age", "mongodb", "clouds.aws"])
def test_an_empty_section_is_an_absent_one(path: Path, section: str) -> None:
    settings = read(path, document(f"cloudmesh.{section}", None))
    assert settings.cloud == "aws"
    assert settings.poll == Settings({}, "").poll


@pytest.mark.parametrize(
    ("location", "region"),
    [
        ("us-west-1", "us-west-1"),
        ("us-west-1b", "us-west-1"),
        ("us-west-2-lax-1a", "us-west-2"),
        ("us-east-1-wl1-bos-wlz-1", "us-east-1"),
        ("us-gov-east-1a", "us-gov-east-1"),
        ("us-gov-east-1", "us-gov-east-1"),
        ("us-isob-east-1", "us-isob-east-1"),
        ("cn-north-1", "cn-north-1"),
        ("ap-southeast-10c", "ap-southeast-10"),
        ("eucalyptus", "eucalyptus"),
    ],
)
def test_region_of_a_zone(path: Path, location: str, region: str) -> None:
    cloud = read(path, one(f"default: {{location: {location}}}")).clouds["aws"]
    assert (cloud.location, cloud.region) == (location, region)


# --- the environment --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "EC2_SECRET_KEY"])
@pytest.mark.parametrize(
    "line",
    [
        "endpoint: 'http://evil.example/${KEY}'",
        "default: {image: '${KEY}'}",
        "images: [self, '${KEY}']",
    ],
)
def test_a_key_of_the_environment_is_taken_into_nothing_but_credentials(path: Path, name: str, line: str) -> None:
    with pytest.raises(ConfigError, match=rf"uses \$\{{{name}\}}, which is a key") as caught:
        read(path, one(line.replace("KEY", name)), {name: "abcdefghijklmnop"})
    assert "abcdefghijklmnop" not in str(caught.value)
    cloud = read(path, one(f"credentials: {{EC2_SECRET_KEY: '${{{name}}}'}}"), {name: "abcdefghijklmnop"}).clouds["aws"]
    assert cloud.credentials["EC2_SECRET_KEY"].reveal() == "abcdefghijklmnop"


AWS = {"AWS_ACCESS_KEY_ID": "env-key", "AWS_SECRET_ACCESS_KEY": "env-secret", "AWS_SESSION_TOKEN": "env-token"}


def test_the_environment_in_values(path: Path) -> None:
    text = one("endpoint: http://${HOST}:${PORT}\ncredentials: {EC2_ACCESS_KEY: '${KEY}'}\ndefault: {image: $KEY}")
    cloud = read(path, text, {"HOST": "h", "PORT": "1", "KEY": "${HOST}"}).clouds["aws"]
    assert cloud.endpoint == "http://h:1"
    assert cloud.credentials["EC2_ACCESS_KEY"] == Secret("${HOST}")  # what the environment says is not expanded again
    assert cloud.default.image == "$KEY"


def test_seconds_from_the_environment(path: Path) -> None:
    assert read(path, document("cloudmesh.poll.settled", "${SECONDS}"), {"SECONDS": "7"}).poll.settled == 7


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("endpoint: ${NOWHERE}", "endpoint"),
        ("credentials: {EC2_SECRET_KEY: 'x${NOWHERE}'}", "credentials.EC2_SECRET_KEY"),
        ("images: [self, '${NOWHERE}']", "images"),
    ],
)
def test_a_variable_that_is_missing(path: Path, line: str, where: str) -> None:
    error = refused(path, one(line), AWS)
    assert (
        error.message == f"{path}: cloudmesh.clouds.aws.{where} uses ${{NOWHERE}}, which the environment does not have."
    )
    assert error.cure == "Set NOWHERE."


def test_without_credentials_the_chain_of_the_aws_tools_has_the_keys(path: Path) -> None:
    for text in ("provider: ec2", "credentials:", "credentials: {EC2_ACCESS_KEY: , EC2_SECRET_KEY: ''}"):
        cloud = read(path, one(text), AWS).clouds["aws"]
        assert (cloud.credentials, cloud.account) == ({}, Account())


@pytest.fixture
def profiles(tmp_path: Path) -> dict[str, str]:
    """An environment with two profiles; only one has a region."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text("[default]\nregion = eu-west-1\n[profile dev]\n")
    return {"HOME": str(tmp_path)}


def test_a_cloud_may_name_a_profile_and_a_role(path: Path, profiles: dict[str, str]) -> None:
    arn = "arn:aws:iam::111122223333:role/team/Admin"
    cloud = read(path, one(f"profile: dev\nrole: {arn}"), profiles).clouds["aws"]
    assert cloud.account == Account("dev", Role(arn))
    assert cloud.region == ""
    more = one(f"role: {{arn: '{arn}', external_id: x-1, session_name: me}}")
    cloud = read(path, more, profiles).clouds["aws"]
    assert cloud.account == Account(None, Role(arn, "x-1", "me"))
    assert cloud.region == "eu-west-1"
    assert read(path, more, profiles | {"AWS_REGION": "eu-west-2"}).clouds["aws"].region == "eu-west-2"
    assert read(path, one("profile: default\ndefault: {location: us-east-1a}"), profiles).clouds["aws"].region == (
        "us-east-1"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("profile: dve", "clouds.aws.profile names the unknown profile 'dve'. Did you mean 'dev'?"),
        ("profile: [dev]", "clouds.aws.profile must be text"),
        (
            "role: {external_id: x}",
            "clouds.aws.role.arn must be the ARN of a role: arn:aws:iam::123456789012:role/NAME.",
        ),
        ("role: arn:aws:iam::1:role/x", "clouds.aws.role.arn must be the ARN of a role"),
        ("role: {ran: x}", "clouds.aws.role.ran is not a known key. Did you mean 'arn'?"),
        ("profile: dev\ncredentials: {EC2_ACCESS_KEY: a}", "clouds.aws has credentials and a profile or a role."),
    ],
)
def test_a_wrong_profile_or_role(path: Path, profiles: dict[str, str], text: str, says: str) -> None:
    assert says in str(refused(path, one(text), profiles))


def test_credentials_of_two_places_are_not_mixed(path: Path) -> None:
    found = read(path, one("credentials: {EC2_ACCESS_KEY: own}"), AWS).clouds["aws"].credentials
    assert found == ec2_keys(Secret("own"), Secret(""), Secret(""))
    own = read(path, one("credentials: {EC2_ACCESS_KEY: own, EC2_SECRET_KEY: too}"), AWS).clouds["aws"].credentials
    assert own == ec2_keys(Secret("own"), Secret("too"), Secret(""))


@pytest.mark.parametrize(
    ("environ", "region"),
    [
        ({"AWS_REGION": "eu-west-1"}, "eu-west-1"),
        ({"AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-1"),
        ({"AWS_REGION": " ", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": ""}, ""),
        ({}, ""),
    ],
)
def test_the_region_of_the_environment_serves_where_there_is_none(
    path: Path, environ: dict[str, str], region: str
) -> None:
    assert read(path, one("provider: ec2"), environ).clouds["aws"].region == region
    assert read(path, one("default: {location: }"), AWS | environ).clouds["aws"].region == region
    keys = one("credentials: {EC2_ACCESS_KEY: own, EC2_SECRET_KEY: too}")
    assert read(path, keys, environ).clouds["aws"].region == region
    assert read(path, one("endpoint: http://h"), environ).clouds["aws"].region == (region or "us-east-1")
    stated = one("default: {location: us-west-1b}")
    assert read(path, stated, environ).clouds["aws"].region == "us-west-1"


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_a_region_of_the_environment_that_is_none(path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} in the environment is 'us east', not a region") as caught:
        read(path, one("provider: ec2"), {name: "us east"})
    assert caught.value.cure == f"Correct {name}."


def test_a_cloud_without_a_region_cannot_be_worked_on(path: Path) -> None:
    settings = read(path, "cloudmesh: {clouds: {bare: , euca: {endpoint: 'http://h'}}}")
    assert cloud_named(settings, "euca").region == "us-east-1"
    with pytest.raises(ConfigError, match=r"Cloud bare has no region: .* AWS_REGION, AWS_DEFAULT_REGION") as caught:
        cloud_named(settings, "bare")
    assert caught.value.cure == "Write default.location of cloud bare in cloudmesh.yaml, or set AWS_REGION."


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "meant"),
    [
        ("cloudmsh", "cloudmesh"),
        ("cloudmesh.refesh", "refresh"),
        ("cloudmesh.readonly", "read_only"),
        ("cloudmesh.productions", "production"),
        ("cloudmesh.cloud", "clouds"),
        ("cloudmesh.default.clod", "cloud"),
        ("cloudmesh.poll.inflight", "in_flight"),
        ("cloudmesh.max_age.images", "image"),
        ("cloudmesh.max_age.keypar", "keypair"),
        ("cloudmesh.mongodb.url", "uri"),
        ("cloudmesh.mongodb.Database", "database"),
        ("cloudmesh.clouds.aws.endpiont", "endpoint"),
        ("cloudmesh.clouds.aws.read-only", "read_only"),
        ("cloudmesh.clouds.aws.credential", "credentials"),
        ("cloudmesh.clouds.aws.credentials.EC2_ACCES_KEY", "EC2_ACCESS_KEY"),
        ("cloudmesh.clouds.aws.credentials.ec2_secret_key", "EC2_SECRET_KEY"),
        ("cloudmesh.clouds.aws.default.locaton", "location"),
        ("cloudmesh.clouds.aws.default.key_pair", "keypair"),
    ],
)
def test_an_unknown_key(path: Path, keys: str, meant: str) -> None:
    error = refused(path, document(keys, SECRET))
    assert error.message == f"{path}: {keys} is not a known key."
    assert error.cure == f"Did you mean {meant!r}?"


@pytest.mark.parametrize(
    ("keys", "known"),
    [
        ("zzz", "cloudmesh"),
        ("cloudmesh.zzz", "default, refresh, read_only, production, poll, max_age, mongodb, clouds"),
        ("cloudmesh.poll.zzz", "in_flight, settled, give_up"),
        (
            "cloudmesh.clouds.aws.zzz",
            "provider, endpoint, images, read_only, regions, credentials, profile, role, default",
        ),
        ("cloudmesh.max_age.zzz", ", ".join(KINDS)),
        ("cloudmesh.clouds.aws.credentials.zzz", "EC2_ACCESS_KEY, EC2_SECRET_KEY, EC2_SESSION_TOKEN"),
    ],
)
def test_a_key_like_no_other(path: Path, keys: str, known: str) -> None:
    assert refused(path, document(keys, 1)).cure == f"Known: {known}."


LEAVES = [
    *("default.cloud", "refresh", "read_only", "mongodb.uri", "mongodb.database"),
    *(f"clouds.aws.{name}" for name in ("provider", "endpoint", "read_only")),
    *(f"poll.{name}" for name in ("in_flight", "settled", "give_up")),
    *(f"max_age.{name}" for name in KINDS),
    *(f"clouds.aws.credentials.EC2_{name}" for name in ("ACCESS_KEY", "SECRET_KEY", "SESSION_TOKEN")),
    *(f"clouds.aws.default.{name}" for name in ("location", "image", "size", "keypair")),
]


@pytest.mark.parametrize("keys", LEAVES)
@pytest.mark.parametrize(("value", "kind"), [([SECRET], "a list"), ({SECRET: SECRET}, "a mapping")])
def test_a_leaf_that_is_no_text(path: Path, keys: str, value: object, kind: str) -> None:
    error = refused(path, document(f"cloudmesh.{keys}", value))
    assert error.message == f"{path}: cloudmesh.{keys} must be text, not {kind}."
    assert SECRET not in str(error)


@pytest.mark.parametrize("value", ["[[self]]", "[{a: b}]", "{a: b}", "[~]"])
def test_owners_that_are_no_text(path: Path, value: str) -> None:
    assert "cloudmesh.clouds.aws.images must be text, not " in refused(path, one(f"images: {value}")).message


@pytest.mark.parametrize("value", ["[[env=prod]]", "[{a: b}]", "{env: prod}", "[~]"])
def test_rules_that_are_no_text(path: Path, value: str) -> None:
    text = f"cloudmesh:\n  production: {value}\n  clouds: {{a: }}"
    assert "cloudmesh.production must be text, not " in refused(path, text).message


SECTIONS = [
    "cloudmesh", "cloudmesh.default", "cloudmesh.poll", "cloudmesh.max_age", "cloudmesh.mongodb",
    "cloudmesh.clouds.aws", "cloudmesh.clouds.aws.credentials", "cloudmesh.clouds.aws.default",
]  # fmt: skip


@pytest.mark.parametrize("keys", SECTIONS)
@pytest.mark.parametrize(("value", "kind"), [([SECRET], "a list"), (SECRET, "text"), (5, "text")])
def test_a_section_that_is_none(path: Path, keys: str, value: object, kind: str) -> None:
    error = refused(path, document(keys, value))
    assert error.message.startswith(f"{path}: {keys} must be a mapping of ")
    assert error.message.endswith(f", not {kind}.")
    assert SECRET not in str(error)


@pytest.mark.parametrize(
    ("keys", "value", "words"),
    [
        ("refresh", "maybe", "must be on or off, not 'maybe'"),
        ("refresh", "1", "must be on or off"),
        ("read_only", "maybe", "must be on or off, not 'maybe'"),
        ("clouds.aws.read_only", "0", "must be on or off, not '0'"),
        *(("production", value, "has the rule ") for value in ("prod", ["env=prod", "=prod"], [" = x"], ["="], [""])),
        *(
            (keys, value, "must be a number of seconds above 0")
            for keys in ("poll.settled", "max_age.vm")
            for value in ("0", "-1", "soon", "nan", ".inf", "inf", "1e400", "9" * 400, "true")
        ),
        ("mongodb.uri", "mongo", "must be embedded, memory, mongodb://… or mongodb+srv://…"),
        ("mongodb.uri", f"http://u:{SECRET}@h", "must be embedded, memory, mongodb://… or mongodb+srv://…"),
        *(("mongodb.database", value, "must be 1 to 38 letters") for value in ("a.b", "a b", "x" * 39, "$x", "é")),
        *(
            ("clouds.aws.endpoint", value, "must be a URL such as")
            for value in ("localhost:5000", "ftp://h", "http://", "http://h:99999", "http://h:x", "http://[::1")
        ),
        ("clouds.aws.images", [], "must name at least one owner"),
        ("clouds.aws.images", ["all", "self"], "names `all` and other owners"),
        *(
            ("clouds.aws.default.location", value, "must be a region or an availability zone")
            for value in ("us west", "../x", "evil.com/", "..", "a\nb")
        ),
    ],
)
def test_a_value_that_does_not_fit(path: Path, keys: str, value: object, words: str) -> None:
    error = refused(path, document(f"cloudmesh.{keys}", value))
    assert error.message.startswith(f"{path}: cloudmesh.{keys} {words}")
    assert SECRET not in str(error)


@pytest.mark.parametrize(
    ("keys", "value", "cure"),
    [
        ("clouds.aws.provider", "ec3", "Did you mean 'ec2'?"),
        ("clouds.aws.provider", "openstack", "Known: ec2."),
        ("clouds.aws.images", ["slef"], "Did you mean 'self'?"),
        ("clouds.aws.images", "Amazon", "Did you mean 'amazon'?"),
        (
            "clouds.aws.images",
            "11112222333",
            "Known: self, amazon, aws-marketplace, aws-backup-vault, all, a 12-digit account id.",
        ),
        ("default.cloud", "aws2", "Did you mean 'aws'?"),
        ("default.cloud", "AWS", "Did you mean 'aws'?"),
        ("default.cloud", "chameleon", "Known: aws."),
    ],
)
def test_a_value_that_is_not_known(path: Path, keys: str, value: object, cure: str) -> None:
    error = refused(path, document(f"cloudmesh.{keys}", value))
    assert f"cloudmesh.{keys} " in error.message
    assert error.cure == cure


@pytest.mark.parametrize("name", ["..", ".hidden", "a/b", "a b", "é", "", "-x", "a\x1bb"])
def test_a_cloud_name_that_could_not_be_a_folder(path: Path, name: str) -> None:
    error = refused(path, yaml.safe_dump({"cloudmesh": {"clouds": {name: None}}}))
    assert "cloudmesh.clouds has the cloud name " in error.message
    assert error.message.isprintable()


def test_a_hostile_key_cannot_steer_the_terminal(path: Path) -> None:
    error = refused(path, yaml.safe_dump({"cloudmesh": {"clouds": {"a": None}, "\x1b[2J\u202e": 1}}))
    assert str(error).isprintable()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cloudmesh.clouds must name at least one cloud."),
        ("# nothing\n", "cloudmesh.clouds must name at least one cloud."),
        ("cloudmesh:\n", "cloudmesh.clouds must name at least one cloud."),
        ("cloudmesh: {clouds: }", "cloudmesh.clouds must name at least one cloud."),
        ("cloudmesh: {clouds: {}}", "cloudmesh.clouds must name at least one cloud."),
        ("cloudmesh: {clouds: [aws]}", "cloudmesh.clouds must name at least one cloud."),
        (f"- {SECRET}\n", "the document must be a mapping of cloudmesh, not a list."),
        (f"{SECRET}\n", "the document must be a mapping of cloudmesh, not text."),
    ],
)
def test_documents_that_say_nothing(path: Path, text: str, words: str) -> None:
    assert refused(path, text).message == f"{path}: {words}"


@pytest.mark.parametrize(
    ("line", "column", "problem"),
    [
        (f"key: {SECRET}: x", 29, "mapping values are not allowed here"),
        (f"key: *{SECRET}", 8, "found undefined alias …"),
        (f"key: !{SECRET} x", 8, "could not determine a constructor for the tag …"),
        (f"key: !{SECRET}!x y", 8, "found undefined tag handle …"),
        (f"key: !!int {SECRET}", 8, "could not determine a constructor for the tag …"),
        (f'key: "\\z{SECRET}"', 10, "found unknown escape character 'z'"),
        (f"key: @{SECRET}", 8, "found character '@' that cannot start any token"),
        (f"\tkey: {SECRET}", 3, "found character '\\t' that cannot start any token"),
        (f"key: {{{SECRET}\n", 1, "expected ',' or '}', but got '<stream end>'"),
        (f"key: {SECRET}\n  key: {SECRET}", 3, "this key is here already"),
        (f"key: {SECRET}\x07", 29, "it holds a control character"),
    ],
)
def test_broken_yaml_is_told_by_its_place_alone(path: Path, line: str, column: int, problem: str) -> None:
    text = f"cloudmesh:\n  {line}"
    error = refused(path, text)
    number = text.count("\n") + 1
    pattern = f"The configuration {path} is not valid YAML in line "
    assert error.message.startswith(pattern)
    assert error.message.endswith(f": {problem}.")
    assert SECRET not in str(error)
    assert (number, column) == tuple(
        int(word) for word in error.message.removeprefix(pattern).split(":")[0].split(", column ")
    )


def test_a_merge_may_be_overridden_and_a_key_may_not(path: Path) -> None:
    text = "cloudmesh:\n  clouds:\n    a: &a {images: all}\n    b: &b {<<: *a, images: self}\n    c: {<<: *b}\n"
    assert [cloud.images for cloud in read(path, text).clouds.values()] == [("all",), ("self",), ("self",)]
    assert "line 6, column 5: this key is here already" in refused(path, f"{text}    a: \n").message


# --- secrets ----------------------------------------------------------------------------------------------------------


def test_no_repr_holds_a_secret(path: Path) -> None:
    keys = f"{{EC2_ACCESS_KEY: {SECRET}, EC2_SECRET_KEY: {SECRET}, EC2_SESSION_TOKEN: '${{TOKEN}}'}}"
    text = f"cloudmesh: {{mongodb: {{uri: 'mongodb://u:{SECRET}@h'}}, clouds: {{aws: {{credentials: {keys}}}}}}}"
    settings = read(path, text, {"TOKEN": SECRET})
    cloud = settings.clouds["aws"]
    assert SECRET in settings.mongodb.uri.reveal()
    held = cloud.credentials
    assert [secret.reveal() for secret in held.values()] == [SECRET] * 3
    for thing in (settings, cloud, held, settings.mongodb, *held.values()):
        assert SECRET not in f"{thing!r} {thing!s} {thing}"
        assert "***" in repr(thing)


# --- choosing a cloud -------------------------------------------------------------------------------------------------


def test_cloud_named(path: Path) -> None:
    settings = read(path, "cloudmesh: {clouds: {AWS: , chameleon: }}", {"AWS_REGION": "us-west-1"})
    assert cloud_named(settings, "AWS").name == "AWS"
    with pytest.raises(ConfigError, match=r"There is no cloud 'aws' in the configuration\. Did you mean 'AWS'\?"):
        cloud_named(settings, "aws")
    with pytest.raises(ConfigError, match=r"Configured: AWS, chameleon\."):
        cloud_named(settings, "zzz")


def test_every_default_age_is_one_that_a_timer_can_take() -> None:
    assert all(0 < Settings({}, "").max_age_of(kind) < math.inf for kind in KINDS.values())
