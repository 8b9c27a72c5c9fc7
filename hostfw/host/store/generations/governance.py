"""The record of what a generation governs: state_dir/generations/000012/governance.json, written anew as facts change.

It stands beside the generation that it belongs to, so that to accept another generation is to accept its record too.
"""

from datetime import datetime
from pathlib import Path

from hostfw.host.store.atomic_files import write_atomically
from hostfw.host.store.codec import garbage, load_json, saving, to_json
from hostfw.model.host.governance import Governance, GovernedInterface
from hostfw.model.problems import Problem
from hostfw.model.time.expiry import Expired
from hostfw.model.time.moments import moment_of

GOVERNANCE = "governance.json"
"""The name of the file in the folder of a generation."""


def governance_json(governance: Governance) -> bytes:
    """The content of a record's file: a field a line, as the boot script reads it, without Python."""
    return to_json(
        node=governance.node,
        node_of_host=governance.node_of_host,
        boot=governance.boot,
        interfaces=[_interface_json(interface) for interface in governance.interfaces],
        expired=[[one.kind, one.name, one.at.isoformat()] for one in governance.expired],
        applied=governance.applied.isoformat() if governance.applied is not None else "",
    )


def save_governance(folder: Path, governance: Governance) -> None:
    """Write a record durably into the folder of a stored generation, in place of the one there. Raises StateError."""
    with saving("the record of governed interfaces"):
        write_atomically(folder / GOVERNANCE, governance_json(governance))


def load_governance(folder: Path) -> tuple[Governance, tuple[Problem, ...]]:
    """The record of a stored generation: an empty one where it has none, as from before there were records.

    A damaged one is a problem, and as good as none. Raises Unreadable.
    """
    path = folder / GOVERNANCE
    data, problems = load_json(path)
    match data:
        case None:
            return Governance(), problems
        case {
            "format": 1,
            "node": str(node),
            "node_of_host": bool(node_of_host),
            "boot": str(boot),
            "interfaces": list(items),
            **more,
        }:
            found = [_interface(item) for item in items]
            known = tuple(interface for interface in found if interface is not None)
            # What was written before resources could expire has neither.
            expired, applied = _expired(more.get("expired", [])), more.get("applied", "")
            when = moment_of(applied) if isinstance(applied, str) and applied else None
            if len(known) == len(found) and expired is not None and (when is not None or applied == ""):
                return Governance(node, known, boot, node_of_host, expired, when), ()
    return Governance(), (garbage(path),)


def _expired(data: object) -> tuple[Expired, ...] | None:
    """The resources that have expired, None where they cannot be read."""
    found: list[Expired] = []
    for item in data if isinstance(data, list) else [None]:
        match item:
            case [str(kind), str(name), str(at)] if (moment := moment_of(at)) is not None:
                found.append(Expired(kind, name, moment))
            case _:
                return None
    return tuple(found)


def _interface_json(interface: GovernedInterface) -> dict[str, object]:
    return {
        "name": interface.name,
        "endpoint": interface.endpoint,
        "claim": interface.claim,
        "index": interface.index,
        "kind": interface.kind,
        "mac": interface.mac,
        "permanent_mac": interface.permanent_mac,
        "master": interface.master or "",
        "kept": interface.kept,
        "since": interface.since.isoformat() if interface.since is not None else "",
    }


def _interface(data: object) -> GovernedInterface | None:
    match data:
        case {
            "name": str(name),
            "endpoint": str(endpoint),
            "claim": str(claim),
            "index": int(index),
            "kind": str(kind),
            "mac": str(mac),
            "permanent_mac": str(permanent),
            "master": str(master),
            "kept": str(kept),
            "since": str(since),
        } if bool(kept) == bool(since):
            when: datetime | None = moment_of(since) if since else None
            if when is None and since:
                return None
            return GovernedInterface(name, endpoint, claim, index, kind, mac, permanent, master or None, kept, when)
        case _:
            return None
