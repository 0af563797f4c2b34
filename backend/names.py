"""Finds the word that a misspelt word was meant to be."""

from collections.abc import Iterable
from difflib import get_close_matches

from backend.errors import UsageError
from backend.text import safe


def closest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate most similar to `word`, or None if none is near."""
    folded = {candidate.casefold(): candidate for candidate in candidates}
    matches = get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return folded[matches[0]] if matches else None


def nearest(word: str, candidates: Iterable[str], *, what: str, known: Iterable[str]) -> UsageError:
    """Return the error for an unknown `word`, with the nearest of `candidates` or else all `known` words."""
    match = closest(word, candidates)
    cure = f"Did you mean {match!r}?" if match else f"Known: {', '.join(known)}."
    return UsageError(f"There is no {what} {safe(word)!r}.", cure)
