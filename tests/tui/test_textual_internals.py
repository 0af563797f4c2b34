"""What tui uses of textual that textual does not promise: each use has a test here that fails when it changes.

textual is pinned to one version. When the pin moves, these tests say what to look at first. The last one finds uses
that have no test, and tests whose use is gone.
"""

import asyncio
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar, TypeVar, get_args

import pytest
from rich.console import RenderableType
from rich.text import Text
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._keyboard_protocol import FUNCTIONAL_KEYS
from textual._styles_cache import StylesCache
from textual._widget_navigation import Direction
from textual._xterm_parser import FOCUSIN, FOCUSOUT, XTermParser
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.command import CommandPalette
from textual.drivers.headless_driver import HeadlessDriver
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Key, MouseDown
from textual.keys import Keys, _character_to_key
from textual.message import Message
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer, OptionList, Static
from textual.widgets._footer import FooterKey

from tests.tui.private_uses import private_uses
from tui.driver import _LEAVING
from tui.inputs import _is_busy, queued

T = TypeVar("T", bound=Callable[..., object])

tested: set[str] = set()
"""The private names that the tests here are about."""


def about(*names: str) -> Callable[[T], T]:
    """Mark a test as that of these private names; one that is imported has its module before it."""

    def mark(test: T) -> T:
        tested.update(names)
        return test

    return mark


# --- the app ----------------------------------------------------------------------------------------------------------


@about("_driver")
async def test_the_app_has_its_driver() -> None:
    app: App[None] = App()
    async with app.run_test():
        assert isinstance(app._driver, HeadlessDriver)


@about("_exit")
async def test_the_app_knows_that_it_ends() -> None:
    app: App[None] = App()
    async with app.run_test():
        assert not app._exit
        app.exit()
        assert app._exit


class Failing(App[int]):
    """Fails in its first message; records the calls of methods that tui.guarded overrides."""

    def __init__(self) -> None:
        super().__init__()
        self.handled: list[object] = []

    def on_mount(self) -> None:
        raise LookupError("of the test")

    def _handle_exception(self, error: Exception) -> None:
        self.handled.append(error)
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        self.handled.append("fatal")
        self._exit_renderables.append(Text("a sentence"))
        self._close_messages_no_wait()


@about(
    "_handle_exception", "_fatal_error", "_exception", "_return_code", "_exit_renderables", "_close_messages_no_wait"
)
async def test_a_bug_ends_the_app_through_the_overridden_methods(capfd: pytest.CaptureFixture[str]) -> None:
    app = Failing()
    async with asyncio.timeout(10):
        await app.run_async(headless=True)
    error, fatal = app.handled
    assert isinstance(error, LookupError)
    assert fatal == "fatal"
    assert app._exception is error
    assert app._return_code == app.return_code == 1
    said = capfd.readouterr().err
    assert "a sentence" in said
    assert "Traceback" not in said


class Painted(App[None]):
    """Notes what is painted, as tui.orderly does."""

    def __init__(self) -> None:
        super().__init__()
        self.painted: list[tuple[Screen[Any], bool, int]] = []

    def compose(self) -> ComposeResult:
        yield Static("before")

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        self.painted.append((screen, renderable is not None, self._batch_count))
        super()._display(screen, renderable)


@about("_display", "_batch_count")
async def test_every_paint_goes_through_display_and_a_batch_is_counted() -> None:
    app = Painted()
    async with app.run_test() as pilot:
        assert (app.screen, True, 0) in app.painted
        app.painted.clear()
        with app.batch_update():
            assert app._batch_count == 1
            app.query_one(Static).update("after")
            await pilot.pause()
        assert app._batch_count == 0
        assert all(batch for _, _, batch in app.painted)
        app.painted.clear()
        app.query_one(Static).update("later")
        await pilot.pause()
        assert (app.screen, True, 0) in app.painted


@about("textual._styles_cache.StylesCache")
async def test_the_cache_of_styles_can_be_emptied() -> None:
    async with Painted().run_test():
        assert StylesCache.get_inner_outer.cache_info().currsize > 0
        StylesCache.get_inner_outer.cache_clear()
        assert StylesCache.get_inner_outer.cache_info().currsize == 0


# --- messages ---------------------------------------------------------------------------------------------------------


class Ping(Message):
    """What a test posts."""


