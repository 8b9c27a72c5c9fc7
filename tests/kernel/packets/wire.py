"""A host whose wires end in our hands: packets put on them, or sent by it, and what its ruleset did with each.

Every interface of the host is a veth whose other end we write frames to; what the host sends itself leaves by raw
sockets. A table of ours, `inet observer`, stands around those of hostfw in every hook:

    prerouting   -450   takes the way that a packet is to go from its source address on the link, as its mark
    output       -450   drops what the host says of its own accord (answers, resets, discovery), counting rejections
    both         -151   counts the packet by its conntrack state
    both         -100   translates the destination of a packet that says what it was before
    input         300   counts what hostfw let through, and drops it
    postrouting   300   the same

What ends behind it is never confirmed by conntrack, so that every packet is a new one, unless it is to be `kept`.
Routing is by mark, so that any destination is the host's own, or is forwarded, as a packet wants it. No address is
ever resolved.
"""

import errno
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count

from hostfw.host.netlink import messages as netlink
from hostfw.host.netlink.messages import NETLINK_NETFILTER, NFGENMSG, NetlinkSocket, text, u32
from hostfw.host.nftables import nf_tables
from hostfw.host.nftables.nflog import NflogReader, NflogRecord
from hostfw.host.nftables.writing.script_runner import NftablesWorker
from hostfw.model.packets.packet import ConntrackState, Packet, Path
from hostfw.model.settings import Logging
from hostfw.model.values import FAMILIES, Family, address_text
from hostfw.nft.objects import TABLE
from lab.namespace import Namespace, inside, namespace, open_socket, run, set_sysctl
from tests.kernel.packets.frames import PLAIN, Form, datagrams, number_of

LOOPBACK = "lo"
_OBSERVER = "observer"
_NFPROTO = {Family.V4: 2, Family.V6: 10}
_NFPROTO_INET = 1
_ETHERTYPE = {Family.V4: 0x0800, Family.V6: 0x86DD}
_SO_MARK = 36
_IPV6_MULTICAST_LOOP = 19
_IP_MULTICAST_LOOP = 34
_TO_HOST, _BARRIER = 1, 0x7F
_KEPT = 0x80
_PATIENCE_S = 5.0
_LOG_PATIENCE_S = 0.5

_STATES = tuple(ConntrackState)
_REJECTIONS = (
    "tcp flags & (rst | ack) == rst | ack",
    "tcp flags == rst",
    "icmp type destination-unreachable icmp code 13",
    "icmpv6 type destination-unreachable icmpv6 code 1",
)


@dataclass(frozen=True, slots=True)
class Observed:
    """The observed fate of a packet.

    `state` is what conntrack found, or None where the packet did not come so far; `rejected` says that its sender was
    told. `counters` are those of hostfw, each as often as the packet moved it, in the order of their names.
    """

    state: ConntrackState | None
    passed: bool
    rejected: bool
    counters: tuple[str, ...]


