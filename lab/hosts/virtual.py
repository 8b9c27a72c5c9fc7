"""A host with a kernel of its own: the tree of a host that is off, booted in QEMU on the same wire.

What only such a kernel shows: modules that are loaded when they are needed, network cards that appear late, and the
order of a boot that has a disk to wait for. Emulated, since nested virtualisation cannot be relied on: a boot takes
half a minute of one processor.
"""

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from lab.hosts.host import Host
from lab.hosts.machine import offline_mounted
from lab.hosts.wire import Uplink, hardware_address
from lab.namespace import LabError, process, run

EXTRA = ("initramfs-tools", "linux-image-cloud-amd64")
"""Packages that a host needs before it can be booted here."""
EMULATOR = "qemu-system-x86_64"
_DISK = "1G"
_MEMORY = "768"
_COPY_S = 120


@dataclass(frozen=True, slots=True)
class Virtual:
    """A virtual machine that runs: its process, and what it writes to its two serial lines.

    The kernel has the first, `ttyS0`, for its console; the second, `ttyS1`, is for whatever a test wants to be told.
    """

    process: "subprocess.Popen[str]"
    first_line: Path
    second_line: Path

    def console(self) -> str:
        """Everything that was written to the console."""
        return self.first_line.read_text(errors="replace")

    def told(self, last_word: str, timeout_s: float) -> str:
        """The text on the second line once it has this word. Raises LabError if that takes too long."""
        deadline = monotonic() + timeout_s
        while last_word not in (said := self.second_line.read_text(errors="replace")):
            if monotonic() > deadline or self.process.poll() is not None:
                tail = "\n".join(self.console().splitlines()[-60:])
                raise LabError(f"{last_word!r} was not said within {timeout_s} s, only {said!r}:\n{tail}")
            sleep(0.2)
        return said


def why_no_emulator() -> str | None:
    """Say why no virtual machine can be started here, or None when one can."""
    missing = [tool for tool in (EMULATOR, "mke2fs") if shutil.which(tool) is None]
    if missing:
        return f"needs {' and '.join(missing)}: apt-get install qemu-system-x86 e2fsprogs"
    return None if Path("/dev/net/tun").exists() else "needs /dev/net/tun"


@contextmanager
def booted(host: Host) -> Iterator[Virtual]:
    """Boot a copy of the disk of a host that is off, its first interface on its wire, for the length of the block."""
    uplink = host.uplinks[0]
    place = host.tree.directory / "virtual"
    place.mkdir()
    kernel, initrd = (_newest(host, f"/boot/{kind}-*", place / kind) for kind in ("vmlinuz", "initrd.img"))
    disk, first, second = (place / name for name in ("disk.img", "ttyS0", "ttyS1"))
    for line in (first, second):
        line.touch()
    offline_mounted(host.tree, ["mke2fs", "-q", "-F", "-t", "ext4", "-d", "@root@", str(disk), _DISK], _COPY_S)
    argv = [EMULATOR, "-nodefaults", "-no-reboot", "-nographic", "-accel", "tcg,thread=multi", "-cpu", "max"]
    argv += ["-smp", "1", "-m", _MEMORY, "-device", "virtio-rng-pci"]
    argv += ["-serial", f"file:{first}", "-serial", f"file:{second}"]
    argv += ["-drive", f"file={disk},format=raw,if=virtio,cache=unsafe"]
    argv += ["-kernel", str(kernel), "-initrd", str(initrd)]
    argv += ["-append", "root=/dev/vda rw console=ttyS0 net.ifnames=0 systemd.log_target=journal"]
    try:
        with _port(uplink, host.name) as port:
            hardware = hardware_address(host.name, uplink.interface)
            argv += ["-netdev", f"tap,id=wire,ifname={port},script=no,downscript=no"]
            argv += ["-device", f"virtio-net-pci,netdev=wire,mac={hardware},romfile="]
            with process(uplink.wire.namespace, argv) as started:
                yield Virtual(started, first, second)
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _port(uplink: Uplink, name: str) -> Iterator[str]:
    """A port of the wire for a virtual network card."""
    port = f"v{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    place = uplink.wire.namespace
    run(place, ["ip", "tuntap", "add", "dev", port, "mode", "tap"])
    try:
        run(place, ["ip", "link", "set", port, "master", uplink.wire.bridge, "up"])
        yield port
    finally:
        with suppress(LabError):
            run(place, ["ip", "link", "delete", port])


def _newest(host: Host, pattern: str, target: Path) -> Path:
    """Copy the newest of some files out of the tree of a host."""
    found = host.run(["sh", "-c", f"ls {pattern} | sort -V | tail -n 1"]).stdout.strip()
    if not found:
        raise LabError(f"{host.name} has no {pattern}: it takes the packages {', '.join(EXTRA)}")
    offline_mounted(host.tree, ["cp", f"@root@{found}", str(target)], _COPY_S)
    return target
