"""The command line: reads the arguments and opens the dashboard or runs without a screen."""

import argparse
import gc
import os
import resource
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from io import TextIOWrapper
from pathlib import Path
from typing import Never

from backend import __version__, config, log, redact, state
from backend.config import Settings
from backend.discovery import discovered, nothing_found, with_profile
from backend.errors import Cancelled, CloudmeshError, NoAccountError, NoKeysError, UsageError, bug
from backend.names import nearest
from backend.providers import registry
from backend.session import Session, known_cloud
from backend.text import safe
from tui import bugs, output
from tui.interrupt import Interrupt
from tui.output import OutputError

_EPILOG = """\
init writes a cloudmesh.yaml for the profiles of ~/.aws, after asking: into the data directory, or to --config FILE.
COMMAND is one of the grammar, such as: vm list, vm boot ami-0123 --name web, volume create data --size 8.
Every command: docs/commands.md, or ? in the dashboard.
Exit status: 0 done, 1 failed, 2 usage or configuration, 129, 130 or 143 ended by SIGHUP, Ctrl-C or SIGTERM.
"""

_HELP = "cloudmesh-tui --help lists the options."


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Never:  # argparse would exit: raise an error with a sentence, as everywhere
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", _HELP)

    def exit(self, status: int = 0, message: str | None = None) -> Never:  # after --help or --version
        _flush()
        super().exit(status, message)

    def unknown(self, word: str) -> UsageError:
        options = [option for option in self._option_string_actions if option.startswith("--")]
        return nearest(word.partition("=")[0], options, what="option", known=options)


def parser() -> _Parser:
    """Return the parser of the options; docs/commands.md is made from it too."""
    known = _Parser(
        prog="cloudmesh-tui",
        description="A terminal dashboard for Amazon EC2. Without --refresh or COMMAND it opens the screen.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        usage="cloudmesh-tui [options] [--refresh [KIND ...] | init | COMMAND ...]",
    )
    add = known.add_argument
    add("--demo", action="store_true", help="a simulated EC2 and a throw-away cache; needs no account")
    add(
        "--demo-fault",
        nargs="?",
        const=True,
        metavar="NAME",
        help="with --demo: a cloud or a region of the demo that fails as in an outage (default: eu-central-1)",
    )
    add("--refresh", nargs="*", metavar="KIND", help="refresh these kinds (default: all) into the cache and exit")
    add("--config", metavar="FILE", help="the configuration instead of ./cloudmesh.yaml, ~/.cloudmesh/cloudmesh.yaml")
    add(
        "--cloud",
        metavar="NAMES",
        help="the clouds of the configuration to work on, joined by commas: NAME, NAME/REGION, NAME/all; or all",
    )
    add("--region", metavar="NAMES", help="their regions, joined by commas; or all, which are those that are enabled")
    add("--profile", metavar="NAME", help="the profile of ~/.aws to work with")
    add("--read-only", action="store_true", help="refuse every command that changes something in a cloud")
    add("--json", action="store_true", help="print JSON instead of tables")
    add("--yes", action="store_true", help="run a destroying command without a screen to confirm it on")
    add(
        "--production",
        action="append",
        metavar="NAME",
        help="name, or id, of the production object that --yes may destroy; several joined by commas, or once each",
    )
    add("--log-file", metavar="FILE", help="write a log there: what was run and how it ended, never a secret")
    add(
        "--log-level", metavar="LEVEL", help="how much of it: info (the default) or debug, with each request to a cloud"
    )
    add("--version", action="version", version=f"cloudmesh-tui {__version__}", help="print the version and exit")
    return known


