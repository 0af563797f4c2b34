"""Settings without cloudmesh.yaml: a cloud for each profile, and the one that `aws` would use is the first."""

from dataclasses import replace
from pathlib import Path

import pytest

from backend.account import Account
from backend.config import Cloud, Defaults, Settings
from backend.discovery import discovered, nothing_found, with_profile
from backend.errors import ConfigError

CONFIG = """[profile dev]
region = us-west-2
[sso-session acme]
sso_region = us-east-1
[profile "team/a b"]
[profile ignored by botocore]
[services local]
"""
ENV_KEYS = {"AWS_ACCESS_KEY_ID": "AKIAENV000001", "AWS_SECRET_ACCESS_KEY": "secret-of-the-environment"}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """The environment of a user with three profiles, none of them the default."""
    folder = tmp_path / ".aws"
    folder.mkdir()
    (folder / "config").write_text(CONFIG)
    (folder / "credentials").write_text("[dev]\n[ops]\nregion = eu-west-1\n")
    return {"HOME": str(tmp_path), "CLOUDMESH_HOME": str(tmp_path / "data")}


def test_each_profile_is_a_cloud(environ: dict[str, str]) -> None:
    settings = discovered(environ)
    assert {name: (cloud.account, cloud.region) for name, cloud in settings.clouds.items()} == {
        "dev": (Account("dev"), "us-west-2"),
        "team-a-b": (Account("team/a b"), ""),
        "ops": (Account("ops"), "eu-west-1"),
    }
    assert (settings.cloud, settings.found, settings.path) == ("dev", True, None)


@pytest.mark.parametrize(
    ("more", "cloud", "account", "region"),
    [
        ({"AWS_PROFILE": "ops"}, "ops", Account("ops"), "eu-west-1"),
        ({"AWS_PROFILE": "ops", "AWS_REGION": "eu-north-1"}, "ops", Account("ops"), "eu-north-1"),
        (ENV_KEYS, "aws", Account(), ""),
        (ENV_KEYS | {"AWS_PROFILE": "ops"}, "aws", Account(), "eu-west-1"),
        ({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/x"}, "aws", Account(), ""),
    ],
)
def test_the_first_cloud_is_the_one_that_aws_would_use(
    environ: dict[str, str], more: dict[str, str], cloud: str, account: Account, region: str
) -> None:
    settings = discovered(environ | more)
    found = settings.clouds[settings.cloud]
    assert (found.name, found.account, found.region) == (cloud, account, region)
    assert {"dev", "ops"} <= set(settings.clouds)


def test_clouds_have_names_of_their_own(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[aws]\n[a b]\n[a/b]\n[all]\n[-]\n[é]\n")
    settings = discovered({"HOME": str(tmp_path)} | ENV_KEYS)
    assert list(settings.clouds) == ["aws", "aws-2", "a-b", "a-b-2", "all-2", "profile", "profile-2"]
    assert settings.cloud == "aws"


def test_without_any_account_the_ways_say_what_was_looked_at(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "CLOUDMESH_HOME": str(tmp_path / "data")}
    settings = discovered(environ)
    assert (settings.clouds["aws"].account, settings.found) == (Account(), False)
    text = str(nothing_found(settings, "the metadata", environ))
    for part in (".aws/config does not exist", ".aws/credentials does not exist", "AWS_ACCESS_KEY_ID", "the metadata"):
        assert part in text
    assert f"{tmp_path / 'data' / 'cloudmesh.yaml'}" in text


def test_a_profile_is_chosen_or_added(environ: dict[str, str]) -> None:
    assert with_profile(discovered(environ), "ops", environ).cloud == "ops"
    mine = Cloud("mine", account=Account("ops"), default=Defaults("us-east-1"))
    written = Settings({"lab": Cloud("lab"), "mine": mine}, "lab", Path("x.yaml"))
    assert with_profile(written, "ops", environ).cloud == "mine"
    added = with_profile(written, "dev", environ)
    assert (list(added.clouds), added.cloud) == (["lab", "mine", "dev"], "dev")
    assert added.clouds["dev"].region == "us-west-2"
    assert not added.clouds["dev"].read_only
    assert with_profile(replace(written, read_only=True), "dev", environ).clouds["dev"].read_only
    with pytest.raises(ConfigError, match=r"--profile names 'opps', which neither .*Did you mean 'ops'"):
        with_profile(written, "opps", environ)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("key = 1\n", "in line 1: it comes before the first [section]."),
        ("[a]\n[b]\n[a]\n", "in line 3: the section [a] is there twice."),
        ("[a]\nregion = x\nregion = y\n", "in line 3: region is set twice."),
        ("[a]\nsecret-of-the-file\n", "in line 2: it is neither a [section] nor NAME = VALUE."),
    ],
)
@pytest.mark.parametrize("file", ["config", "credentials"])
def test_a_broken_file_is_named_with_its_line_and_not_quoted(
    environ: dict[str, str], file: str, text: str, says: str
) -> None:
    path = Path(environ["HOME"]) / ".aws" / file
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        discovered(environ)
    assert caught.value.message == f"{path} cannot be understood {says}"
    assert "secret-of-the-file" not in str(caught.value)
    path.write_bytes(b"[\xff]")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        discovered(environ)
