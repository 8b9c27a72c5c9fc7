"""The life of a host: its tree, its start, its end. An overlay and systemd-nspawn, in namespaces that die with them.

The machine that runs the tests may have systemd as process 1 or not. What is started lives in a process namespace
whose end is the end of all of it, with the overlay mounted in a mount namespace of the same life: after a kill -9 there
is nothing left but the directory of the tree and empty control groups.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from lab.hosts.cgroups import known_groups, make_groups, remove_groups
from lab.hosts.image import DISK, Release, root_image
from lab.hosts.wire import Uplink, plug
from lab.namespace import LabError, inside, namespace

TREES = DISK / "hostfw-hosts"
_PR_SET_PDEATHSIG = 1
_READY_S = 90
_END_S = 30
_PROPAGATION = Path("/run/systemd/nspawn/propagate")

# $1 what lies below, $2 tree, $3 name; then the control groups. `0` is whoever writes it.
_MOUNT = 'mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" "$2/root"'
# A host may load programs into its control groups and make keyrings, as the containers of runc on it need.
_LAUNCH = f"""
set -eu
{_MOUNT}
tree=$2 name=$3
shift 3
for group; do echo 0 >"$group/cgroup.procs"; done
exec systemd-nspawn --quiet --settings=no --register=no --keep-unit --boot --notify-ready=yes --private-users=no \
    --machine="$name" --directory="$tree/root" --network-namespace-path=/proc/self/ns/net \
    --resolv-conf=off --timezone=off --link-journal=no --capability=CAP_NET_ADMIN \
    --system-call-filter="bpf @keyring" --console=pipe
"""
_OFFLINE = f"""
set -eu
{_MOUNT}
root=$2/root
shift 3
exec chroot "$root" "$@"
"""
_MOUNTED = f"""
set -eu
{_MOUNT}
shift 3
exec "$@"
"""

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Tree:
    """The disk of a host: what it has written, over the root image of its release."""

    name: str
    release: Release
    layers: tuple[Path, ...]
    directory: Path

    @property
    def lower(self) -> str:
        """The layers below, the uppermost first, as overlayfs wants them."""
        return ":".join(map(str, self.layers))

    @property
    def notices(self) -> Path:
        """The file in which nspawn notes the leader of the host, and the end of its boot."""
        return self.directory / "notices"

    @property
    def console(self) -> Path:
        """The output on the host's console, over all its starts."""
        return self.directory / "console"


@dataclass(frozen=True, slots=True)
class Running:
    """A started host: the process that nspawn's ends with, and the socket that nspawn reports to."""

    tree: Tree
    launcher: "subprocess.Popen[bytes]"
    notices: socket.socket


def make_tree(
    name: str, of: Release, uplinks: Sequence[Uplink], like: Tree | None = None, extra: tuple[str, ...] = ()
) -> Tree:
    """The disk of a new host, bare (but for `extra` packages) or with all that a host that is off has on its own.

    The other one must stay off, and stay, for as long as this one lives. Raises LabError if there is one of that name.
    """
    layers = (root_image(of, extra),) if like is None else (like.directory / "upper", *like.layers)
    TREES.mkdir(mode=0o700, parents=True, exist_ok=True)
    tree = Tree(name, of, layers, TREES / name)
    try:
        tree.directory.mkdir()
    except FileExistsError:
        raise LabError(f"there is a host {name!r} already, or what is left of one: {tree.directory}") from None
    for part in ("upper", "work", "root"):
        (tree.directory / part).mkdir()
    _write(tree, "etc/hostname", f"{name}\n")
    _write(tree, "etc/hosts", f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {name}\n")
    _write(tree, "etc/machine-id", f"{uuid.uuid4().hex}\n")
    for uplink in uplinks:
        _write(tree, f"etc/systemd/network/10-{uplink.interface}.network", _networkd(uplink))
    return tree


def remove_tree(tree: Tree) -> None:
    """Remove the disk of a host that does not run."""
    remove_groups(tree.name)
    with suppress(OSError):
        (_PROPAGATION / tree.name).rmdir()
    shutil.rmtree(tree.directory, ignore_errors=True)


def start(tree: Tree, uplinks: Sequence[Uplink], *, outlives_us: bool = False) -> Running:
    """Switch a host on. Its interfaces are down until it brings them up itself; its ruleset is empty.

    It ends with this thread unless it `outlives_us`.
    """
    groups = make_groups(tree.name)
    tree.notices.unlink(missing_ok=True)
    notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notices.bind(str(tree.notices))
    argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--propagation=private"]
    argv += ["sh", "-c", _LAUNCH, "sh", tree.lower, str(tree.directory), tree.name, *map(str, groups)]
    environment = {
        "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        "NOTIFY_SOCKET": str(tree.notices),
        "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
        # Whatever hierarchies this machine has.
        "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
    }
    with namespace(tree.name) as place, tree.console.open("ab") as console:
        for uplink in uplinks:
            plug(uplink, tree.name, place)
        with inside(place):
            launcher = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=environment,
                cwd="/",
                start_new_session=True,
                preexec_fn=None if outlives_us else _die_with_parent,  # noqa: PLW1509 - one prctl and nothing else
            )
    return Running(tree, launcher, notices)