@dataclass
class Launch:
    """What both front ends start with: the settings, and all that must be closed at the end."""

    settings: Settings | None
    """None for the demo, which makes its settings when it opens."""
    home: Path
    read_only: bool = False
    cloud: str | None = None
    """The clouds that `--cloud` names; see backend.scopes."""
    region: str | None = None
    """The regions that `--region` names."""
    strict: bool = False
    """Whether it is an error that a cloud does not list its regions; else its home region is shown, with a note."""
    fault: str | None = None
    """The cloud or region of the demo that `--demo-fault` names."""
    closing: ExitStack = field(default_factory=ExitStack)
    _nothing_found: bool = False

    def prestart(self) -> None:
        """Start the embedded server, if it is the cache, while the screen is still being made."""
        if self.settings is not None and self.settings.mongodb.uri.reveal() == "embedded":
            threading.Thread(target=self._start_server, name="server", daemon=True).start()

    def _start_server(self) -> None:
        from backend.mongod import EmbeddedServer

        server = EmbeddedServer(self.home)
        self.closing.callback(server.stop)
        server.launch()

    def open(self) -> Session:
        """Open the cache and return the session; blocks until the server answers."""
        from backend.cache import open_cache
        from backend.catalog import KINDS
        from backend.scopes import account_numbers, known_regions, selected

        few_arenas()
        settings = self.settings = self._located(self.settings or self._demo())
        remembered = state.recall(settings, self.home)
        text = _selection(settings, self.home, self.cloud, self.region)
        known = known_regions(settings, self.home, registry.connect)
        found = selected(settings, text, known, account_numbers, strict=self.strict)
        if found.notes:
            settings = self.settings = replace(settings, warnings=(*settings.warnings, *found.notes))
        cloud = known_cloud(settings, found.scopes[0].cloud)
        cache = open_cache(settings.mongodb, self.home, KINDS.values())
        self.closing.callback(cache.close)
        refresh = remembered.get("refresh", settings.refresh)
        session = Session(settings, cloud, cache, self.home, refresh=refresh, read_only=self.read_only)
        return session.among(found.scopes)

    def _located(self, settings: Settings) -> Settings:
        """Return the settings with a region for the first cloud, if its account has one.

        Raises NoAccountError if there is no configuration and no account was found; the next call looks again.
        """
        from backend.scopes import first_cloud

        if self._nothing_found:
            settings = discovered(os.environ)
        cloud = first_cloud(settings, _selection(settings, self.home, self.cloud, self.region))
        accounts = cloud.provider.accounts
        if cloud.account is None or accounts is None:
            return settings
        if not settings.found:
            self._nothing_found = True
            try:
                cloud.provider.keys_of(cloud)
            except NoKeysError:
                raise nothing_found(settings, "the instance metadata, which has no keys, or did not answer") from None
            self._nothing_found = False
        if cloud.region:
            return settings
        cloud = replace(cloud, default=replace(cloud.default, location=accounts.region(cloud.account)))
        return replace(settings, clouds=settings.clouds | {cloud.name: cloud})

    def _demo(self) -> Settings:
        from backend.demo import DemoCloud

        return self.closing.enter_context(DemoCloud(fault=self.fault)).settings()


@contextmanager
def launching(options: argparse.Namespace) -> Iterator[Launch]:
    """Read the configuration; at the end, close all that was opened."""
    from backend.catalog import KINDS  # imported late: --help and --version need no command
    from backend.scopes import check_names

    if options.profile and (options.cloud or options.demo):
        raise UsageError(f"--profile and --{'cloud' if options.cloud else 'demo'} exclude each other.", _HELP)
    fault = _fault(options)
    with ExitStack() as closing:
        notes = _without_dumps(os.environ)
        if options.demo:
            home = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="cloudmesh-demo-")))
            settings = None
        else:
            home = config.home()
            path = config.find(options.config)
            settings = config.load(path, KINDS) if path else discovered(os.environ)
            settings = replace(settings, warnings=(*settings.warnings, *notes))
            if options.profile:
                settings = with_profile(settings, options.profile)
                options.cloud = settings.cloud
            # A misspelt name, or no region, is an error before anything starts; an account may still find its region.
            selection = _selection(settings, home, options.cloud, options.region)
            check_names(settings, selection)
        yield Launch(settings, home, options.read_only, options.cloud, options.region, fault=fault, closing=closing)


def _fault(options: argparse.Namespace) -> str | None:
    """Return the cloud or region that --demo-fault names; a misspelt one is an error before anything starts."""
    if options.demo_fault is None:
        return None
    if not options.demo:
        raise UsageError("--demo-fault needs --demo.", _HELP)
    from backend.demo_accounts import REGION_NAMES, failing

    fault = REGION_NAMES[-1] if options.demo_fault is True else str(options.demo_fault)
    failing(fault)
    return fault


def _selection(settings: Settings, home: Path, cloud: str | None, region: str | None) -> str:
    """Return what is shown first: what options name, else what was chosen last, else what the configuration says.

    Raises UsageError if both options name regions.
    """
    from backend.scopes import words_of

    if cloud and region and "/" in cloud:
        raise UsageError("--cloud and --region both name regions.", "Leave out one of them.")
    return words_of(cloud or state.recall(settings, home).get("cloud") or settings.cloud, region or "")


def _without_dumps(environ: MutableMapping[str, str]) -> tuple[str, ...]:
    """Remove the variable that makes libcloud write whole requests with their keys; return the warnings."""
    if environ.pop("LIBCLOUD_DEBUG", ""):
        return (
            "LIBCLOUD_DEBUG is ignored: it would write keys and signatures. For a log without them: --log-file FILE "
            "--log-level debug.",
        )
    return ()


Run = Callable[[argparse.Namespace, list[str], Interrupt], int]
"""Does what the options and the words after them ask for, and returns the exit status."""


def program() -> Never:
    """Run the program and end its process at once: all is closed, but libraries would still wait for their threads."""
    status = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or None: nothing can be reported
            stream.flush()
    os._exit(status)