class Wire:
    """A host of which every interface is at hand. `namespace` is where its ruleset goes."""

    def __init__(self, host: Namespace, outside: Namespace, interfaces: Sequence[str], stack: ExitStack) -> None:
        self.namespace = host
        self._codes = {name: code for code, name in enumerate((LOOPBACK, *interfaces), _TO_HOST + 1)}
        self._links = {name: stack.enter_context(_link(outside, name)) for name in interfaces}
        self._links[LOOPBACK] = stack.enter_context(_link(host, LOOPBACK))
        self._way_out = {name: index for index, name in enumerate(self._codes, 1)}
        self._raw = {family: stack.enter_context(_raw(host, family)) for family in FAMILIES}
        with inside(host):
            self.nftables = stack.enter_context(NftablesWorker())
            self._netlink = stack.enter_context(NetlinkSocket(NETLINK_NETFILTER))
            logging = Logging()
            self._log = stack.enter_context(NflogReader(logging.group, logging.snaplen_bytes))
            _unbatched(self._log, logging.group)
            self._indexes = {name: socket.if_nametoindex(name) for name in self._links}
        self._sent = 0
        self._records: dict[int, list[NflogRecord]] = {}

    def send(self, packet: Packet, form: Form = PLAIN, *, kept: bool = False) -> Observed:
        """Put a packet on its way, and say what became of it.

        One that is `kept` goes on into the host's own stack, or onto the wire, and conntrack remembers it.
        """
        self.translate((packet,))
        return self._send(packet, form, kept=kept)

    def send_all(self, packets: Sequence[Packet]) -> Iterator[Observed]:
        """Put plain packets on their way, one after the other: a millisecond for each."""
        self.translate(packets)
        for packet in packets:
            yield self._send(packet, PLAIN, kept=False)

    def translate(self, packets: Sequence[Packet]) -> None:
        """Have others translate the destinations of the next packets, where they say what they were before."""
        rules = [
            f"add rule inet {_OBSERVER} {chain} {_translation(packet, number)}\n"
            for number, packet in zip(self._numbers(), packets, strict=False)
            for chain in ("to-in", "to-out")
            if packet.original is not None
        ]
        if rules:
            committed = self.nftables.commit(_NO_TRANSLATION + "".join(rules))
            assert committed.ok, committed.error

    def _send(self, packet: Packet, form: Form, *, kept: bool) -> Observed:
        self._sent = next(self._numbers())
        self._records.pop(self._sent, None)
        before = self._counters(packet.family)
        frames = datagrams(packet.untranslated, self._sent, form)
        if packet.path is Path.LOCAL_OUT:
            self.send_from_host(packet, frames, kept=kept)
        else:
            self._send_to_host(packet, frames, before[_OBSERVER, "barrier"], kept=kept)
        moved = self._counters(packet.family) - before
        states = [state for state in _STATES if moved[_OBSERVER, state]]
        assert len(states) <= 1, f"{packet} is seen twice: {moved}"
        ours = ((name, packets) for (table, name), packets in moved.items() if table == TABLE)
        return Observed(
            states[0] if states else None,
            passed=moved[_OBSERVER, "passed"] > 0,
            rejected=moved[_OBSERVER, "rejected"] > 0,
            counters=tuple(sorted(name for name, packets in ours for _ in range(packets))),
        )

    def _numbers(self) -> Iterator[int]:
        """The numbers of the packets to come: as many as IPv4 can tell apart, over and over."""
        return (sent % 0xFFFF + 1 for sent in count(self._sent))

    @property
    def last(self) -> int:
        """The number of the packet that was sent last, by which `prefixes` knows it."""
        return self._sent

    def prefixes(self, number: int, expected: int) -> tuple[str, ...]:
        """The prefixes that a packet was logged with; waits for as many as are expected."""
        return tuple(record.prefix for record in self.records(number, expected))

    def records(self, number: int, expected: int) -> tuple[NflogRecord, ...]:
        """The log records of a packet; waits for as many as are expected."""
        deadline = time.monotonic() + _LOG_PATIENCE_S
        while len(self._records.get(number, ())) < expected and time.monotonic() < deadline:
            select.select((self._log,), (), (), deadline - time.monotonic())
            for record in self._log.read():
                self._records.setdefault(number_of(record.payload), []).append(record)
        return tuple(self._records.get(number, ()))

    def forget(self) -> None:
        """Make conntrack forget every flow."""
        body = NFGENMSG.pack(socket.AF_UNSPEC, 0, 0)
        with open_socket(self.namespace, socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as asking:
            asking.send(netlink.message(_CT_DELETE, netlink.NLM_F_REQUEST | netlink.NLM_F_ACK, 1, body))
            ((_, answer),) = netlink.messages(asking.recv(4096))
            assert not netlink.error_of(answer)

    def _send_to_host(self, packet: Packet, frames: Iterable[bytes], barrier: int, *, kept: bool) -> None:
        """Frames on the wire of an interface, and after them one that counts as soon as they are through."""
        self.put_on_wire(packet, frames, kept=kept)
        interface = packet.in_interface or ""
        link = self._links[interface]
        link.send(_header(interface, _BARRIER, packet.family) + datagrams(packet, 0)[0])
        deadline = time.monotonic() + _PATIENCE_S
        while self._counters(packet.family)[_OBSERVER, "barrier"] == barrier:
            assert time.monotonic() < deadline, f"no packet reaches the host on {interface}"

    def put_on_wire(self, packet: Packet, frames: Iterable[bytes], *, kept: bool = False) -> None:
        """Frames on the wire of the interface that a packet comes in by, on the way that it is to go."""
        interface = packet.in_interface or ""
        way = self._codes[packet.out_interface] if packet.out_interface else _TO_HOST
        for frame in frames:
            self._links[interface].send(_header(interface, way | (_KEPT if kept else 0), packet.family) + frame)

    def send_from_host(self, packet: Packet, frames: Iterable[bytes], *, kept: bool = False) -> None:
        """Out by a raw socket. What is translated has a first route, and the other in the low bits of its mark."""
        first = packet.untranslated
        interface = first.out_interface or ""
        mark = _mark(self._codes[interface] | (_KEPT if kept else 0)) | self._way_out[packet.out_interface or ""]
        sender = self._raw[packet.family]
        sender.setsockopt(socket.SOL_SOCKET, _SO_MARK, mark)
        address: tuple[str, int] | tuple[str, int, int, int] = (address_text(first.family, first.destination), 0)
        if packet.family is Family.V6:
            address = (*address, 0, self._indexes[interface] if first.destination >> 118 in _LINK_LOCAL else 0)
        for frame in frames:
            try:
                sender.sendto(frame, address)
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.EACCES):
                    raise

    def _counters(self, family: Family) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        for protocol, table in ((_NFPROTO[family], TABLE), (_NFPROTO_INET, _OBSERVER)):
            mine = NFGENMSG.pack(protocol, 0, 0) + text(nf_tables.TABLE_NAME, table)
            body = mine + u32(nf_tables.OBJ_TYPE, nf_tables.OBJECT_COUNTER)
            for payload in self._netlink.dump(nf_tables.GETOBJ, body, "reading counters"):
                counter = nf_tables.counter_of(payload)
                found[table, counter.name] = counter.packets
        return found


