"""The network between hosts: a bridge in a namespace, and neighbours on it that are namespaces themselves."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_interface

from lab.namespace import Namespace, namespace, run, set_sysctl
from lab.topology import Assigned

BRIDGE = "wire"
_NO_DAD = ("net.ipv6.conf.all.accept_dad", "net.ipv6.conf.default.accept_dad")


@dataclass(frozen=True, slots=True)
class Wire:
    """A bridge that hosts and neighbours are plugged into, and the namespace that it is in."""

    namespace: Namespace
    bridge: str = BRIDGE


@dataclass(frozen=True, slots=True)
class Uplink:
    """An interface of a host: the wire it is plugged into, its name and its addresses."""

    wire: Wire
    interface: str = "eth0"
    addresses: tuple[Assigned, ...] = ()
    gateway: str | None = None


@contextmanager
def wire() -> Iterator[Wire]:
    """A wire for the length of the block, in a namespace of its own."""
    with namespace("wire") as place:
        yield lay_wire(place)


def lay_wire(place: Namespace, bridge: str = BRIDGE, addresses: tuple[Assigned, ...] = ()) -> Wire:
    """A wire in a namespace that exists. With `addresses`, the namespace itself is on it."""
    commands = ["link set lo up", f"link add {bridge} type bridge mcast_snooping 0", f"link set {bridge} up"]
    set_sysctl(place, _NO_DAD[0], "0")
    set_sysctl(place, _NO_DAD[1], "0")
    _batch(place, [*commands, *(_address(address, bridge) for address in addresses)])
    return Wire(place, bridge)


@contextmanager
def neighbour(on: Wire, name: str, *addresses: str) -> Iterator[Namespace]:
    """A neighbour on the wire for the length of the block: a namespace whose `eth0` has these addresses (`A/LEN`)."""
    with namespace(name) as place:
        for key in _NO_DAD:
            set_sysctl(place, key, "0")
        plug(Uplink(on), name, place)
        commands = [_address(ip_interface(address), "eth0") for address in addresses]
        _batch(place, ["link set lo up", "link set eth0 up", *commands])
        yield place


def plug(uplink: Uplink, name: str, into: Namespace) -> None:
    """Plug a namespace into a wire. The interface is down and without addresses; its hardware address is its name's."""
    # 15 characters are all that an interface may have: names of hosts are too long to be told from each other.
    port = f"p{hashlib.sha256(f'{name} {uplink.interface}'.encode()).hexdigest()[:12]}"
    peer = f"name {uplink.interface} address {hardware_address(name, uplink.interface)} netns {into.path}"
    bridge = uplink.wire.bridge
    # The kernel takes its time over the namespace of a host that has just ended, and over our end of its wire.
    run(uplink.wire.namespace, ["ip", "link", "delete", port], check=False)
    _batch(uplink.wire.namespace, [f"link add {port} type veth peer {peer}", f"link set {port} master {bridge} up"])


def hardware_address(name: str, interface: str) -> str:
    """A locally administered address, the same at every start."""
    digest = hashlib.sha256(f"{name} {interface}".encode()).digest()
    return ":".join(f"{octet:02x}" for octet in (2, *digest[:5]))


def _address(address: Assigned, interface: str) -> str:
    return f"address add {address} dev {interface}{' nodad' if address.version == 6 else ''}"


def _batch(place: Namespace, commands: list[str]) -> None:
    run(place, ["ip", "-batch", "-"], text="".join(f"{command}\n" for command in commands))
