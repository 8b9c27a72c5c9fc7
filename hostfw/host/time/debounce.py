"""Acting once on events that come in bunches."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Debounce:
    """Events that nobody has acted on yet, on a clock in seconds that only goes forward.

    They are due once nothing has happened for `quiet_s`, but no later than `at_most_s` after the first of them.
    """

    quiet_s: float
    at_most_s: float
    first: float | None = None
    last: float = 0.0

    @property
    def due(self) -> float | None:
        """The moment at which to act, None while there is no reason to."""
        if self.first is None:
            return None
        return min(self.last + self.quiet_s, self.first + self.at_most_s)

    def noted(self, now: float) -> "Debounce":
        """With one more event."""
        return replace(self, first=now if self.first is None else self.first, last=now)

    def done(self) -> "Debounce":
        """With none: they have been acted on."""
        return replace(self, first=None)
