"""Connections that are older than the ruleset: made known to connection tracking before anything is denied.

The ruleset does not change for them. Each gets the entry that it would have if connection tracking had seen its
beginning, so it passes as established and ends like any other.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from hostfw.engine.context import Host
from hostfw.explain.verdict import explain
from hostfw.host.errors import HostError
from hostfw.host.network.sockets.sockets import Connection
from hostfw.host.store.generations.active import ActiveGeneration
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.packets.packet import Packet
from hostfw.model.plan import Plan
from hostfw.model.values import FAMILIES, TCP
from hostfw.model.wording import counted
from hostfw.nft.installed import InstalledTable
from hostfw.nft.objects import Hook, Priority, base_chain_name

WATCH_S = 2.0
"""Time that connection tracking watches forwarded flows before the first generation denies any: several round trips."""
JUDGE_S = 2.0
"""Longest time spent on checking forgotten connections at once; the rest waits for the next run."""

_INPUT = base_chain_name(Hook.INPUT, Priority.FILTER)


class _Which(Enum):
    """The connections that may be unknown to connection tracking through no decision of anybody.

    Where packets already meet a ruleset of ours that nobody kept a record of, as after a boot, a connection of TCP was
    let through by it or is older; a connected socket of UDP may be neither.
    """

    ALL = "all"
    ANSWERED = "answered"
    NONE = "none"


@dataclass(slots=True)
class ExistingConnections:
    """The connections of this host's sockets around one switch.

    Entries that connection tracking itself makes in the meantime are left unchanged.
    """

    host: Host
    plan: Plan | None
    which: _Which
    polices_forwarded: bool
    _added: dict[int, Connection] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)
    _refused: int = 0
    _reason: str = ""

    def before_switch(self) -> None:
        """Make known what is there, as soon as connection tracking may have begun."""
        self._learn()
        try:
            if self.which is _Which.ALL and self.polices_forwarded and self.host.conntrack.forwards():
                # This host has no sockets of what it forwards: connection tracking has to see both sides of it.
                self.host.wait(WATCH_S)
        except HostError as error:
            self._reason = self._reason or error.message

    def after_switch(self) -> Iterator[str]:
        """Take in what began or ended during the switch; gives what could not be made known, in a sentence."""
        # Twice: what ends during the first is noticed by the second.
        self._learn()
        self._learn()
        if self.which is _Which.ANSWERED and self.plan is not None:
            try:
                relearn(self.host, self.plan)
            except HostError as error:
                self._reason = self._reason or error.message
        if self._reason:
            which = counted(self._refused, "connection") if self._refused else "connections"
            yield f"{which} from before may stand still until the peer sends something: {self._reason}"

    def _learn(self) -> None:
        if self.which is _Which.NONE:
            return
        conntrack = self.host.conntrack
        try:
            there = tuple(one for one in conntrack.connections() if self._may_be_unknown(one))
            new = tuple(one for one in there if one.cookie not in self._seen)
            learnt = conntrack.learn(new)
            self._seen.update(one.cookie for one in new)
            self._added.update((one.cookie, one) for one in learnt.added)
            self._refused += learnt.refused
            self._reason = self._reason or learnt.reason
            # Of one that has ended nobody else would end the entry.
            gone = self._added.keys() - {one.cookie for one in there}
            conntrack.forget([self._added.pop(cookie) for cookie in sorted(gone)])
        except HostError as error:
            self._reason = self._reason or error.message

    def _may_be_unknown(self, connection: Connection) -> bool:
        return self.which is _Which.ALL or connection.protocol == TCP.number


def existing_connections(
    host: Host,
    plan: Plan | None,
    record: ActiveGeneration | None,
    installed: Iterable[InstalledTable],
    *,
    polices_forwarded: bool = True,
) -> ExistingConnections:
    """The treatment of existing connections at a switch away from what is installed.

    A ruleset of ours that is on record has had every connection tracked since it came into force.
    """
    guarded = {table.family for table in installed if _INPUT in table.base_chains} == set(FAMILIES)
    which = _Which.ALL if not guarded else _Which.ANSWERED if record is None else _Which.NONE
    return ExistingConnections(host, plan, which, polices_forwarded)


def relearn(
    host: Host, plan: Plan, first: Collection[int] = (), is_current: Callable[[], bool] = lambda: True
) -> tuple[Connection, ...]:
    """Make connections known again that were forgotten, as by `conntrack -F`, if the plan lets either side begin them.

    Whoever removes the entry of a connection that policy denies means to end it. Those whose cookies are in `first` are
    looked at before all others. Gives those that were made known. Raises HostError, too where the plan is not
    `is_current` any more once they are judged: an interface that it does not know yet is not one that it leaves open.
    """
    forgotten = sorted(host.conntrack.unknown(host.conntrack.connections()), key=lambda one: one.cookie not in first)
    deadline_s = host.monotonic() + JUDGE_S
    meant: list[Connection] = []
    for connection in forgotten:
        if _may_begin(plan, connection, host.conntrack.interface(connection)):
            meant.append(connection)
        if host.monotonic() > deadline_s:
            break
    if meant and not is_current():
        raise HostError("interfaces have changed since rules were compiled for them")
    return host.conntrack.learn(meant).added


def _may_begin(plan: Plan, connection: Connection, interface: str) -> bool:
    """Tell if either side may begin it, or on lo, where both sides are here, if it may leave and come in."""
    if not interface:
        return False
    answers = [explain(plan, packet).allowed for packet in _first_packets(connection, interface)]
    return all(answers) if interface == LOOPBACK else any(answers)


def _first_packets(connection: Connection, interface: str) -> tuple[Packet, Packet]:
    """The packet that comes in from the peer, and the one that leaves for it; on lo one packet does both."""
    peer, local = (connection.peer, connection.peer_port), (connection.local, connection.local_port)
    begun = (peer, local) if connection.inbound else (local, peer)
    comes, leaves = (begun, begun) if interface == LOOPBACK else ((peer, local), (local, peer))
    return _packet(connection, *comes, in_interface=interface), _packet(connection, *leaves, out_interface=interface)


def _packet(
    of: Connection,
    source: tuple[int, int],
    destination: tuple[int, int],
    in_interface: str | None = None,
    out_interface: str | None = None,
) -> Packet:
    (address, port), (far, far_port) = source, destination
    return Packet(
        of.family, of.protocol, address, far, port, far_port, in_interface=in_interface, out_interface=out_interface
    )