_NO_TRANSLATION = f"flush chain inet {_OBSERVER} to-in\nflush chain inet {_OBSERVER} to-out\n"
_CT_DELETE = 1 << 8 | 2
_LOG_CONFIG = 4 << 8 | 1
_CFG_THRESHOLD = 5
_LINK_LOCAL = (0xFE80 >> 6, 0xFF00 >> 6)


@contextmanager
def wired_host(
    interfaces: Sequence[str],
    addresses: Iterable[tuple[str, str]] = (),
    own: Mapping[Family, Iterable[str]] | None = None,
) -> Iterator[Wire]:
    """A host with these interfaces and `lo`, for the length of the block; `addresses` are pairs of address and name.

    Routing has the `own` addresses for the host's as well, but packets to them go the way that they are to go.
    """
    with ExitStack() as stack:
        outside = stack.enter_context(namespace("outside"))
        host = stack.enter_context(namespace("host"))
        for node in (outside, host):
            for key, value in _SYSCTLS:
                set_sysctl(node, key, value)
        set_sysctl(outside, "net.ipv6.conf.all.disable_ipv6", "1")
        for key in _HOST_SYSCTLS:
            set_sysctl(host, key, "1")
        run(host, ["ip", "-batch", "-"], text="\n".join(_furnishing(outside, interfaces, addresses)))
        for family in FAMILIES:
            lines = (*_routing(interfaces, family), *_held(own, family))
            run(host, ["ip", f"-{family:d}", "-batch", "-"], text="\n".join(lines))
        run(outside, ["ip", "-batch", "-"], text="\n".join(f"link set {name} up" for name in interfaces))
        run(host, ["nft", "-f", "-"], text=_observer(interfaces))
        set_sysctl(host, _LIBERAL, "1")
        yield Wire(host, outside, interfaces, stack)


_SYSCTLS = (
    ("net.ipv4.conf.all.rp_filter", "0"),
    ("net.ipv4.conf.default.rp_filter", "0"),
    ("net.ipv4.conf.all.send_redirects", "0"),
    ("net.ipv4.conf.default.send_redirects", "0"),
    ("net.ipv6.conf.default.accept_dad", "0"),
    ("net.ipv6.conf.default.accept_ra", "0"),
    ("net.ipv6.conf.default.router_solicitations", "0"),
    # Every rejection is told, however many there were before it.
    ("net.ipv4.icmp_ratelimit", "0"),
    ("net.ipv6.icmp.ratelimit", "0"),
)
_HOST_SYSCTLS = (
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "net.ipv4.conf.lo.route_localnet",
    "net.ipv4.conf.all.accept_local",
)
"""Forwarding, and 127.0.0.1 and other addresses of its own from outside the stack."""
_LIBERAL = "net.netfilter.nf_conntrack_tcp_be_liberal"
"""No care for the sequence numbers of TCP. It is there once a ruleset has asked for connection tracking."""


