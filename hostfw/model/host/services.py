"""The services that a host offers at one moment: ports that programs listen on, and published ports.

Plain data that crosses the control socket: the program that may look at processes sends it to the one that decides.
"""

from dataclasses import dataclass

from hostfw.model.values import PROTOCOLS, Family


@dataclass(frozen=True, slots=True)
class BoundAddress:
    """A local address that a socket listens on; None is every address of the family. `interface` "" is every one."""

    family: Family
    address: int | None = None
    interface: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """A port that a program listens on. `unit` is its systemd unit; both names are empty where they are not known."""

    protocol: int
    port: int
    bound: tuple[BoundAddress, ...]
    process: str = ""
    unit: str = ""

    def __str__(self) -> str:
        return f"{port_text(self.protocol, self.port)} {self.unit or self.process}".rstrip()


@dataclass(frozen=True, slots=True)
class PublishedPort:
    """A port that a rule of another program's table translates to another destination (DNAT or redirect).

    `address` None is any address of this host. `interfaces` are the only ones that it holds on, where there are any,
    and `not_interfaces` those that it does not hold on. `target` is the new destination, of this host where `local`,
    and 0 for the first address of the interface; `out_interface` is where the route to it leads otherwise. `certain` is
    False where the rule has conditions beside these, so that it may translate a packet or may not. `not_loopback` is
    whether it leaves addresses of loopback alone.
    """

    family: Family
    protocol: int
    port: int
    target: int
    target_port: int
    table: str
    address: int | None = None
    interfaces: tuple[str, ...] = ()
    not_interfaces: tuple[str, ...] = ()
    local: bool = False
    out_interface: str = ""
    certain: bool = True
    not_loopback: bool = False

    def holds_on(self, interface: str) -> bool:
        """True if packets that come in on an interface are translated."""
        return (not self.interfaces or interface in self.interfaces) and interface not in self.not_interfaces


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody who is connected to a port of this host."""

    protocol: int
    port: int
    family: Family
    address: int


@dataclass(frozen=True, slots=True)
class HostServices:
    """All of it, each kind sorted. `peers` are those of the services and published ports that are here."""

    services: tuple[Service, ...] = ()
    published: tuple[PublishedPort, ...] = ()
    peers: tuple[Peer, ...] = ()


@dataclass(frozen=True, slots=True)
class ExposureChange:
    """A change of a service's exposure, as a sentence without its end.

    `answered` says in words who used what is closed; it is empty where nobody is known to. Where these only count some,
    `whole` is the text with every name and prefix, and `peers` are all who are connected.
    """

    closes: bool
    text: str
    answered: str = ""
    whole: str = ""
    peers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.text}; {self.answered}" if self.answered else self.text

    @property
    def in_full(self) -> str:
        """The sentence with everything in it."""
        text = self.whole or self.text
        answered = f"{', '.join(self.peers)} are connected to it now" if self.peers else self.answered
        return f"{text}; {answered}" if answered else text


def port_text(protocol: int, port: int) -> str:
    """A port in the form of `explain`: tcp/80."""
    names = (known.name.lower() for known in PROTOCOLS.values() if known.number == protocol)
    return f"{next(names, str(protocol))}/{port}"
