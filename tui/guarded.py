"""An app that a mistake of ours ends with a sentence; its traceback is in the log."""

from rich.console import RenderableType
from rich.text import Text
from textual.app import App

from backend.errors import bug
from backend.log import logger


class Guarded(App[int]):
    """textual's own prints the traceback, with the values of all variables in it, keys included."""

    def _handle_exception(self, error: Exception) -> None:
        logger.error("the dashboard failed", exc_info=error)
        super()._handle_exception(error)

    def panic(self, *_renderables: RenderableType) -> None:
        """End as after any other mistake, whatever an exception would show of itself."""
        self._fatal_error()

    def _fatal_error(self) -> None:
        self.bell()
        if not self._exit_renderables and self._exception is not None:
            self._exit_renderables.append(Text(str(bug("The dashboard", self._exception))))
        self._close_messages_no_wait()
