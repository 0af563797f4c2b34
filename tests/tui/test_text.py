"""A command's text: a window in the dashboard, lines in the shell, a field in JSON."""

import io
import json
import time
from contextlib import redirect_stderr, redirect_stdout

import pytest

from backend.commands.model import Command, Parsed, Result
from backend.text import safe_lines
from tests.tui.dashboard import World, opened
from tui import headless
from tui.screens.text import TextScreen
from tui.widgets.textlines import TextLines

TEXT = "[    0.1] Linux\r\n\x1b[2Jdevil\tlogin: \u202e\n" + "".join(f"line {number}\n" for number in range(100))


def speaks(text: str) -> Parsed:
    """Return a command whose result is a text."""
    said = Result("It was read.", text=text)
    return Parsed(Command(("vm", "console"), "Show a text", lambda _call: said, opens=True), {})


class Terminal(io.StringIO):
    """A stdout that is a terminal."""

    def isatty(self) -> bool:
        return True


def printed(out: io.StringIO, *, as_json: bool = False) -> tuple[str, str]:
    """Return what stdout and stderr get."""
    errors = io.StringIO()
    with redirect_stdout(out), redirect_stderr(errors):
        headless._show(Result("It was read.", text=TEXT), as_json)
    return out.getvalue(), errors.getvalue()


async def test_the_dashboard_shows_its_end_in_a_window_that_scrolls(world: World) -> None:
    async with opened(world) as user:
        assert user.app.following.parts is not None
        user.app.following.parts.runner.run([speaks(TEXT)])
        await user.until(lambda: isinstance(user.app.screen, TextScreen))
        await user.sees("line 99")
        assert "Linux" not in user.window
        await user.press("home")
        await user.sees("[    0.1] Linux", "␛[2Jdevil       login: �")
        assert "\x1b" not in user.window
        body = user.app.screen.query_one(TextLines)
        backgrounds = {part.style.bgcolor for y in range(3) for part in body.render_line(y) if part.style}
        assert backgrounds == {body.rich_style.bgcolor}  # else the text stands on stripes of another colour
        await user.press("escape")
        await user.back()
        assert user.result == "It was read."


async def test_13_000_lines_are_as_quick_as_a_screenful(world: World) -> None:
    text = "".join(f"{number}\n" for number in range(13_000))
    async with opened(world) as user:
        assert user.app.following.parts is not None
        began = time.thread_time()  # of the event loop's thread: other processes do not count
        user.app.following.parts.runner.run([speaks(text)])
        await user.until(lambda: isinstance(user.app.screen, TextScreen))
        await user.sees("12999")
        await user.press("home")
        await user.sees("1", "2", "3")
        await user.press("end")
        await user.sees("12998")
        assert time.thread_time() - began < 1


async def test_long_lines_are_folded_to_the_window_and_blank_ones_stay(world: World) -> None:
    async with opened(world) as user:
        assert user.app.following.parts is not None
        user.app.following.parts.runner.run([speaks(f"first\n\n{'word ' * 100}{'漢' * 200}last\n")])
        await user.until(lambda: isinstance(user.app.screen, TextScreen))
        await user.sees("first", "last")
        for width in (60, 200, 100):
            await user.pilot.resize_terminal(width, 40)
            await user.sees("first", "last")
            assert user.window.count("word") == 100
            assert user.window.count("漢") == 200


def test_text_goes_to_a_terminal_escaped() -> None:
    out, errors = printed(Terminal())
    assert out.splitlines()[:3] == ["[    0.1] Linux", "␛[2Jdevil       login: �", "line 0"]
    assert out == safe_lines(TEXT) + "\n"
    assert errors == "It was read.\n"


def test_text_goes_to_a_file_unchanged() -> None:
    assert printed(io.StringIO())[0] == TEXT


def test_json_has_it_as_a_field() -> None:
    out, _ = printed(io.StringIO(), as_json=True)
    assert json.loads(out) == {"message": "It was read.", "text": TEXT}
    assert out.isascii()
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", [""]),
        ("one", ["one"]),
        ("one\n", ["one"]),
        ("one\r\ntwo\r\n", ["one", "two"]),
        ("a\rb\n", ["a␍b"]),  # a lone CR moves the cursor and ends no line
        ("a\n\n\nb", ["a", "", "", "b"]),
        ("a\x0bb\x85c\u2028d", ["a␋b�c�d"]),
    ],
)
def test_only_line_feeds_end_a_line(text: str, lines: list[str]) -> None:
    assert safe_lines(text).split("\n") == lines