def _furnishing(outside: Namespace, interfaces: Sequence[str], addresses: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield "link set lo up"
    for name in interfaces:
        yield f"link add {name} address {_HARDWARE_ADDRESS} type veth peer name {name} netns {outside.path}"
        yield f"link set {name} arp off up"
    for address, name in addresses:
        yield f"address add {address} dev {name}{' nodad' if ':' in address else ''}"


def _routing(interfaces: Sequence[str], family: Family) -> Iterator[str]:
    """A table for each way that a packet can be told to go; answers, which are never sent, need a route as well."""
    anything = "0.0.0.0/0" if family is Family.V4 else "::/0"
    for code, name in enumerate((LOOPBACK, LOOPBACK, *interfaces), _TO_HOST):
        kind = "local " if name == LOOPBACK else ""
        yield f"rule add priority 10 fwmark {_mark(code):#x}/{_mark(0x7F):#x} lookup {100 + code}"
        yield f"route add {kind}{anything} dev {name} table {100 + code}"
    yield f"route add default dev {interfaces[0]}"


def _held(own: Mapping[Family, Iterable[str]] | None, family: Family) -> Iterator[str]:
    """The table of the host's own addresses, looked at behind those of the ways."""
    if own is not None:
        yield from (f"route add local {address} dev lo table local" for address in own[family])
        yield "rule add priority 20 lookup local"
        yield "rule del priority 0"


_HARDWARE_ADDRESS = "02:00:00:00:00:01"


def _observer(interfaces: Sequence[str]) -> str:
    counters = (*_STATES, "passed", "rejected", "barrier")
    declared = "\n".join(f"counter {name} {{ }}" for name in counters)
    states = "\n".join(f"ct state {state} counter name {state}" for state in _STATES)
    any_way, barrier, kept = (f"{_mark(code):#x}" for code in (0x7F, _BARRIER, _KEPT))
    rejections = "\n".join(f"{which} counter name rejected drop" for which in _REJECTIONS)
    ways = "\n".join(
        f"meta mark & 0xff == {index} meta mark set meta mark & {~_mark(0x7F) & 0xFFFFFFFF:#x} | {_mark(code):#x}"
        for index, code in enumerate(range(_TO_HOST + 1, _TO_HOST + 2 + len(interfaces)), 1)
    )
    passed = f"counter name passed\nmeta mark & {kept} == 0 drop"
    return f"""table inet {_OBSERVER} {{
        {declared}
        chain way {{
            type filter hook prerouting priority -450
            meta mark set @ll,64,32
            meta mark & {any_way} == {barrier} counter name barrier drop
        }}
        chain own {{
            type filter hook output priority -450
            meta mark & {any_way} != 0 return
            {rejections}
            drop
        }}
        chain state-in {{
            type filter hook prerouting priority -151
            {states}
        }}
        chain state-out {{
            type filter hook output priority -151
            {states}
        }}
        chain way-out {{
            type filter hook output priority -101
            {ways}
        }}
        chain to-in {{
            type nat hook prerouting priority -100
        }}
        chain to-out {{
            type nat hook output priority -100
        }}
        chain passed-in {{
            type filter hook input priority 300
            {passed}
        }}
        chain passed-out {{
            type filter hook postrouting priority 300
            {passed}
        }}
    }}
    """


def _translation(packet: Packet, number: int) -> str:
    """A rule that translates the destination of the packet of that number, and of no other."""
    target = address_text(packet.family, packet.destination)
    if packet.family is Family.V4:
        words = [f"ip id {number}"]
    else:
        words, target = [f"ip6 flowlabel {number}"], f"[{target}]"
    if packet.has_ports:
        words.append(f"meta l4proto {packet.protocol}")
        target += f":{packet.destination_port}"
    return " ".join((*words, "dnat", packet.family.nft, "to", target))


def _mark(code: int) -> int:
    """A code as a mark that reads the same in either byte order, in bits that nobody else uses here."""
    return code << 8 | code << 16


def _header(interface: str, code: int, family: Family) -> bytes:
    """An Ethernet header for the host; the code is in the sender's address."""
    host = bytes(6) if interface == LOOPBACK else bytes.fromhex(_HARDWARE_ADDRESS.replace(":", ""))
    return host + struct.pack("!HIH", 0x0200, _mark(code), _ETHERTYPE[family])


def _unbatched(log: NflogReader, group: int) -> None:
    """Have every record sent at once, not with others a tenth of a second later."""
    body = NFGENMSG.pack(socket.AF_UNSPEC, 0, group) + u32(_CFG_THRESHOLD, 1)
    log._socket.send(netlink.message(_LOG_CONFIG, netlink.NLM_F_REQUEST, 0, body))


@contextmanager
def _link(node: Namespace, interface: str) -> Iterator[socket.socket]:
    with inside(node):
        link = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        with link:
            link.bind((interface, 0))
            yield link


@contextmanager
def _raw(node: Namespace, family: Family) -> Iterator[socket.socket]:
    """A raw socket of the host, which sends complete headers."""
    kind = socket.AF_INET if family is Family.V4 else socket.AF_INET6
    with open_socket(node, kind, socket.SOCK_RAW, socket.IPPROTO_RAW) as made:
        if family is Family.V4:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            made.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_LOOP, 0)
        else:
            made.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_LOOP, 0)
        yield made