class Pinged(Widget):
    """Handles a message for as long as the test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.end = asyncio.Event(), asyncio.Event()
        self.dropped: list[Message] = []
        self.drops = False

    async def on_ping(self) -> None:
        self.began.set()
        await self.end.wait()

    async def _dispatch_message(self, message: Message) -> None:
        if self.drops and isinstance(message, Ping):
            self.dropped.append(message)
            return
        await super()._dispatch_message(message)


@asynccontextmanager
async def pinged() -> AsyncIterator[tuple[Pilot[None], Pinged]]:
    widget = Pinged()
    app: App[None] = App()
    async with app.run_test() as pilot:
        await app.mount(widget)
        await pilot.pause()
        try:
            yield pilot, widget
        finally:
            widget.end.set()


@about("_message_queue", "_pending_message")
async def test_a_busy_widget_is_distinguished_from_a_waiting_one() -> None:
    async with pinged() as (_, widget):
        waiters = vars(widget._message_queue.ready_event)["_waiters"]
        assert len(waiters) == 1
        assert not _is_busy(widget)
        widget.post_message(Ping())
        assert queued(widget)
        await widget.began.wait()
        assert not waiters
        assert not queued(widget)
        assert _is_busy(widget)
        widget.end.set()
        async with asyncio.timeout(10):
            while _is_busy(widget):
                await asyncio.sleep(0)


@about("_pending_message")
async def test_textual_keeps_the_next_message_outside_the_queue() -> None:
    async with pinged() as (_, widget):
        widget.post_message(Ping())
        widget.post_message(second := Ping())
        await widget.began.wait()
        assert widget.message_queue_size == 0
        assert widget._pending_message is second
        assert queued(widget)


@about("_dispatch_message")
async def test_a_message_that_is_not_dispatched_reaches_no_handler() -> None:
    async with pinged() as (pilot, widget):
        widget.drops = True
        widget.post_message(ping := Ping())
        await pilot.pause()
        assert widget.dropped == [ping]
        assert not widget.began.is_set()


@about("_closing", "_closed", "_pruning")
async def test_a_removed_widget_is_marked() -> None:
    async with pinged() as (_, widget):
        assert not any((widget._closing, widget._closed, widget._pruning))
        removing = widget.remove()
        assert widget._pruning
        await removing
        assert widget._closing
        assert widget._closed


# --- widgets ----------------------------------------------------------------------------------------------------------


class Ready(Footer):
    """Has its bindings ready from the start, or never."""

    def __init__(self, *, ready: bool) -> None:
        super().__init__()
        self.set_reactive(Footer._bindings_ready, ready)

    def bindings_changed(self, screen: Screen[Any]) -> None:
        """Do nothing."""


class Keyed(App[None]):
    """A footer with one key, which is dim."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("k", "nothing", "nothing")]

    def __init__(self, *, ready: bool) -> None:
        super().__init__()
        self.ready = ready

    def compose(self) -> ComposeResult:
        yield Ready(ready=self.ready)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002
        return None if action == "nothing" else True


@about("_bindings_ready", "textual.widgets._footer.FooterKey")
@pytest.mark.parametrize("ready", [False, True])
async def test_a_footer_makes_its_keys_once_its_bindings_are_ready(ready: bool) -> None:
    app = Keyed(ready=ready)
    async with app.run_test():
        keys = {one.key: one.has_class("-disabled") for one in app.query(FooterKey)}
        assert keys.get("k") is (True if ready else None)


class Paged(OptionList):
    """Notes by how many pages it is to move."""

    pages: tuple[int, ...] = ()

    def _move_page(self, direction: Direction) -> None:
        self.pages += (direction,)
        super()._move_page(direction)


@about("_move_page", "textual._widget_navigation.Direction")
async def test_a_list_moves_by_pages_through_the_overridden_method() -> None:
    assert get_args(Direction) == (-1, 1)

    class Listed(App[None]):
        def compose(self) -> ComposeResult:
            yield Paged(*map(str, range(100)))

    app = Listed()
    async with app.run_test() as pilot:
        found = app.query_one(Paged)
        found.focus()
        await pilot.press("pagedown", "pagedown", "pageup")
        assert found.pages == (1, 1, -1)
        assert (found.highlighted or 0) > 0


class Noted(CommandPalette):
    """Records the actions that its list gets."""

    received: tuple[str, ...] = ()

    def _action_command_list(self, action: str) -> None:
        self.received += (action,)


@about("_action_command_list")
async def test_the_palette_calls_the_overridden_method_of_its_list() -> None:
    app: App[None] = App()
    async with app.run_test() as pilot:
        palette = Noted()
        await app.push_screen(palette)
        await pilot.press("pagedown", "pageup")
        assert palette.received == ("page_down", "page_up")


# --- the terminal -----------------------------------------------------------------------------------------------------


class Terminal(LinuxDriver):
    """Notes which of the methods that tui.driver overrides are called."""

    def __init__(self, app: App[Any], terminal: int, file: Any) -> None:
        super().__init__(app, size=(80, 24))
        self.called: list[str] = []
        self.fileno, self.input_tty = terminal, True
        self._file = file

    def _query_in_band_window_resize(self) -> None:
        self.called.append("query")

    def _run_input_thread(self) -> None:
        self.called.append("read")
        if self.exit_event.wait(10):
            self.called.append("end of reading")

    def _sigtstp_application(self, *_: object) -> None:
        self.called.append("stop")

    def _sigcont_application(self, *_: object) -> None:
        self.called.append("continue")


class File:
    """What a driver writes to."""

    def __init__(self) -> None:
        self.text = ""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> None:
        self.text += text

    def flush(self) -> None:
        pass


@pytest.fixture
def terminal() -> Iterator[int]:
    signals = (signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH, signal.SIGTTOU, signal.SIGTTIN)
    before = {number: signal.getsignal(number) for number in signals}
    master, slave = pty.openpty()
    yield slave
    os.close(master)
    os.close(slave)
    for number, handler in before.items():
        signal.signal(number, handler)


