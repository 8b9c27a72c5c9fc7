"""Names of services, as /etc/services has them (services(5))."""

import socket

from hostfw.model.values import SCTP, TCP, UDP, Protocol

_WITHOUT_FILE: dict[str, tuple[tuple[Protocol, int], ...]] = {
    "domain": ((TCP, 53), (UDP, 53)),
    "http": ((TCP, 80),),
    "https": ((TCP, 443), (UDP, 443)),
    "imaps": ((TCP, 993),),
    "mysql": ((TCP, 3306),),
    "ntp": ((UDP, 123),),
    "postgresql": ((TCP, 5432),),
    "smtp": ((TCP, 25),),
    "ssh": ((TCP, 22),),
    "submission": ((TCP, 587),),
}
"""The most frequent services, for a host without that file: Debian has it in a package of its own (netbase)."""

_ALIASES = {"dns": "domain"}


def ports_of_service(name: str) -> tuple[tuple[Protocol, int], ...]:
    """The protocols and ports of a service; none for a name that is unknown."""
    wanted = _ALIASES.get(name, name)
    found = tuple((protocol, port) for protocol in (TCP, UDP, SCTP) if (port := _port(wanted, protocol)) is not None)
    return found or _WITHOUT_FILE.get(wanted, ())


def _port(name: str, protocol: Protocol) -> int | None:
    try:
        return socket.getservbyname(name, protocol.name.lower())
    except (OSError, ValueError):
        return None
