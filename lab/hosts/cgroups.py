"""A control group for each host: two systemds in one would kill each other's services."""

from contextlib import suppress
from pathlib import Path

_GROUP = "hostfw-hosts"


def make_groups(name: str) -> tuple[Path, ...]:
    """The control groups of a host, one a hierarchy that systemd uses, made."""
    groups = tuple(root / _GROUP / name for root in _hierarchies())
    for group in groups:
        group.mkdir(parents=True, exist_ok=True)
    return groups


def remove_groups(name: str) -> None:
    """Remove the control groups of a host that has ended; what still has processes stays."""
    for root in _hierarchies():
        top = root / _GROUP / name
        for group in (*sorted(top.rglob("*/"), reverse=True), top, top.parent):
            with suppress(OSError):
                group.rmdir()


def known_groups() -> frozenset[str]:
    """The names of hosts that have control groups, running or not."""
    return frozenset(group.name for root in _hierarchies() for group in (root / _GROUP).glob("*/"))


def _hierarchies() -> tuple[Path, ...]:
    """The mount points of the unified hierarchy, and beside controllers of version 1 of systemd's own one."""
    mounts = (line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines())
    found: list[Path] = []
    for fields in mounts:
        kind, options = fields[fields.index("-") + 1], fields[-1]
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            found.append(Path(fields[4]))
    return tuple(found)
