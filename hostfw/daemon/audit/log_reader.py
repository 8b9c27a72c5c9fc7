"""The audit of the service: NFLOG records become journal entries, and losses are reported.

Nothing here waits or raises: a journal that hangs, a group that another program reads and a flood are each reported,
and the service goes on. The work of one call is bounded, so a flood cannot block the event loop.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from hostfw.audit.aggregate import Aggregate
from hostfw.audit.attribution import Attribution
from hostfw.audit.packet_event import PacketEvent, event_from_candidates
from hostfw.audit.packet_headers import headers
from hostfw.daemon.audit.losses import AuditLosses, Entries, open_audit_losses
from hostfw.engine.kernel.counts.log_counts import LogCounts, read_log_counts
from hostfw.host.errors import HostError
from hostfw.host.nftables.nflog import Nflog, NflogReader, NflogRecord, interface_name
from hostfw.host.process.descriptors import descriptor_identity
from hostfw.host.time import clock
from hostfw.host.time.clock import Clock
from hostfw.journal.notices import log_readable, log_unreadable
from hostfw.journal.packet_entry import fields
from hostfw.model.settings import Logging

DATAGRAMS_AT_A_TIME = 16
"""Of 64 records each: some 30 ms of work between two looks at everything else."""
SETTLE_S = 0.3
"""Time that a record of the previous generation may be under way: in the kernel's batch, then in our socket."""
CHANGE_S = 30.0
"""Longest time that the switch to a generation takes, once it was announced."""
RETRY_S = 4.0
"""Interval between tries to read a group that could not be read."""


@dataclass(frozen=True, slots=True)
class AuditHost:
    """The effects of the audit beside its journal: tests pass their own."""

    open_reader: Callable[[int, int], Nflog] = NflogReader
    read_counts: Callable[[], LogCounts | None] = read_log_counts
    interface_name: Callable[[int], str] = interface_name
    clock: Clock = clock


class Figures(NamedTuple):
    """Figures of the audit since the service started, for status and metrics.

    `records` are those of ours that were read, `events` the entries that came of them, `foreign` the records of other
    programs in our group. `lost` records found our buffer full, `overruns` times; `missed` ones came while the service
    was not running. `suppressed` packets were beyond the kernel's limits, by limit, since the tables were made.
    `unreadable` records could not be decoded. `listening` is whether the log can be read.
    """

    records: int
    events: int
    foreign: int
    lost: int
    overruns: int
    missed: int
    suppressed: dict[str, int]
    unreadable: int
    listening: bool


