"""The terminal: reads any input, stops and continues as a job of its shell, and restores the terminal at the end."""

import os
import select
import signal
import sys
import termios
from threading import Event
from typing import Any, cast

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver

from backend.log import logger
from tui.ending import HUNG_UP
from tui.keyboard import Keyboard
from tui.writer import Output, in_front

_LOOK = 0.1
"""Seconds between two checks of the reading thread whether it is to end."""

_LEAVING = "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?2004l\x1b[?7h\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l"
"""What textual writes to leave: no mouse, pastes as typed, lines that wrap, plain keys, the main screen, the cursor."""


class TerminalDriver(LinuxDriver):
    """textual's own driver with another reader and writer; it stops as a job of a shell does."""

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        assert sys.__stderr__ is not None  # noqa: S101 - for mypy: tui.cli has checked
        self._output = Output(sys.__stderr__, self._gone)
        self._file = cast(Any, self._output)
        self._ending, self._continued = Event(), Event()
        self._suspending = False

    # --- writing -----------------------------------------------------------------------------------------------------

    def write(self, data: str) -> None:
        """Write to the terminal; nothing while it belongs to the shell."""
        if self._writer_thread is not None and self._writer_thread.is_alive():
            super().write(data)

    def _query_in_band_window_resize(self) -> None:
        """Do not ask for sizes in the input: the system reports them, and what comes in may be anything."""

    def start_application_mode(self) -> None:
        """Take the terminal."""
        self._output.take_time()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTTOU})
        super().start_application_mode()  # type: ignore[no-untyped-call]

    def stop_application_mode(self) -> None:
        """Give the terminal back as it was; one that does not read is not waited for."""
        if self._writer_thread is None or not self._writer_thread.is_alive():
            return
        self._output.hurry()
        if not in_front(self.fileno):
            self.attrs_before = None  # the shell has set its own
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})  # else the next write may stop this process
        super().stop_application_mode()

    def close(self) -> None:
        """Wait for what is written, and leave the screen even where the terminal did not read all of it."""
        super().close()
        if self._output.dropped:
            self._output.insist(_LEAVING)

    def end(self) -> None:
        """Wait for the terminal no more, and do not take it again. Of any thread."""
        self._ending.set()
        self._output.hurry()

    def abandon(self) -> None:
        """Give the terminal back at once, while the dashboard may hang anywhere. Of any thread."""
        self.end()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})  # else it would stop this process
        if self.attrs_before is not None and in_front(self.fileno):
            try:
                termios.tcsetattr(self.fileno, termios.TCSANOW, self.attrs_before)
            except termios.error:
                return
        self._output.insist(_LEAVING)

    def _gone(self) -> None:
        self._ending.set()
        self._app.call_later(self._app.exit, HUNG_UP)

    # --- reading -----------------------------------------------------------------------------------------------------

    def _run_input_thread(self) -> None:
        try:
            self.run_input_thread()
        except Exception as error:  # noqa: BLE001 - it ends the dashboard with a sentence, as any other bug does
            self._app.call_later(self._app._handle_exception, error)

    def run_input_thread(self) -> None:
        """Read until the terminal is given back or goes away."""
        keyboard = Keyboard()
        while not self.exit_event.is_set():
            wait = keyboard.wait
            if not select.select([self.fileno], [], [], _LOOK if wait is None else min(_LOOK, wait))[0]:
                for event in keyboard.tick():
                    self.process_message(event)
                continue
            try:
                data = os.read(self.fileno, 4096)
            except BlockingIOError:  # another process has set that, and reads as well
                continue
            except OSError as error:
                logger.info("the terminal has gone away (%s)", error.strerror)
                data = b""
            if not data:
                self._gone()
                return
            for event in keyboard.feed(data):
                self.process_message(event)

    # --- stopping and coming back ------------------------------------------------------------------------------------

    def _sigtstp_application(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self.suspend)  # not here: this may be in the middle of a write

    def _sigcont_application(self, *_: object) -> None:
        self._continued.set()
        if not self._suspending:  # it was stopped by SIGSTOP
            self._loop.call_soon_threadsafe(self._come_back)

    def suspend(self, *, by_key: bool = False) -> bool:
        """Give the terminal to the shell, stop the job, and come back with the screen repainted when it goes on.

        A key does not stop what no shell would continue: then it returns False.
        """
        if self._suspending or self._ending.is_set():
            return True
        self._suspending = True
        self.suspend_application_mode()
        stopped = self._stop(by_key=by_key)
        # After `bg` it stops again: it has nothing to do without a screen.
        while stopped and not self._ending.is_set() and not in_front(self.fileno):
            self._stop(by_key=by_key)
        self._suspending = False
        self._take_again()
        return stopped

    def _stop(self, *, by_key: bool) -> bool:
        """Stop until something continues it; return False where that is not done."""
        try:
            os.tcgetpgrp(self.fileno)
        except OSError:  # no shell, but something else that sends signals
            os.kill(os.getpid(), signal.SIGSTOP)
            return True
        # As the terminal does it: all of the job, for its shell to go on. The system ignores it where there is none.
        self._continued.clear()
        before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.killpg(os.getpgrp(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, before)
        if not self._continued.is_set() and not by_key:
            os.kill(os.getpid(), signal.SIGSTOP)
            return True
        return self._continued.is_set()

    def _come_back(self) -> None:
        """Take the terminal again after a stop that nothing could prepare for."""
        if not self._ending.is_set() and in_front(self.fileno):
            self.suspend_application_mode()
            self._take_again()

    def _take_again(self) -> None:
        if not self._ending.is_set():  # else a signal came while it was stopped
            self.resume_application_mode()
            self._app.refresh(layout=True)
