"""Waiting times: before another repair of what keeps being changed, and before another try of what failed."""

from collections import deque
from dataclasses import dataclass, field

FREE = 5
"""So many repairs within the window go at once."""
WINDOW_S = 60.0
LONGEST_S = 30.0
_FIRST_S = 0.5

RETRY_FIRST_S = 0.25
RETRY_LONGEST_S = 4.0
"""Longest wait before another try, so that recovery follows soon after the cause has passed."""
RETRY_SLOW_S = 30.0
RETRY_QUICK_TIMES = 30
"""After so many failures in a row, some two minutes of them, the cause is nothing that passes quickly."""


@dataclass(slots=True)
class Backoff:
    """The moments of the latest repairs, of one monotonic clock."""

    window_s: float = WINDOW_S
    free: int = FREE
    longest_s: float = LONGEST_S
    _moments: deque[float] = field(default_factory=deque)

    def wait_s(self, now_s: float) -> float:
        """Seconds that the next repair has to wait."""
        self._forget(now_s)
        over = len(self._moments) - self.free
        return 0.0 if over < 0 else min(_FIRST_S * 2**over, self.longest_s)

    @property
    def recent(self) -> int:
        """The number of recent repairs."""
        return len(self._moments)

    def note(self, now_s: float) -> None:
        """Count a repair."""
        self._forget(now_s)
        self._moments.append(now_s)

    def _forget(self, now_s: float) -> None:
        while self._moments and self._moments[0] <= now_s - self.window_s:
            self._moments.popleft()


@dataclass(slots=True)
class Retry:
    """The failures in a row of one thing that is tried again: soon at first, then every few seconds, then patiently."""

    failures: int = 0

    def failed(self) -> float:
        """Count a failure; gives how many seconds to wait before the next try."""
        self.failures += 1
        if self.failures > RETRY_QUICK_TIMES:
            return RETRY_SLOW_S
        return min(RETRY_FIRST_S * 2.0 ** min(self.failures - 1, 16), RETRY_LONGEST_S)

    def succeeded(self) -> None:
        """Begin anew."""
        self.failures = 0
