"""The kernel's counts of our log: records that it made, and packets beyond the limits."""

from collections.abc import Mapping
from dataclasses import dataclass

from hostfw.compile.layout.nft_rules.log_limits import LOG_RECORDS, SUPPRESSED
from hostfw.host.nftables.named_counters import read_packets


@dataclass(frozen=True, slots=True)
class LogCounts:
    """Since the tables were made. `suppressed` is by the limit, as `SUPPRESSED` names them."""

    records: int
    suppressed: Mapping[str, int]

    @property
    def all_suppressed(self) -> int:
        """The packets that were not logged, whatever the limit."""
        return sum(self.suppressed.values())


def read_log_counts() -> LogCounts | None:
    """Read the counts; None where our tables do not exist. Raises NetlinkError."""
    packets = read_packets((LOG_RECORDS, *SUPPRESSED))
    if LOG_RECORDS not in packets:
        return None
    return LogCounts(packets[LOG_RECORDS], {name.rpartition("/")[2]: packets.get(name, 0) for name in SUPPRESSED})
