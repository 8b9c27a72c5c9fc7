"""A bounded queue of journal entries, and a thread that writes them, so nobody waits for the journal.

A journal that is slow, hangs or is gone may lose entries, but never delays the service. Lost entries are counted, and
the number is written as soon as the journal accepts entries again.
"""

from collections import deque
from collections.abc import Callable, Mapping
from threading import Condition, Thread
from time import monotonic

from hostfw.host.errors import HostError
from hostfw.host.journal.writer import Journal
from hostfw.journal.notices import entries_unwritten

MOST_WAITING = 4096
"""Some megabytes of entries."""
RETRY_S = 0.5
"""Interval between tries to write to a journal that accepted nothing."""
CLOSING_S = 2.0
"""Time that the journal has at the end to take what is left."""


class Outbox:
    """Entries on their way to a journal, in order; `send` never waits, never raises, and may be called on any thread.

    `unwritten` counts the entries that were given up, over all time. The thread starts with the first entry.
    """

    def __init__(
        self,
        journal: Journal,
        most: int = MOST_WAITING,
        retry_s: float = RETRY_S,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Hands entries to this journal; `most` may wait."""
        self.unwritten = 0
        self._journal = journal
        self._most = most
        self._retry_s = retry_s
        self._clock = clock
        self._changed = Condition()
        self._waiting: deque[dict[str, str]] = deque()
        self._given_up = 0
        self._reason = ""
        self._is_closing = False
        self._trying_since: float | None = None
        self._thread: Thread | None = None

    @property
    def waiting(self) -> int:
        """The number of entries that wait for the journal."""
        return len(self._waiting)

    @property
    def stuck_s(self) -> float:
        """For how long the journal has not taken the entry that is first in line."""
        since = self._trying_since
        return 0.0 if since is None else max(self._clock() - since, 0.0)

    @property
    def reason(self) -> str:
        """The journal's last error when it accepted nothing."""
        return self._reason

    def send(self, fields: Mapping[str, str]) -> None:
        """Have one entry written as soon as the journal takes it."""
        with self._changed:
            if len(self._waiting) >= self._most:
                self._give_up()
            else:
                self._waiting.append(dict(fields))
            if self._thread is None and not self._is_closing:
                # It may be stuck in a write for as long as the process lives, and must not keep that from ending.
                self._thread = Thread(target=self._deliver, name="journal", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def close(self, patience_s: float = CLOSING_S) -> bool:
        """Write what is left, as far as the journal takes it in time; gives whether the thread has ended."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread is None:
            return True
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    def _deliver(self) -> None:
        """On a thread of its own."""
        while (first := self._next()) is not None:
            entry, said = first
            try:
                self._journal.send(entry)
            except HostError as error:
                self._reason = error.message
                if self._is_over():
                    return
            except Exception as error:  # noqa: BLE001  an entry that cannot be written must not stop those behind it
                self._reason = f"{type(error).__name__}: {error}"
                self._done(said, written=False)
            else:
                self._done(said, written=True)

    def _next(self) -> tuple[dict[str, str], int] | None:
        """The entry that is first in line, and how many lost ones it is about; None at the end."""
        with self._changed:
            while not (self._waiting or self._given_up):
                if self._is_closing:
                    return None
                self._changed.wait()
            if self._trying_since is None:
                self._trying_since = self._clock()
            if self._waiting:
                return self._waiting[0], 0
            return entries_unwritten(self._given_up, self._reason), self._given_up

    def _done(self, said: int, *, written: bool) -> None:
        with self._changed:
            self._trying_since = None
            if said:
                self._given_up -= said
                return
            self._waiting.popleft()
            if not written:
                self._give_up()

    def _give_up(self) -> None:
        self.unwritten += 1
        self._given_up += 1

    def _is_over(self) -> bool:
        """Wait for the next try; at the end there is one more, and no other."""
        with self._changed:
            if self._is_closing:
                return True
            self._changed.wait_for(lambda: self._is_closing, self._retry_s)
            return False
