"""Interfaces that say themselves whose they are: `ip link set vnet0 alias 'hostfw: ns=shop,app=db'`.

An alias is set by who may change the interfaces of this host, and goes with the interface.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass

from hostfw.host.workloads.interfaces import HostInterface, HostInterfaces, host_addresses, routed_networks
from hostfw.workloads.events import SeveralEvents, changes
from hostfw.workloads.values import (
    DEFAULT_NAMESPACE,
    Workload,
    labels_of,
    mac_of,
    namespace_of,
    networks_of,
    shown,
    without,
)
from hostfw.workloads.watch import Reading

_MARK = "hostfw:"
_NAMESPACE, _NAME, _ADDRESS, _MAC = "ns", "name", "ip", "mac"


@dataclass(frozen=True, slots=True)
class Alias:
    """The words of an alias: its namespace, name and Ethernet address if it gives them, addresses and labels."""

    namespace: str
    name: str
    networks: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]
    wrong: tuple[str, ...]
    mac: str = ""


class AliasReader:
    """The interfaces whose alias begins with `hostfw:`."""

    name = "ifalias"

    def listen(self) -> AbstractContextManager[SeveralEvents]:
        """Hear of interfaces, their addresses and routes."""
        return changes(interfaces=True)

    def read(self) -> Reading:
        """A workload for each, with the addresses of its alias or those that this host routes to it."""
        found, remarks = [], []
        for interface in HostInterfaces().by_index.values():
            alias = alias_of(interface)
            if alias is None:
                continue
            remarks += [f"alias of {shown(interface.name)}: {shown(one)} is not KEY=VALUE" for one in alias.wrong]
            own = {"name": alias.name or interface.name, "engine": self.name}
            found.append(
                Workload(
                    identity=f"{interface.index}",
                    wanted_name=alias.name or interface.name,
                    namespace=alias.namespace or DEFAULT_NAMESPACE,
                    orchestrator="",
                    interface=interface.name,
                    networks=alias.networks or networks_behind(interface),
                    labels=labels_of(dict(alias.labels), own),
                    mac=alias.mac,
                )
            )
        return Reading(tuple(found), tuple(remarks))


def alias_of(interface: HostInterface) -> Alias | None:
    """The words of an alias that is meant for hostfw; None for others."""
    if not interface.alias.startswith(_MARK):
        return None
    items = [item.strip() for item in interface.alias.removeprefix(_MARK).split(",") if item.strip()]
    pairs = [(key.strip(), value.strip()) for key, is_pair, value in (item.partition("=") for item in items) if is_pair]
    said = dict(pairs)
    return Alias(
        namespace_of(said[_NAMESPACE]) if said.get(_NAMESPACE) else "",
        said.get(_NAME, ""),
        networks_of(value for key, value in pairs if key == _ADDRESS),
        tuple((key, value) for key, value in pairs if key not in (_NAMESPACE, _NAME, _ADDRESS, _MAC)),
        tuple(item for item in items if "=" not in item),
        mac_of(said.get(_MAC)),
    )


def networks_behind(interface: HostInterface) -> tuple[str, ...]:
    """The networks that this host routes to an interface, without its own addresses; none for a port of a bridge."""
    if interface.master:
        return ()
    own = [address for addresses in host_addresses().values() for address in addresses]
    return networks_of(str(one) for network in routed_networks(interface.index) for one in without(network, own))
