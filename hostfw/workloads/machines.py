"""Machines that systemd-machined knows, such as those of systemd-nspawn: the files of /run/systemd/machines.

The interface is found by the network namespace of a machine's first process. The addresses are those that this host
routes there: which ones a machine has given itself proves nothing.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from hostfw.host.workloads.interfaces import HostInterface, HostInterfaces
from hostfw.workloads.alias import alias_of, networks_behind
from hostfw.workloads.events import SeveralEvents, changes
from hostfw.workloads.values import DEFAULT_NAMESPACE, Workload, labels_of, shown
from hostfw.workloads.watch import Reading

FOLDER = Path("/run/systemd/machines")
"""The folder of sd-login(3): a file for each machine, and links by the names of their units."""
_MOST_BYTES = 64 * 1024
_MOST_MACHINES = 16_384
_OF_LIBVIRT = "libvirt"


class MachinesReader:
    """The machines of systemd-machined but for those of libvirt, which has a reader of its own."""

    name = "machines"

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder

    def listen(self) -> AbstractContextManager[SeveralEvents]:
        """Hear of machines, and of interfaces with their addresses and routes."""
        return changes(self._folder, interfaces=True)

    def read(self) -> Reading:
        """A workload for each machine with an interface of its own."""
        machines = {
            path.name: _fields(path)
            for path in sorted(self._folder.iterdir())[:_MOST_MACHINES]
            if not path.is_symlink() and path.is_file()
        }
        interfaces = HostInterfaces()
        leaders = {
            name: int(found["LEADER"]) for name, found in machines.items() if found.get("LEADER", "").isdecimal()
        }
        leading = interfaces.leading_to(tuple(leaders.values()))
        found: list[Workload] = []
        remarks: list[str] = []
        for name, fields in machines.items():
            if fields.get("SERVICE", "").startswith(_OF_LIBVIRT):
                continue
            mine = leading.get(leaders.get(name, 0)) or _listed(fields, interfaces)
            for interface in mine:
                one = _workload(name, fields, interface, is_first=interface is mine[0])
                found.append(one)
                if not one.networks and not one.mac:
                    remarks.append(
                        f"machine {shown(name)}: this host routes no address to {shown(interface.name)}; an alias of "
                        "it can say which it has: 'hostfw: ip=192.0.2.7'"
                    )
        return Reading(tuple(one for one in found if one.networks or one.mac), tuple(remarks))


def _workload(name: str, fields: Mapping[str, str], interface: HostInterface, *, is_first: bool) -> Workload:
    alias = alias_of(interface)
    own = {"name": name, "engine": fields.get("SERVICE", "") or "machined", "class": fields.get("CLASS", "")}
    return Workload(
        identity=fields.get("ID", "") or name,
        wanted_name=name if is_first else f"{name}.{interface.name}",
        namespace=(alias.namespace if alias else "") or DEFAULT_NAMESPACE,
        orchestrator="machined",
        interface=interface.name,
        networks=(alias.networks if alias else ()) or networks_behind(interface),
        labels=labels_of(dict(alias.labels) if alias else {}, own),
        mac=alias.mac if alias else "",
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
