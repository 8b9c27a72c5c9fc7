"""The root images of hosts: one a Debian release, made once with mmdebstrap and kept."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from lab.hosts.cgroups import make_groups, remove_groups
from lab.namespace import LabError

CACHE = Path("/var/cache/hostfw-hosts")
DISK = Path("/var/tmp")  # noqa: S108 - a disk rather than memory
"""The directory for files that hosts write."""
TOOLS = ("mmdebstrap", "systemd-nspawn", "nsenter", "unshare", "ip")
HINT = "apt-get install mmdebstrap systemd-container util-linux iproute2"

PACKAGES = (
    # What makes a container a host.
    *("systemd", "systemd-sysv", "dbus", "udev", "libpam-systemd", "kmod", "procps", "sudo", "openssh-server"),
    # What hostfw depends on, so that its package can be installed without a network.
    *("nftables", "python3", "python3-nftables", "python3-yaml", "python3-pyroute2", "python3-systemd", "python3-rich"),
    # What tests and Ansible use.
    *("iproute2", "iputils-ping", "python3-apt"),
)

_TRIAL = """
set -eu
cd "$1"
mkdir lower upper work root
mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work root
"""
_PREPARATION = """
set -eu
systemctl --quiet enable systemd-networkd.service
systemctl --quiet disable systemd-networkd-wait-online.service
systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer console-getty.service \
    systemd-networkd-wait-online.service
mkdir -p /var/log/journal
rm -rf /var/cache/apt/archives/*.deb /var/lib/apt/lists/*
journalctl --update-catalog
touch --date=@1700000000 /usr
# Up to date: no host needs to rebuild the linker's cache or the catalog at its first start.
printf 'TIMESTAMP_NSEC=1700000000000000000\\n' | tee /etc/.updated >/var/.updated
touch --date=@1700000000 /etc/.updated /var/.updated
"""


class Release(StrEnum):
    """A Debian release that hostfw runs on."""

    BOOKWORM = "bookworm"
    TRIXIE = "trixie"

    @property
    def number(self) -> str:
        """The number by which Debian counts it."""
        return {"bookworm": "12", "trixie": "13"}[self.value]


def release(word: str) -> Release:
    """The release of a number or a name. Raises ValueError for others."""
    for known in Release:
        if word in (known.value, known.number):
            return known
    raise ValueError(f"no release {word!r}: there are 12 (bookworm) and 13 (trixie)")


def root_image(of: Release, extra: tuple[str, ...] = ()) -> Path:
    """The root tree of a release, made if it is not there yet: half a minute, and a network. Never write to it.

    `extra` packages make an image of its own. Raises LabError with what apt said.
    """
    packages = tuple(sorted({*PACKAGES, *extra}))
    digest = hashlib.sha256("\n".join((*packages, _PREPARATION)).encode()).hexdigest()[:10]
    image = CACHE / f"{of}-{digest}"
    if image.is_dir():
        return image
    CACHE.mkdir(parents=True, exist_ok=True)
    with _alone(CACHE / f".{of}.lock"):
        if not image.is_dir():
            _make(of, packages, image)
    return image


def why_no_hosts() -> str | None:
    """Say why hosts cannot be started here, or None when they can."""
    if os.geteuid() != 0:
        return "needs root: sudo make system"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"needs {', '.join(missing)}: {HINT}"
    try:
        make_groups("trial")
    except OSError as error:
        return f"cannot make control groups: {error}"
    finally:
        remove_groups("trial")
    with TemporaryDirectory(dir=DISK) as directory:
        trial = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
        done = subprocess.run(
            [*trial, "sh", "-c", _TRIAL, "sh", directory], capture_output=True, text=True, check=False
        )
    return f"cannot mount an overlay in a namespace: {done.stderr.strip()}" if done.returncode else None


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Let one process at a time make an image; the others wait for it."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(of: Release, packages: tuple[str, ...], image: Path) -> None:
    building = Path(mkdtemp(prefix=f".{image.name}.", dir=CACHE))
    try:
        building.chmod(0o755)
        options = ("--quiet", "--variant=minbase", "--format=directory", f"--include={','.join(packages)}")
        _command(["mmdebstrap", *options, of.value, str(building)])
        _command(["chroot", str(building), "sh", "-c", _PREPARATION])
        building.rename(image)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _command(argv: list[str]) -> None:
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LabError(f"cannot make a root image: {argv[0]} ended with {done.returncode}:\n{done.stderr}")
