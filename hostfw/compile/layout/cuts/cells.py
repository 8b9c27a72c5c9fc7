"""Cells: the parts of packet space that dispatch tells apart: a protocol, a run of destination ports, addresses.

Within a cell these properties are constant, so its rules need no test of them.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hostfw.compile.program import Condition
from hostfw.model.values import PORT_PROTOCOLS, Cidr, PortRange

FIRST_PORT, LAST_PORT = 0, 65535


@dataclass(frozen=True, slots=True)
class Cell:
    """Criteria that hold for every packet of the cell.

    `protocol` None means unknown, apart from `other_than`, the protocols that have cells of their own. `ports` is a
    run of destination ports that no rule of the cell cuts, or None where ports are not told apart. `source` and
    `destination` are regions of addresses: the prefix without the longer ones that rules name, or None.
    """

    protocol: int | None = None
    other_than: frozenset[int] = frozenset()
    ports: PortRange | None = None
    source: Cidr | None = None
    destination: Cidr | None = None


EVERYTHING = Cell()


def protocols_named(conditions: Iterable[Condition]) -> tuple[int, ...]:
    """The protocols that deserve a cell: those that a condition names; all that have ports if a port name needs it."""
    named: set[int] = set()
    for condition in conditions:
        for protocol in (condition.protocol, condition.not_protocol):
            if protocol is not None:
                named.add(protocol.number)
        if needs_protocol(condition):
            named |= PORT_PROTOCOLS
    return tuple(sorted(named))


def needs_protocol(condition: Condition) -> bool:
    """True if the condition looks at ports by name without saying of which protocol.

    The transport header of a packet without ports cannot be loaded, and nftables ends a rule that cannot load, even
    a negated one; only where the protocol is known can the test be left out instead.
    """
    sides = (condition.source, condition.destination)
    return condition.protocol is None and any(side.port_sets or side.not_port_sets for side in sides)


def port_runs(conditions: Iterable[Condition], protocol: int) -> tuple[PortRange, ...]:
    """The destination ports cut at every end of a range that a condition on this protocol names, in order."""
    starts = sorted({FIRST_PORT, *cut_points(conditions, protocol)})
    ends = [*(start - 1 for start in starts[1:]), LAST_PORT]
    return tuple(PortRange(first, last) for first, last in zip(starts, ends, strict=True))


def cut_points(conditions: Iterable[Condition], protocol: int) -> Iterator[int]:
    """The ports at which the conditions on a protocol cut, once for each time that one does."""
    for condition in conditions:
        if applies(condition, protocol):
            destination = condition.destination
            for ports in (*(destination.ports or ()), *destination.not_ports):
                yield ports.first
                if ports.last < LAST_PORT:
                    yield ports.last + 1


def applies(condition: Condition, protocol: int) -> bool:
    """True if a packet of the protocol can match the condition's protocol criteria."""
    if condition.protocol is not None and condition.protocol.number != protocol:
        return False
    return condition.not_protocol is None or condition.not_protocol.number != protocol


def names_ports(condition: Condition) -> bool:
    """True if the condition has numeric destination ports, positive or negated."""
    return bool(condition.destination.ports) or bool(condition.destination.not_ports)


class RunIndex:
    """Finds the runs that a range covers; every end of the range must be a cut."""

    def __init__(self, runs: tuple[PortRange, ...]) -> None:
        """An index over runs in order that leave no port out."""
        self._starts = [run.first for run in runs]

    def covered(self, ports: PortRange) -> range:
        """The indices of the runs within the range."""
        return range(bisect_right(self._starts, ports.first) - 1, bisect_right(self._starts, ports.last))
