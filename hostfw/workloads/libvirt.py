"""Guests of libvirt's QEMU and LXC drivers: the files of what runs, in /run/libvirt.

A file has the interface and Ethernet address of each network card. Addresses are those that libvirt gave: of a filter
(`filterref` with IP), of an entry of the network for the Ethernet address, and of its leases.
"""

import json
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, fromstring

from hostfw.workloads.engine_socket import MOST_BYTES
from hostfw.workloads.events import SeveralEvents, changes
from hostfw.workloads.values import DEFAULT_NAMESPACE, Workload, labels_of, mac_of, namespace_of, networks_of, shown
from hostfw.workloads.watch import Reading

STATE, LEASES = Path("/run/libvirt"), Path("/var/lib/libvirt/dnsmasq")
METADATA = "{https://hostfw.io/libvirt/1}"
"""The namespace of our element below <metadata> of a domain, which libvirt keeps as it is."""
_DRIVERS = ("qemu", "lxc")
_MOST_FILES = 16_384


class LibvirtReader:
    """The guests that libvirt runs for this host."""

    name = "libvirt"

    def __init__(self, state: Path = STATE, leases: Path = LEASES) -> None:
        self._state = state
        self._leases = leases

    def listen(self) -> AbstractContextManager[SeveralEvents]:
        """Hear of guests, networks and leases."""
        folders = (*(self._state / driver for driver in _DRIVERS), self._state / "network", self._leases)
        there = [folder for folder in folders if folder.is_dir()]
        return changes(*(there or folders[:1]), interfaces=True)

    def read(self) -> Reading:
        """A workload for each network card that has an interface of this host."""
        remarks: list[str] = []
        given = self._given_addresses(remarks)
        found: list[Workload] = []
        for driver in _DRIVERS:
            for path in _files(self._state / driver, ".xml"):
                root = _parsed(path, remarks)
                domain = root if root is None or root.tag == "domain" else root.find("domain")
                if domain is not None:
                    found += _workloads(domain, given)
        remarks += (
            f"guest {shown(one.wanted_name)}: libvirt gave {shown(one.interface)} no address so far"
            for one in found
            if not one.networks
        )
        return Reading(tuple(found), tuple(remarks))

    def _given_addresses(self, remarks: list[str]) -> Mapping[str, list[str]]:
        """The addresses of networks' entries and of leases that have not ended, by Ethernet address."""
        given: defaultdict[str, list[str]] = defaultdict(list)
        for path in _files(self._state / "network", ".xml"):
            root = _parsed(path, remarks)
            for host in () if root is None else root.iter("host"):
                given[mac_of(host.get("mac"))].append(host.get("ip", ""))
        now = time.time()
        for path in _files(self._leases, ".status"):
            for lease in _leases(path, remarks):
                end = lease.get("expiry-time")
                if not isinstance(end, int) or end == 0 or end > now:
                    given[mac_of(lease.get("mac-address"))].append(str(lease.get("ip-address", "")))
        given.pop("", None)
        return given


def _workloads(domain: Element, given: Mapping[str, Iterable[str]]) -> Iterator[Workload]:
    name = domain.findtext("name") or ""
    said = domain.find(f"metadata/{METADATA}workload")
    labels = {} if said is None else {one.get("key", ""): one.get("value") for one in said.findall(f"{METADATA}label")}
    cards = [(card, _attribute(card, "target", "dev")) for card in domain.findall("devices/interface")]
    for number, (card, interface) in enumerate(one for one in cards if one[1]):
        network = _attribute(card, "source", "network")
        mac = mac_of(_attribute(card, "mac", "address"))
        of_filter = (
            one.get("value") for one in card.findall("filterref/parameter") if one.get("name", "") in ("IP", "IPV6")
        )
        fixed = (one.get("address") for one in card.findall("ip"))
        own = {"name": name, "engine": "libvirt", "network": network}
        yield Workload(
            identity=domain.findtext("uuid") or name,
            wanted_name=name if number == 0 else f"{name}.{interface}",
            namespace=namespace_of(
                (said.get("namespace", "") if said is not None else "") or network or DEFAULT_NAMESPACE
            ),
            orchestrator="libvirt",
            interface=interface,
            networks=networks_of((*of_filter, *fixed, *given.get(mac, ()))),
            labels=labels_of(labels, own),
            mac=mac,
        )


def _attribute(element: Element, child: str, name: str) -> str:
    found = element.find(child)
    return "" if found is None else found.get(name, "")


def _files(folder: Path, ending: str) -> list[Path]:
    """The files of a folder by their names; none where there is no folder."""
    try:
        return sorted(path for path in folder.iterdir() if path.name.endswith(ending))[:_MOST_FILES]
    except FileNotFoundError:
        return []


def _bytes(path: Path, remarks: list[str]) -> bytes:
    """The content of a file; nothing of one that has gone meanwhile or is too large."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return b""
    if len(data) > MOST_BYTES:
        remarks.append(f"{shown(str(path))}: it has over {MOST_BYTES // 1024} KiB: left out")
        return b""
    return data


def _parsed(path: Path, remarks: list[str]) -> Element | None:
    """The root of an XML file; None for one that is being written or is none, which the journal is told."""
    data = _bytes(path, remarks)
    if not data:
        return None
    try:
        # libvirt writes no document type, by which XML grows.
        return None if b"<!DOCTYPE" in data else fromstring(data)  # noqa: S314
    except (ParseError, ValueError, LookupError) as error:
        remarks.append(f"{shown(str(path))}: it is no XML: {shown(str(error))}")
        return None


def _leases(path: Path, remarks: list[str]) -> list[Mapping[str, object]]:
    """The leases of a network; dnsmasq's helper leaves the file empty while there are none."""
    data = _bytes(path, remarks)
    if not data.strip():
        return []
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        remarks.append(f"{shown(str(path))}: it is no JSON")
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
