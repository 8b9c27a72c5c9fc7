"""Leases that the DHCP servers of systemd-networkd gave to machines behind bridges of this host.

systemd-networkd tells them on the system bus, and forgets them when it restarts (before version 256). So a lease counts
until it ends, or until its address or its holder has another one.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from hostfw.workloads.engine_socket import EngineError
from hostfw.workloads.system_bus import SOCKET, BusError, SystemBus
from hostfw.workloads.values import mac_of

SERVICE, INTERFACE = "org.freedesktop.network1", "org.freedesktop.network1.DHCPServer"
_MICROSECONDS = 1_000_000
_V4_BYTES, _ETHERNET_BYTES = 4, 6

Leases = Mapping[tuple[int, str], Sequence[str]]
"""Addresses, by the index of a bridge and the Ethernet address that they were given to behind it."""


@dataclass(frozen=True, slots=True)
class _Lease:
    bridge: int
    address: str
    mac: str
    end_s: float


class NetworkdLeases:
    """The leases that count, asked again and again."""

    def __init__(self, socket: Path = SOCKET) -> None:
        """Know none."""
        self._socket = socket
        self._known: tuple[_Lease, ...] = ()

    def read(self, bridges: Collection[int]) -> tuple[Leases, str]:
        """The leases behind bridges, and why they could not be asked for, "" if they could."""
        now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        told: list[_Lease] = []
        trouble = ""
        try:
            with SystemBus(self._socket) as bus:
                for bridge in sorted(bridges):
                    told += _told(bus, bridge)
        except EngineError as error:
            trouble = str(error)
        addresses = {(one.bridge, one.address) for one in told}
        holders = {(one.bridge, one.mac) for one in told}
        kept = (
            one
            for one in self._known
            if one.bridge in bridges
            and (one.bridge, one.address) not in addresses
            and (one.bridge, one.mac) not in holders
        )
        self._known = tuple(one for one in (*told, *kept) if one.end_s > now_s)
        found: defaultdict[tuple[int, str], list[str]] = defaultdict(list)
        for one in self._known:
            found[one.bridge, one.mac].append(one.address)
        return found, trouble


def _told(bus: SystemBus, bridge: int) -> Iterator[_Lease]:
    """The leases of the DHCP server on a bridge; none where there is no server, or no systemd-networkd."""
    number = str(bridge)
    # The first character of a part of a path is no digit: systemd writes the code of one instead.
    path = f"/org/freedesktop/network1/link/_{ord(number[0]):02x}{number[1:]}"
    try:
        items = bus.property(SERVICE, path, INTERFACE, "Leases")
    except BusError:
        return
    for item in items if isinstance(items, list) else ():
        match item:
            case (int(), bytes(), bytes(address), bytes(), bytes(hardware), int(end)) if len(address) == _V4_BYTES:
                mac = mac_of(hardware[:_ETHERNET_BYTES].hex(":"))
                if mac:
                    yield _Lease(bridge, str(IPv4Address(address)), mac, end / _MICROSECONDS)
