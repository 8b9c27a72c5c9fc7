"""Flags of bridges before policy was between their ports: run_dir/bridges.json, which ends with the boot as they do."""

from contextlib import suppress
from pathlib import Path

from hostfw.host.store.atomic_files import write_atomically
from hostfw.host.store.codec import load_json, saving, to_json_of_many

_NOTED = "bridges.json"

BRIDGE_NETFILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
"""A file that is there with the module br_netfilter, in each network namespace."""

Calls = tuple[bool, bool]
"""The flags of a bridge: True if packets between its ports meet the hooks of IPv4, and of IPv6."""


def has_bridge_netfilter() -> bool:
    """True if packets between the ports of a bridge can meet the hooks of IPv4 and IPv6 at all."""
    return BRIDGE_NETFILTER.exists()


def noted_bridges(run_dir: Path) -> dict[str, Calls]:
    """The flags that bridges had before. Raises Unreadable."""
    data, _ = load_json(run_dir / _NOTED)
    match data:
        case {"format": 1, "bridges": dict(bridges)}:
            return {str(name): (bool(calls[0]), bool(calls[1])) for name, calls in bridges.items()}
        case _:
            return {}


def note_bridges(run_dir: Path, calls: dict[str, Calls]) -> None:
    """Note the flags that bridges had before. Raises StateError."""
    if not calls:
        with suppress(OSError):
            (run_dir / _NOTED).unlink(missing_ok=True)
        return
    with saving("what bridges had before"):
        run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_atomically(run_dir / _NOTED, to_json_of_many(bridges={name: list(of) for name, of in calls.items()}))
