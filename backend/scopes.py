"""Reads a selection of clouds and regions, such as `aws,lab/eu-west-1`, into the scopes that are shown."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from backend.callbacks import ignore
from backend.config import ALL_REGIONS, EVERY, Cloud, Settings
from backend.errors import CloudError, ConfigError, UsageError
from backend.kinds.location import LOCATION, locations
from backend.kinds.model import Scope
from backend.names import closest
from backend.providers.entry import Connect
from backend.providers.protocol import Region
from backend.session import cloud_named, known_cloud
from backend.state import recall_regions, remember_regions
from backend.text import safe

Regions = Callable[[Cloud], Sequence[Region]]
"""Returns the regions of a cloud, disabled ones too; none if they are not known. May ask the cloud."""


@dataclass(frozen=True)
class Selection:
    """The scopes of a selection, and sentences about what was left out of it."""

    scopes: tuple[Scope, ...]
    notes: tuple[str, ...] = ()


Owners = Callable[[Sequence[Cloud]], Mapping[str, str]]
"""Returns the numbers of the accounts of clouds, by the clouds' names, as far as they are known. May ask the clouds."""


def selected(
    settings: Settings, text: str, regions: Regions, owners_of: Owners = lambda _: {}, *, strict: bool = True
) -> Selection:
    """Return the scopes that `text` selects, each once; the first is the home scope.

    `text` has words joined by commas: NAME is a cloud with the regions that the configuration gives it, NAME/REGION one
    region of it, NAME/all all that are enabled; the name `all` stands for every cloud. Two clouds that are one account
    are shown once in each region.

    Raises ConfigError for an unknown cloud, and for a region that is unknown or disabled; CloudError if all regions are
    wanted and the cloud does not say which, unless not `strict`: then its home region is selected, and a note says why.
    """
    scopes: dict[Scope, None] = {}
    owners: dict[Any, str] = {}
    notes: dict[str, None] = {}
    words = list(_words(settings, text))
    clouds = {name: known_cloud(settings, name) for name, *_ in words}
    numbers = owners_of(list(clouds.values())) if len(clouds) > 1 else {}
    for name, named, all_of_them in words:
        cloud = clouds[name]
        if not cloud.region and named in ("", EVERY):
            if not all_of_them:
                cloud_named(settings, name)  # raises: it says what to do
            notes[f"Cloud {name} has no region, so it is not shown."] = None
            continue
        try:
            found = _regions(cloud, named, regions)
        except CloudError as error:
            if strict:
                raise
            found = [cloud.region]
            notes[f"Of cloud {name} only region {cloud.region} is shown. {error}"] = None
        for region in found:
            scope = Scope(name, region)
            owner = owners.setdefault((_account(cloud, numbers.get(name)), region), name)
            if owner == name:
                scopes[scope] = None
            else:
                notes[f"Clouds {owner} and {name} are the same account, so each region is shown once, as {owner}."] = (
                    None
                )
    if not scopes:
        raise ConfigError(f"{safe(text)!r} names no cloud.", f"Configured: {', '.join(settings.clouds)}.")
    return Selection(tuple(scopes), tuple(notes))


def named(scopes: Sequence[Scope]) -> str:
    """Return scopes in words: "aws us-east-1, eu-west-1; lab us-east-1"."""
    regions: dict[str, list[str]] = {}
    for cloud, region in scopes:
        regions.setdefault(cloud, []).append(region)
    return "; ".join(f"{cloud} {', '.join(of_cloud)}" for cloud, of_cloud in regions.items())


def text_of(scopes: Sequence[Scope]) -> str:
    """Return the selection of these scopes: "aws/us-east-1,lab/eu-west-1"."""
    return ",".join("/".join(scope) for scope in scopes)


def scopes_named(scopes: Sequence[Scope], text: str) -> tuple[Scope, ...]:
    """Return those of `scopes` that `text` names: REGION or CLOUD/REGION, joined by commas; or all.

    Raises UsageError for a word that names none of them, with the nearest match.
    """
    names = {name: scope for scope in reversed(scopes) for name in (scope.region, "/".join(scope))}
    found: dict[Scope, None] = {}
    for word in filter(None, map(str.strip, text.split(","))):
        if word != EVERY and word not in names:
            match = closest(word, names)
            cure = f"Did you mean {safe(match)!r}?" if match else f"Shown: {safe(named(scopes))}."
            raise UsageError(f"Region {safe(word)!r} is not one of those that are shown.", cure)
        matching = (scope for scope in scopes if word in (EVERY, scope.region, "/".join(scope)))
        found |= dict.fromkeys(matching)
    return tuple(found) or tuple(scopes[:1])


