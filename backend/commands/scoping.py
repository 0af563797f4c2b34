"""`scope list`: the clouds and regions that can be shown, and the choices that the dashboard offers."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from backend.callbacks import ignore
from backend.commands.model import Command, Context, Result
from backend.config import EVERY
from backend.errors import CloudmeshError
from backend.format import counted
from backend.kinds.model import DAY, Column, Kind, Row, Scope
from backend.log import logger
from backend.providers.protocol import Region
from backend.scopes import asked_regions, known_regions, named, text_of
from backend.session import Session
from backend.state import recall_choices, recall_regions

SCOPE = Kind(
    "scope",
    "scopes",
    (
        Column("cloud", "Cloud", width=16),
        Column("region", "Region", width=16),
        Column("shown", "Shown", "flag", 6, help="It is one of those that are shown"),
        Column("enabled", "Enabled", "flag", 8, help="The account may use it"),
        Column("state", "State", width=24, help="What the cloud calls that"),
        Column("id", "ID", width=30, whole=True, help="As `set default cloud=` takes it"),
    ),
    max_age=DAY,
    by_row=False,
    empty="No cloud is configured.",
)
"""The scopes as a table: no kind of resource, but listed and printed as one."""

Known = Mapping[str, Sequence[Region]]
"""The regions of each cloud, by its name."""


@dataclass(frozen=True)
class Choice:
    """A selection that can be made at once."""

    text: str
    """As `set default cloud=` takes it."""
    label: str
    remark: str = ""
    shown: bool = False
    """It is what is shown, or a part of it."""
    enabled: bool = True


def remembered(session: Session) -> Known:
    """Return the regions of all clouds as they are remembered; asks nobody."""
    return {name: recall_regions(session.settings, session.home, name) for name in session.settings.clouds}


def choices(session: Session, known: Known) -> list[Choice]:
    """Return what can be chosen: recent choices without the present one; scopes at hand; sets of scopes; all others."""
    now = text_of(session.scopes)
    found = {text: Choice(text, _label(text), "recent") for text in recall_choices(session.settings, session.home)}
    found.pop(now, None)
    clouds = session.settings.clouds
    scopes = dict(_scopes(session, known))
    near = [scope for scope in scopes if scope in session.scopes or scope.region == clouds[scope.cloud].region]
    wide = [Choice(EVERY, EVERY, "every cloud")] if len(clouds) > 1 else []
    for name, cloud in clouds.items():
        if cloud.regions:
            wide.append(Choice(name, name, "the regions that the configuration names"))
        if "regions" in cloud.provider.capabilities:
            wide.append(Choice(f"{name}/{EVERY}", f"{name} {EVERY}", "all enabled regions"))
    each = {
        scope: Choice(
            text_of([scope]),
            " ".join(scope),
            "" if region.enabled else region.state,
            scope in session.scopes,
            region.enabled,
        )
        for scope, region in scopes.items()
    }
    for one in (*(each[scope] for scope in near), *wide, *each.values()):
        found.setdefault(one.text, one)
    return list(found.values())


def _label(text: str) -> str:
    """Return the words for a selection that has been chosen before."""
    words = [word.partition("/") for word in text.split(",")]
    scopes = [Scope(cloud, region) for cloud, _, region in words]
    if len(scopes) > _NAMED:
        return f"{', '.join(dict.fromkeys(scope.cloud for scope in scopes))}: {counted(len(scopes), 'region')}"
    return named(scopes)


_NAMED = 3
"""More scopes than that are counted, not named."""


def _scopes(session: Session, known: Known) -> Iterator[tuple[Scope, Region]]:
    """Yield every scope with its region: those that are shown, of the configuration, and of the clouds' own lists."""
    for name, cloud in session.settings.clouds.items():
        regions = {region.name: region for region in known.get(name, ())}
        mine = [scope.region for scope in session.scopes if scope.cloud == name]
        said = [region for region in (*mine, cloud.region, *cloud.regions) if region and region != EVERY]
        for region in dict.fromkeys((*said, *sorted(regions, key=lambda one: not regions[one].enabled))):
            yield Scope(name, region), regions.get(region, Region(region))


def ask_regions(session: Session, check: Callable[[], None] = ignore) -> list[Choice]:
    """Ask every cloud for its regions and return the choices; of a cloud that fails, what is remembered counts."""
    known = dict(remembered(session))
    for name, cloud in session.settings.clouds.items():
        try:
            known[name] = asked_regions(session.settings, session.home, cloud, session.connector, check) or known[name]
        except CloudmeshError as error:
            logger.info("%s", error)
    return choices(session, known)


def list_scopes(context: Context) -> Result:
    """List every cloud and region that can be shown; the regions are asked for unless they are remembered."""
    session = context.session
    regions = known_regions(session.settings, session.home, session.connector, context.check)
    known: dict[str, Sequence[Region]] = {}
    failures: list[str] = []
    for name, cloud in session.settings.clouds.items():
        try:
            known[name] = regions(cloud)
        except CloudmeshError as error:
            failures.append(str(error))
    return Result(kind=SCOPE, rows=tuple(_rows(session, _scopes(session, known))), failure=" ".join(failures))


def _rows(session: Session, found: Iterable[tuple[Scope, Region]]) -> Iterator[Row]:
    for scope, region in found:
        yield (*scope, scope in session.scopes, region.enabled, region.state or None, text_of([scope]), scope.text)


COMMANDS: tuple[Command, ...] = (
    Command(
        ("scope", "list"),
        "List clouds and regions; in the dashboard, choose those that are shown",
        list_scopes,
        key="g",
        shows="scope",
        everywhere=True,
    ),
)
