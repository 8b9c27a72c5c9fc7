"""What is true of one host: the only input of a ruleset besides what a person wrote."""

from dataclasses import dataclass

from hostfw.model.values import Cidr


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface as the kernel reports it.

    `kind` is IFLA_INFO_KIND ("veth", "bridge", ...; "loopback" for lo, "" for hardware). `link_group` is IFLA_GROUP.
    `addresses` are host prefixes (the assigned addresses themselves, without their network's length).
    """

    name: str
    index: int
    altnames: tuple[str, ...] = ()
    kind: str = ""
    link_group: int = 0
    master: str | None = None
    addresses: tuple[Cidr, ...] = ()
    default_route: bool = False
    up: bool = True


@dataclass(frozen=True, slots=True)
class HostFacts:
    """One observation of a host. `link_groups` are the names of /etc/iproute2/group with their numbers."""

    node: str
    interfaces: tuple[Interface, ...] = ()
    link_groups: tuple[tuple[str, int], ...] = ()
    kernel: str = ""
    nft: str = ""

    def interface(self, name: str) -> Interface | None:
        """The interface of that name, if the host has it."""
        return next((i for i in self.interfaces if i.name == name), None)
