"""Faults of the cloud: a refresh of the real provider into a real cache while EC2, or the way to it, fails."""

import itertools
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

from backend.cache import Cache, open_cache
from backend.catalog import KINDS
from backend.config import Cloud, MongoDB
from backend.errors import Cancelled
from backend.kinds.model import Scope
from backend.mongod import EmbeddedServer
from backend.providers.ec2.provider import EC2Provider
from backend.providers.protocol import Boot, Provider, Waiting
from backend.providers.retry import RetryPolicy
from backend.refresh import Difference, refresh_many
from backend.secret import Secret
from tests.backend.ec2_faults import Reply, refusal
from tests.ec2_proxy import Call, Proxy
from tests.faults.model import Ground, Section
from tests.tui.shell import register
from tests.tui.terminal import Terminal

LISTED = [KINDS[name] for name in ("image", "vm", "keypair", "location", "volume")]
ONE = "DescribeVolumes"
HTML = "<!DOCTYPE html><html><body>Please log in</body></html>"

Spoil = Callable[[Call, Reply], Reply]


def always(reply: Reply) -> Callable[[], Spoil]:
    return lambda: lambda _call, _reply: reply


def first(times: int, reply: Reply) -> Callable[[], Spoil]:
    """Spoil the first replies to each action alone."""

    def make() -> Spoil:
        counts: dict[str, Iterator[int]] = {}
        return lambda call, good: reply if next(counts.setdefault(call.action, itertools.count())) < times else good

    return make


def changed(how: Callable[[Reply], Reply]) -> Callable[[], Spoil]:
    return lambda: lambda _call, good: how(good)


def expired() -> Spoil:
    """The token of the second page has expired when it is asked for; when begun again there is one page."""
    begun: set[str] = set()

    def spoil(call: Call, good: Reply) -> Reply:
        if "NextToken" in call.params:
            return refusal(400, "InvalidNextToken", "The token has expired.")
        if call.action in begun:
            return good
        begun.add(call.action)
        body = good.body.decode() if isinstance(good.body, bytes) else good.body
        return replace(good, body=re.sub(r"</(\w+Response)>", r"<nextToken>old</nextToken></\1>", body))

    return spoil


@dataclass(frozen=True)
class Trouble:
    """Something that goes wrong while all kinds are refreshed."""

    name: str
    spoil: Callable[[], Spoil] | None = None
    heals: bool = False
    """The refresh still succeeds."""
    action: str = "*"
    """The request that is broken; the kinds that are listed by other requests must still be refreshed."""
    endpoint: Callable[[str], str] = field(default=lambda url: url)
    """Where the cloud is looked for."""


def _closed(_url: str) -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


THROTTLED = refusal(503, "RequestLimitExceeded", "Request limit exceeded.")

TROUBLES = (
    Trouble("throttled twice (503 RequestLimitExceeded)", first(2, THROTTLED), heals=True),
    Trouble("throttled for ever", always(THROTTLED)),
    Trouble("429 without a body, once", first(1, Reply("", 429)), heals=True),
    Trouble("500 InternalError, twice", first(2, refusal(500, "InternalError", "Oops.")), heals=True),
    Trouble("502 with HTML for ever", always(Reply(HTML, 502))),
    Trouble("connection closed without an answer, twice", first(2, Reply(hang_up=True)), heals=True),
    Trouble("connection closed without an answer, for ever", always(Reply(hang_up=True))),
    Trouble("reset in the middle of the body, once", first(1, Reply("<x>" * 999, reset=400)), heals=True),
    Trouble("reset in the middle of the body, for ever", changed(lambda good: replace(good, reset=300))),
    Trouble("body shorter than Content-Length", changed(lambda good: replace(good, missing=999))),
    Trouble("no answer at all", always(Reply(silent=True))),
    Trouble("an answer that drips", changed(lambda good: replace(good, drip=0.2))),
    Trouble("200 with an empty body", always(Reply())),
    Trouble("200 with an HTML login page", always(Reply(HTML))),
    Trouble("200 with JSON", always(Reply('{"error": "no"}'))),
    Trouble("200 with XML cut off in the middle", changed(lambda good: replace(good, body=good.body[:-60]))),
    Trouble("200 with the answer of another call", always(Reply("<DescribeRegionsResponse/>"))),
    Trouble("the page token expires once", expired, heals=True, action=ONE),
    Trouble("AuthFailure", always(refusal(401, "AuthFailure", "AWS was not able to validate the credentials."))),
    Trouble("SignatureDoesNotMatch", always(refusal(403, "SignatureDoesNotMatch", "The signature does not match."))),
    Trouble("ExpiredToken", always(refusal(400, "ExpiredToken", "The token has expired."))),
    Trouble("one kind may not be listed", always(refusal(403, "UnauthorizedOperation", "You may not.")), action=ONE),
    Trouble("one kind fails for ever", always(Reply("oops", 500)), action=ONE),
    Trouble("nobody listens there", endpoint=_closed),
    Trouble("the host has no address", endpoint=lambda _: "http://no-such-host.invalid"),
    Trouble("no TLS where TLS is expected", endpoint=lambda url: url.replace("http:", "https:")),
)

