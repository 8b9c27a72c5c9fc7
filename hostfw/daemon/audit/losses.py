"""Account of the log: packets that were logged, and records that were lost, missed or never made.

The kernel counts its records and the packets beyond its limits. The reported numbers are compared with these counts and
kept in the run directory, so the next start knows which records were missed in between.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from hostfw.engine.kernel.log_counts import LogCounts, read_log_counts
from hostfw.host.errors import HostError
from hostfw.host.store.audit_checkpoint import AuditCheckpoint, AuditCheckpointFile
from hostfw.journal.notices import records_lost, records_missed

LOSSES_EVERY_S = 1.0
"""Shortest interval between two reports of lost records."""
KEEP_AGAIN_S = 4.0
"""Interval between tries to keep the reported numbers where that failed."""


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
    the service started. Times are seconds of the caller's monotonic clock.
    """

    outbox: Entries
    checkpoint: Checkpoint = field(default_factory=NoCheckpoint)
    read_counts: Callable[[], LogCounts | None] = read_log_counts
    lost: int = 0
    overruns: int = 0
    missed: int = 0
    _reported: int = 0
    _suppressed: int = 0
    _said_lost: int = 0
    _said_overruns: int = 0
    _losses_said_s: float = float("-inf")
    _unsaid: LogCounts | None = None
    _is_unkept: bool = False
    _kept_again_s: float = float("-inf")

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

    def say_missed(self, counts: LogCounts) -> None:
        """Report the records that the kernel had counted before we began to listen, beyond those reported.

        What was reported may not be readable at this moment: it is told once it is.
        """
        self._reported, self._suppressed = counts.records, counts.all_suppressed
        self._unsaid = self._unsaid or counts
        self.keep()

    def _say_missed(self, counts: LogCounts) -> None:
        kept = self.checkpoint.load() or AuditCheckpoint(0, 0)
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
        """Keep the reported numbers for the next start; what fails is tried again by and by."""
        try:
            if self._unsaid is not None:
                self._say_missed(self._unsaid)
            self.checkpoint.save(AuditCheckpoint(self._reported, self._suppressed))
        except HostError:
            # Until it works the next start would say of some records again that they were missed.
            self._is_unkept = True
        else:
            self._is_unkept = False

    def close(self) -> None:
        """Nothing more is kept."""
        self.checkpoint.close()


def open_audit_losses(run_dir: Path, outbox: Entries, read_counts: Callable[[], LogCounts | None]) -> AuditLosses:
    """The account that is kept in `run_dir`."""
    return AuditLosses(outbox, AuditCheckpointFile(run_dir), read_counts)
