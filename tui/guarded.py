"""An app that a bug ends with one sentence and exit status 1; the traceback is in the log."""

from rich.console import RenderableType
from rich.text import Text
from textual.app import App
from textual.driver import Driver

from backend.errors import CloudmeshError, bug
from backend.log import logger


class Guarded(App[int]):
    """An app without tracebacks on the terminal: textual's show the values of all variables, keys included."""

    def __init__(self, driver: type[Driver]) -> None:
        super().__init__(driver_class=driver)

    def _handle_exception(self, error: Exception) -> None:
        if self._exit:  # textual fails on screens that it removes before they are complete
            logger.info("failed while the dashboard ended", exc_info=error)
            return
        logger.error("the dashboard failed", exc_info=error)
        super()._handle_exception(error)

    def panic(self, *renderables: RenderableType) -> None:
        """End as after any other bug.

        Parts of textual pass only a rendered traceback: it goes to the log, never to the screen.
        """
        if self._exception is None:
            self._return_code = 1
            # By its attribute: to import the class Traceback would load pygments at each start.
            traces = [one.trace for one in renderables if hasattr(one, "trace")]
            stacks = [stack for trace in traces for stack in trace.stacks]
            for stack in stacks:
                logger.error("the dashboard failed: %s: %s", stack.exc_type, stack.exc_value)
                for frame in stack.frames:
                    logger.error("    %s, line %d, in %s", frame.filename, frame.lineno, frame.name)
            name = stacks[0].exc_type if stacks else "it ended itself"
            self._end_with(bug("The dashboard", name))
        else:
            self._fatal_error()

    def _fatal_error(self) -> None:
        self._end_with(bug("The dashboard", self._exception) if self._exception else None)

    def _end_with(self, error: CloudmeshError | None) -> None:
        self.bell()
        if error is not None and not self._exit_renderables:
            self._exit_renderables.append(Text(str(error)))
        self._close_messages_no_wait()
