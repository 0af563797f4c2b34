"""Previews: what a command would destroy or lose, object by object, as the cloud says now."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from backend.kinds.model import Scope


@dataclass(frozen=True)
class Target:
    """One object that a command would act on."""

    id: str
    """The command names it by its id: another object may have its name when the command runs."""
    name: str
    """Its own name, else its id."""
    facts: tuple[tuple[str, str], ...] = ()
    """(title, value) pairs that describe it, safe to print."""
    losses: tuple[str, ...] = ()
    """What is destroyed or lost with it."""
    stays: tuple[str, ...] = ()
    """What is not destroyed."""
    warnings: tuple[str, ...] = ()
    left_out: str = ""
    """Why the command does not touch it; "" if it does."""
    production: bool = False
    scope: Scope | None = None
    """The cloud and region that it is in; None: those of the session that made the preview."""
    final: bool = False
    """Data is lost for good: a single key must not confirm it."""

    @property
    def word(self) -> str:
        """What is typed to confirm it: its name, else its id."""
        return self.name.strip() or self.id

    @property
    def label(self) -> str:
        """Name and id, or the id alone."""
        return self.id if self.name == self.id else f"{self.name} ({self.id})"


@dataclass(frozen=True)
class Preview:
    """What a command would do to all of its targets."""

    targets: tuple[Target, ...]
    totals: tuple[str, ...] = ()
    """Sentences that count what would be destroyed and what would stay."""
    given: Mapping[str, str] = field(default_factory=dict)
    """Arguments that limit a command that names no object to these targets."""
    notes: tuple[str, ...] = ()
    """Shown first: what is not known, and why."""
    destroys: bool = True
    """Whether the command deletes its targets; if it only changes them, the user types nothing to confirm it."""

    @property
    def acted_on(self) -> tuple[Target, ...]:
        """The targets that the command would act on."""
        return tuple(one for one in self.targets if not one.left_out)

    @property
    def left_out(self) -> tuple[Target, ...]:
        """The targets that the command would not act on."""
        return tuple(one for one in self.targets if one.left_out)

    @property
    def named(self) -> tuple[Target, ...]:
        """The targets whose names must be typed: all of production, and a single one whose data is lost for good."""
        acted_on = self.acted_on if self.destroys else ()
        return tuple(one for one in acted_on if one.production or (one.final and len(acted_on) == 1))

    @property
    def typed(self) -> str:
        """The text that confirms it: the number of targets if there are several, then the names of `named`."""
        count = [str(len(self.acted_on))] if self.destroys and len(self.acted_on) > 1 else []
        return " ".join([*count, *(one.word for one in self.named)])

    def confirmed_by(self, text: str) -> bool:
        """Return whether the typed text confirms it. An id may replace a name: not every name can be typed."""
        words = [re.escape(self.typed)] if not self.named else []
        if self.named:
            words = [str(len(self.acted_on))] if len(self.acted_on) > 1 else []
            words += [f"(?:{re.escape(one.word)}|{re.escape(one.id)})" for one in self.named]
        return not self.typed or re.fullmatch(r"\s+".join(words), text.strip()) is not None

    @property
    def is_final(self) -> bool:
        """Whether something is lost for good: then Enter alone does nothing."""
        return self.destroys or any(one.final for one in self.acted_on)


def of_scopes(found: Sequence[tuple[Scope, Preview]]) -> Preview:
    """Combine the previews of several scopes into one; each target gets its scope, and says it among several."""
    previews = [preview for _, preview in found]
    several = len(found) > 1
    return Preview(
        tuple(_in(scope, target, said=several) for scope, preview in found for target in preview.targets),
        tuple(f"{' '.join(scope)}: {total}" if several else total for scope, one in found for total in one.totals),
        {name: value for preview in previews for name, value in preview.given.items()},
        tuple(dict.fromkeys(note for preview in previews for note in preview.notes)),
        any(preview.destroys for preview in previews),
    )


WHERE = "Where"
"""The title of the fact that says in which cloud and region a target is, among targets of several."""


def _in(scope: Scope, target: Target, *, said: bool) -> Target:
    facts = ((WHERE, " ".join(scope)), *target.facts) if said else target.facts
    return replace(target, scope=scope, facts=facts)