class Typed(App[None]):
    """Notes the keys that come."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: asyncio.Queue[str] = asyncio.Queue()

    def on_key(self, event: Key) -> None:
        self.keys.put_nowait(event.key)


@about("_app", "_loop", "_file", "_writer_thread", "_query_in_band_window_resize", "_run_input_thread")
@about("_sigtstp_application", "_sigcont_application")
async def test_the_driver_calls_the_overridden_methods(terminal: int) -> None:
    app, file = Typed(), File()
    modes = termios.tcgetattr(terminal)
    async with app.run_test(), asyncio.timeout(10):
        driver = Terminal(app, terminal, file)
        assert driver._app is app
        assert driver._loop is asyncio.get_running_loop()
        driver.start_application_mode()  # type: ignore[no-untyped-call]
        assert driver.attrs_before == modes
        assert termios.tcgetattr(terminal) != modes
        first = driver._writer_thread
        assert first is not None
        assert first.is_alive()
        driver.write("what is written")
        await asyncio.to_thread(driver.process_message, Key("a", "a"))
        assert await app.keys.get() == "a"
        os.kill(os.getpid(), signal.SIGTSTP)
        os.kill(os.getpid(), signal.SIGCONT)
        driver.suspend_application_mode()
        assert termios.tcgetattr(terminal) == modes
        assert not first.is_alive()
        driver.resume_application_mode()
        second = driver._writer_thread
        assert second is not None
        assert second.is_alive()
        driver.stop_application_mode()
        driver.close()
    twice, once = ["read", "query", "end of reading"], ["stop", "continue"]
    assert sorted(driver.called) == sorted([*twice, *twice, *once])
    assert file.text.startswith("\x1b[?1049h")
    assert "what is written" in file.text
    left = file.text.rpartition("\x1b[?1049h")[2]
    assert [one for one in re.findall(r"\x1b[^\x1b]+", _LEAVING) if one not in left] == []


def test_the_frame_rate_is_read_from_the_environment() -> None:
    program = "from textual.constants import COLOR_SYSTEM, MAX_FPS; print(MAX_FPS, COLOR_SYSTEM)"
    for environ, said in (({}, "60 auto"), ({"TEXTUAL_FPS": "120", "TEXTUAL_COLOR_SYSTEM": "256"}, "120 256")):
        printed = subprocess.run(
            [sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=True
        ).stdout
        assert printed == f"{said}\n"


# --- keys -------------------------------------------------------------------------------------------------------------


@about("textual._ansi_sequences.ANSI_SEQUENCES_KEYS", "textual._keyboard_protocol.FUNCTIONAL_KEYS")
@about("textual._xterm_parser.FOCUSIN", "textual._xterm_parser.FOCUSOUT")
def test_the_tables_of_sequences() -> None:
    assert ANSI_SEQUENCES_KEYS["\x1b[A"] == (Keys.Up,)
    assert ANSI_SEQUENCES_KEYS["\x1b[Z"] == (Keys.BackTab,)
    assert FUNCTIONAL_KEYS["1A"] == "up"
    assert "99A" not in FUNCTIONAL_KEYS
    assert (FOCUSIN, FOCUSOUT) == ("\x1b[I", "\x1b[O")


@about("textual._xterm_parser.XTermParser", "_sequence_to_key_events")
@pytest.mark.parametrize(
    ("sequence", "alt", "keys"),
    [
        ("a", False, [("a", "a")]),
        ("\x1b[A", False, [("up", None)]),
        ("\x1b[97;5u", False, [("ctrl+a", None)]),
        ("\x1b[1;2C", False, [("shift+right", None)]),
        ("a", True, [("alt+a", "a")]),
    ],
)
def test_a_sequence_becomes_keys(sequence: str, alt: bool, keys: list[tuple[str, str | None]]) -> None:
    found = list(XTermParser()._sequence_to_key_events(sequence, alt=alt))
    assert all(isinstance(key, Key) for key in found)
    assert [(key.key, key.character) for key in found] == keys


@about("textual._xterm_parser.XTermParser")
def test_a_report_of_the_mouse_becomes_an_event() -> None:
    event = XTermParser().parse_mouse_code("\x1b[<0;3;5M")
    assert isinstance(event, MouseDown)
    assert (event.x, event.y, event.button) == (2, 4, 1)


@about("textual.keys._character_to_key")
def test_a_character_has_the_name_of_its_key() -> None:
    names = {"?": "question_mark", " ": "space", "_": "underscore", "a": "a", "7": "7"}
    assert {char: _character_to_key(char) for char in names} == names


# --- nothing is left out ----------------------------------------------------------------------------------------------


def test_every_private_use_of_textual_has_a_test_here() -> None:
    uses = private_uses()
    untested = {name: places for name, places in uses.items() if name not in tested}
    assert untested == {}, "test them here, or rename what is ours: it would take textual's place"
    assert tested - set(uses) == set(), "tui no longer uses these"
