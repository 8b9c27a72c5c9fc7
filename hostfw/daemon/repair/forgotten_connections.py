"""Connections that connection tracking has forgotten, as after `conntrack -F`: noticed by a denied packet.

The sign is a denied packet in the middle of a connection of a local socket. Then all connections of the host are
checked, and those that the active policies allow are made known again.
"""

import asyncio
from collections.abc import Awaitable, Callable

from hostfw.audit.packet_event import EventAction, PacketEvent
from hostfw.audit.packet_headers import Headers
from hostfw.host.errors import HostError
from hostfw.host.network.sockets.sockets import find_connection
from hostfw.model.values import TCP, UDP, Direction, Family

MOST_DENIED = 4096
"""Most connections denied by policy that are remembered, so that their packets are not looked into again."""
PAUSE_S = 0.5
"""Pause before connections are looked at again: one flush affects packets of many."""
_RST_OR_SYN = 0x06

Find = Callable[[Headers, Direction, str], int | None]
"""The cookie of the connection that a packet is of, None where there is none."""


class ForgottenConnections:
    """Notices connections that were forgotten, and has them made known again. Belongs to the event loop that runs now.

    `relearn` makes allowed connections known again, the noticed ones first, and returns their cookies, or None if it
    failed. `find` looks for the socket of a packet.
    """

    def __init__(
        self,
        relearn: Callable[[frozenset[int]], Awaitable[frozenset[int] | None]],
        find: Find,
        *,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._pause_s = pause_s
        self._make_known = relearn
        self._find = find
        self._denied: set[int] = set()
        self._has_news: set[int] = set()
        self._noted = asyncio.Event()

    def note(self, event: PacketEvent) -> None:
        """Take in an event of the log."""
        if not _may_be_forgotten(event):
            return
        try:
            cookie = self._find(event.packet, event.direction, event.interface)
        except HostError:
            # The peer sends it again.
            return
        if cookie is None or cookie in self._denied:
            return
        self._has_news.add(cookie)
        self._noted.set()

    def changed(self) -> None:
        """Another generation is in force, which may allow what the one before did not."""
        self._denied.clear()

    async def run(self) -> None:
        """Have connections made known again whenever one was heard of."""
        while True:
            await self._noted.wait()
            self._noted.clear()
            cookies, self._has_news = self._has_news, set()
            known = await self._make_known(frozenset(cookies))
            if len(self._denied) > MOST_DENIED:
                self._denied.clear()
            if known is not None:
                self._denied |= cookies - known
            await asyncio.sleep(self._pause_s)
            self._has_news -= self._denied
            if not self._has_news:
                self._noted.clear()


def _may_be_forgotten(event: PacketEvent) -> bool:
    """Tell if it is about a packet from the middle of a connection of this host."""
    if event.action is not EventAction.DENY or (event.in_interface and event.out_interface):
        return False
    flags = event.packet.tcp_flags
    in_the_middle = event.packet.protocol == TCP.number and flags is not None and not flags & _RST_OR_SYN
    return in_the_middle or event.packet.protocol == UDP.number


def find_socket(packet: Headers, direction: Direction, interface: str) -> int | None:
    """The cookie of the connection of this host that a packet is of, None where there is none. Raises HostError."""
    ends = (packet.source, packet.source_port), (packet.destination, packet.destination_port)
    peer, local = ends if direction is Direction.INGRESS else reversed(ends)
    match packet.family, packet.protocol, local, peer:
        case Family() as family, int(protocol), (int() as here, int() as port), (int() as there, int() as far_port):
            return find_connection(protocol, family, (here, port), (there, far_port), interface)
        case _:
            return None