def main(argv: Sequence[str] | None = None, run: Run | None = None) -> int:
    """Run the program and return its exit status; `run` takes the parsed options."""
    resource.setrlimit(
        resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1])
    )  # a core dump would contain keys
    redact.add_environment(os.environ)
    log.keep_off_screen()
    bugs.report_to(_complain)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # in a locale without ●, print ? instead of failing
    with output.explained():
        try:
            status = _guarded(argv, run or _run)
            _flush()  # here, where a closed pipe can still be distinguished from a bug
            return status
        except BrokenPipeError:  # `cloudmesh-tui image list | head`
            output.give_up()
            return 1
        except OutputError as error:
            output.give_up()
            return _complain(error)


def _guarded(argv: Sequence[str] | None, run: Run) -> int:
    known = parser()
    words: list[str] = []
    interrupt = Interrupt()
    try:
        options, words = known.parse_known_args(argv)
        _start_log(options)
        if words and words[0].startswith("-"):
            raise known.unknown(words[0])
        return run(options, words, interrupt)
    except (BrokenPipeError, OutputError):
        raise
    except CloudmeshError as error:
        return _complain(error)
    except (Cancelled, KeyboardInterrupt):
        log.logger.info("interrupted")
        print("Interrupted.", file=sys.stderr)
        return interrupt.exit_status
    except Exception as error:  # noqa: BLE001 - a bug; its traceback is for the log, not for the user
        log.logger.exception("the program failed")
        return _complain(bug(" ".join(words) or "cloudmesh-tui", error))


def _start_log(options: argparse.Namespace) -> None:
    level = options.log_level or "info"
    if level not in log.LEVELS:
        raise nearest(level, log.LEVELS, what="log level", known=log.LEVELS)
    if options.log_file:
        log.write_to(config.expanded(options.log_file), level)
        log.logger.info("cloudmesh-tui %s, Python %s on %s", __version__, sys.version.split()[0], sys.platform)
    elif options.log_level:
        raise UsageError("--log-level needs --log-file FILE.", _HELP)


def _complain(error: CloudmeshError) -> int:
    """Write on stderr and in the log what failed; return the exit status."""
    lines = str(error).splitlines() if isinstance(error, NoAccountError) else [str(error)]
    for line in lines:
        log.logger.error("%s", safe(line))
        print(safe(line), file=sys.stderr)  # it may contain names that other people chose
    return error.exit_status


def _run(options: argparse.Namespace, words: list[str], interrupt: Interrupt) -> int:
    interrupt.listen()
    if options.refresh is None and not words:
        if options.json:
            raise UsageError("--json needs --refresh or a command.", _HELP)
        with launching(options) as launch:
            _need_terminal()
            launch.prestart()
            tune()
            from tui.app import run

            return run(launch, launch.closing.close)
    if words == ["init"] and options.refresh is None:
        from tui.init import ask_on_terminal, init

        return init(options.config, yes=options.yes, ask=ask_on_terminal())
    from tui import headless

    # Wrong words are an error before anything starts.
    task = headless.task(words, options.refresh, interrupt, yes=options.yes, production=options.production or ())
    with launching(options) as launch:
        launch.strict = True
        session = launch.open()
        for note in (*session.settings.warnings, session.cache.note):
            if note:
                log.logger.warning("%s", note)
                print(safe(note), file=sys.stderr)
        return task(session, options.json)


_COLOURS = frozenset({"auto", "standard", "256", "truecolor", "windows"})
"""The values that TEXTUAL_COLOR_SYSTEM may have."""


def tune() -> None:
    """Before textual is imported, set what makes the dashboard start and respond quickly."""
    # Collecting garbage would take a tenth of the start and find nothing; the app turns it on later.
    gc.disable()
    os.environ.setdefault("TEXTUAL_FPS", "120")  # at most 8 ms, not 16, from a letter to its rows
    # For textual's developers. A wrong value would end the program, and the log would contain what is typed.
    for name in ("TEXTUAL_DRIVER", "TEXTUAL_LOG"):
        os.environ.pop(name, None)
    if os.environ.get("TEXTUAL_COLOR_SYSTEM") not in _COLOURS:
        os.environ.pop("TEXTUAL_COLOR_SYSTEM", None)


_M_ARENA_MAX = -8


def few_arenas() -> None:
    """Limit the C library to two heaps: with a heap for each short thread, the memory becomes fragmented."""
    import ctypes  # imported late: it slows the start down

    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(_M_ARENA_MAX, 2)


def _need_terminal() -> None:
    # textual reads stdin and draws on stderr.
    if not all(stream is not None and stream.isatty() for stream in (sys.__stdin__, sys.__stderr__)):
        raise UsageError(
            "The dashboard needs a terminal, and there is none.",
            "Without one, use --refresh or a command such as vm list.",
        )


def _flush() -> None:
    if sys.stdout is not None:  # None if the program was started with its output closed
        sys.stdout.flush()
