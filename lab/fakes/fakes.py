"""Fakes of the outside world that behave: a clock that waits for nobody, a reader of NFLOG, a journal."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

from hostfw.host.errors import HostError
from hostfw.host.network.connections.conntrack import Learnt
from hostfw.host.network.sockets.sockets import Connection
from hostfw.host.nftables.nflog import NflogRecord


@dataclass(slots=True)
class FakeClock:
    """A clock that stands until it is told."""

    moment: datetime = datetime(2030, 1, 1, tzinfo=UTC)
    elapsed_s: float = 0.0
    slept_s: float = 0.0

    def now(self) -> datetime:
        """The moment that was set, and what was waited and slept since."""
        return self.moment + timedelta(seconds=self.uptime())

    def monotonic(self) -> float:
        """The seconds that were waited."""
        return self.elapsed_s

    def uptime(self) -> float:
        """The seconds that were waited and slept."""
        return self.elapsed_s + self.slept_s

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.elapsed_s += seconds

    def sleep(self, seconds: float) -> None:
        """Let time pass while the host sleeps."""
        self.slept_s += seconds


@dataclass(slots=True)
class FakeNflog:
    """A reader of an NFLOG group on a clock that stands: records come at their seconds of it.

    Whoever waits for ever where nothing comes any more is interrupted, as by Ctrl-C.
    """

    clock: FakeClock
    arrivals: deque[tuple[float, tuple[NflogRecord, ...]]] = field(default_factory=deque)
    lost: int = 0
    overruns: int = 0
    closed: bool = False
    refusals: deque[HostError] = field(default_factory=deque)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Note that the group was left."""
        self.closed = True

    def fileno(self) -> int:
        """No descriptor that anything could wait on."""
        return -1

    def wait(self, timeout_s: float | None) -> bool:
        """Let time pass until records come."""
        until_s = self.arrivals[0][0] - self.clock.elapsed_s if self.arrivals else None
        if until_s is None and timeout_s is None:
            raise KeyboardInterrupt
        if until_s is None or (timeout_s is not None and timeout_s < until_s):
            self.clock.wait(timeout_s or 0)
            return False
        self.clock.wait(max(until_s, 0))
        return True

    def read(self) -> tuple[NflogRecord, ...]:
        """The records that have come, or a refusal."""
        if self.refusals:
            raise self.refusals.popleft()
        if self.arrivals and self.arrivals[0][0] <= self.clock.elapsed_s:
            return self.arrivals.popleft()[1]
        return ()


@dataclass(slots=True)
class FakeJournal:
    """A journal that keeps what it is sent."""

    sent: list[dict[str, str]] = field(default_factory=list)

    def send(self, fields: Mapping[str, str]) -> None:
        """Keep one entry."""
        self.sent.append(dict(fields))


@dataclass(slots=True)
class FakeConntrack:
    """Connection tracking in memory: what has an entry is established, and `full` is its table."""

    sockets: list[Connection] = field(default_factory=list)
    entries: list[Connection] = field(default_factory=list)
    full: bool = False
    forwarding: bool = False
    route: str = "eth0"

    def connections(self) -> tuple[Connection, ...]:
        """The sockets that were put there."""
        return tuple(self.sockets)

    def learn(self, connections: Collection[Connection]) -> Learnt:
        """Give each an entry, unless the table is full."""
        new = self.unknown(connections)
        if self.full:
            return Learnt(refused=len(new), reason="the table is full")
        self.entries += new
        return Learnt(new)

    def unknown(self, connections: Iterable[Connection]) -> tuple[Connection, ...]:
        """Those without an entry."""
        return tuple(one for one in connections if one not in self.entries)

    def forget(self, connections: Iterable[Connection]) -> None:
        """Remove entries."""
        for connection in connections:
            self.entries.remove(connection)

    def interface(self, _: Connection) -> str:
        """One way for all."""
        return self.route

    def forwards(self) -> bool:
        """As it was said to."""
        return self.forwarding
