"""Machines that systemd-machined knows, such as those of systemd-nspawn: the files of /run/systemd/machines.

The interface is found by the network namespace of a machine's first process. The addresses are those that this host
routes there, or, behind a bridge, those that its DHCP server gave to the Ethernet address that systemd-nspawn gave the
machine. Which ones a machine has given itself proves nothing.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from hostfw.host.workloads.interfaces import HostInterface, HostInterfaces
from hostfw.workloads.alias import alias_of, networks_behind
from hostfw.workloads.engine_socket import EngineError
from hostfw.workloads.events import SeveralEvents, changes
from hostfw.workloads.networkd import INTERFACE, SERVICE, Leases, NetworkdLeases
from hostfw.workloads.nspawn import MACHINE_ID, PREFIX, ethernet_address, host_id
from hostfw.workloads.system_bus import SOCKET, SystemBus
from hostfw.workloads.values import DEFAULT_NAMESPACE, Workload, labels_of, networks_of, shown
from hostfw.workloads.watch import Reading

FOLDER = Path("/run/systemd/machines")
"""The folder of sd-login(3): a file for each machine, and links by the names of their units."""
_MOST_BYTES = 64 * 1024
_MOST_MACHINES = 16_384
_OF_LIBVIRT, _OF_NSPAWN = "libvirt", "systemd-nspawn"


class MachinesReader:
    """The machines of systemd-machined but for those of libvirt, which has a reader of its own."""

    name = "machines"

    def __init__(self, folder: Path = FOLDER, bus: Path = SOCKET, machine_id: Path = MACHINE_ID) -> None:
        self._folder = folder
        self._bus = bus
        self._host = host_id(machine_id)
        self._leases = NetworkdLeases(bus)

    @contextmanager
    def listen(self) -> Iterator[SeveralEvents]:
        """Hear of machines, of interfaces with their addresses and routes, and of leases if there is a system bus."""
        with ExitStack() as stack:
            buses: list[SystemBus] = []
            with suppress(EngineError):
                bus = stack.enter_context(SystemBus(self._bus))
                bus.follow(SERVICE, INTERFACE)
                buses.append(bus)
            yield stack.enter_context(changes(self._folder, interfaces=True, more=tuple(buses)))

    def read(self) -> Reading:
        """A workload for each machine with an interface of its own."""
        machines = {
            path.name: _fields(path)
            for path in sorted(self._folder.iterdir())[:_MOST_MACHINES]
            if not path.is_symlink() and path.is_file()
        }
        of_machines = tuple(_interfaces(machines))
        bridges = {one.master for _, _, interfaces in of_machines for one in interfaces if one.master}
        leases, trouble = self._leases.read(bridges) if bridges else ({}, "")
        found: list[Workload] = []
        remarks: list[str] = []
        for name, fields, interfaces in of_machines:
            for number, interface in enumerate(interfaces):
                wanted = name if number == 0 else f"{name}.{interface.name}"
                one = self._workload(name, fields, interface, wanted, leases)
                found.append(one)
                if not one.networks:
                    remarks.append(f"machine {shown(name)}: {_missing(one, interface, trouble)}")
        return Reading(
            tuple(one for one in found if one.networks or one.mac),
            tuple(remarks),
            unfinished=any(one.mac and not one.networks for one in found),
        )

    def _workload(
        self, name: str, fields: Mapping[str, str], interface: HostInterface, wanted_name: str, leases: Leases
    ) -> Workload:
        alias = alias_of(interface)
        mac = (alias.mac if alias else "") or self._given(name, fields, interface)
        own = {"name": name, "engine": fields.get("SERVICE", "") or "machined", "class": fields.get("CLASS", "")}
        return Workload(
            identity=fields.get("ID", "") or name,
            wanted_name=wanted_name,
            namespace=(alias.namespace if alias else "") or DEFAULT_NAMESPACE,
            orchestrator="machined",
            interface=interface.name,
            networks=(alias.networks if alias else ())
            or networks_of(leases.get((interface.master, mac), ()))
            or networks_behind(interface),
            labels=labels_of(dict(alias.labels) if alias else {}, own),
            mac=mac,
        )

    def _given(self, name: str, fields: Mapping[str, str], interface: HostInterface) -> str:
        """The Ethernet address that systemd-nspawn gave the machine behind a port of a bridge; "" for all others."""
        is_port = interface.master != 0 and interface.name.startswith(PREFIX) and fields.get("SERVICE") == _OF_NSPAWN
        return ethernet_address(self._host, name) if is_port and self._host is not None else ""


def _interfaces(
    machines: Mapping[str, Mapping[str, str]],
) -> Iterator[tuple[str, Mapping[str, str], tuple[HostInterface, ...]]]:
    """The machines but for those of libvirt, each with the interfaces that lead to it."""
    interfaces = HostInterfaces()
    leaders = {name: int(found["LEADER"]) for name, found in machines.items() if found.get("LEADER", "").isdecimal()}
    leading = interfaces.leading_to(tuple(leaders.values()))
    for name, fields in machines.items():
        if not fields.get("SERVICE", "").startswith(_OF_LIBVIRT):
            yield name, fields, tuple(leading.get(leaders.get(name, 0)) or _listed(fields, interfaces))


def _missing(one: Workload, interface: HostInterface, trouble: str) -> str:
    """Say of a workload without an address who could give it one."""
    name = shown(interface.name)
    if not interface.master:
        return f"this host routes no address to {name}; an alias of it can say which it has: 'hostfw: ip=192.0.2.7'"
    if not one.mac:
        return (
            f"nothing says which Ethernet address and addresses are behind {name}, a port of a bridge; an alias of it "
            "can: 'hostfw: mac=02:00:00:00:00:01,ip=192.0.2.7'"
        )
    why = f" ({trouble})" if trouble else ""
    return (
        f"systemd-networkd gave {one.mac} behind {name} no address so far{why}; an alias of it can say which it has: "
        "'hostfw: ip=192.0.2.7'"
    )


def _listed(fields: Mapping[str, str], interfaces: HostInterfaces) -> tuple[HostInterface, ...]:
    """The interfaces that the file names, such as the tap of a virtual machine; a bridge is nobody's own."""
    masters = {one.master for one in interfaces.by_index.values()}
    numbers = (int(word) for word in fields.get("NETIF", "").split() if word.isdecimal())
    return tuple(interfaces.by_index[one] for one in numbers if one in interfaces.by_index and one not in masters)


def _fields(path: Path) -> Mapping[str, str]:
    """The fields of a file; none for one that has gone meanwhile."""
    try:
        with path.open("rb") as file:
            text = file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return {}
    lines = (line.partition("=") for line in text.splitlines())
    return {key: value.strip('"') for key, is_field, value in lines if is_field}
