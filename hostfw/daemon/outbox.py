"""The way to a journal that one must not stop for: what it does not take waits, what cannot wait is counted."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from hostfw.audit.notices import entries_unwritten
from hostfw.host import clock
from hostfw.host.clock import Clock
from hostfw.host.errors import HostError
from hostfw.host.journal import Journal

MOST_WAITING = 4096
"""Some megabytes of entries."""
RETRY_S = 0.5
"""How often a journal that took nothing is asked again."""


@dataclass(slots=True)
class Outbox:
    """Entries on their way to a journal, in order; `send` never raises.

    `unwritten` counts the entries that were given up for want of room, over all time; the journal is told of them as
    soon as it takes entries again.
    """

    journal: Journal
    clock: Clock = clock
    most: int = MOST_WAITING
    unwritten: int = 0
    _waiting: deque[dict[str, str]] = field(default_factory=deque)
    _given_up: int = 0
    _reason: str = ""
    _retry_s: float = float("-inf")

    @property
    def waiting(self) -> int:
        """How many entries wait for the journal."""
        return len(self._waiting)

    def send(self, fields: Mapping[str, str]) -> None:
        """Write one entry, or keep it until the journal takes it."""
        if len(self._waiting) >= self.most:
            self._given_up += 1
            self.unwritten += 1
        else:
            self._waiting.append(dict(fields))
        if self.clock.monotonic() >= self._retry_s:
            self.deliver()

    def wait_s(self) -> float | None:
        """How long until `due` has something to do; None if nothing waits."""
        return max(self._retry_s - self.clock.monotonic(), 0.0) if self._waiting or self._given_up else None

    def due(self) -> None:
        """Try again if it is time."""
        if self.wait_s() == 0:
            self.deliver()

    def deliver(self) -> None:
        """Hand over what waits, as far as the journal takes it."""
        while self._waiting or self._given_up:
            entry = self._waiting[0] if self._waiting else entries_unwritten(self._given_up, self._reason)
            try:
                self.journal.send(entry)
            except HostError as error:
                self._reason = error.message
                self._retry_s = self.clock.monotonic() + RETRY_S
                return
            if self._waiting:
                self._waiting.popleft()
            else:
                self._given_up = 0
        self._retry_s = float("-inf")
