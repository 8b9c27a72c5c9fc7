"""The lease files of the usual DHCP clients: which server gave an address, and what was given for ever.

An address that DHCP gives for a time ends in the kernel as well. One that it gives for ever looks there like one that
an administrator set; only its client knows better. Files that cannot be read say nothing.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from hostfw.model.values import Family, parse_address

NETWORKD_LEASES = Path("/run/systemd/netif/leases")
"""A file for each link that has a lease now, named by its index."""
DHCLIENT_LEASES = Path("/var/lib/dhcp")
"""Files of dhclient with every lease there was; ifupdown names one by its interface, dhclient.eth0.leases."""
NETWORK_MANAGER_LEASES = Path("/var/lib/NetworkManager")
"""Files by connection and interface, internal-UUID-eth0.lease, which stay when the connection does."""

_NETWORKD = re.compile(r"^(ADDRESS|SERVER_ADDRESS)=(\S+)$", re.MULTILINE)
_DHCLIENT = re.compile(r"^lease6? \{[^\n]*\n((?:(?!lease6? \{|\})[^\n]*\n)*)\}", re.MULTILINE)
_DHCLIENT_INTERFACE = re.compile(r'interface "([^"]+)";')
_DHCLIENT_ADDRESS = re.compile(r"fixed-address (\S+);")
_DHCLIENT_IPV6 = re.compile(r"iaaddr (\S+) \{([^}]*)\}")
_DHCLIENT_IPV6_ENDLESS = "max-life 4294967295;"
_DHCLIENT_SERVER = re.compile(r"option dhcp-server-identifier (\S+);")
_DHCLIENT_ENDLESS = re.compile(r"expire never;|option dhcp-lease-time 4294967295;")
_NETWORK_MANAGER_NAME = re.compile(r"internal-[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}-(.+)\.lease\Z")


class EndlessLease(NamedTuple):
    """An address that DHCP may have given for ever: the index or the name of its link, and the address."""

    link: int | str
    family: Family
    address: int


def servers(networkd: Path = NETWORKD_LEASES, dhclient: Path = DHCLIENT_LEASES) -> Mapping[tuple[Family, int], int]:
    """The servers by the addresses that they gave."""
    return dict(chain(_networkd_servers(networkd), _dhclient_servers(dhclient)))


def endless_leases(
    networkd: Path = NETWORKD_LEASES,
    dhclient: Path = DHCLIENT_LEASES,
    network_manager: Path = NETWORK_MANAGER_LEASES,
    proc: Path = Path("/proc"),
) -> frozenset[EndlessLease]:
    """The leases that may have no end.

    networkd keeps its files while a lease lasts, so each of them counts. dhclient keeps what it ever had, and its
    script gives an end to every address whose lease has one: only leases without an end count. NetworkManager's files
    outlive the connection, so only those of this boot count.
    """
    found: Iterable[tuple[int | str, str]] = chain(
        _of_networkd(networkd), _of_dhclient(dhclient), _of_network_manager(network_manager, proc)
    )
    return frozenset(EndlessLease(link, *parsed) for link, text in found if (parsed := parse_address(text)) is not None)


def _of_networkd(folder: Path) -> Iterator[tuple[int, str]]:
    for path, text in _texts(folder, "*"):
        address = dict(_NETWORKD.findall(text)).get("ADDRESS")
        if address is not None and path.name.isdecimal():
            yield int(path.name), address


def _of_dhclient(folder: Path) -> Iterator[tuple[str, str]]:
    for _, text in _texts(folder, "dhclient*.leases"):
        for block in _DHCLIENT.findall(text):
            interface, address = _DHCLIENT_INTERFACE.search(block), _DHCLIENT_ADDRESS.search(block)
            if interface and address and _DHCLIENT_ENDLESS.search(block):
                yield interface[1], address[1]
            for ipv6, life in _DHCLIENT_IPV6.findall(block):
                if interface and _DHCLIENT_IPV6_ENDLESS in life:
                    yield interface[1], ipv6


def _of_network_manager(folder: Path, proc: Path) -> Iterator[tuple[str, str]]:
    booted = _boot_time(proc)
    for path, text in _texts(folder, "internal-*.lease"):
        named, address = _NETWORK_MANAGER_NAME.match(path.name), dict(_NETWORKD.findall(text)).get("ADDRESS")
        with suppress(OSError):
            if named and address is not None and path.stat().st_mtime >= booted:
                yield named[1], address


def _boot_time(proc: Path) -> float:
    """The time of boot, in seconds since the epoch; 0 if it is unknown."""
    with suppress(OSError, ValueError):
        for line in (proc / "stat").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("btime "):
                return float(line.split()[1])
    return 0.0


def _networkd_servers(folder: Path) -> Iterator[tuple[tuple[Family, int], int]]:
    for _, text in _texts(folder, "*"):
        fields = dict(_NETWORKD.findall(text))
        yield from _given(fields.get("ADDRESS"), fields.get("SERVER_ADDRESS"))


def _dhclient_servers(folder: Path) -> Iterator[tuple[tuple[Family, int], int]]:
    for _, text in _texts(folder, "dhclient*.leases"):
        for block in _DHCLIENT.findall(text):
            address, server = _DHCLIENT_ADDRESS.search(block), _DHCLIENT_SERVER.search(block)
            yield from _given(address and address[1], server and server[1])


def _given(address: str | None, server: str | None) -> Iterator[tuple[tuple[Family, int], int]]:
    parsed, by = parse_address(address or ""), parse_address(server or "")
    if parsed and by:
        yield parsed, by[1]


def _texts(folder: Path, pattern: str) -> Iterator[tuple[Path, str]]:
    with suppress(OSError):
        for path in sorted(folder.glob(pattern)):
            with suppress(OSError):
                yield path, path.read_text(encoding="utf-8", errors="replace")
