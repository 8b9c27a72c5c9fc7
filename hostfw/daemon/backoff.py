"""How long to wait before the next repair: not at all for the first few, longer and longer under tampering."""

from collections import deque
from dataclasses import dataclass, field

FREE = 5
"""So many repairs within the window go at once."""
WINDOW_S = 60.0
LONGEST_S = 30.0
_FIRST_S = 0.5


@dataclass(slots=True)
class Backoff:
    """The moments of the latest repairs, of one monotonic clock."""

    window_s: float = WINDOW_S
    free: int = FREE
    longest_s: float = LONGEST_S
    _moments: deque[float] = field(default_factory=deque)

    def wait_s(self, now_s: float) -> float:
        """How many seconds the next repair has to wait."""
        self._forget(now_s)
        over = len(self._moments) - self.free
        return 0.0 if over < 0 else min(_FIRST_S * 2**over, self.longest_s)

    @property
    def recent(self) -> int:
        """How many repairs there were of late."""
        return len(self._moments)

    def note(self, now_s: float) -> None:
        """Count a repair."""
        self._forget(now_s)
        self._moments.append(now_s)

    def _forget(self, now_s: float) -> None:
        while self._moments and self._moments[0] <= now_s - self.window_s:
            self._moments.popleft()
