"""What a destroying command would do, object by object, as the cloud says at this moment."""

from collections.abc import Mapping
from dataclasses import dataclass, field


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
    """Why the command does not touch it; "" where it does."""
    production: bool = False

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
    """What is to be said before all else, such as what could not be looked at, and why."""

    @property
    def acted_on(self) -> tuple[Target, ...]:
        """The targets that the command would touch."""
        return tuple(one for one in self.targets if not one.left_out)

    @property
    def left_out(self) -> tuple[Target, ...]:
        """The targets that it would not."""
        return tuple(one for one in self.targets if one.left_out)

    @property
    def typed(self) -> str:
        """What must be typed to confirm it: "" nothing, a count for several, the name of one that is production."""
        acted_on = self.acted_on
        if len(acted_on) > 1:
            return str(len(acted_on))
        return (acted_on[0].name.strip() or acted_on[0].id) if acted_on and acted_on[0].production else ""

    def confirmed_by(self, text: str) -> bool:
        """Return whether what was typed confirms it; the id serves as well as a name that no keyboard has."""
        also = [one.id for one in self.acted_on] if len(self.acted_on) == 1 else []
        return not self.typed or text.strip() in (self.typed, *also)
