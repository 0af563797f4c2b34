"""Reads YAML with every scalar as text. Its errors give the position, and never quote the content."""

import re
from typing import Any

import yaml
from yaml.composer import ComposerError
from yaml.reader import ReaderError


class NotYAMLError(Exception):
    """The text is not YAML; the message is "line 3, column 5: the broken rule"."""


def load(text: str) -> Any:
    """Return `text` as mappings, lists, texts and None. Raises NotYAMLError."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a restricted SafeLoader
    except yaml.YAMLError as error:
        position, problem = _explained(error, text)
        raise NotYAMLError(f"{position}: {problem}") from None


_RESOLVED = {  # empty values are None, and `<<` merges
    first: [entry for entry in entries if entry[0].endswith((":null", ":merge"))]
    for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_MADE = {
    tag: make
    for tag, make in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.endswith((":null", ":str", ":seq", ":map"))
}


class _Loader(yaml.SafeLoader):
    """Reads every scalar as text, and refuses duplicate keys.

    YAML 1.1 would read the name 0123 as 83, an account id as an octal number, and a cloud called `on` as True. Here the
    key decides the type, not the form of the value.
    """

    yaml_implicit_resolvers = _RESOLVED
    yaml_constructors = _MADE

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise ComposerError(problem="this key is here already", problem_mark=key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return node


def _explained(error: yaml.YAMLError, text: str) -> tuple[str, str]:
    """Return the position and the broken rule, but nothing of the content: it may be a secret key."""
    if isinstance(error, ReaderError):  # the only error without a mark
        before = text[: error.position]
        line, column = before.count("\n") + 1, error.position - before.rfind("\n")
        return f"line {line}, column {column}", "it holds a control character"
    mark = getattr(error, "problem_mark", None)
    position = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "some line"
    return position, re.sub(
        r"'([^']*)'|\"([^\"]*)\"", _unquoted, getattr(error, "problem", None) or "it cannot be parsed"
    )


def _unquoted(quoted: re.Match[str]) -> str:
    """Return the quoted text if it is one character or the name of a token, else "…"."""
    inside = quoted[1] or quoted[2] or ""
    return quoted[0] if len(inside) <= 2 or inside.startswith("<") else "…"
