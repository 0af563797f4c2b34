"""The catalog: one room is all that a kind needs in the backend."""

import subprocess
import sys
from pathlib import Path

from backend.catalog import KINDS

TREE = Path(__file__).parents[2]

ROOM = """
from backend.commands.model import Command, Result, one_of
from backend.kinds.model import Column, Kind, id_column, name_column

GADGET = Kind(
    "gadget", "gadgets", (name_column(), id_column(), Column("state", "State", "state")), 60, True, "None.", ("gizmo",)
)
COMMANDS = (Command(("gadget", "wind"), "Wind it", lambda context: Result("Wound."), (one_of(GADGET),)),)
"""


def tried(room: str, folder: Path, program: str) -> str:
    """Run a program that finds another room, named gadget, in backend.kinds; return what it prints, or its error."""
    (folder / "gadget.py").write_text(room)
    found = f"import backend.kinds; backend.kinds.__path__.append({str(folder)!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", found + program], capture_output=True, text=True, check=False, cwd=TREE
    )
    return done.stdout or done.stderr


def test_a_kind_is_one_file(tmp_path: Path) -> None:
    program = """
from backend.catalog import KINDS, kind_named
from backend.commands.grammar import parse
from backend.commands.table import COMMANDS
print(*KINDS, kind_named("gizmo").plural, *[one.name for one in COMMANDS if one.words[0] == "gadget"])
print(parse(["gadget", "wind", "this"]).given)
"""
    kinds, given = tried(ROOM, tmp_path, program).splitlines()
    verbs = ["refresh", "list", "export", "wind"]
    assert kinds.split() == [*KINDS, "gadget", "gadgets", *[word for verb in verbs for word in ("gadget", verb)]]
    assert given == "{'gadget': 'this'}"


def test_a_room_without_its_kind_is_an_error(tmp_path: Path) -> None:
    error = tried(ROOM.replace('"gadget", "gadgets"', '"widget", "widgets"'), tmp_path, "import backend.catalog")
    assert "LookupError: backend.kinds.gadget has no Kind whose name is 'gadget'" in error


def test_each_number_key_is_of_one_kind() -> None:
    tabs = [kind.tab for kind in KINDS.values()]
    assert tabs == list(range(1, len(KINDS) + 1))
