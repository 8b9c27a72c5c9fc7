"""The environment of hostfw on a host, for `doctor`: units, legacy iptables, nft, connection tracking, versions.

Each reader looks at one thing and says what it saw; none changes anything, and what is not there is said as such.
"""

import os
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hostfw.host.errors import HostError
from hostfw.host.network.interfaces import pyroute2_comparison as second_reader
from hostfw.host.nftables.base_chains import OtherTable, read_noted_sets, read_others
from hostfw.host.nftables.nflog import groups_with_reader
from hostfw.host.nftables.nft_version import nft_version
from hostfw.host.systemd import units as systemd

PROC = Path("/proc")

UFW_CONF = Path("/etc/ufw/ufw.conf")
"""The file in which ufw notes whether it is enabled: its unit is started by boots either way."""

_LEGACY = (("ip", "ip_tables_names"), ("ip6", "ip6_tables_names"))
UFW_UNIT = "ufw.service"
_UFW_ON = re.compile(r"^[ \t]*ENABLED=[\"']?yes", re.MULTILINE | re.IGNORECASE)
_NFT = "/usr/sbin/nft"
_NFT_TIMEOUT_S = 10
_CHECK_TIMEOUT_S = 60
_NOT_PERMITTED = "Operation not permitted"
_SYSCTL = Path("sys/net/netfilter")


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as `systemctl show` has it: whether it is there (load), is started by a boot (file), runs now (active)."""

    name: str
    load: str
    file: str
    active: str

    @property
    def is_there(self) -> bool:
        """True if there is such a unit that can be started; a masked one cannot."""
        return self.load == "loaded"


@dataclass(frozen=True, slots=True)
class Versions:
    """Versions of hostfw's dependencies; empty where one is not installed."""

    nft: str
    kernel: str
    python: str
    pyroute2: str


@dataclass(frozen=True, slots=True)
class Tracking:
    """The number of tracked connections, and its limit."""

    count: int
    most: int


@dataclass(frozen=True, slots=True)
class Mode:
    """The permissions of a directory of ours."""

    path: Path
    owner: int
    bits: int


@dataclass(frozen=True, slots=True)
class Surroundings:
    """All of it. `noted` are tables with sets that nft left notes in, `readers` the NFLOG groups that are read.

    `unseen` says in sentences what could not be looked at; `misread` are interfaces that pyroute2 sees differently.
    `bridge_filter` is whether packets between the ports of a bridge pass the rules of IP (br_netfilter).
    """

    others: tuple[OtherTable, ...] = ()
    legacy: tuple[str, ...] = ()
    units: tuple[Unit, ...] = ()
    versions: Versions = Versions("", "", "", "")
    nft_dies: bool = False
    noted: tuple[str, ...] = ()
    modes: tuple[Mode, ...] = ()
    readers: frozenset[int] = frozenset()
    tracking: Tracking | None = None
    unseen: tuple[str, ...] = ()
    misread: tuple[str, ...] = ()
    bridge_filter: bool = False


def look_around(unit_names: Sequence[str], directories: Iterable[Path]) -> Surroundings:
    """The environment of hostfw now."""
    others: tuple[OtherTable, ...] = ()
    noted: tuple[str, ...] = ()
    unseen: list[str] = []
    misread: tuple[str, ...] = ()
    try:
        others, noted = read_others(), read_noted_sets()
    except HostError as error:
        unseen.append(error.message)
    try:
        misread = second_reader.differences()
    except HostError as error:
        unseen.append(error.message)
    return Surroundings(
        others,
        legacy_tables(),
        read_units(unit_names),
        versions(),
        nft_dies(),
        noted,
        modes(directories),
        groups_with_reader(),
        tracking(),
        tuple(unseen),
        misread,
        bridge_filter(),
    )


def look_at_firewalls(unit_names: Sequence[str]) -> Surroundings:
    """The tables and units of other firewalls."""
    others: tuple[OtherTable, ...] = ()
    unseen: tuple[str, ...] = ()
    try:
        others = read_others()
    except HostError as error:
        unseen = (error.message,)
    return Surroundings(others, legacy_tables(), read_units(unit_names), unseen=unseen)


def read_units(names: Sequence[str]) -> tuple[Unit, ...]:
    """The units of these names; none where systemd does not run the host that we see."""
    if not systemd.runs_here():
        return ()
    shown = systemd.systemctl("show", "--property=Id,LoadState,UnitFileState,ActiveState", *names)
    return tuple(unit for unit in units_of(shown) if unit.name != UFW_UNIT or ufw_is_on())


def ufw_is_on(conf: Path = UFW_CONF) -> bool:
    """True if ufw is enabled, whatever systemd says of its unit."""
    try:
        return _UFW_ON.search(conf.read_text(encoding="utf-8", errors="replace")) is not None
    except OSError:
        return False


def units_of(shown: str) -> Iterable[Unit]:
    """The units of what `systemctl show` prints: `Name=value` lines, a blank one between units."""
    for block in shown.split("\n\n"):
        fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "Id" in fields:
            yield Unit(
                fields["Id"],
                fields.get("LoadState", ""),
                fields.get("UnitFileState", ""),
                fields.get("ActiveState", ""),
            )


def legacy_tables(proc: Path = PROC) -> tuple[str, ...]:
    """The tables of legacy iptables that are loaded in this network, as `ip filter`; nft does not show them."""
    found: list[str] = []
    for family, name in _LEGACY:
        try:
            found += [f"{family} {table}" for table in (proc / "thread-self/net" / name).read_text().split()]
        except OSError:
            continue
    return tuple(sorted(found))


def tracking(proc: Path = PROC) -> Tracking | None:
    """The use of the connection tracking table; None where nothing is tracked."""
    try:
        count, most = (int((proc / _SYSCTL / f"nf_conntrack_{name}").read_text()) for name in ("count", "max"))
    except (OSError, ValueError):
        return None
    return Tracking(count, most)


def nft_dies() -> bool:
    """True if nft ends by a signal over the sets of this network: 1.0.6 does over what a newer one noted there."""
    try:
        done = subprocess.run(
            (_NFT, "--terse", "list", "sets"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=_NFT_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode < 0


def bridge_filter(proc: Path = PROC) -> bool:
    """True if br_netfilter has the packets of every bridge pass the rules of IPv4 or IPv6 in this network."""
    for name in ("iptables", "ip6tables"):
        with suppress(OSError):
            if (proc / "sys/net/bridge" / f"bridge-nf-call-{name}").read_text().strip() == "1":
                return True
    return False


def unloadable(script: Path) -> str:
    """The reason why nft would not load a script as the boot does; empty if it would, or without a script."""
    if not script.exists():
        return ""
    try:
        done = subprocess.run(
            (_NFT, "--check", "--file", str(script)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_CHECK_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"it cannot be checked: {error}"
    # A signal is nft's own death of sets that others wrote, which is found elsewhere; who may not ask learns nothing.
    failed = done.returncode > 0 and _NOT_PERMITTED not in done.stderr
    return done.stderr.strip().partition("\n")[0] if failed else ""


def versions() -> Versions:
    """The versions of what hostfw stands on."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        pyroute2 = version("pyroute2")
    except PackageNotFoundError:
        pyroute2 = ""
    return Versions(nft_version(), os.uname().release, platform.python_version(), pyroute2)


def modes(paths: Iterable[Path]) -> tuple[Mode, ...]:
    """The owners and permissions of directories that are there."""
    found: list[Mode] = []
    for path in paths:
        try:
            about = path.stat()
        except OSError:
            continue
        found.append(Mode(path, about.st_uid, about.st_mode & 0o7777))
    return tuple(found)
