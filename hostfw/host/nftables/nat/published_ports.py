"""The ports that other programs' nftables tables publish: Docker's, Podman's, libvirt's and hand-made DNAT."""

import errno
from collections.abc import Iterator, Mapping
from itertools import islice

from hostfw.host.netlink.messages import (
    NETLINK_NETFILTER,
    NFGENMSG,
    NetlinkError,
    NetlinkSocket,
    attribute_list,
    attributes,
    text,
    text_of,
    u32_of,
)
from hostfw.host.network import network_needs as needs
from hostfw.host.nftables import nf_tables
from hostfw.host.nftables.nat.nat_rules import Translation, Walk
from hostfw.model.host.services import PublishedPort
from hostfw.model.values import PORT_PROTOCOLS, TCP, UDP, Family
from hostfw.nft.objects import TABLE

_TABLES = {1: ("inet", (Family.V4, Family.V6)), 2: ("ip", (Family.V4,)), 10: ("ip6", (Family.V6,))}
_PREROUTING, _OUTPUT = 0, 3
_NOWHERE = ("",)
"""The interface that packets of the host itself come in on."""
_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_TYPE = 1, 3, 4, 7
_HOOK_NUMBER, _HOOK_PRIORITY = 1, 2
_RULE_CHAIN, _RULE_EXPRESSIONS = 2, 4
_SET_TABLE, _SET_NAME, _SET_FLAGS = 1, 2, 3
_ELEMENT_LIST_SET, _ELEMENT_LIST = 2, 3
_ELEMENT_KEY, _ELEMENT_DATA = 1, 2
_DATA_VALUE = 1
_FLAG_INTERVAL = 0x4
_MOST_PORTS = 64
"""So many ports of one rule are looked at; of more the first."""


def read_published() -> tuple[PublishedPort, ...]:
    """The ports that are published now, those that come first in the order of the hooks first. Raises HostError.

    Without CAP_NET_ADMIN there are none to be seen.
    """
    return _read(_PREROUTING)


def read_published_to_host() -> tuple[PublishedPort, ...]:
    """The same for what the host itself sends to its own addresses. Raises HostError."""
    return _read(_OUTPUT)


def _read(hook: int) -> tuple[PublishedPort, ...]:
    try:
        with NetlinkSocket(NETLINK_NETFILTER) as sock:
            found = [port for table, translation in _translations(sock, hook) for port in _ports(table, translation)]
    except NetlinkError as error:
        if error.errno in (errno.EPERM, errno.EACCES):
            return ()
        raise
    return tuple(dict.fromkeys(found))


def _translations(sock: NetlinkSocket, hook: int) -> Iterator[tuple[str, Translation]]:
    chains = sock.dump(nf_tables.GETCHAIN, NFGENMSG.pack(0, 0, 0), "reading the chains of other programs")
    bases = sorted((base for message in chains for base in _nat_bases(message, hook)), key=lambda base: base[0])
    for _, number, table, chain in bases:
        name, families = _TABLES[number]
        request = NFGENMSG.pack(number, 0, 0) + text(nf_tables.TABLE_NAME, table)
        try:
            rules = _by_chain(sock.dump(nf_tables.GETRULE, request, f"reading the rules of {name} {table}"))
        except NetlinkError as error:
            # The table has gone since its chains were listed.
            if error.errno == errno.ENOENT:
                continue
            raise
        walk = Walk(rules, _Sets(sock, number, table).elements, needs.interface_name)
        known = Translation(families, interfaces=_NOWHERE if hook == _OUTPUT else ())
        for translation in walk.chain(chain, known):
            yield f"{name} {table}", translation


def _nat_bases(message: bytes, hook: int) -> Iterator[tuple[int, int, str, str]]:
    """The priority, family, table and name of a chain if it translates destinations at a hook."""
    # Of thousands of chains, which are mostly ours, hardly one has the bytes.
    if b"nat" not in message:
        return
    fields = attributes(message, NFGENMSG.size)
    if message[0] not in _TABLES or _CHAIN_HOOK not in fields or fields.get(_CHAIN_TYPE, b"").rstrip(b"\0") != b"nat":
        return
    base = attributes(fields[_CHAIN_HOOK])
    table = text_of(fields[_CHAIN_TABLE])
    if u32_of(base[_HOOK_NUMBER]) == hook and table != TABLE:
        priority = int.from_bytes(base[_HOOK_PRIORITY], "big", signed=True)
        yield priority, message[0], table, text_of(fields[_CHAIN_NAME])


def _by_chain(messages: list[bytes]) -> Mapping[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for message in messages:
        fields = attributes(message, NFGENMSG.size)
        found.setdefault(text_of(fields[_RULE_CHAIN]), []).append(fields.get(_RULE_EXPRESSIONS, b""))
    return found


class _Sets:
    """The sets and maps of a table, read when a rule looks something up."""

    def __init__(self, sock: NetlinkSocket, family: int, table: str) -> None:
        self._sock = sock
        self._family = family
        self._table = table
        self._known: dict[str, Mapping[bytes, bytes] | None] = {}
        self._flags: dict[str, int] | None = None

    def elements(self, name: str) -> Mapping[bytes, bytes] | None:
        """The elements of a set, and their data where it is a map; None where they are ranges."""
        if name not in self._known:
            self._known[name] = self._read(name)
        return self._known[name]

    def _read(self, name: str) -> Mapping[bytes, bytes] | None:
        here = NFGENMSG.pack(self._family, 0, 0)
        what = f"reading the set {name} of the table {self._table}"
        if self._flags is None:
            sets = self._sock.dump(nf_tables.GETSET, here + text(_SET_TABLE, self._table), what)
            fields = [attributes(message, NFGENMSG.size) for message in sets]
            self._flags = {text_of(f[_SET_NAME]): u32_of(f[_SET_FLAGS]) if _SET_FLAGS in f else 0 for f in fields}
        if self._flags.get(name, _FLAG_INTERVAL) & _FLAG_INTERVAL:
            return None
        asked = here + text(1, self._table) + text(_ELEMENT_LIST_SET, name)
        found: dict[bytes, bytes] = {}
        for message in self._sock.dump(nf_tables.GETSETELEM, asked, what):
            listed = attributes(message, NFGENMSG.size).get(_ELEMENT_LIST, b"")
            for _, element in attribute_list(listed):
                fields_of = attributes(element)
                key = attributes(fields_of.get(_ELEMENT_KEY, b"")).get(_DATA_VALUE, b"")
                found[key] = fields_of.get(_ELEMENT_DATA, b"")
        return found


def _ports(table: str, found: Translation) -> Iterator[PublishedPort]:
    """One published port for each family, protocol and port of a translation; without a port, port 0 for all."""
    ranges = found.ports
    every = (port for first, last in ranges or () for port in range(first, last + 1))
    ports = (0,) if ranges is None else tuple(islice(every, _MOST_PORTS))
    protocols = (TCP.number, UDP.number) if found.protocols is None else found.protocols
    for family in found.families:
        way = None if found.to_address is None else needs.route_to(family, found.to_address)
        local = found.to_address is None or (way is not None and way.interface == "lo")
        for protocol in protocols:
            if protocol in PORT_PROTOCOLS:
                for port in ports:
                    yield PublishedPort(
                        family,
                        protocol,
                        port,
                        found.to_address or 0,
                        found.to_port or port,
                        table,
                        found.address,
                        found.interfaces,
                        found.not_interfaces,
                        local,
                        "" if local or way is None else way.interface,
                        found.certain,
                        found.not_loopback,
                    )
