"""Limits of a rule for each source: the connections that one address may begin in a time, and have at a time."""

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
    """The limit of each source of a rule that allows: connections beyond any part of it are denied.

    `new_connections` is how many a source may begin in a time, `max_connections` how many it may have at a time. At
    least one of the two is given.
    """

    new_connections: Rate | None = None
    max_connections: int | None = None

    @property
    def by_field(self) -> dict[str, str | int]:
        """The given limits, by the names of the manifest's fields."""
        rate = {} if self.new_connections is None else {"newConnections": str(self.new_connections)}
        most = {} if self.max_connections is None else {"maxConnections": self.max_connections}
        return {**rate, **most}

    @property
    def parts(self) -> tuple[str, ...]:
        """The limits of each source, for sentences: `6/minute new connections`, `20 connections at a time`."""
        rate = () if self.new_connections is None else (f"{self.new_connections} new connections",)
        return rate if self.max_connections is None else (*rate, f"{self.max_connections} connections at a time")


MOST_CONNECTIONS = 10_000
"""Most connections, in a unit of time or at a time, that a rule may name."""

SOURCE_BITS = {Family.V4: 32, Family.V6: 64}
"""The prefix length that is one source: who has an address of IPv6 has the other addresses of its /64 as well."""
