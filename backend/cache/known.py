"""What a refresh knows of the rows that there were: their hashes, in so little memory that any number fits."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator

_PARTS = 256
"""So many arrays hold the numbers, by their lowest byte: each is sorted, and searched, on its own."""


class Hashes:
    """A set of signed 64-bit numbers, from which some can be taken: nine bytes each, where a set of int has a hundred.

    One thread may look whether a number is there while another takes some out.
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
        """Take numbers out, of those that are there."""
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
    """What a refresh knows of the rows of its kind.

    `Rows.known` makes it when the refresh begins and `Rows.put` keeps it; what is left of it when the listing has
    come whole is what `Rows.left` takes for gone.
    """

    def __init__(self, hashes: Hashes | None = None, unhashed: Iterable[str] = ()) -> None:
        self.hashes = hashes or Hashes()
        """The hashes of the rows that there were, less those listed since."""
        self.unhashed = set(unhashed)
        """The same by id for rows without a hash: a command changed them, and no listing has confirmed it yet."""
        self.nothing = not self
        """There were no rows when the refresh began."""

    def __bool__(self) -> bool:
        return bool(self.hashes or self.unhashed)
