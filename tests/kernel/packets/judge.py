"""The kernel's verdict on many packets at once: by any ruleset, of whatever program.

A host of `tests.kernel.packets.wire` stands around the ruleset. A table of this module, `inet judge`, logs each packet
as it comes to a hook, with the state that connection tracking gives it, and each that has passed the hook, and drops it
there. So every packet is a new one, and its number tells what became of it. A packet that the kernel takes to no hook,
or because of its addresses to another one, is not judged.
"""

import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from hostfw.host.nftables.nflog import NflogReader, NflogRecord
from hostfw.model.packets.packet import ConntrackState, Packet, Path
from hostfw.model.values import Family
from lab.namespace import inside, run
from tests.kernel.packets.frames import PLAIN, datagrams, number_of
from tests.kernel.packets.wire import Wire, wired_host

_GROUP = 79
_SNAPLEN_BYTES = 48
_BATCH = 1500
_HOLD_S = 0.15
_PASSED = "passed"
_HOOKS = {Path.LOCAL_IN: "input", Path.LOCAL_OUT: "output", Path.FORWARDED: "forward"}
_ALL = {Family.V4: ("0.0.0.0/0",), Family.V6: ("::/0",)}
_HEADERS_OF_IPV6 = frozenset({0, 43, 44, 51, 59, 60, 135, 139, 140, 253, 254})
"""Headers that stand before the protocol of a packet, and end a packet that has nothing behind them."""
# No packet goes to `::`, which the kernel takes for the anycast address of the route by which every address is ours.
_TABLE = f"""
table inet judge {{
    chain came-in {{
        type filter hook input priority -1000
        jump came
    }}
    chain came-forward {{
        type filter hook forward priority -1000
        jump came
    }}
    chain came-out {{
        type filter hook output priority -199
        meta mark 0 return
        jump came
    }}
    chain came {{
        {{states}}
    }}
    chain passed-in {{
        type filter hook input priority 299
        log prefix "{_PASSED}" group {_GROUP} drop
    }}
    chain passed-forward {{
        type filter hook forward priority 299
        log prefix "{_PASSED}" group {_GROUP} drop
    }}
    chain passed-out {{
        type filter hook output priority 299
        log prefix "{_PASSED}" group {_GROUP} drop
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Judged:
    """A packet with the state that the kernel has it in, and whether its ruleset lets it through."""

    packet: Packet
    allowed: bool


class Judge:
    """A host whose kernel judges packets. `wire.namespace` is where the ruleset goes."""

    def __init__(self, wire: Wire, log: NflogReader) -> None:
        self.wire = wire
        self._log = log
        with inside(wire.namespace):
            self._names = dict(socket.if_nameindex())

    def judge(self, packets: Sequence[Packet]) -> Iterator[Judged | None]:
        """The verdicts on packets, in their order; None for what the kernel takes to no hook."""
        for first in range(0, len(packets), _BATCH):
            yield from self._batch(packets[first : first + _BATCH])

    def _batch(self, packets: Sequence[Packet]) -> Iterator[Judged | None]:
        found: dict[int, set[str]] = {number: set() for number in range(1, len(packets) + 1)}
        for number, packet in enumerate(packets, 1):
            if packet.family is Family.V4 or (packet.protocol not in _HEADERS_OF_IPV6 and packet.destination):
                self._send(packet, number)
        for record in self._log.records(_HOLD_S):
            number = number_of(record.payload)
            packet = packets[number - 1]
            # What the host sends from no address, or to none, it gives one, or sends by lo.
            as_sent = (packet.source, packet.destination, packet.out_interface or "")
            if record.hook == _HOOKS[packet.path] and as_sent == (*_addresses(record.payload), self._out(record)):
                found[number].add(record.prefix)
        assert not self._log.lost, "records of the kernel are lost"
        for number, packet in enumerate(packets, 1):
            states = found[number] - {_PASSED}
            assert len(states) <= 1, f"{packet} is seen twice: {found[number]}"
            if not states:
                yield None
                continue
            (state,) = states
            yield Judged(replace(packet, state=ConntrackState(state)), _PASSED in found[number])

    def _out(self, record: NflogRecord) -> str:
        return self._names.get(record.outdev, "")

    def _send(self, packet: Packet, number: int) -> None:
        frames = datagrams(packet, number, PLAIN)
        if packet.path is Path.LOCAL_OUT:
            self.wire.send_from_host(packet, frames)
        else:
            self.wire.put_on_wire(packet, frames)


def _addresses(datagram: bytes) -> tuple[int, int]:
    at, size = (12, 4) if datagram[0] >> 4 == Family.V4 else (8, 16)
    source, destination = datagram[at : at + size], datagram[at + size : at + 2 * size]
    return int.from_bytes(source, "big"), int.from_bytes(destination, "big")


@contextmanager
def judge(interfaces: Iterable[str]) -> Iterator[Judge]:
    """A host with these interfaces for the length of the block; every address is one of its own."""
    with wired_host(tuple(interfaces), own=_ALL) as wire:
        states = "\n".join(f'ct state {state} log prefix "{state}" group {_GROUP} return' for state in ConntrackState)
        run(wire.namespace, ["nft", "-f", "-"], text=_TABLE.replace("{states}", states))
        with inside(wire.namespace), NflogReader(_GROUP, _SNAPLEN_BYTES) as log:
            yield Judge(wire, log)
