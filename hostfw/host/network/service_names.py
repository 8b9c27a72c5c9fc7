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

_ALIASES: dict[str, tuple[str, ...]] = {
    "dns": ("domain",),
    "openssh": ("ssh",),
    **dict.fromkeys(("nginx http", "apache", "www"), ("http",)),
    **dict.fromkeys(("nginx https", "apache secure", "www secure"), ("https",)),
    **dict.fromkeys(("nginx full", "apache full", "www full"), ("http", "https")),
}
"""Other names: of firewalld, and of the application profiles of ufw that tutorials begin with."""


def ports_of_service(name: str) -> tuple[tuple[Protocol, int], ...]:
    """The protocols and ports of a service; none for a name that is unknown."""
    return tuple(port for wanted in _ALIASES.get(name.lower(), (name,)) for port in _ports(wanted))


def _ports(name: str) -> tuple[tuple[Protocol, int], ...]:
    found = tuple((protocol, port) for protocol in (TCP, UDP, SCTP) if (port := _port(name, protocol)) is not None)
    return found or _WITHOUT_FILE.get(name, ())


def _port(name: str, protocol: Protocol) -> int | None:
    try:
        return socket.getservbyname(name, protocol.name.lower())
    except (OSError, ValueError):
        return None
