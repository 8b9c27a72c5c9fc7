"""Services in words: `tcp/80,443`, `8000-8100/udp`, `http`, `53`, `ping`, `esp`."""

import re
from collections.abc import Callable, Iterable, Sequence

from hostfw.manifest.kinds.rule import LAST_PORT
from hostfw.manifest.scalars.net_texts import form_hint
from hostfw.model.values import (
    ICMP,
    ICMPV6,
    NAMED_PROTOCOLS,
    PORT_PROTOCOLS,
    PROTOCOLS,
    SCTP,
    TCP,
    UDP,
    Icmp,
    PortRange,
    Protocol,
    parse_address,
)
from hostfw.quick.requests import RequestError, Service

Lookup = Callable[[str], tuple[tuple[Protocol, int], ...]]
"""The ports that a service name stands for, as /etc/services has them; none for a name that it does not have."""

PING = (Service(ICMP, icmp=Icmp(8)), Service(ICMPV6, icmp=Icmp(128)))
"""The echo requests of both families (RFC 792, RFC 4443)."""

EXPECTED = "a service such as tcp/8080, 8080/tcp, tcp/8000-8100, tcp/80,443, 53, http, ping or esp"
_PREFIX_EXPECTED = "a prefix such as 10.0.0.0/8 or 2001:db8::/32, whose length is at most 32 or 128"

_PROTOCOLS = {
    # A number is what Calico knows as well.
    name.lower(): protocol if name in PROTOCOLS else Protocol(protocol.number)
    for name, protocol in NAMED_PROTOCOLS.items()
}
"""The protocols that may be named."""

_RANGE = re.compile(r"(?P<first>[0-9]{1,5})(?:[-:](?P<last>[0-9]{1,5}))?\Z")
_BARE = (TCP, UDP)


def parse_services(words: Iterable[str], lookup: Lookup) -> tuple[Service, ...]:
    """The services of some words, those of one protocol together. Raises RequestError."""
    found = [service for word in words for service in _services(word, lookup)]
    gathered: dict[tuple[Protocol, Icmp | None], set[PortRange] | None] = {}
    for service in found:
        key = service.protocol, service.icmp
        before = gathered.get(key, set())
        gathered[key] = None if before is None or not service.ports else before | set(service.ports)
    return tuple(
        sorted(Service(protocol, tuple(sorted(ports or ())), icmp) for (protocol, icmp), ports in gathered.items())
    )


def is_service(word: str, lookup: Lookup) -> bool:
    """True for a word that names a service."""
    try:
        return bool(_services(word, lookup))
    except RequestError:
        return False


def is_bare_protocol(word: str) -> bool:
    """True for a protocol that has ports, without any."""
    protocol = _PROTOCOLS.get(word.lower())
    return protocol is not None and protocol.number in PORT_PROTOCOLS


def is_bare_port(word: str) -> bool:
    """True for a port, or the name of a service, without a protocol."""
    text = word.lower()
    return "/" not in text and text not in _PROTOCOLS and text != "ping"


def services_text(services: Iterable[Service]) -> str:
    """Services in the words that give them again."""
    return " ".join(dict.fromkeys(map(_text, services)))


def _services(word: str, lookup: Lookup) -> list[Service]:
    text = word.lower()
    if text == "ping":
        return list(PING)
    if text in _PROTOCOLS:
        return [Service(_PROTOCOLS[text])]
    left, slash, right = text.partition("/")
    if not slash:
        protocol, ports = "", text
    else:
        protocol, ports = (left, right) if left in _PROTOCOLS else (right, left)
        if protocol not in _PROTOCOLS:
            if parse_address(left) is not None:
                raise RequestError(f'"{word}" is no prefix', form_hint(word) or _PREFIX_EXPECTED)
            raise RequestError(f'"{word}" names no protocol that is known', EXPECTED)
    wanted = (_PROTOCOLS[protocol],) if protocol else (TCP, UDP, SCTP)
    if not ports or any(one.number not in PORT_PROTOCOLS for one in wanted):
        raise RequestError(f'"{word}" has a port where there is none', EXPECTED)
    return [service for part in ports.split(",") for service in _of_ports(part, wanted, lookup, word)]


def _of_ports(part: str, wanted: Sequence[Protocol], lookup: Lookup, word: str) -> list[Service]:
    numbers = _RANGE.match(part)
    if numbers is None:
        named = lookup(part)
        found = [Service(protocol, (PortRange(port, port),)) for protocol, port in named if protocol in wanted]
        if not found:
            known = " and ".join(f"{protocol.name.lower()}/{port}" for protocol, port in named)
            raise RequestError(f'"{word}" is no service that is known{f"; it is {known}" if known else ""}', EXPECTED)
        return found
    first = int(numbers["first"])
    last = int(numbers["last"] or first)
    if not 0 < first <= last <= LAST_PORT:
        raise RequestError(f'"{word}": ports are from 1 to {LAST_PORT}, the lower one first', EXPECTED)
    # A bare number is a port of both, as ufw has it.
    return [
        Service(protocol, (PortRange(first, last),)) for protocol in wanted if len(wanted) == 1 or protocol in _BARE
    ]


def _text(service: Service) -> str:
    if service.icmp is not None:
        return "ping"
    name = next((name for name, protocol in _PROTOCOLS.items() if protocol == service.protocol), str(service.protocol))
    if not service.ports:
        return name
    ports = ",".join(str(p.first) if p.first == p.last else f"{p.first}-{p.last}" for p in service.ports)
    return f"{name}/{ports}"