HASTY = RetryPolicy(first=0.02, deadline=2.5, silence=1.0)


@dataclass
class Bench:
    """An account, a proxy before it and a cache with what was in it a moment ago."""

    cloud: Cloud
    proxy: Proxy
    cache: Cache
    policy: RetryPolicy

    @property
    def scope(self) -> Scope:
        return Scope(self.cloud.name, self.cloud.region)

    @property
    def behind(self) -> Cloud:
        return replace(self.cloud, endpoint=self.proxy.endpoint)

    def refresh(self, cloud: Cloud, on_wait: Callable[[Waiting], None]) -> list[Difference]:
        """Refresh everything with the retry policy that faults are met with."""

        def connect(check: Callable[[], None], on_wait: Callable[[Waiting], None]) -> Provider:
            return EC2Provider(cloud, check, self.policy, on_wait)

        return refresh_many(LISTED, connect, self.cache, self.scope, on_wait=on_wait)

    def refreshed(self, cache: Cache) -> list[str]:
        """Refresh everything with a policy that gives a busy machine time, and return why what failed did."""
        done = refresh_many(LISTED, lambda *hooks: EC2Provider(self.cloud, *hooks[:1]), cache, self.scope)
        return [one.error for one in done if one.error]

    def rows(self) -> dict[str, dict[str, object]]:
        """Return what the cache says of each object, of each kind by id."""
        ignored = ("_id", "refreshed", "hash", "protection_asked")
        return {
            kind.name: {
                found["id"]: {name: value for name, value in found.items() if name not in ignored}
                for found in self.cache.store.database[kind.plural].find({})
            }
            for kind in LISTED
        }

    def change(self) -> None:
        """Make and unmake something, so that a refresh finds something new and something gone."""
        ec2 = EC2Provider(self.cloud)
        for volume in [item["id"] for page in ec2.of("volume").list() for item in page if not item["vm"]][:1]:
            ec2.of("volume").delete(volume)
        ec2.of("volume").create("new", 1, "us-east-1a", uuid4().hex)
        for keypair in [item for page in ec2.of("keypair").list() for item in page][:1]:
            ec2.of("keypair").delete(keypair["name"], keypair["id"])
        ec2.of("keypair").create(f"key-{uuid4().hex[:6]}")


@contextmanager
def bench(ground: Ground) -> Iterator[Bench]:
    """Yield an account with a few objects, all of them in the cache."""
    cloud = ground.cloud()
    ec2 = EC2Provider(cloud)
    for name in ("web", "db"):
        ec2.of("vm").boot(Boot(register(cloud, name), "t2.micro", uuid4().hex, name=name))
    ec2.of("keypair").create("mine")
    ec2.of("volume").create("data", 1, "us-east-1a", uuid4().hex)
    cache = open_cache(MongoDB(Secret("embedded"), f"faults-{uuid4().hex[:12]}"), ground.server_home, KINDS.values())
    try:
        with Proxy(ground.moto) as proxy:
            made = Bench(cloud, proxy, cache, RetryPolicy() if ground.long else HASTY)
            assert made.refreshed(cache) == []
            yield made
    finally:
        cache.store.client.drop_database(cache.store.database.name)
        cache.close()


def sections(ground: Ground) -> Iterator[Section]:
    """Yield the outcome of each trouble, and how soon a wait for the cloud ends."""
    section = Section(
        "Faults of the cloud",
        "All kinds but flavors are refreshed during the fault and once after it; the account has changed in between. "
        "Lost: objects that a failed listing removed from the cache. Wrong: rows that differ from the cloud after the"
        " fault. Seconds: of the refresh during the fault, and from its end until all is right again.",
        ("Fault", "Refresh", "Lost", "Wrong", "Seconds", "Right again after", "What the user saw"),
    )
    with bench(ground) as at:
        for trouble in TROUBLES:
            _try(at, trouble, section)
    yield section
    with bench(ground) as at:
        yield _cancelling(at)
        yield _quitting(at, ground)


def _try(at: Bench, trouble: Trouble, section: Section) -> None:
    before = at.rows()
    at.change()
    waits: list[Waiting] = []
    if trouble.spoil:
        at.proxy.spoilt[trouble.action] = trouble.spoil()
    cloud = replace(at.behind, endpoint=trouble.endpoint(at.proxy.endpoint))
    began = time.monotonic()
    done = at.refresh(cloud, waits.append)
    took = time.monotonic() - began
    at.proxy.spoilt.clear()
    failed = {one.kind: str(one.error) for one in done if one.error}
    during = at.rows()
    lost = sum(len(before[kind].keys() - during[kind].keys()) for kind in failed)

    began = time.monotonic()
    failing = at.refreshed(at.cache)
    again = time.monotonic() - began
    wrong = _wrong(at)
    saw = next(iter(failed.values()), f"{waits[0].doing}: {waits[0].why}, retrying …" if waits else "nothing")
    hosts = (at.proxy.endpoint, cloud.endpoint or "")
    for host in hosts:
        saw = saw.replace(host.partition("//")[2], "HOST")
    came = "done" if not failed else "failed" if len(failed) == len(done) else f"{len(failed)} of {len(done)} failed"
    section.rows.append((trouble.name, came, str(lost), str(wrong), f"{took:.1f}", f"{again:.1f}", saw))
    expected = 0 if trouble.heals else len(LISTED) if trouble.action == "*" else 1
    if len(failed) != expected:
        section.bad.append(f"{trouble.name}: {len(failed)} listings failed, not {expected}: {failed}.")
    if lost or wrong or failing:
        section.bad.append(f"{trouble.name}: {lost} lost, {wrong} wrong afterwards: {failing}.")


