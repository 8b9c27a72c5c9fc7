"""Hosts that stand until they are taken down, on wires in named network namespaces: for Ansible, and for a person."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from ipaddress import ip_interface, ip_network
from pathlib import Path
from time import monotonic, sleep

from lab.hosts.host import Completed, enter
from lab.hosts.image import Release
from lab.hosts.machine import (
    TREES,
    Tree,
    console,
    kill_all,
    leader,
    leader_below,
    make_tree,
    remove_tree,
    start,
    wait_ready,
)
from lab.hosts.wire import BRIDGE, Uplink, Wire, lay_wire
from lab.namespace import LabError, Namespace, run
from lab.topology import Assigned

NETNS = "hf-hosts"
_NAMED = Path("/run/netns")
_END_S = 30
_V4 = ip_network("10.77.0.0/24")
_V6 = ip_network("fd77::/64")


@dataclass(frozen=True, slots=True)
class Standing:
    """A host that stands: written down beside its tree."""

    name: str
    release: Release
    layers: tuple[Path, ...]
    netns: str
    addresses: tuple[str, ...]
    launcher: int
    started: str
    made_netns: bool

    @property
    def tree(self) -> Tree:
        """Its disk."""
        return Tree(self.name, self.release, self.layers, TREES / self.name)

    @property
    def leader(self) -> int | None:
        """The first process of the host, or None when it is off."""
        return leader_below(self.launcher) if _started(self.launcher) == self.started else None


def put_up(
    name: str, of: Release, netns: str = NETNS, addresses: Sequence[Assigned] = (), controller: Sequence[Assigned] = ()
) -> Standing:
    """Put a host up on the wire of a network namespace, both made if they are not there.

    Without addresses it gets the next free ones of 10.77.0.0/24 and fd77::/64. The namespace itself is on the wire as
    well, with the addresses of `controller` or else the first one of each of the host's networks.
    """
    assigned = tuple(addresses) or _free(netns)
    made = not (_NAMED / netns).exists()
    if made:
        subprocess.run(["ip", "netns", "add", netns], check=True)
    with ExitStack() as undo:
        if made:
            undo.callback(subprocess.run, ["ip", "netns", "delete", netns], check=False)
        with _named(netns) as place:
            uplink = Uplink(_wire(place, tuple(controller), assigned), addresses=assigned)
            tree = make_tree(name, of, (uplink,))
            undo.callback(remove_tree, tree)
            standing = _start(tree, uplink, netns, made)
        undo.pop_all()
    return standing


def restart(standing: Standing) -> Standing:
    """Shut a host down in order and start it anew, with an empty ruleset and the same disk."""
    _power_off(standing)
    with _named(standing.netns) as place:
        uplink = Uplink(Wire(place), addresses=tuple(map(ip_interface, standing.addresses)))
        return _start(standing.tree, uplink, standing.netns, standing.made_netns)


def take_down(standing: Standing) -> None:
    """Switch a host off and remove its disk; and the namespace with the last host, if the first one brought it."""
    _cut_power(standing)
    remove_tree(standing.tree)
    others = [host for host in standing_hosts() if host.netns == standing.netns]
    if not others and standing.made_netns:
        subprocess.run(["ip", "netns", "delete", standing.netns], check=False)
    for heir in others[:1] if standing.made_netns else ():
        _save(replace(heir, made_netns=True))


def standing_hosts() -> tuple[Standing, ...]:
    """Every host that stands, by name."""
    return tuple(host for path in sorted(TREES.glob("*/host.json")) if (host := _load(path)) is not None)


def standing_host(name: str) -> Standing:
    """The host of that name. Raises LabError if there is none."""
    for host in standing_hosts():
        if host.name == name:
            return host
    raise LabError(f"no host {name!r} stands; there are: {', '.join(host.name for host in standing_hosts()) or 'none'}")


def execute(standing: Standing, argv: Sequence[str], text: str | None = None) -> Completed:
    """Run a command in a host, with this process' standard input and output unless `text` is its input."""
    leading = standing.leader
    if leading is None:
        raise LabError(f"{standing.name} is off")
    capture = text is not None
    return subprocess.run(enter(leading, argv), input=text, capture_output=capture, text=True, check=False)


def authorize(standing: Standing, public_key: str) -> None:
    """Let root in by ssh with a key."""
    script = "umask 077 && mkdir -p /root/.ssh && cat >>/root/.ssh/authorized_keys"
    execute(standing, ["sh", "-c", script], f"{public_key.strip()}\n").check_returncode()


