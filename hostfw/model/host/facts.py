"""Facts of one host: the only input of a ruleset besides what a person wrote."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.problems import Problem
from hostfw.model.values import Cidr, Learned


class BridgeFacts(NamedTuple):
    """A bridge: if packets between its ports meet the hooks of IPv4 and IPv6 (`nf_call_iptables`, `nf_call_ip6tables`).

    With `vlan_filtering` each packet is tagged between its ports.
    """

    calls_ipv4: bool = False
    calls_ipv6: bool = False
    vlan_filtering: bool = False

    @property
    def is_filtered(self) -> bool:
        """True if both hooks are met."""
        return self.calls_ipv4 and self.calls_ipv6


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface as the kernel reports it.

    `kind` is IFLA_INFO_KIND ("veth", "bridge", ...; "loopback" for lo, "" for hardware). `link_group` is IFLA_GROUP.
    `addresses` are host prefixes (the assigned addresses themselves, without their network's length). `learned` are
    those of them that a neighbour gave, with how; the others an administrator set. `default_route` is whether a default
    route leads to the interface, and `default_route_learned` how it came about where no administrator set one. `mac` is
    its hardware address now and `permanent_mac` (IFLA_PERM_ADDRESS) the one that the device was made with, as `ip link`
    writes them; both are empty where there is none. `networks` are the prefixes whose addresses are on its link, and
    `networks_learned` those of them that a neighbour gave, with how.
    `bridge` is what only a bridge has.
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
    learned: tuple[tuple[Cidr, Learned], ...] = ()
    default_route_learned: tuple[Learned, ...] = ()
    mac: str = ""
    permanent_mac: str = ""
    networks: tuple[Cidr, ...] = ()
    networks_learned: tuple[tuple[Cidr, Learned], ...] = ()
    bridge: BridgeFacts | None = None

    def addresses_of(self, believed: Collection[Learned]) -> tuple[Cidr, ...]:
        """The addresses that an administrator set, and those that came in one of the believed ways."""
        doubted = {cidr for cidr, how in self.learned if how not in believed}
        return tuple(cidr for cidr in self.addresses if cidr not in doubted) if doubted else self.addresses

    def has_default_route(self, believed: Collection[Learned]) -> bool:
        """True if an administrator set a default route to it, or one came about in one of the believed ways."""
        how = self.default_route_learned
        return self.default_route and (not how or any(one in believed for one in how))


class Running(NamedTuple):
    """The workloads that run now, sorted by their full names, and what is wrong with files that say so."""

    workloads: tuple[WorkloadEndpoint, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class HostFacts:
    """One observation of a host. `link_groups` are the names of /etc/iproute2/group with their numbers.

    `workloads` are those that run now, sorted by their full names, and `workload_problems` what is wrong with the files
    that say so. `bridge_netfilter` is whether packets between ports of a bridge can meet the hooks of IPv4 and IPv6: by
    the kernel module br_netfilter.

    `now` is the moment of the observation by the clock of the host, from which on what has expired by then does not
    count; without it nothing expires. Two observations that differ by their moment alone are equal.
    """

    node: str
    interfaces: tuple[Interface, ...] = ()
    link_groups: tuple[tuple[str, int], ...] = ()
    kernel: str = ""
    nft: str = ""
    now: datetime | None = field(default=None, compare=False)
    workloads: tuple[WorkloadEndpoint, ...] = ()
    workload_problems: tuple[Problem, ...] = ()
    bridge_netfilter: bool = True

    def interface(self, name: str) -> Interface | None:
        """The interface of that name, if the host has it."""
        return next((i for i in self.interfaces if i.name == name), None)