@dataclass(slots=True)
class Audit:
    """Turns NFLOG records into journal entries. It reads nothing before `listen`.

    `defect` is called for the first record that could not be decoded.

    A caller with a loop of its own calls `read` when `fileno` is readable and `due` after `wait_s`; `run` does both.
    `on_event` is called with the event of each record.
    """

    outbox: Entries
    losses: AuditLosses
    host: AuditHost = field(default_factory=AuditHost)
    attribution: Attribution = field(default_factory=Attribution)
    on_event: Callable[[PacketEvent], None] = lambda _: None
    defect: Callable[[Exception], None] = lambda _: None
    _fold: Aggregate = field(default_factory=lambda: Aggregate(at_once=True))
    _others: list[tuple[float, Attribution]] = field(default_factory=list)
    _reader: Nflog | None = None
    _logging: Logging | None = None
    _identity: tuple[int, int] | None = None
    _unreadable: bool = False
    _retry_s: float | None = None
    _records: int = 0
    _events: int = 0
    _foreign: int = 0
    _unreadable_records: int = 0
    _seen_lost: tuple[int, int] = (0, 0)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    # ------------------------------------------------------------------------------------------ what it is told

    def listen(self, logging: Logging) -> None:
        """Read the NFLOG group of these settings from now on, and report those that were missed."""
        wanted = (logging.group, logging.snaplen_bytes)
        if self._reader is not None and self._logging is not None:
            if wanted == (self._logging.group, self._logging.snaplen_bytes):
                return
            self._drain()
            self._close_reader()
        self._logging = logging
        self._open()
        self._changed.set()

    def changing(self, candidate: Attribution) -> None:
        """Another generation is about to be put into force: until `attribute` a record may be of either.

        One that does not come is forgotten after a while.
        """
        if candidate is not self.attribution:
            self._others.append((self.host.clock.monotonic() + CHANGE_S, candidate))

    def attribute(self, attribution: Attribution) -> None:
        """A generation is in force. Records of the one before may still be under way, and are not put down to it."""
        now_s = self.host.clock.monotonic()
        until_s = now_s + SETTLE_S
        # What was about to come has, or has not; and what was over long ago is forgotten, though no record came.
        self._others = [other for other in self._others if now_s < other[0] <= until_s]
        self._others.append((until_s, self.attribution))
        self.attribution = attribution
        self.losses.recount()

    # -------------------------------------------------------------------------------------------------- the loop's

    def fileno(self) -> int | None:
        """The descriptor to wait on; it changes when `listen` does, and is None while the group cannot be read."""
        return None if self._reader is None else self._reader.fileno()

    def read(self) -> int:
        """Take in what has come, as much as is right at a time; gives the number of records."""
        taken = 0
        for _ in range(DATAGRAMS_AT_A_TIME):
            records = self._read_once()
            if not records:
                break
            taken += len(records)
            for record in records:
                self._take_safely(record)
        if taken:
            self.losses.keep()
        return taken

    def check(self) -> None:
        """Join the group again where our socket was closed under us."""
        if self._reader is not None and descriptor_identity(self._reader.fileno()) != self._identity:
            self._cannot(HostError("the log cannot be read: its descriptor was closed"))

    def wait_s(self) -> float | None:
        """Time until `due` has something to do; None until something comes."""
        now_s = self.host.clock.monotonic()
        retry_s = None if self._retry_s is None else max(self._retry_s - now_s, 0.0)
        waits = (self._fold.wait_s(now_s), retry_s, self.losses.wait_s(now_s))
        return min((wait_s for wait_s in waits if wait_s is not None), default=None)

    def due(self) -> None:
        """Do what time has come for: folded events, losses, another try to listen."""
        now_s = self.host.clock.monotonic()
        if self._give(self._fold.due(now_s)):
            self.losses.keep()
        self.losses.due(now_s)
        if self._retry_s is not None and now_s >= self._retry_s:
            self._open()
            self._changed.set()

    async def run(self, stopped: asyncio.Event) -> None:
        """Read and tell until it is stopped, then tell of what was still folded."""
        loop = asyncio.get_running_loop()
        descriptor: int | None = None
        watched: Nflog | None = None
        stop = asyncio.ensure_future(stopped.wait())
        try:
            while not stopped.is_set():
                self._changed.clear()
                # Not by descriptors: a group that is joined anew often has the one of before.
                if watched is not self._reader:
                    if descriptor is not None:
                        loop.remove_reader(descriptor)
                    watched, descriptor = self._reader, self.fileno()
                    if descriptor is not None:
                        loop.add_reader(descriptor, self._changed.set)
                changed = asyncio.ensure_future(self._changed.wait())
                await asyncio.wait((stop, changed), timeout=self.wait_s(), return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                self.read()
                self.due()
        finally:
            stop.cancel()
            if descriptor is not None:
                loop.remove_reader(descriptor)
            self.flush()

    def flush(self) -> None:
        """Tell of everything that has come, as at the end."""
        self._drain()
        self.losses.due(float("inf"))
        self.losses.recount()
        self.losses.keep()

    def close(self) -> None:
        """Leave the group."""
        self._close_reader()
        self.losses.close()

    def figures(self) -> Figures:
        """The figures of the audit itself."""
        counts = self.losses.counts()
        return Figures(
            records=self._records,
            events=self._events,
            foreign=self._foreign,
            lost=self.losses.lost,
            overruns=self.losses.overruns,
            missed=self.losses.missed,
            suppressed=dict(counts.suppressed) if counts else {},
            unreadable=self._unreadable_records,
            listening=self._reader is not None,
        )

    # ---------------------------------------------------------------------------------------------------- records

    def _read_once(self) -> tuple[NflogRecord, ...]:
        if self._reader is None:
            return ()
        try:
            records = self._reader.read()
        except HostError as error:
            self._cannot(error)
            return ()
        lost, overruns = self._reader.lost, self._reader.overruns
        self.losses.lose(lost - self._seen_lost[0], overruns - self._seen_lost[1])
        self._seen_lost = lost, overruns
        return records

    def _take_safely(self, record: NflogRecord) -> None:
        """Take in a record; one that nobody can make sense of, as who sent the packet may wish, harms no other."""
        try:
            self._take(record)
        except Exception as error:  # noqa: BLE001  whatever it is, the next record may be well
            if not self._unreadable_records:
                self.defect(error)
            self._unreadable_records += 1

    def _take(self, record: NflogRecord) -> None:
        moment = self.host.clock.now() if record.timestamp is None else datetime.fromtimestamp(record.timestamp, UTC)
        interfaces = self.host.interface_name(record.indev), self.host.interface_name(record.outdev)
        packet = headers(record.payload, record.family)
        event = event_from_candidates(record.prefix, packet, interfaces, moment, self._generations())
        if event is None:
            self._foreign += 1
            return
        self._records += 1
        self.on_event(event)
        self._give(self._fold.add(event, self.host.clock.monotonic()))

    def _generations(self) -> tuple[Attribution, ...]:
        """Those that a record which is read now may be of."""
        if self._others:
            now_s = self.host.clock.monotonic()
            self._others = [other for other in self._others if now_s < other[0]]
        return (self.attribution, *(of for _, of in self._others))

    def _give(self, events: Iterable[PacketEvent]) -> bool:
        given = False
        for event in events:
            self.outbox.send(fields(event))
            self._events += 1
            self.losses.reported(event.count)
            given = True
        return given

    def _drain(self) -> None:
        """Everything that has come, and what was folded of it."""
        while self.read():
            pass
        self._give(self._fold.flush())

    # ---------------------------------------------------------------------------------------------------- the group

    def _open(self) -> None:
        """Join the group, and report the records that were missed since the last read."""
        logging = self._logging
        self._retry_s = None
        if logging is None:
            return
        # Counted before the group is joined: what comes in between counts as missed the next time, and not as heard.
        self.losses.before_joining()
        try:
            self._reader = self.host.open_reader(logging.group, logging.snaplen_bytes)
        except HostError as error:
            self._cannot(error)
            return
        self._seen_lost = 0, 0
        self._identity = descriptor_identity(self._reader.fileno())
        if self._unreadable:
            self._unreadable = False
            self.outbox.send(log_readable(logging.group))
        self.losses.joined()

    def _cannot(self, error: HostError) -> None:
        """Say once that the group cannot be read, and try again later."""
        self._close_reader()
        self._retry_s = self.host.clock.monotonic() + RETRY_S
        if not self._unreadable:
            self._unreadable = True
            self.outbox.send(log_unreadable(error.message, error.hint))

    def _close_reader(self) -> None:
        if self._reader is not None:
            with suppress(OSError):
                # It may have been closed already.
                self._reader.close()
            self._reader = None
            self._changed.set()


def open_audit(run_dir: Path, outbox: Entries, host: AuditHost | None = None) -> Audit:
    """The audit of the network namespace that we are in, with its checkpoint in `run_dir`."""
    host = host or AuditHost()
    return Audit(outbox, open_audit_losses(run_dir, outbox, host.read_counts), host)
