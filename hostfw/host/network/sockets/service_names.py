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

_ELSEWHERE: dict[str, tuple[tuple[Protocol, int], ...]] = {
    "cockpit": ((TCP, 9090),),
    "dhcp": ((UDP, 67),),
    "dhcpv6": ((UDP, 547),),
    "dhcpv6-client": ((UDP, 546),),
    "docker-registry": ((TCP, 5000),),
    "elasticsearch": ((TCP, 9200), (TCP, 9300)),
    "grafana": ((TCP, 3000),),
    "http3": ((UDP, 443),),
    "kube-api": ((TCP, 6443),),
    "mongodb": ((TCP, 27017),),
    "mountd": ((TCP, 20048), (UDP, 20048)),
    "node-exporter": ((TCP, 9100),),
    "prometheus": ((TCP, 9090),),
    "prometheus-node-exporter": ((TCP, 9100),),
    "rdp": ((TCP, 3389), (UDP, 3389)),
    "redis": ((TCP, 6379),),
    "rpc-bind": ((TCP, 111), (UDP, 111)),
    "samba": ((UDP, 137), (UDP, 138), (TCP, 139), (TCP, 445)),
    "samba-client": ((UDP, 137), (UDP, 138)),
    "smtp-submission": ((TCP, 587),),
    "smtps": ((TCP, 465),),
    "ssdp": ((UDP, 1900),),
    "transmission": ((TCP, 51413), (UDP, 51413)),
    "vnc": ((TCP, 5900),),
    "vnc-server": ((TCP, 5900), (TCP, 5901), (TCP, 5902), (TCP, 5903)),
    "wireguard": ((UDP, 51820),),
}
"""Services of firewalld and of ufw's profiles that /etc/services of Debian has not, by their usual ports."""

_ALIASES: dict[str, tuple[str, ...]] = {
    "dns": ("domain",),
    "openssh": ("ssh",),
    **dict.fromkeys(("nginx http", "apache", "www"), ("http",)),
    **dict.fromkeys(("nginx https", "apache secure", "www secure"), ("https",)),
    "cifs": ("samba",),
    **dict.fromkeys(("nginx full", "apache full", "www full"), ("http", "https")),
}
"""Other names: of firewalld, and of the application profiles of ufw that tutorials begin with."""


def ports_of_service(name: str) -> tuple[tuple[Protocol, int], ...]:
    """The protocols and ports of a service; none for a name that is unknown."""
    return tuple(port for wanted in _ALIASES.get(name.lower(), (name,)) for port in _ports(wanted))


def _ports(name: str) -> tuple[tuple[Protocol, int], ...]:
    found = tuple((protocol, port) for protocol in (TCP, UDP, SCTP) if (port := _port(name, protocol)) is not None)
    return found or _WITHOUT_FILE.get(name) or _ELSEWHERE.get(name.lower(), ())


def _port(name: str, protocol: Protocol) -> int | None:
    try:
        return socket.getservbyname(name, protocol.name.lower())
    except (OSError, ValueError):
        return None
