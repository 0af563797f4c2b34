"""What a refresh remembers of the known rows."""

import random
import sys

import pytest

from backend.cache.known import Hashes, Known


@pytest.mark.parametrize("count", [0, 1, 3, 1_000, 20_000])
def test_hashes_are_a_set_that_only_shrinks(count: int) -> None:
    dice = random.Random(count)  # noqa: S311 - a test's dice
    numbers = [dice.choice([dice.randrange(-(2**63), 2**63), dice.randrange(-5, 5)]) for _ in range(count)]
    hashes, left = Hashes(numbers), set(numbers)
    others = [dice.randrange(-(2**63), 2**63) for _ in range(100)]
    while True:
        assert (len(hashes), set(hashes), bool(hashes)) == (len(left), left, bool(left))
        assert all((number in hashes) == (number in left) for number in (*numbers[:500], *others, 0, 1))
        if not left:
            break
        some = [*dice.sample(sorted(left), (len(left) + 1) // 2), *others]
        hashes.take([*some, *some, None])
        left.difference_update(some)


def test_the_largest_numbers_fit_and_others_are_not_there() -> None:
    hashes = Hashes([2**63 - 1, -(2**63), 0])
    assert 2**63 - 1 in hashes
    assert -(2**63) in hashes
    assert None not in hashes
    assert "0" not in hashes
    assert 2**63 not in hashes


def test_they_take_a_tenth_of_what_a_set_takes() -> None:
    numbers = [n * 0x9E3779B97F4A7C15 % 2**63 for n in range(100_000)]
    hashes, plain = Hashes(numbers), set(numbers)
    ours = sum(sys.getsizeof(part) for parts in (hashes._numbers, hashes._there) for part in parts)
    theirs = sys.getsizeof(plain) + sum(map(sys.getsizeof, plain))
    assert ours < theirs / 5


def test_nothing_is_what_was_never_there() -> None:
    assert Known().nothing
    assert not Known()
    known = Known(Hashes([1]), ["a"])
    known.hashes.take([1])
    known.unhashed.clear()
    assert not known
    assert not known.nothing
