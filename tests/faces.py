"""Providers of the tests' making: one object with a method for each kind and verb, such as `vm_stop`."""

from typing import Any


class Faces:
    """A provider whose methods are called KIND_VERB; what it has not is asked of the real one behind it, if any."""

    def __init__(self, real: Any = None) -> None:
        self.real = real

    def of(self, kind: str) -> Any:
        return Face(self, kind)

    def passes(self, kind: str, verb: str) -> None:
        """Called before something is asked of the real provider."""


class Face:
    """What such a provider can do with one kind."""

    def __init__(self, provider: Faces, kind: str) -> None:
        self._provider, self._kind = provider, kind

    def __getattr__(self, verb: str) -> Any:
        if own := getattr(self._provider, f"{self._kind}_{verb}", None):
            return own
        real = getattr(self._provider.real.of(self._kind), verb)
        if callable(real):
            self._provider.passes(self._kind, verb)
        return real
