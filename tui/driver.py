"""The terminal: reads any input, stops and continues as a shell job does, and restores the terminal at the end."""

import os
import select
import signal
import sys
import termios
from contextlib import suppress
from threading import Event
from typing import Any, cast

from textual.app import App
from textual.drivers.linux_driver import LinuxDriver

from backend.log import logger
from tui.ending import HUNG_UP
from tui.keyboard import Keyboard
from tui.writer import Output, in_front

_POLL = 0.1
"""Seconds between two checks of the reading thread whether it must end."""

_LEAVING = "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?2004l\x1b[?7h\x1b[<u\x1b[?1049l\x1b[?25h\x1b[?1004l"
"""What textual writes at its end: mouse and paste modes off, wrapping on, plain keys, the main screen, the cursor."""


class TerminalDriver(LinuxDriver):
    """textual's driver with another reader and writer; it stops and continues as a shell job does."""

    def __init__(
        self, app: App[Any], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        assert sys.__stderr__ is not None  # noqa: S101 - for mypy: tui.cli has checked
        self._output = Output(sys.__stderr__, self._hung_up)
        self._file = cast(Any, self._output)
        self._ending, self._continued = Event(), Event()
        self._suspending = False
        self._lent: tuple[Any, Any] = (None, None)
        """The attributes of the terminal and the handler of Ctrl-C, while another program has the terminal."""

    # --- writing ------------------------------------------------------------------------------------------------------

    def write(self, data: str) -> None:
        """Write to the terminal; nothing while it belongs to the shell."""
        if self._writer_thread is not None and self._writer_thread.is_alive():
            super().write(data)

    def _query_in_band_window_resize(self) -> None:
        """Do not ask the terminal for its size: the system reports it, and input cannot be trusted."""

    def start_application_mode(self) -> None:
        """Take the terminal."""
        self._output.take_time()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTTOU})
        super().start_application_mode()  # type: ignore[no-untyped-call]

    def stop_application_mode(self) -> None:
        """Give the terminal back as it was; do not wait for a terminal that does not read."""
        if self._writer_thread is None or not self._writer_thread.is_alive():
            return
        self._output.hurry()
        if not in_front(self.fileno):
            self.attrs_before = None  # the shell has set its own
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})  # else the next write may stop this process
        super().stop_application_mode()

    def close(self) -> None:
        """Wait until all is written; leave the screen even if the terminal has not read all of it."""
        super().close()
        if self._output.dropped:
            self._output.insist(_LEAVING)

    def end(self) -> None:
        """Stop waiting for the terminal, and do not take it again. Called on any thread."""
        self._ending.set()
        self._output.hurry()

    def abandon(self) -> None:
        """Give the terminal back at once, wherever the dashboard hangs. Called on any thread."""
        self.end()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})  # else it would stop this process
        if self.attrs_before is not None and in_front(self.fileno):
            try:
                termios.tcsetattr(self.fileno, termios.TCSANOW, self.attrs_before)
            except termios.error:
                return
        self._output.insist(_LEAVING)

    def _hung_up(self) -> None:
        self._ending.set()
        self._app.call_later(self._app.exit, HUNG_UP)

    # --- reading ------------------------------------------------------------------------------------------------------

    def _run_input_thread(self) -> None:
        try:
            self.run_input_thread()
        except Exception as error:  # noqa: BLE001 - the dashboard ends with a sentence, as after any other bug
            self._app.call_later(self._app._handle_exception, error)

    def run_input_thread(self) -> None:
        """Read until the terminal is given back or goes away."""
        keyboard = Keyboard()
        while not self.exit_event.is_set():
            wait = keyboard.wait
            if not select.select([self.fileno], [], [], _POLL if wait is None else min(_POLL, wait))[0]:
                for event in keyboard.tick():
                    self.process_message(event)
                continue
            try:
                data = os.read(self.fileno, 4096)
            except BlockingIOError:  # another process has made the terminal non-blocking and reads too
                continue
            except OSError as error:
                logger.info("the terminal has gone away (%s)", error.strerror)
                data = b""
            if not data:
                self._hung_up()
                return
            for event in keyboard.feed(data):
                self.process_message(event)

    # --- stopping and coming back -------------------------------------------------------------------------------------

    def _sigtstp_application(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self.suspend)  # not here: this may be in the middle of a write

    def _sigcont_application(self, *_: object) -> None:
        self._continued.set()
        if not self._suspending:  # it was stopped by SIGSTOP
            self._loop.call_soon_threadsafe(self._come_back)

    def suspend(self, *, by_key: bool = False) -> bool:
        """Give the terminal to the shell and stop; repaint the screen when the shell continues this job.

        Return False if a key asks for it and no shell could continue the job: then nothing stops.
        """
        if self._suspending or self._ending.is_set():
            return True
        self._suspending = True
        self.suspend_application_mode()
        stopped = self._stop(by_key=by_key)
        # After `bg` it stops again: without a terminal it has nothing to do.
        while stopped and not self._ending.is_set() and not in_front(self.fileno):
            self._stop(by_key=by_key)
        self._suspending = False
        self._take_again()
        return stopped

    def lend(self) -> Event:
        """Lend the terminal to another program until `take_back`; return an event that Ctrl-C sets meanwhile."""
        self._suspending = True  # Ctrl-Z would stop us and not the program
        self.suspend_application_mode()
        interrupted = Event()
        self._lent = termios.tcgetattr(self.fileno), signal.signal(signal.SIGINT, lambda *_: interrupted.set())
        attributes = termios.tcgetattr(self.fileno)
        attributes[6][termios.VSUSP] = b"\0"
        termios.tcsetattr(self.fileno, termios.TCSANOW, attributes)
        return interrupted

    def take_back(self) -> None:
        """Take the terminal again, as it was before it was lent."""
        attributes, handler = self._lent
        with suppress(termios.error):  # it has gone away
            termios.tcsetattr(self.fileno, termios.TCSANOW, attributes)
        signal.signal(signal.SIGINT, handler)
        self._suspending = False
        self._take_again()

    def _stop(self, *, by_key: bool) -> bool:
        """Stop until something continues this process; return False if it did not stop."""
        try:
            os.tcgetpgrp(self.fileno)
        except OSError:  # no shell: another program has sent the signal
            os.kill(os.getpid(), signal.SIGSTOP)
            return True
        # As the terminal does: stop the whole job, so that its shell continues it. Without a shell, nothing stops.
        self._continued.clear()
        before = signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.killpg(os.getpgrp(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, before)
        if not self._continued.is_set() and not by_key:
            os.kill(os.getpid(), signal.SIGSTOP)
            return True
        return self._continued.is_set()

    def _come_back(self) -> None:
        """Take the terminal again after SIGSTOP, which cannot be handled."""
        if not self._ending.is_set() and in_front(self.fileno):
            self.suspend_application_mode()
            self._take_again()

    def _take_again(self) -> None:
        if not self._ending.is_set():  # set: a signal came while the process was stopped
            self.resume_application_mode()
            self._app.refresh(layout=True)
