"""A second reader of the interfaces, pyroute2, for the doctor: what our own reader sees of them is to be the same.

InterfaceGroups decide by what `host.links` reads. pyroute2 has the layout of the same messages from other people; where
the two differ, as with a kernel that neither was tried on, one of them is wrong.
"""

from collections.abc import Iterator
from typing import Any

from hostfw.host.errors import HostError
from hostfw.host.netlink.rtnetlink import IFA_F_PERMANENT, Link, LinkAddress
from hostfw.host.network.interfaces.links import Network, interfaces_of, observe
from hostfw.model.host.facts import Interface
from hostfw.model.values import parse_address

_ATTEMPTS = 3
_IFF_UP, _IFF_LOOPBACK = 0x1, 0x8


def differences() -> tuple[str, ...]:
    """The names of interfaces that the two readers see differently, sorted; none where pyroute2 is not installed.

    Both are asked again while they differ, since interfaces come and go between two readings. Raises HostError.
    """
    found: tuple[str, ...] = ()
    for _ in range(_ATTEMPTS):
        ours = {one.name: _compared(one) for one in observe(nft="").interfaces}
        theirs = _seen_by_pyroute2()
        if theirs is None:
            return ()
        found = tuple(sorted({name for name, _ in set(ours.items()) ^ set(theirs.items())}))
        if not found:
            break
    return found


def _compared(interface: Interface) -> tuple[object, ...]:
    one = interface
    return one.index, one.altnames, one.kind, one.link_group, one.master, one.up, one.addresses


def _seen_by_pyroute2() -> dict[str, tuple[object, ...]] | None:
    try:
        from pyroute2 import IPRoute
        from pyroute2.netlink.exceptions import NetlinkError
    except ImportError:
        return None
    try:
        with IPRoute() as route:
            links = [_link(message) for message in route.get_links()]
            addresses = [address for message in route.get_addr() for address in _addresses(message)]
    except (NetlinkError, OSError) as error:
        raise HostError(f"pyroute2 cannot read the interfaces: {error}") from error
    return {one.name: _compared(one) for one in interfaces_of(Network(links, addresses))}


def _link(message: Any) -> Link:  # noqa: ANN401  pyroute2 has no types on Debian 12
    flags = int(message["flags"])
    properties = message.get_attr("IFLA_PROP_LIST")
    altnames = properties.get_attrs("IFLA_ALT_IFNAME") if properties else ()
    return Link(
        index=int(message["index"]),
        name=str(message.get_attr("IFLA_IFNAME")),
        altnames=tuple(sorted(map(str, altnames))),
        kind="loopback" if flags & _IFF_LOOPBACK else str(message.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") or ""),
        group=int(message.get_attr("IFLA_GROUP") or 0),
        master=int(message.get_attr("IFLA_MASTER") or 0),
        up=bool(flags & _IFF_UP),
    )


def _addresses(message: Any) -> Iterator[LinkAddress]:  # noqa: ANN401  as above
    parsed = parse_address(str(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")))
    if parsed:
        yield LinkAddress(int(message["index"]), *parsed, int(message["prefixlen"]), 0, IFA_F_PERMANENT)
