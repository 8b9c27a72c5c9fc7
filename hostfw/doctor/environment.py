"""Findings about a host's environment: other firewalls, our units, versions, permissions, limits."""

from collections.abc import Iterator

from hostfw.doctor.findings import Check, Finding
from hostfw.doctor.other_firewalls import conflicts, mark_setters
from hostfw.host.systemd.surroundings import Surroundings, Unit
from hostfw.model.wording import listed

OWN_UNITS = {
    "hostfw-boot.service": "nothing protects the host from the boot on until the service runs",
    "hostfw.service": "interfaces are not followed, denied packets not logged, and changes by others not repaired",
}
"""Consequences of a unit of ours that is not enabled."""

OTHER_UNITS = {
    "nftables.service": "its start, stop and reload flush every ruleset of the host, ours among them",
    "firewalld.service": "two firewalls decide about every packet, and both must let it pass",
    "ufw.service": "two firewalls decide about every packet, and both must let it pass",
    "netfilter-persistent.service": "its rules apply to every packet as well, and its flush may open the host",
}
"""Effects of other firewalls' units on ours."""

_OFF = {
    # Its stop is what flushes the ruleset.
    "nftables.service": "`systemctl disable nftables.service`, without --now, which would flush everything",
    "ufw.service": "`ufw disable`",
}
"""Commands that disable a unit, where they are not the usual ones."""

UNIT_NAMES = (*OWN_UNITS, *OTHER_UNITS)

_STARTED = frozenset(("enabled", "enabled-runtime", "static", "generated", "linked", "alias"))
_FULL = 80
"""From so many per cent on connection tracking is nearly full: at 100 the kernel drops new connections."""
_OLDEST_NFT, _OLDEST_KERNEL, _OLDEST_PYROUTE2 = (1, 0, 6), (5, 10), (0, 7, 2)


def around(seen: Surroundings, log_group: int, *, service_reads: bool) -> Iterator[Finding]:
    """Findings about what is around hostfw. `service_reads` is whether our own service reads the log."""
    yield from (Finding(Check.OTHER_TABLE, f"could not be looked at: {what}", "run it as root") for what in seen.unseen)
    yield from conflicts(seen.others)
    yield from mark_setters(seen.others)
    yield from _iptables(seen)
    yield from (finding for unit in seen.units if unit.name in UNIT_NAMES for finding in _unit(unit))
    yield from _versions(seen)
    yield from _misread(seen)
    yield from _permissions(seen)
    if log_group in seen.readers and not service_reads:
        yield Finding(
            Check.LOG,
            f"another program reads NFLOG group {log_group}, so denied packets are not in the journal",
            "say logging.group in hostfw.yaml: a group that /proc/net/netfilter/nfnetlink_log does not list",
        )
    yield from _tracking(seen)


def other_firewalls(seen: Surroundings) -> Iterator[Finding]:
    """Findings about other programs that decide about packets here, or will from the next boot on."""
    for what in seen.unseen:
        yield Finding(Check.OTHER_TABLE, f"other firewalls could not be looked at: {what}", "run it as root")
    yield from conflicts(seen.others)
    yield from _iptables(seen)
    yield from (finding for unit in seen.units if unit.name in OTHER_UNITS for finding in _unit(unit))


def _iptables(seen: Surroundings) -> Iterator[Finding]:
    if seen.legacy:
        yield Finding(
            Check.IPTABLES,
            f"tables of legacy iptables are loaded ({', '.join(seen.legacy)}): they decide about every packet as well, "
            "and nft does not show them",
            "`iptables-legacy-save` and `ip6tables-legacy-save` show their rules; without any, "
            "`rmmod iptable_filter ip6table_filter` takes them away",
        )


def _unit(unit: Unit) -> Iterator[Finding]:
    lacking = OWN_UNITS.get(unit.name)
    if lacking is not None:
        yield from _own_unit(unit, lacking)
        return
    starts, runs = unit.file in _STARTED, unit.active in ("active", "activating", "reloading")
    if unit.is_there and (starts or runs):
        how = " and ".join(word for word, so in (("enabled", starts), ("running", runs)) if so)
        yield Finding(
            Check.OTHER_SERVICE,
            f"{unit.name} is {how}: {OTHER_UNITS[unit.name]}",
            _OFF.get(unit.name, f"`systemctl disable --now {unit.name}`"),
        )


