"""Addresses of names of hosts, as the resolver of this host gives them (getaddrinfo(3)).

A resolver may say anything: how much and what kind of address it says is bounded here, and whether it is true nobody
knows. Its times to live are not asked for.
"""

import socket
from ipaddress import IPv6Address, ip_address

from hostfw.host.download.messages import MOST_ADDRESSES, Answer, DownloadError, Request, plain


def resolve(request: Request) -> Answer:
    """The addresses of each name, and why there are none of the others."""
    addresses: dict[str, tuple[str, ...]] = {}
    unresolved: dict[str, str] = {}
    for name in request.hostnames:
        try:
            addresses[name] = _addresses(name)
        except DownloadError as error:
            unresolved[name] = str(error)
    return Answer(addresses=addresses, unresolved=unresolved)


def _addresses(name: str) -> tuple[str, ...]:
    try:
        # The dot keeps search domains away: a name is the whole name.
        answers = socket.getaddrinfo(f"{name}." if "." in name else name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DownloadError(plain(getattr(error, "strerror", None) or str(error))) from error
    found = sorted({str(answer[4][0]).partition("%")[0] for answer in answers})
    if not found:
        raise DownloadError("the resolver knows no address of it")
    if len(found) > MOST_ADDRESSES:
        raise DownloadError(f"the resolver gives {len(found)} addresses, more than {MOST_ADDRESSES}")
    for text in found:
        if why := _unlikely(text):
            raise DownloadError(f"the resolver gives {text}, which is {why}")
    return tuple(found)


def _unlikely(text: str) -> str:
    """The reason why an address is that of no other host, or nothing."""
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return "an address that no packet carries"
    kinds = (
        (address.is_unspecified, "nobody's address"),
        (address.is_loopback, "an address of this host alone"),
        (address.is_multicast, "a group"),
        (address.is_link_local, "an address of one link"),
        (text == "255.255.255.255", "everybody's address"),
    )
    return next((why for holds, why in kinds if holds), "")
