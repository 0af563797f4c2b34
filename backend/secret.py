"""Holds a secret so that it is not printed by accident."""

from typing import Never, Self

from backend import redact


class Secret:
    """A string that shows as `***` in repr, str, format and tracebacks; only `reveal()` returns it.

    From its creation on, it is redacted in every log line and error; see backend.redact. It cannot be pickled.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        redact.add_secret(value)

    def reveal(self) -> str:
        """Return the secret itself, for the call that needs it."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return redact.MASK

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: object) -> Self:  # what dataclasses.asdict does
        return self

    def __reduce__(self) -> Never:
        raise TypeError("A secret cannot be pickled.")