def words_of(clouds: str, regions: str) -> str:
    """Return the selection of these clouds in these regions, which replace those that the clouds have."""
    if not regions.strip():
        return clouds
    names = dict.fromkeys(word.partition("/")[0].strip() for word in clouds.split(","))
    each = [region.strip() for region in regions.split(",") if region.strip()]
    return ",".join(f"{name}/{region}" for name in names for region in each)


def check_names(settings: Settings, text: str) -> None:
    """Raise ConfigError if a selection names a cloud that is not configured, or without a region; asks nobody.

    The account of a cloud may know its region, which is not asked here.
    """
    for name, named, all_of_them in _words(settings, text):
        cloud = known_cloud(settings, name)
        if not all_of_them and named in ("", EVERY) and cloud.account is None:
            cloud_named(settings, name)


def first_cloud(settings: Settings, text: str) -> Cloud:
    """Return the first cloud of a selection, which has the home scope. Raises ConfigError if it is not configured."""
    return known_cloud(settings, next((name for name, *_ in _words(settings, text)), text))


def _words(settings: Settings, text: str) -> Iterator[tuple[str, str, bool]]:
    """Yield the clouds of a selection by name, each with the region that is named, "" if none is.

    The last element says whether it is one of all clouds; the current one is the first of them.
    """
    for word in filter(None, map(str.strip, text.split(","))):
        name, _, region = word.partition("/")
        every = sorted(settings.clouds, key=lambda one: one != settings.cloud)
        for one in every if name == EVERY else [name]:
            yield one, region, name == EVERY


def _regions(cloud: Cloud, named: str, regions: Regions) -> Sequence[str]:
    wanted = (named,) if named else cloud.regions or (cloud.region,)
    if wanted == ALL_REGIONS:
        found = [region.name for region in regions(cloud) if region.enabled] or [cloud.region]
    else:
        found = [replace(cloud, default=replace(cloud.default, location=one)).region for one in wanted]
        for region in found:
            if region != cloud.region and region not in cloud.regions:
                _check(cloud, region, regions)
    return sorted(found, key=lambda region: region != cloud.region)  # the home region first


def _check(cloud: Cloud, region: str, regions: Regions) -> None:
    """Raise ConfigError if this region of a cloud is known not to exist, or not to be enabled."""
    found: dict[str, Region] = {}
    with suppress(CloudError):  # it does not say: the requests to the region will
        found = {one.name: one for one in regions(cloud)}
    if not found or (region in found and found[region].enabled):
        return
    if region in found:
        raise ConfigError(
            f"Region {region} of cloud {cloud.name} is not enabled: {safe(found[region].state)}.",
            "Enable it in the account's settings, or choose another region.",
        )
    match = closest(region, found)
    cure = f"Did you mean {safe(match)!r}?" if match else f"Known: {', '.join(map(safe, found))}."
    raise ConfigError(f"Cloud {cloud.name} has no region {safe(region)!r}.", cure)


def _account(cloud: Cloud, number: str | None) -> Any:
    """Return what two clouds share if they surely are one account at one endpoint; a cloud without keys shares none."""
    keys = tuple(sorted(cloud.credentials.items(), key=lambda one: one[0]))
    return cloud.provider.name, cloud.endpoint, number or keys or cloud.account or cloud.name


_ASKED_AT_ONCE = 8
"""At most N clouds are asked at the same time who their keys are."""

_ASKED_FOR = 3.0
"""Seconds to wait for the answers, as rows do too. A cloud that does not answer in time counts as one of its own."""


def account_numbers(clouds: Sequence[Cloud]) -> dict[str, str]:
    """Return the numbers of the accounts of clouds, by the names of the clouds; each cloud is asked."""
    pool = ThreadPoolExecutor(_ASKED_AT_ONCE, "identity")
    asked = {pool.submit(cloud.provider.identity, cloud): cloud.name for cloud in clouds}
    answered, _ = wait(asked, _ASKED_FOR)
    pool.shutdown(wait=False, cancel_futures=True)
    return {asked[one]: who.account for one in answered if (who := one.result()) is not None}


def known_regions(settings: Settings, home: Path, connect: Connect, check: Callable[[], None] = ignore) -> Regions:
    """Return what gives the regions of a cloud: as they are remembered, else as the cloud says, which is remembered.

    It raises CloudError.
    """

    def regions(cloud: Cloud) -> Sequence[Region]:
        remembered = recall_regions(settings, home, cloud.name)
        return remembered or asked_regions(settings, home, cloud, connect, check)

    return regions


def asked_regions(
    settings: Settings, home: Path, cloud: Cloud, connect: Connect, check: Callable[[], None] = ignore
) -> Sequence[Region]:
    """Ask a cloud for its regions and remember them; none if its provider has none. Raises CloudError."""
    if "regions" not in cloud.provider.capabilities or LOCATION.name not in cloud.provider.kinds:
        return ()
    found = locations(connect(cloud, check, ignore)).regions()
    if found:
        remember_regions(settings, home, cloud.name, found)
    return found
