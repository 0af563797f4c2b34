"""Finds the private names of textual that tui imports, reads, overrides, or gives to attributes of its own."""

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import textual

TREE = Path(__file__).parents[2]


def is_private(name: str) -> bool:
    return name.startswith("_") and name.strip("_") != "" and not name.startswith("__")


@cache
def of_textual() -> dict[tuple[str, str], frozenset[str]]:
    """Return the private names that each class of textual defines or gives to an instance, by module and class."""
    found = {}
    top = Path(textual.__file__).parent
    for path in top.rglob("*.py"):
        module = ".".join(path.relative_to(top.parent).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[module, node.name] = frozenset(filter(is_private, map(defined, ast.walk(node))))
    return found


def defined(node: ast.AST) -> str:
    """Return the name that a function or an assignment in a class gives, "" for anything else."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return name
        case ast.Attribute(attr=name, ctx=ast.Store()) | ast.Name(id=name, ctx=ast.Store()):
            return name
    return ""


def inherited(cls: type) -> frozenset[str]:
    """Return the private names that a class has from textual."""
    names: frozenset[str] = frozenset()
    for base in cls.__mro__:
        names |= of_textual().get((base.__module__, base.__name__), frozenset())
    return names


def private_uses() -> dict[str, list[str]]:
    """Return where tui imports, reads, overrides or takes for itself a private name of textual."""
    found: dict[str, list[str]] = {}
    all_names = frozenset[str]().union(*of_textual().values())
    for path in sorted((TREE / "tui").rglob("*.py")):
        if path.name == "__main__.py":  # importing it would run the program
            continue
        where = path.relative_to(TREE)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        module = importlib.import_module(".".join(where.with_suffix("").parts).removesuffix(".__init__"))
        used = [*imported(tree), *(node for node in ast.walk(tree) if is_foreign(node))]
        names = [(name, node) for name, node in ((named(one), one) for one in used) if name]
        names = [(name, node) for name, node in names if "." in name or name in all_names]
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and isinstance(cls := getattr(module, node.name, None), type):
                theirs = inherited(cls)
                names += [(named(one), one) for one in ast.walk(node) if is_own(one) and named(one) in theirs]
        for name, one in names:
            found.setdefault(name, []).append(f"{where}:{getattr(one, 'lineno', 0)}")
    return found


def named(node: Any) -> str:
    """Return the private name that a node uses or defines, "" for none; an imported one with its module."""
    if isinstance(node, ast.alias):
        return node.name
    name = node.attr if isinstance(node, ast.Attribute) else defined(node)
    return name if is_private(name) else ""


def imported(tree: ast.AST) -> Iterator[ast.alias]:
    """Yield what is imported from textual under a private name or from a private module, with its module's name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "textual":
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if any(map(is_private, full.split("."))):
                    yield ast.alias(full, lineno=node.lineno, col_offset=0)


def is_foreign(node: ast.AST) -> bool:
    """Return whether a node is an attribute of something else than self, or than os, whose `_exit` is documented."""
    return isinstance(node, ast.Attribute) and not (
        isinstance(node.value, ast.Name) and node.value.id in ("self", "os")
    )


def is_own(node: ast.AST) -> bool:
    """Return whether a node is an attribute of self, or defines a name of its class."""
    if isinstance(node, ast.Attribute):
        return isinstance(node.value, ast.Name) and node.value.id == "self"
    return bool(defined(node))
