"""What is true of this host's network: interfaces, addresses and default routes, of the namespace we are in.

Links and addresses come through pyroute2 (0.7.2 of Debian 12 to 0.9 of Debian 13; imported late, it takes 100 ms).
Routes are read raw: a router may have a million of them, and only the few to everywhere matter.
"""

import os
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from hostfw.host.errors import HostError
from hostfw.host.netlink import NETLINK_ROUTE, NetlinkSocket, attributes
from hostfw.host.nftables import nft_version
from hostfw.model.facts import HostFacts, Interface
from hostfw.model.values import Cidr, host_cidr, parse_address

LINK_GROUP_FILES = (Path("/etc/iproute2/group"), Path("/usr/share/iproute2/group"))
"""Where iproute2 names link groups: the first that exists (Debian 13 ships the second)."""

_PATIENCE_S = 5.0
"""For how long to try again: a hundred interfaces that come or go at once break into every dump until they are done."""
_PAUSE_S = 0.01
_IFF_UP = 0x1
_IFF_LOOPBACK = 0x8
_RTM_GETROUTE = 26
_RT_TABLE_MAIN = 254
_RTN_UNICAST = 1
_RTA_OIF = 4
_RTA_MULTIPATH = 9
_RTMSG = struct.Struct("=8BI")
_RTNEXTHOP = struct.Struct("=HBBi")
_IFINDEX = struct.Struct("=i")


def observe(node: str | None = None, nft: str | None = None) -> HostFacts:
    """The host as it is now, interfaces by name. Raises HostError if the kernel does not tell.

    `node` is what the settings call it, otherwise its own name in lower case, as in Calico. `nft` is nft's version
    where it is known already; asking takes 5 ms. An interface that comes or goes meanwhile is in or out, whole.
    """
    links, addresses = _links_and_addresses()
    names = {link.index: link.name for link in links}
    routed = _default_route_links()
    interfaces = (
        Interface(
            name=link.name,
            index=link.index,
            altnames=link.altnames,
            kind=link.kind,
            link_group=link.group,
            master=names.get(link.master),
            addresses=addresses.get(link.index, ()),
            default_route=link.index in routed,
            up=link.up,
        )
        for link in links
    )
    return HostFacts(
        node=socket.gethostname().lower() if node is None else node,
        interfaces=tuple(sorted(interfaces, key=lambda interface: interface.name)),
        link_groups=link_groups(),
        kernel=os.uname().release,
        nft=nft_version() if nft is None else nft,
    )


def link_groups(files: Sequence[Path] = LINK_GROUP_FILES) -> tuple[tuple[str, int], ...]:
    """The names of link groups with their numbers, by name; lines that iproute2 would not take are left out."""
    for file in files:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        return tuple(sorted(dict(_group_lines(text)).items()))
    return ()


@dataclass(frozen=True, slots=True)
class _Link:
    """One message of a link dump."""

    index: int
    name: str
    altnames: tuple[str, ...]
    kind: str
    group: int
    master: int
    up: bool


def _links_and_addresses() -> tuple[list[_Link], dict[int, tuple[Cidr, ...]]]:
    """All links, and the addresses by link index."""
    try:
        from pyroute2 import IPRoute
        from pyroute2.netlink.exceptions import NetlinkDumpInterrupted, NetlinkError
    except ImportError as error:
        raise HostError(f"interfaces cannot be read: {error}", "install the package python3-pyroute2") from error

    for _ in _attempts():
        try:
            with IPRoute() as route:
                return [_link(message) for message in route.get_links()], _by_link(route.get_addr())
        except NetlinkDumpInterrupted:
            continue
        except (NetlinkError, OSError) as error:
            raise HostError(f"the interfaces of this host cannot be read: {error}") from error
    raise HostError("the interfaces of this host kept changing while they were read")


def _attempts() -> Iterator[None]:
    """A first try, and more with pauses between them as long as there is patience."""
    deadline = monotonic() + _PATIENCE_S
    yield
    while monotonic() < deadline:
        sleep(_PAUSE_S)
        yield


def _link(message: Any) -> _Link:  # noqa: ANN401  pyroute2 has no types on Debian 12
    flags = int(message["flags"])
    properties = message.get_attr("IFLA_PROP_LIST")
    altnames = properties.get_attrs("IFLA_ALT_IFNAME") if properties else ()
    return _Link(
        index=int(message["index"]),
        name=str(message.get_attr("IFLA_IFNAME")),
        altnames=tuple(sorted(map(str, altnames))),
        kind="loopback" if flags & _IFF_LOOPBACK else str(message.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or ""),
        group=int(message.get_attr("IFLA_GROUP") or 0),
        master=int(message.get_attr("IFLA_MASTER") or 0),
        up=bool(flags & _IFF_UP),
    )


def _by_link(messages: Iterable[Any]) -> dict[int, tuple[Cidr, ...]]:
    addresses: dict[int, set[Cidr]] = {}
    for message in messages:
        # Of a point-to-point link IFA_ADDRESS is the peer's and IFA_LOCAL ours; IPv6 gives IFA_LOCAL only there.
        parsed = parse_address(str(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")))
        if parsed:
            addresses.setdefault(int(message["index"]), set()).add(host_cidr(*parsed))
    return {index: tuple(sorted(cidrs)) for index, cidrs in addresses.items()}


def _default_route_links() -> frozenset[int]:
    """The indexes of links that a default route of the main table leads to, in either family."""
    with NetlinkSocket(NETLINK_ROUTE) as sock:
        families = (socket.AF_INET, socket.AF_INET6)
        return frozenset(index for family in families for index in _default_routes(sock, family))


def _default_routes(sock: NetlinkSocket, family: int) -> Iterator[int]:
    request = _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
    for message in sock.dump(_RTM_GETROUTE, request, "reading the routes"):
        _, prefix_length, _, _, table, _, _, kind, _ = _RTMSG.unpack_from(message)
        if prefix_length == 0 and table == _RT_TABLE_MAIN and kind == _RTN_UNICAST:
            fields = attributes(message, _RTMSG.size)
            if _RTA_OIF in fields:
                yield _IFINDEX.unpack(fields[_RTA_OIF])[0]
            yield from _next_hops(fields.get(_RTA_MULTIPATH, b""))


def _next_hops(data: bytes) -> Iterator[int]:
    offset = 0
    while offset + _RTNEXTHOP.size <= len(data):
        length, _, _, index = _RTNEXTHOP.unpack_from(data, offset)
        yield index
        offset += max((length + 3) & ~3, _RTNEXTHOP.size)


def _group_lines(text: str) -> Iterator[tuple[str, int]]:
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) == 2:
            number, name = words
            try:
                yield name, int(number, 0)
            except ValueError:
                continue
