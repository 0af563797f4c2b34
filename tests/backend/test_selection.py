"""Which clouds and regions are shown: selections, regions that are not enabled, one account in two clouds."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from backend.config import ALL_REGIONS, Cloud, Defaults, Settings
from backend.errors import CloudError, ConfigError
from backend.kinds.model import Scope
from backend.providers.ec2.entry import ec2_keys
from backend.providers.protocol import Region
from backend.providers.registry import connect
from backend.scopes import asked_regions, check_names, known_regions, named, selected, words_of
from backend.secret import Secret
from backend.state import recall_regions
from tests.backend.config_support import one, read, refused
from tests.ec2_proxy import Proxy

FOUND = [
    Region("ap-east-1", False, "not-opted-in"),
    Region("eu-west-1", True, "opt-in-not-required"),
    Region("us-east-1", True, "opt-in-not-required"),
]


def aws(name: str, key: str = "", **fields: object) -> Cloud:
    credentials = ec2_keys(Secret(f"key-{key or name}"), Secret("selecting-secret"))
    return replace(Cloud(name, credentials=credentials, default=Defaults("us-east-1")), **fields)  # type: ignore[arg-type]


CLOUDS = [aws("aws"), aws("lab", regions=("eu-west-1", "us-east-1")), aws("every", regions=ALL_REGIONS)]
SETTINGS = Settings({cloud.name: cloud for cloud in CLOUDS}, "aws")


def known(_cloud: Cloud) -> Sequence[Region]:
    return FOUND


def silent(cloud: Cloud) -> Sequence[Region]:
    raise CloudError(f"{cloud.name} does not answer.")


@pytest.mark.parametrize(
    ("text", "scopes"),
    [
        ("aws", "aws us-east-1"),
        ("lab", "lab us-east-1, eu-west-1"),
        ("every", "every us-east-1, eu-west-1"),
        ("aws,lab/eu-west-1", "aws us-east-1; lab eu-west-1"),
        (" aws , aws/us-east-1b", "aws us-east-1"),
        ("aws/all", "aws us-east-1, eu-west-1"),
        ("all", "aws us-east-1; lab us-east-1, eu-west-1; every us-east-1, eu-west-1"),
        ("all/eu-west-1", "aws eu-west-1; lab eu-west-1; every eu-west-1"),
    ],
)
def test_a_selection(text: str, scopes: str) -> None:
    found = selected(SETTINGS, text, known)
    assert (named(found.scopes), found.notes) == (scopes, ())


def test_the_words_of_two_options() -> None:
    assert words_of("aws,lab/eu-west-1", "") == "aws,lab/eu-west-1"
    assert words_of("aws,lab/eu-west-1", "us-east-1, us-west-2") == (
        "aws/us-east-1,aws/us-west-2,lab/eu-west-1,lab/eu-west-1"
    )
    assert words_of("all", "all") == "all/all"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("labb", r"There is no cloud 'labb' in the configuration\. Did you mean 'lab'\?"),
        ("aws/eu-wset-1", r"Cloud aws has no region 'eu-wset-1'\. Did you mean 'eu-west-1'\?"),
        ("aws/zz", r"Cloud aws has no region 'zz'\. Known: ap-east-1, eu-west-1, us-east-1\."),
        ("aws/ap-east-1", r"Region ap-east-1 of cloud aws is not enabled: not-opted-in\. Enable it"),
    ],
)
def test_a_selection_that_is_wrong(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        selected(SETTINGS, text, known)


def test_a_cloud_that_does_not_list_its_regions() -> None:
    assert selected(SETTINGS, "aws/eu-west-9", silent).scopes == (Scope("aws", "eu-west-9"),)
    with pytest.raises(CloudError, match="every does not answer"):
        selected(SETTINGS, "aws,every", silent)
    found = selected(SETTINGS, "aws,every", silent, strict=False)
    assert named(found.scopes) == "aws us-east-1; every us-east-1"
    assert found.notes == ("Of cloud every only region us-east-1 is shown. every does not answer.",)


def test_two_clouds_that_are_one_account_are_shown_once_and_said_once() -> None:
    clouds = [aws("one", "same", regions=("us-east-1", "eu-west-1")), aws("two", "same"), aws("three")]
    settings = Settings({cloud.name: cloud for cloud in clouds}, "one")
    found = selected(settings, "all,two/eu-west-1", known)
    assert named(found.scopes) == "one us-east-1, eu-west-1; three us-east-1"
    assert found.notes == ("Clouds one and two are the same account, so each region is shown once, as one.",)
    elsewhere = replace(clouds[1], endpoint="http://127.0.0.1:5000")
    settings = replace(settings, clouds={**settings.clouds, "two": elsewhere})
    assert selected(settings, "all", known).notes == ()
    bare = {name: replace(Cloud(name), default=Defaults("us-east-1")) for name in ("one", "two")}
    assert named(selected(Settings(bare, "one"), "all", known).scopes) == "one us-east-1; two us-east-1"


def test_names_are_checked_without_asking() -> None:
    check_names(SETTINGS, "aws,every/all")
    with pytest.raises(ConfigError, match="no cloud 'evry'"):
        check_names(SETTINGS, "aws,evry/all")


def test_the_regions_of_a_cloud_are_asked_once_and_remembered(cloud: Cloud, tmp_path: Path) -> None:
    with Proxy(str(cloud.endpoint)) as proxy:
        near = replace(cloud, endpoint=proxy.endpoint)
        settings = Settings({"aws": near}, "aws", tmp_path / "cloudmesh.yaml")
        regions = known_regions(settings, tmp_path, connect)
        found = regions(near)
        assert {"us-east-1", "eu-west-1"} <= {region.name for region in found if region.enabled}
        assert regions(near) == list(found) == recall_regions(settings, tmp_path, "aws")
        assert proxy.asked == ["DescribeRegions"]
        assert asked_regions(settings, tmp_path, near, connect) == found
        assert proxy.asked == ["DescribeRegions"] * 2


@pytest.mark.parametrize("garbage", [5, [], {"aws": 5}, {"aws": [["us-east-1"], 7, [1, True, ""]]}])
def test_remembered_regions_that_make_no_sense_count_as_none(tmp_path: Path, garbage: object) -> None:
    settings = Settings({"aws": CLOUDS[0]}, "aws", tmp_path / "cloudmesh.yaml")
    (tmp_path / "state.json").write_text(json.dumps({str(settings.path): {"regions": garbage}}))
    assert recall_regions(settings, tmp_path, "aws") == []


# --- the configuration ------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cloudmesh.yaml"


@pytest.mark.parametrize(
    ("said", "regions", "home"),
    [
        ("[eu-west-1, us-west-2]", ("eu-west-1", "us-west-2"), "eu-west-1"),
        ("eu-west-1, us-west-2", ("eu-west-1", "us-west-2"), "eu-west-1"),
        ("all", ALL_REGIONS, "us-east-1"),
        ("", (), "us-east-1"),
    ],
)
def test_the_regions_of_a_cloud(path: Path, said: str, regions: tuple[str, ...], home: str) -> None:
    cloud = read(path, one(f"endpoint: http://127.0.0.1:5000\nregions: {said}")).clouds["aws"]
    assert (cloud.regions, cloud.region) == (regions, home)
    cloud = read(path, one(f"regions: {said}\ndefault: {{location: us-west-2a}}")).clouds["aws"]
    assert (cloud.regions, cloud.region) == (regions, "us-west-2")


def test_regions_that_are_wrong(path: Path) -> None:
    assert "names `all` and other regions" in refused(path, one("regions: [all, eu-west-1]")).message
    assert "clouds.aws.regions must be a region" in refused(path, one("regions: ['../x']")).message
    assert "a cloud called `all`" in refused(path, "cloudmesh: {clouds: {all: {}}}").message


def test_several_clouds_by_default(path: Path) -> None:
    text = "cloudmesh: {default: {cloud: %s}, clouds: {aws: {}, lab: {}}}"
    for said, expected in (("'aws,lab'", "aws,lab"), ("aws/all", "aws/all"), ("all", "all")):
        assert read(path, text % said).cloud == expected
    error = refused(path, text % "'aws,labb'")
    assert "names the cloud 'labb'" in error.message
    assert error.cure == "Did you mean 'lab'?"