def leader(running: Running, timeout_s: float = _END_S) -> int:
    """The first process of the host, as soon as there is one."""
    deadline = monotonic() + timeout_s
    while monotonic() < deadline:
        if (found := leader_below(running.launcher.pid)) is not None:
            return found
        if running.launcher.poll() is not None:
            break
        sleep(0.005)
    raise LabError(f"{running.tree.name} did not start:\n{console(running.tree)}")


def leader_below(launcher: int) -> int | None:
    """The first process of the host that a launcher started. It changes when the host reboots itself."""
    for supervisor in _children(launcher):
        for child in _children(supervisor):
            if _is_first(child, f"/proc/{supervisor}"):
                return child
    return None


def wait_ready(running: Running, timeout_s: float = _READY_S) -> None:
    """Wait until the boot is over: every unit that the boot wants has started or failed.

    From then on nobody listens to nspawn, which would wait for whoever listens and does not read.
    """
    deadline = monotonic() + timeout_s
    try:
        while (left := deadline - monotonic()) > 0:
            running.notices.settimeout(min(left, 1))
            with suppress(TimeoutError):
                if b"READY=1" in running.notices.recv(4096).splitlines():
                    return
            if running.launcher.poll() is not None:
                break
    finally:
        running.notices.close()
    raise LabError(f"{running.tree.name} did not come up within {timeout_s} s:\n{console(running.tree)}")


def finish(running: Running, ask: Callable[[], None] | None, timeout_s: float = _END_S) -> bool:
    """End a host: ask it to, or at once when `ask` is None or takes too long. Returns whether it ended as asked."""
    asked = False
    if ask is not None and running.launcher.poll() is None:
        with suppress(LabError):
            ask()
            with suppress(subprocess.TimeoutExpired):
                running.launcher.wait(timeout_s)
                asked = True
    if running.launcher.poll() is None:
        kill_all(running.launcher.pid)
        running.launcher.wait(_END_S)
    running.notices.close()
    return asked


def kill_all(launcher: int) -> None:
    """End a host by cutting its power. The end of the first process of a namespace is the end of all in it."""
    for supervisor in _children(launcher) or (launcher,):
        with suppress(ProcessLookupError):
            os.kill(supervisor, signal.SIGKILL)


def offline(tree: Tree, argv: Sequence[str], text: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a command in the tree of a host that does not run, as if its disk were in another machine."""
    command = _with_own_mounts(_OFFLINE, tree, argv)
    return subprocess.run(command, input=text or "", capture_output=True, text=True, check=False, timeout=_END_S)


def offline_mounted(tree: Tree, argv: Sequence[str], timeout_s: float = _END_S) -> None:
    """Run a command of this machine while the disk of a host that does not run is mounted: `@root@` is where.

    Raises LabError with what the command said.
    """
    command = _with_own_mounts(_MOUNTED, tree, [word.replace("@root@", f"{tree.directory}/root") for word in argv])
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=timeout_s
    )
    if done.returncode != 0:
        raise LabError(f"{tree.name}: `{argv[0]}` ended with {done.returncode}:\n{done.stderr}")


def console(tree: Tree) -> str:
    """The last lines that the host wrote to its console."""
    with suppress(OSError):
        return "\n".join(tree.console.read_text(errors="replace").splitlines()[-40:])
    return ""


def sweep() -> None:
    """Remove what hosts left whose process was killed: those named after a process that is gone."""
    for name in {path.name for path in TREES.glob("t*-*")} | known_groups():
        pid = name.removeprefix("t").partition("-")[0]
        if name.startswith("t") and pid.isdigit() and not Path("/proc", pid).exists():
            remove_tree(Tree(name, Release.BOOKWORM, (), TREES / name))


def _with_own_mounts(script: str, tree: Tree, argv: Sequence[str]) -> list[str]:
    """The command line of a script in a mount namespace of its own."""
    command = ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh"]
    return [*command, tree.lower, str(tree.directory), tree.name, *argv]


def _networkd(uplink: Uplink) -> str:
    """Fixed addresses, at once and without asking anybody."""
    lines = ["[Match]", f"Name={uplink.interface}", "[Network]", "IPv6AcceptRA=no", "DHCP=no"]
    lines += [f"Gateway={uplink.gateway}"] if uplink.gateway else []
    for address in uplink.addresses:
        lines += ["[Address]", f"Address={address}", "DuplicateAddressDetection=none"]
    return "\n".join((*lines, ""))


def _write(tree: Tree, path: str, text: str) -> None:
    target = tree.directory / "upper" / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)


def _children(pid: int) -> tuple[int, ...]:
    try:
        return tuple(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return ()


def _is_first(pid: int, above: str) -> bool:
    """True if a process is the first of a process namespace below the one of the process above it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        deeper = Path(f"/proc/{pid}/ns/pid").readlink() != Path(f"{above}/ns/pid").readlink()
    except OSError:
        return False
    numbers = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
    return deeper and numbers[-1:] == ["1"]


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
