"""What a refresh knows about the cached rows: their hashes, in little memory even for very many rows."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator

_PARTS = 256
"""The number of arrays: a number is in the array of its lowest byte. Each array is sorted and searched by itself."""


class Hashes:
    """A set of signed 64-bit numbers that can only shrink. A number takes nine bytes; in a set of int, a hundred.

    One thread may search while another removes.
    """

    def __init__(self, numbers: Iterable[int] = ()) -> None:
        self._numbers = [array("q") for _ in range(_PARTS)]
        for number in numbers:
            self._numbers[number % _PARTS].append(number)
        for part, found in enumerate(self._numbers):
            self._numbers[part] = array("q", sorted(set(found)))
        self._there = [bytearray(b"\1") * len(found) for found in self._numbers]
        self._left = sum(map(len, self._numbers))

    def __len__(self) -> int:
        return self._left

    def __iter__(self) -> Iterator[int]:
        for found, there in zip(self._numbers, self._there, strict=True):
            yield from (number for number, is_there in zip(found, there, strict=True) if is_there)

    def __contains__(self, number: object) -> bool:
        return self._left > 0 and isinstance(number, int) and self._position(number) is not None

    def take(self, numbers: Iterable[int | None]) -> None:
        """Remove numbers; numbers that are not in the set are ignored."""
        if not self._left:
            return
        for number in numbers:
            if number is not None and (position := self._position(number)) is not None:
                self._there[number % _PARTS][position] = 0
                self._left -= 1

    def _position(self, number: int) -> int | None:
        part = number % _PARTS
        found = self._numbers[part]
        position = bisect_left(found, number)
        return position if position < len(found) and found[position] == number and self._there[part][position] else None


class Known:
    """What a refresh knows about the cached rows of its kind.

    `Rows.known` creates it when the refresh begins, and `Rows.put` removes the rows that the listing has. After a
    complete listing, `Rows.left` takes the remaining rows for gone.
    """

    def __init__(self, hashes: Hashes | None = None, unhashed: Iterable[str] = ()) -> None:
        self.hashes = hashes or Hashes()
        """The hashes of the rows that the refresh has not listed yet."""
        self.unhashed = set(unhashed)
        """The ids of such rows without a hash: a command changed them, and no listing has confirmed that yet."""
        self.nothing = not self
        """Whether the cache had no rows when the refresh began."""

    def __bool__(self) -> bool:
        return bool(self.hashes or self.unhashed)
