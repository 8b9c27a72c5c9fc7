"""Denied packets that show that a connection was forgotten, and the reaction to them."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

import pytest

from hostfw.audit.log_prefix import encode
from hostfw.audit.packet_event import EventAction, PacketEvent, packet_event
from hostfw.audit.packet_headers import Headers
from hostfw.daemon.repair.forgotten_connections import ForgottenConnections
from hostfw.host.errors import HostError
from hostfw.model.values import UDP, Direction
from tests.unit.builders.event_builders import DENIED, MOMENT, SYN, known

ACK = replace(SYN, tcp_flags=0x10)
DATA = replace(SYN, tcp_flags=0x18, source_port=40001)


def event(packet: Headers, interfaces: tuple[str, str] = ("eth0", "")) -> PacketEvent:
    """A denied packet."""
    found = packet_event(encode(DENIED), packet, interfaces, MOMENT, known())
    assert found is not None
    return found


class Host:
    """A host with some connections, by the port that the peer has; `allowed` are those that policy allows."""

    def __init__(self, connections: Iterable[int], allowed: Iterable[int] = ()) -> None:
        self.connections, self.allowed = set(connections), set(allowed)
        self.looks = 0
        self.looked_for: list[int | None] = []
        self.fails = False
        self.cannot = False

    async def relearn(self, first: frozenset[int]) -> frozenset[int] | None:
        """Make known what is allowed."""
        self.looks += 1
        assert first <= self.connections
        if self.cannot:
            return None
        return frozenset(self.connections & self.allowed)

    def find(self, packet: Headers, _direction: Direction, _interface: str) -> int | None:
        """The peer's port stands for the cookie."""
        self.looked_for.append(packet.source_port)
        if self.fails:
            raise HostError("no")
        return packet.source_port if packet.source_port in self.connections else None


def noted(host: Host, *rounds: Iterable[PacketEvent], changed: bool = False) -> None:
    """Hear of denied packets, round by round."""

    async def scenario() -> None:
        forgotten = ForgottenConnections(host.relearn, host.find, pause_s=0)
        running = asyncio.create_task(forgotten.run())
        for events in rounds:
            for one in events:
                forgotten.note(one)
            for _ in range(5):
                await asyncio.sleep(0)
            if changed:
                forgotten.changed()
        running.cancel()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "packet", [ACK, DATA, replace(SYN, protocol=UDP.number, tcp_flags=None)], ids=["ack", "data", "udp"]
)
def test_a_packet_of_a_connection_has_all_looked_at(packet: Headers) -> None:
    """Once for many."""
    host = Host((40000, 40001), (40000, 40001))

    noted(host, [event(packet)] * 3)

    assert host.looks == 1


@pytest.mark.parametrize(
    "denied",
    [
        event(SYN),
        event(replace(ACK, tcp_flags=0x14)),
        event(replace(ACK, tcp_flags=None)),
        event(replace(ACK, protocol=1)),
        event(ACK, ("eth0", "eth1")),
        replace(event(ACK), action=EventAction.WOULD_DENY),
    ],
    ids=["syn", "rst", "cut-short", "icmp", "forwarded", "staged"],
)
def test_others_are_not_looked_into(denied: PacketEvent) -> None:
    """They begin a connection, or belong to none of this host."""
    host = Host((40000,), (40000,))

    noted(host, [denied])

    assert (host.looked_for, host.looks) == ([], 0)


def test_a_stranger_costs_one_look_at_sockets() -> None:
    """Nobody can have the host look through all its connections who has none."""
    host = Host((40001,), (40001,))

    noted(host, [event(ACK)])

    assert (host.looked_for, host.looks) == ([40000], 0)


def test_what_policy_denies_is_remembered() -> None:
    """Its packets are not looked into again, until another generation may allow it."""
    denied = Host((40000,))

    noted(denied, [event(ACK)], [event(ACK)], [event(ACK)])
    assert denied.looks == 1

    noted(denied, [event(ACK)], [event(ACK)], changed=True)
    assert denied.looks == 3


def test_it_may_be_forgotten_again() -> None:
    """One that was made known is looked into each time."""
    host = Host((40000,), (40000,))

    noted(host, [event(ACK)], [event(ACK)])

    assert host.looks == 2


def test_a_failure_waits_for_the_next_packet() -> None:
    """As a rule the peer sends it again."""
    host = Host((40000,), (40000,))
    host.fails = True

    noted(host, [event(ACK)])

    assert (host.looked_for, host.looks) == ([40000], 0)


def test_what_could_not_be_done_is_not_taken_for_denied() -> None:
    """The next packet has it tried again."""
    host = Host((40000,), (40000,))
    host.cannot = True

    noted(host, [event(ACK)], [event(ACK)])

    assert host.looks == 2
