"""What the kernel says of our log: how many records it made, and how many packets were beyond the limits."""

from collections.abc import Mapping
from dataclasses import dataclass

from hostfw.compile.outcomes import LOG_RECORDS, SUPPRESSED
from hostfw.host.named_counters import read_packets
from hostfw.host.tables import KernelTables


@dataclass(frozen=True, slots=True)
class LogCounts:
    """Since the tables were made. `suppressed` is by what suppressed it: `source`, `no-room` or `shared`."""

    records: int
    suppressed: Mapping[str, int]

    @property
    def all_suppressed(self) -> int:
        """The packets that were not logged, whatever the limit."""
        return sum(self.suppressed.values())


def read_log_counts() -> LogCounts | None:
    """What the kernel says now, or None where our tables are not there. Raises NetlinkError."""
    return _counts(read_packets((LOG_RECORDS, *SUPPRESSED)))


def log_counts_of(tables: KernelTables) -> LogCounts | None:
    """The same out of tables that were read in whole."""
    packets: dict[str, int] = {}
    for table in (tables.ip, tables.ip6):
        for counter in table.counters:
            if counter.name == LOG_RECORDS or counter.name in SUPPRESSED:
                packets[counter.name] = packets.get(counter.name, 0) + counter.packets
    return _counts(packets)


def _counts(packets: Mapping[str, int]) -> LogCounts | None:
    if LOG_RECORDS not in packets:
        return None
    return LogCounts(packets[LOG_RECORDS], {name.rpartition("/")[2]: packets.get(name, 0) for name in SUPPRESSED})
