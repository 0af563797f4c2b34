"""What a command would destroy or lose, object by object, as the cloud says at this moment."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from backend.kinds.model import Scope


@dataclass(frozen=True)
class Target:
    """One object that a command would act on."""

    id: str
    """By which the command names it: a name may be another's when it runs."""
    name: str
    """Its own name, else its id."""
    facts: tuple[tuple[str, str], ...] = ()
    """(title, value) of what it is, both safe to show."""
    losses: tuple[str, ...] = ()
    """What goes with it."""
    stays: tuple[str, ...] = ()
    """What it leaves behind."""
    warnings: tuple[str, ...] = ()
    left_out: str = ""
    """Why the command does not touch it; "" if it does."""
    production: bool = False
    scope: Scope | None = None
    """The cloud and region that it is in; None: those of the session that looked at it."""
    final: bool = False
    """It takes data along that nothing brings back, and that a single key must not confirm."""

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
    """Sentences on all that would go and stay, counted."""
    given: Mapping[str, str] = field(default_factory=dict)
    """Arguments with which a command that names no object acts on these and no others."""
    notes: tuple[str, ...] = ()
    """Shown first: what could not be found out, and why."""
    destroys: bool = True
    """Whether the command deletes its targets; one that only changes them wants nothing typed."""

    @property
    def acted_on(self) -> tuple[Target, ...]:
        """The targets that the command would touch."""
        return tuple(one for one in self.targets if not one.left_out)

    @property
    def left_out(self) -> tuple[Target, ...]:
        """The targets that it would not."""
        return tuple(one for one in self.targets if one.left_out)

    @property
    def named(self) -> tuple[Target, ...]:
        """The targets whose names must be typed: each that is production, and one alone whose data is final."""
        acted_on = self.acted_on if self.destroys else ()
        return tuple(one for one in acted_on if one.production or (one.final and len(acted_on) == 1))

    @property
    def typed(self) -> str:
        """What must be typed to confirm it, "" for nothing: the number of several, then the names of `named`."""
        count = [str(len(self.acted_on))] if self.destroys and len(self.acted_on) > 1 else []
        return " ".join([*count, *(one.word for one in self.named)])

    def confirmed_by(self, text: str) -> bool:
        """Return whether what was typed confirms it; an id serves as well as a name that no keyboard has."""
        words = [re.escape(self.typed)] if not self.named else []
        if self.named:
            words = [str(len(self.acted_on))] if len(self.acted_on) > 1 else []
            words += [f"(?:{re.escape(one.word)}|{re.escape(one.id)})" for one in self.named]
        return not self.typed or re.fullmatch(r"\s+".join(words), text.strip()) is not None

    @property
    def is_final(self) -> bool:
        """Whether it loses what nothing brings back: then Enter alone does nothing."""
        return self.destroys or any(one.final for one in self.acted_on)


def of_scopes(found: Sequence[tuple[Scope, Preview]]) -> Preview:
    """Return one preview of what was looked at in each of several scopes; each target says which scope is its own."""
    previews = [preview for _, preview in found]
    return Preview(
        tuple(replace(target, scope=scope) for scope, preview in found for target in preview.targets),
        tuple(total for preview in previews for total in preview.totals),
        {name: value for preview in previews for name, value in preview.given.items()},
        tuple(dict.fromkeys(note for preview in previews for note in preview.notes)),
        any(preview.destroys for preview in previews),
    )
