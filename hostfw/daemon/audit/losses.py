"""Account of the log: packets that were logged, and records that were lost, missed or never made.

The kernel counts its records and the packets beyond its limits. The reported numbers are compared with these counts and
kept in the run directory, so the next start knows which records were missed in between.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from hostfw.engine.kernel.counts.log_counts import LogCounts, read_log_counts
from hostfw.host.errors import HostError
from hostfw.host.store.audit_checkpoint import AuditCheckpoint, AuditCheckpointFile
from hostfw.journal.entry import warning
from hostfw.journal.notices import records_lost, records_missed

LOSSES_EVERY_S = 1.0
"""Shortest interval between two reports of lost records."""
KEEP_AGAIN_S = 4.0
"""Interval between tries to keep the reported numbers where that failed."""
READ_TRIES = 8
"""After so many of them the numbers of the last start are given up, and those of this one are kept."""


class Entries(Protocol):
    """A sink for journal entries that never waits, such as `daemon.audit.journal_queue.Outbox`."""

    def send(self, fields: Mapping[str, str]) -> None:
        """Have one entry written."""


class Checkpoint(Protocol):
    """Storage in the run directory that outlives the service, such as `AuditCheckpointFile`."""

    def load(self) -> AuditCheckpoint | None:
        """The checkpoint that was kept. Raises HostError."""

    def save(self, checkpoint: AuditCheckpoint) -> None:
        """Keep it. Raises HostError."""

    def close(self) -> None:
        """Nothing more is kept."""


@dataclass(slots=True)
class NoCheckpoint:
    """Storage that keeps nothing, so that every start is the first."""

    def load(self) -> AuditCheckpoint | None:
        """Nothing."""
        return None

    def save(self, checkpoint: AuditCheckpoint) -> None:
        """Kept nowhere."""

    def close(self) -> None:
        """Nothing was open."""


@dataclass(slots=True)
class AuditLosses:
    """Counts what was logged and reports what was not; it never raises.

    `lost` records found our buffer full, `overruns` times, and `missed` records came while nobody read them: all since
    the service started. Times are seconds of the caller's monotonic clock. `trouble` is called with what keeps the
    numbers from being kept, and with nothing once they are.
    """

    outbox: Entries
    checkpoint: Checkpoint = field(default_factory=NoCheckpoint)
    read_counts: Callable[[], LogCounts | None] = read_log_counts
    lost: int = 0
    overruns: int = 0
    missed: int = 0
    trouble: Callable[[str], None] = lambda _: None
    _reported: int = 0
    _suppressed: int = 0
    _said_lost: int = 0
    _said_overruns: int = 0
    _losses_said_s: float = float("-inf")
    _unsaid: LogCounts | None = None
    _is_unkept: bool = False
    _is_joined: bool = False
    _is_uncounted: bool = False
    _begun: LogCounts | None = None
    _tries: int = 0
    _kept_again_s: float = float("-inf")

    def before_joining(self) -> None:
        """Count what the kernel has counted until now, which goes by unread if the group is joined."""
        self._begun, self._is_uncounted = None, False
        try:
            self._begun = self.read_counts()
        except HostError:
            self._is_uncounted = True

    def joined(self) -> None:
        """Somebody listens from now on: report what the kernel had counted before, beyond what was reported then.

        What cannot be counted or read at this moment is reported once it can be.
        """
        self._is_joined = True
        if self._is_uncounted:
            self._reported = 0
        elif self._begun is not None:
            self._note(self._begun)
        self.keep()

    def counts(self) -> LogCounts | None:
        """The kernel's counts of its log, or None where they cannot be read."""
        try:
            return self.read_counts()
        except HostError:
            return None

    def reported(self, packets: int) -> None:
        """An entry stands for so many packets."""
        self._reported += packets

    def lose(self, records: int, overruns: int) -> None:
        """So many more records found our buffer full, which was so often."""
        self.lost += records
        self.overruns += overruns

    def wait_s(self, now_s: float) -> float | None:
        """Time until `due` has losses to report or numbers to keep; None if there is nothing."""
        losses_s = self._losses_said_s + LOSSES_EVERY_S if self.lost > self._said_lost else None
        again_s = self._kept_again_s + KEEP_AGAIN_S if self._is_unkept else None
        return min((max(at_s - now_s, 0.0) for at_s in (losses_s, again_s) if at_s is not None), default=None)

    def due(self, now_s: float) -> None:
        """Say what was lost since it was last said, at most once a second; an overrun alone only at the end.

        What could not be kept is kept again.
        """
        if self._is_unkept and now_s >= self._kept_again_s + KEEP_AGAIN_S:
            self._kept_again_s = now_s
            self._tries += 1
            self.keep()
        lost = self.lost - self._said_lost
        at_the_end = now_s == float("inf") and self.overruns > self._said_overruns
        if not (lost or at_the_end) or now_s < self._losses_said_s + LOSSES_EVERY_S:
            return
        self._said_lost, self._said_overruns = self.lost, self.overruns
        self._losses_said_s = now_s
        self._reported += lost
        self.outbox.send(records_lost(lost))
        self.keep()

    def _count(self) -> None:
        """Count missed records late: those beyond the ones that were reported since. Raises HostError."""
        counts = self.read_counts()
        self._is_uncounted = False
        if counts is not None:
            self._note(counts, self._reported)

    def _note(self, counts: LogCounts, since: int = 0) -> None:
        self._reported, self._suppressed = counts.records, counts.all_suppressed
        self._unsaid = self._unsaid or replace(counts, records=max(counts.records - since, 0))

    def _say_missed(self, counts: LogCounts) -> None:
        """Report the missed records, beyond those of an earlier journal entry."""
        try:
            kept = self.checkpoint.load() or AuditCheckpoint(0, 0)
        except HostError as error:
            if self._tries < READ_TRIES:
                raise
            self._unsaid = None
            self.outbox.send(warning(f"how many log records were missed is not known: {error.message}"))
            return
        self._unsaid = None
        # Counters that are lower than they were have begun anew, with their tables.
        missed = counts.records - kept.records if counts.records >= kept.records else counts.records
        beyond = counts.all_suppressed
        suppressed = beyond - kept.suppressed if beyond >= kept.suppressed else beyond
        self.missed += missed
        if missed or suppressed:
            self.outbox.send(records_missed(missed, suppressed))

    def recount(self) -> None:
        """Compare the reported numbers with the kernel's counters, which start again with their tables."""
        counts = self.counts()
        if counts is None:
            return
        self._suppressed = counts.all_suppressed
        self._reported = min(self._reported, counts.records)

    def keep(self) -> None:
        """Keep the reported numbers for the next start; what fails is tried again by and by.

        As long as nobody has listened the numbers are those of the last start.
        """
        if not self._is_joined:
            return
        try:
            if self._is_uncounted:
                self._count()
            if self._unsaid is not None:
                self._say_missed(self._unsaid)
            self.checkpoint.save(AuditCheckpoint(self._reported, self._suppressed))
        except HostError as error:
            # Until it works the next start would say of some records again that they were missed.
            self._is_unkept = True
            self.trouble(f"it cannot be kept which log records were missed: {error.message}")
        else:
            self._is_unkept, self._tries = False, 0
            self.trouble("")

    def close(self) -> None:
        """Nothing more is kept."""
        self.checkpoint.close()


def open_audit_losses(run_dir: Path, outbox: Entries, read_counts: Callable[[], LogCounts | None]) -> AuditLosses:
    """The account that is kept in `run_dir`."""
    return AuditLosses(outbox, AuditCheckpointFile(run_dir), read_counts)