def _wrong(at: Bench) -> int:
    """Return how many rows of the cache differ from those of a newly filled cache."""
    fresh = replace(at, cache=open_cache(MongoDB(Secret("memory")), Path("/nowhere"), KINDS.values()))
    assert fresh.refreshed(fresh.cache) == []
    return sum(
        len(dict(mine.items()) | theirs) - sum(mine.get(native) == value for native, value in theirs.items())
        for mine, theirs in zip(at.rows().values(), fresh.rows().values(), strict=True)
    )


STUCK = {
    "no answer at all": always(Reply(silent=True)),
    "an answer that drips": changed(lambda good: replace(good, drip=0.2)),
    "throttled for ever": always(THROTTLED),
}


def _cancelling(at: Bench) -> Section:
    section = Section(
        "Cancelling",
        "A listing is cancelled half a second after EC2 was asked; the retry policy is the real one.",
        ("What it waits for", "Seconds until it has ended"),
    )
    for name, spoil in STUCK.items():
        at.proxy.spoilt[ONE] = spoil()
        at.proxy.calls.clear()
        stop = threading.Event()

        def check(stop: threading.Event = stop) -> None:
            if stop.is_set():
                raise Cancelled

        ended: list[float] = []

        def work(check: Callable[[], None] = check, ended: list[float] = ended) -> None:
            try:
                list(EC2Provider(at.behind, check).of("volume").list())
            except Cancelled:
                ended.append(time.monotonic())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(0.55)
        began = time.monotonic()
        stop.set()
        thread.join(30)
        took = ended[0] - began if ended else float("inf")
        section.rows.append((name, f"{took:.2f}"))
        if not took < 1:
            section.bad.append(f"{name}: it took {took:.1f} s to cancel.")
    at.proxy.spoilt.clear()
    return section


CONFIG = """
cloudmesh:
  default: {{cloud: aws}}
  mongodb: {{uri: "{mongodb}", database: "{database}"}}
  clouds:
    aws:
      endpoint: "{endpoint}"
      images: self
      credentials: {{EC2_ACCESS_KEY: AKIATESTING, EC2_SECRET_KEY: testing-secret}}
      default: {{location: us-east-1}}
"""


def _quitting(at: Bench, ground: Ground) -> Section:
    """Quit the real dashboard, in a terminal, while something is in flight."""
    section = Section(
        "Quitting",
        "`q` quits the dashboard, in a terminal of its own, while requests are under way. Seconds are until its "
        "process has ended.",
        ("What was in flight", "Seconds"),
    )
    deaf = socket.create_server(("127.0.0.1", 0))
    with deaf, EmbeddedServer(ground.server_home) as server:
        uri = server.start()
        silent = f"mongodb://127.0.0.1:{deaf.getsockname()[1]}/"
        for name, mongodb, spoilt, line, shown in (
            ("nothing", uri, {}, "", "web"),
            ("every listing, without an answer", uri, {"*": Reply(silent=True)}, "", "x cancels"),
            ("every listing, throttled", uri, {"*": THROTTLED}, "", "retrying in"),
            ("a change without an answer", uri, {"StopInstances": Reply(silent=True)}, STOP, "→ stopping"),
            ("opening a cache whose server says nothing", silent, {}, "", "Opening the cache"),
        ):
            at.proxy.answers = dict(spoilt)
            at.proxy.calls.clear()
            at.cache.store.database["refreshes"].delete_many({})  # so that all is stale
            config = ground.folder / "cloudmesh.yaml"
            config.write_text(
                CONFIG.format(mongodb=mongodb, database=at.cache.store.database.name, endpoint=at.behind.endpoint)
            )
            config.chmod(0o600)
            words = ("--config", str(config))
            with Terminal(ground.folder, *words, CLOUDMESH_HOME=str(ground.folder), TERM="xterm-256color") as terminal:
                terminal.sees("images", "vms")
                terminal.type("3")
                if line:
                    terminal.sees("● running")
                    terminal.type(line)
                terminal.sees(shown)
                began = time.monotonic()
                terminal.type("q")
                status = terminal.ends()
                took = time.monotonic() - began
            section.rows.append((name, f"{took:.2f}"))
            if status or took > (1 if ground.long else 3):  # other tests keep the machine busy
                section.bad.append(f"{name}: it ended with status {status} after {took:.1f} s.")
    at.proxy.answers = {}
    return section


STOP = ":vm stop web\r"
