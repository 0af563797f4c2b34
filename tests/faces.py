"""Fake providers: one object with a method for each kind and verb, such as `vm_stop`."""

from typing import Any

READS = frozenset({
    "list", "addresses", "protected", "booted", "console", "vms", "is_peer", "prices", "spot_prices", "regions",
})  # fmt: skip
"""The verbs of all kinds that change nothing; a new verb counts as a change until it is named here."""


class Faces:
    """A provider with methods called KIND_VERB; other calls go to the real provider behind it, if any."""

    def __init__(self, real: Any = None) -> None:
        self.real = real

    def of(self, kind: str) -> Any:
        return Face(self, kind)

    def passes(self, kind: str, verb: str) -> None:
        """Called before a call goes to the real provider."""


class Face:
    """The face of one kind of such a provider."""

    def __init__(self, provider: Faces, kind: str) -> None:
        self._provider, self._kind = provider, kind

    def __getattr__(self, verb: str) -> Any:
        if own := getattr(self._provider, f"{self._kind}_{verb}", None):
            return own
        real = getattr(self._provider.real.of(self._kind), verb)
        if callable(real):
            self._provider.passes(self._kind, verb)
        return real
