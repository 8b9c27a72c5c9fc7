"""Limits of a rule for each source: the connections that one address may begin in a time."""

from dataclasses import dataclass
from enum import StrEnum

from hostfw.model.values import Family


class Unit(StrEnum):
    """A unit of time, in nftables' words."""

    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"

    @property
    def seconds(self) -> int:
        """The length of the unit."""
        return {Unit.SECOND: 1, Unit.MINUTE: 60, Unit.HOUR: 3600}[self]


@dataclass(frozen=True, slots=True)
class Rate:
    """A number of packets in a unit of time: that many at once, and then one more each time that a share has passed."""

    count: int
    per: Unit

    def __str__(self) -> str:
        return f"{self.count}/{self.per}"


@dataclass(frozen=True, slots=True)
class SourceLimit:
    """The limit of each source of a rule that allows: what begins more connections than that is denied."""

    new_connections: Rate

    def __str__(self) -> str:
        return f"newConnections {self.new_connections}"


MOST_CONNECTIONS = 10_000
"""Most connections in a unit of time that a rule may name."""

SOURCE_BITS = {Family.V4: 32, Family.V6: 64}
"""The prefix length that is one source: who has an address of IPv6 has the other addresses of its /64 as well."""
