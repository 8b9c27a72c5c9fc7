"""ufw and firewalld as Debian ships them load rule sets on whole hosts, and imports of what lies there mean the same.

The rules that they have in force are judged by the kernel packet by packet, and by real connections of a neighbour.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from hostfw.importer.firewalld.reader import FILES as FIREWALLD_FILES
from hostfw.importer.firewalld.reader import read_firewalld
from hostfw.importer.iptables import ufw
from hostfw.model.sources import Source
from hostfw.model.values import FAMILIES, ICMP, TCP, UDP
from lab.hostfwctl import hostfwctl, install
from lab.hosts.host import Host, debian
from lab.hosts.image import Release, root_image
from lab.hosts.wire import Uplink, neighbour, wire
from lab.laboratory import Lab
from lab.namespace import LabError, Namespace
from lab.packets.probe import DENY_PATIENCE_S, Flow, Verdict, probe
from lab.topology import Link, Node, Topology, assigned
from tests.import_sets import FIREWALLD_SETS, UFW_SETS, kept_files, sections, ufw_sections, with_section
from tests.kernel.cli.import_agreement import agree, load_listed, load_saved
from tests.system.street import HOST, HOST6, PEER, PEER6, eventually

_EXTRA = ("firewalld", "ufw")
_SETTLED_S = 30
_TOPOLOGY = Topology(
    (
        Node("host", (Link("eth0", "wire", addresses=assigned(f"{HOST}/24", f"{HOST6}/64")),)),
        Node("peer", (Link("eth0", "wire", addresses=assigned(f"{PEER}/24", f"{PEER6}/64")),)),
    )
)
_PORTS = ((TCP, 22), (TCP, 25), (TCP, 80), (TCP, 443), (TCP, 5432), (TCP, 6379), (UDP, 53), (UDP, 443), (UDP, 514))
_FLOWS = tuple(
    Flow(*ends, protocol, port, family)
    for family in FAMILIES
    for ends in (("peer", "host"), ("host", "peer"))
    for protocol, port in (*_PORTS, (ICMP, None))
)
_EXEMPT = frozenset({"TCP 22 in", "UDP 53 out", "TCP 53 out", "UDP 123 out"})
"""Failsafes of hostfw, which no policy closes."""


@dataclass(frozen=True, slots=True)
class Firewalled:
    """A host that ufw or firewalld may govern, and its neighbour."""

    host: Host
    lab: Lab


@pytest.fixture(scope="module")
def firewalled(release: Release) -> Iterator[Firewalled]:
    """A host with both programs installed and off."""
    try:
        root_image(release, _EXTRA)
    except LabError as reason:
        pytest.skip(str(reason))
    with wire() as laid, neighbour(laid, "peer", f"{PEER}/24", f"{PEER6}/64") as peer:
        uplink = Uplink(laid, "eth0", assigned(f"{HOST}/24", f"{HOST6}/64"))
        with debian(release, "import", [uplink], extra=_EXTRA) as host, _network_of(host) as own:
            host.run(["systemctl", "disable", "--now", "firewalld", "ufw"])
            # Port 22 is listened at by the probes.
            host.run(["systemctl", "stop", "ssh.service", "ssh.socket"], check=False)
            host.run(["sh", "-c", _KEEP])
            yield Firewalled(host, Lab(_TOPOLOGY, (own, peer)))


@contextmanager
def _network_of(host: Host) -> Iterator[Namespace]:
    descriptors = [os.open(f"/proc/{host.leader}/ns/{kind}", os.O_RDONLY) for kind in ("net", "uts")]
    try:
        yield Namespace(host.name, *descriptors)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


@contextmanager
def governed_by_ufw(host: Host, path: Path) -> Iterator[Mapping[str, Source]]:
    """Have ufw load a set by the commands that people type, for the length of the block; gives its files."""
    host.run(["sh", "-c", _UFW_AS_SHIPPED])
    commands = ""
    for what, text in ufw_sections(path):
        words = what.split()
        if words[0] == "commands":
            commands += text
            continue
        place = f"/{words[1]}"
        before = host.read(place) if words[0] != "file" else ""
        host.write(place, with_section(words[0], before, text))
    script = f"set -e\n{commands}\nufw --force enable\n"
    host.run(["sh"], text=script)
    try:
        yield files_of(host, ufw.FILES)
    finally:
        host.run(["ufw", "--force", "disable"])
        host.run(["nft", "flush", "ruleset"])


@contextmanager
def governed_by_firewalld(host: Host, path: Path) -> Iterator[Mapping[str, Source]]:
    """Have firewalld load a set for the length of the block; gives its files."""
    host.run(["sh", "-c", _FIREWALLD_AS_SHIPPED])
    for name, source in sections(path).items():
        if name.startswith("etc/firewalld/"):
            host.write(f"/{name}", source.text)
    host.run(["systemctl", "restart", "firewalld"])
    assert eventually(lambda: "running" in host.run(["firewall-cmd", "--state"], check=False).stdout, _SETTLED_S)
    try:
        yield files_of(host, FIREWALLD_FILES)
    finally:
        host.run(["systemctl", "stop", "firewalld"])
        host.run(["nft", "flush", "ruleset"])


_KEEP = "mkdir /root/shipped && cp -a /etc/ufw /etc/firewalld /root/shipped && cp -a /etc/default/ufw /root/ufw"
_UFW_AS_SHIPPED = "rm -rf /etc/ufw && cp -a /root/shipped/ufw /etc/ && cp -a /root/ufw /etc/default/ufw"
_FIREWALLD_AS_SHIPPED = "rm -rf /etc/firewalld && cp -a /root/shipped/firewalld /etc/"


def files_of(host: Host, patterns: Iterable[str]) -> dict[str, Source]:
    """The files of a host that have these names, as `hostfwctl import --root` reads them."""
    root = Path(f"/proc/{host.leader}/root")
    found = sorted(path for pattern in patterns for path in root.glob(pattern) if path.is_file())
    names = [str(path.relative_to(root)) for path in found]
    return {name: Source(name, path.read_text()) for name, path in zip(names, found, strict=True)}


@pytest.mark.alike
@pytest.mark.parametrize("name", UFW_SETS)
def test_ufw_and_the_import_of_its_files_treat_packets_alike(
    firewalled: Firewalled, name: str, *, update_golden: bool
) -> None:
    """By what ufw has in force, as iptables-save prints it; and the files are those that other tests import."""
    with governed_by_ufw(firewalled.host, UFW_SETS[name]) as files:
        saved = [firewalled.host.run([f"{program}-save"]).stdout for program in ("iptables", "ip6tables")]
    kept = kept_files(files)
    if update_golden:
        UFW_SETS[name].with_suffix(".txt").write_text(kept)
    assert UFW_SETS[name].with_suffix(".txt").read_text() == kept

    agree(ufw.read_ufw(files), name, lambda place: load_saved(place, *saved))


@pytest.mark.alike
@pytest.mark.parametrize("name", FIREWALLD_SETS)
def test_firewalld_and_the_import_of_its_files_treat_packets_alike(firewalled: Firewalled, name: str) -> None:
    """By the table that firewalld has in force."""
    if (firewalled.host.release, name) in _REFUSED:
        pytest.skip(_REFUSED[firewalled.host.release, name])
    with governed_by_firewalld(firewalled.host, FIREWALLD_SETS[name]) as files:
        listed = firewalled.host.run(["nft", "--numeric-priority", "list", "table", "inet", "firewalld"]).stdout

    agree(read_firewalld(files), name, lambda place: load_listed(place, _UNOWNED.sub("", listed)))


_REFUSED = {
    (
        Release.TRIXIE,
        "hardware",
    ): "firewalld 2.3 refuses an Ethernet address in a rich rule (INVALID_SOURCE), and loads none"
}
"""Sets that a firewalld does not load itself."""
_UNOWNED = re.compile(r"^\tflags .*$|^# .*$", re.MULTILINE)
"""A table that belongs to a process can be loaded by nobody else."""

_GOVERNED = {"ufw": (governed_by_ufw, UFW_SETS), "firewalld": (governed_by_firewalld, FIREWALLD_SETS)}
_PROBED = (
    *(("ufw", name) for name in ("web", "fail2ban", "database", "egress-control", "reject-by-default", "ipv6-only")),
    *(("firewalld", name) for name in ("web", "mail-server", "rich-allow", "rich-deny", "sources", "policy-out")),
)


@pytest.mark.parametrize(("kind", "name"), _PROBED, ids=["-".join(one) for one in _PROBED])
def test_a_neighbour_gets_through_as_before(firewalled: Firewalled, tmp_path: Path, kind: str, name: str) -> None:
    """With the policy that `hostfwctl import` prints in place of the other firewall."""
    host, lab = firewalled.host, firewalled.lab
    installation = install(lab["host"], tmp_path / "hostfw")
    govern, sets = _GOVERNED[kind]
    with govern(host, sets[name]):
        before = _allowed(lab)
        made = hostfwctl(installation, "import", kind, "--root", f"/proc/{host.leader}/root")
    (installation.config / "imported.yaml").write_text(made.stdout)
    try:
        hostfwctl(installation, "apply", "--accept-lockout")
        after = _allowed(lab)
    finally:
        host.run(["nft", "flush", "ruleset"])

    assert before
    assert len(before) < len(_FLOWS)
    assert not [str(flow) for flow in before ^ after if not _is_exempt(flow)], made.stderr


def _allowed(lab: Lab) -> frozenset[Flow]:
    return frozenset(one.flow for one in probe(lab, _FLOWS, DENY_PATIENCE_S) if one.verdict is Verdict.ALLOWED)


def _is_exempt(flow: Flow) -> bool:
    return f"{flow.protocol} {flow.port} {'in' if flow.destination == 'host' else 'out'}" in _EXEMPT
