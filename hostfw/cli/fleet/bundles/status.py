"""The record of bundles on a host, for whatever ships files: state_dir/bundles/status.json."""

import json
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from hostfw.cli.output.documents import Document, document, json_text
from hostfw.host.bundles.folders import bundles_folder
from hostfw.host.bundles.state import BundleState, Known
from hostfw.host.store.atomic_files import write_atomically
from hostfw.host.store.codec import saving

STATUS = "status.json"
KIND = "BundleStatus"


class State(StrEnum):
    """The end of a pull."""

    APPLIED = "applied"
    CURRENT = "current"
    WAITING = "waiting"
    STOPPED = "stopped"
    CHANGED = "changed"
    """Something else was put into force since, by a person; the host waits for the next bundle."""
    REFUSED = "refused"
    """The bundle is not to be believed, or is older than the one in force."""
    FAILED = "failed"
    """The bundle was refused by a check, or rolled back."""
    UNREACHED = "unreached"
    """None could be had, or something of this host did not work."""


@dataclass(frozen=True, slots=True)
class Pulled:
    """The result of a pull. `offered` is the bundle that was verified, None if none was."""

    state: State
    message: str
    hint: str = ""
    offered: Known | None = None
    signer: str = ""
    generation: str = ""
    until: datetime | None = None
    tell: tuple[str, ...] = ()
    not_permitted: bool = False


def record(pulled: Pulled, known: BundleState, node: str, ring: str, source: str, now: datetime) -> Document:
    """The record as a document. `inForce` is the number of the bundle that is, `failed` of one that did not hold.

    `allEndpoints` is whether the bundle has separate endpoints and this host took those of all hosts.
    """
    return document(
        KIND,
        {
            "node": node,
            "ring": ring,
            "source": source,
            "at": now.isoformat(),
            "state": pulled.state.value,
            "message": pulled.message,
            "hint": pulled.hint,
            "name": known.accepted.name if known.accepted else "",
            "inForce": known.accepted.number if known.accepted else None,
            "allEndpoints": known.accepted is not None and known.accepted.all_endpoints,
            "failed": known.failed.number if known.failed else None,
            "why": known.why,
            "offered": pulled.offered.number if pulled.offered else None,
            "signer": pulled.signer,
            "generation": pulled.generation,
            "until": pulled.until.isoformat() if pulled.until else None,
            "tell": list(pulled.tell),
        },
    )


def last_record(state_dir: Path) -> Document:
    """The record of the pull before; nothing where there is none that can be read."""
    try:
        found = json.loads((bundles_folder(state_dir) / STATUS).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def save_record(state_dir: Path, content: Document) -> None:
    """Write the record. Raises StateError."""
    with saving("the status record of bundles"):
        write_atomically(bundles_folder(state_dir) / STATUS, json_text(content).encode() + b"\n")