def _own_unit(unit: Unit, lacking: str) -> Iterator[Finding]:
    if not unit.is_there:
        why = f"{unit.name} is {'masked' if unit.load == 'masked' else 'not installed'}"
        fix = f"`systemctl unmask {unit.name}`" if unit.load == "masked" else "install the package hostfw"
        yield Finding(Check.OWN_SERVICE, f"{why}: {lacking}", fix)
    elif unit.file not in _STARTED:
        yield Finding(
            Check.OWN_SERVICE, f"{unit.name} is not enabled: after a boot {lacking}", f"`systemctl enable {unit.name}`"
        )
    elif unit.active == "failed":
        yield Finding(Check.OWN_SERVICE, f"{unit.name} failed", f"`systemctl status {unit.name}` says why")
    elif unit.active != "active":
        yield Finding(Check.OWN_SERVICE, f"{unit.name} does not run: {lacking}", f"`systemctl start {unit.name}`")


def _misread(seen: Surroundings) -> Iterator[Finding]:
    if seen.misread:
        yield Finding(
            Check.INTERFACES,
            f"pyroute2 sees {listed(seen.misread)} differently than hostfw does, and InterfaceGroups go by the latter",
            "compare `hostfwctl interfaces -o json` with `ip -details address`, and report what differs",
        )


def _versions(seen: Surroundings) -> Iterator[Finding]:
    found = seen.versions
    for name, version, oldest, package in (
        ("nft", found.nft, _OLDEST_NFT, "nftables"),
        ("the kernel", found.kernel, _OLDEST_KERNEL, "linux-image-amd64"),
        ("pyroute2", found.pyroute2, _OLDEST_PYROUTE2, "python3-pyroute2"),
    ):
        wanted = ".".join(map(str, oldest))
        if not version:
            yield Finding(Check.VERSION, f"{name} is not installed", f"`apt install {package}`")
        elif _numbers(version) < oldest:
            message = f"{name} {version} is older than {wanted}, the oldest that hostfw is for"
            yield Finding(Check.VERSION, message, f"`apt install {package}`")
    if seen.nft_dies:
        where = f" ({', '.join(seen.noted)})" if seen.noted else ""
        yield Finding(
            Check.NEWER_NFT,
            f"nft {found.nft} dies of sets that a newer nft wrote{where}: `nft list ruleset` and scripts with table "
            "blocks fail, though hostfw itself works",
            "let the same nft write all tables of the host (1.1.3 of Debian 13 reads them), or delete those tables",
        )


def _permissions(seen: Surroundings) -> Iterator[Finding]:
    for mode in seen.modes:
        if mode.owner != 0:
            message = f"{mode.path} belongs to user {mode.owner}, who can change the policy of this host"
            yield Finding(Check.PERMISSIONS, message, f"`chown root:root {mode.path}`")
        if mode.bits & 0o022:
            message = f"{mode.path} is writable by others than root (mode {mode.bits:04o})"
            yield Finding(Check.PERMISSIONS, message, f"`chmod go-w {mode.path}`")


def _tracking(seen: Surroundings) -> Iterator[Finding]:
    if seen.tracking is None or not seen.tracking.most:
        return
    count, most = seen.tracking.count, seen.tracking.most
    percent = 100 * count // most
    if percent >= _FULL:
        yield Finding(
            Check.CONNTRACK,
            f"connection tracking is {percent}% full ({count} of {most}): when it is full the kernel drops new "
            "connections, whatever policy says",
            f"`sysctl -w net.netfilter.nf_conntrack_max={2 * most}`; `conntrack -S` tells whether any were dropped",
        )


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: 6.1.0-28-amd64 is (6, 1, 0)."""
    numbers: list[int] = []
    for part in version.replace("-", ".").split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)