def install_standing(standing: Standing, package: Path) -> None:
    """Install a Debian package whose dependencies are there. Raises LabError with what dpkg said."""
    leading = standing.leader
    if leading is None:
        raise LabError(f"{standing.name} is off")
    shutil.copy(package, f"/proc/{leading}/root/root/{package.name}")
    done = execute(standing, ["dpkg", "--install", f"/root/{package.name}"], "")
    if done.returncode != 0:
        raise LabError(f"{standing.name}: {package.name} cannot be installed:\n{done.stderr}")


def _start(tree: Tree, uplink: Uplink, netns: str, made_netns: bool) -> Standing:  # noqa: FBT001 - as it is written down
    running = start(tree, (uplink,), outlives_us=True)
    try:
        leader(running)
        wait_ready(running)
        launcher = running.launcher.pid
        addresses = tuple(map(str, uplink.addresses))
        standing = Standing(
            tree.name, tree.release, tree.layers, netns, addresses, launcher, _started(launcher), made_netns
        )
        _save(standing)
        _await_addresses(standing)
    except BaseException:
        kill_all(running.launcher.pid)
        running.launcher.wait(_END_S)
        raise
    finally:
        running.notices.close()
    # It lives on; what it ends with is nobody's business here.
    running.launcher.returncode = 0
    return standing


def _await_addresses(standing: Standing) -> None:
    script = 'for a in "$@"; do until ip address show to "$a" | grep -q inet; do sleep 0.05; done; done'
    plain = [address.partition("/")[0] for address in standing.addresses]
    if execute(standing, ["timeout", "20", "sh", "-c", script, "sh", *plain], "").returncode:
        raise LabError(f"{standing.name} did not get its addresses:\n{console(standing.tree)}")


def _wire(place: Namespace, controller: tuple[Assigned, ...], hosts: tuple[Assigned, ...]) -> Wire:
    if run(place, ["ip", "link", "show", BRIDGE], check=False).returncode == 0:
        return Wire(place)
    return lay_wire(place, addresses=controller or tuple(_first(address) for address in hosts))


def _first(address: Assigned) -> Assigned:
    return ip_interface(f"{address.network.network_address + 1}/{address.network.prefixlen}")


def _free(netns: str) -> tuple[Assigned, ...]:
    taken = {address for host in standing_hosts() if host.netns == netns for address in host.addresses}
    for number in range(11, 250):
        pair = ip_interface(f"{_V4[number]}/{_V4.prefixlen}"), ip_interface(f"{_V6[number]}/{_V6.prefixlen}")
        if not taken & set(map(str, pair)):
            return pair
    raise LabError(f"{netns}: no address is free")


@contextmanager
def _named(netns: str) -> Iterator[Namespace]:
    """A named network namespace, opened."""
    try:
        network = os.open(_NAMED / netns, os.O_RDONLY)
    except OSError as error:
        raise LabError(f"there is no network namespace {netns!r}") from error
    uts = os.open("/proc/thread-self/ns/uts", os.O_RDONLY)
    try:
        yield Namespace(netns, network, uts)
    finally:
        os.close(network)
        os.close(uts)


def _power_off(standing: Standing) -> None:
    if standing.leader is not None:
        execute(standing, ["systemctl", "--no-block", "poweroff"], "")
        deadline = monotonic() + _END_S
        while _started(standing.launcher) == standing.started and monotonic() < deadline:
            sleep(0.02)
    _cut_power(standing)


def _cut_power(standing: Standing) -> None:
    if _started(standing.launcher) != standing.started:
        return
    kill_all(standing.launcher)
    deadline = monotonic() + _END_S
    while _started(standing.launcher) == standing.started and monotonic() < deadline:
        sleep(0.02)


def _started(pid: int) -> str:
    """The start time of a process, empty if it is gone: a pid alone may be another's by now."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    return ""


def _fields(standing: Standing) -> dict[str, str | int | bool | list[str]]:
    return {
        "name": standing.name,
        "release": standing.release.value,
        "layers": list(map(str, standing.layers)),
        "netns": standing.netns,
        "addresses": list(standing.addresses),
        "launcher": standing.launcher,
        "started": standing.started,
        "made_netns": standing.made_netns,
    }


def _save(standing: Standing) -> None:
    (standing.tree.directory / "host.json").write_text(json.dumps(_fields(standing)))


def _load(path: Path) -> Standing | None:
    with suppress(OSError, ValueError, KeyError):
        found = json.loads(path.read_text())
        return Standing(
            found["name"],
            Release(found["release"]),
            tuple(map(Path, found["layers"])),
            found["netns"],
            tuple(found["addresses"]),
            found["launcher"],
            found["started"],
            found["made_netns"],
        )
    return None
