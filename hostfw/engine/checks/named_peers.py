"""The peers that the policy in force names: what a change of members must not touch to be harmless without compiling.

Written down with each generation that has external sets, so that `hostfwctl set` without the service need not read,
decode and resolve ten thousand policies to learn that an address is nobody whom the host depends on.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hostfw.build.generation import Generation
from hostfw.engine.kernel.writer import Writer
from hostfw.engine.members.external_members import find_external, held
from hostfw.host.store.atomic_files import WriteError, write_atomically
from hostfw.host.store.codec import load_json, to_json_of_many
from hostfw.host.store.generations.active import load_active
from hostfw.lockout.flows import flows, named_peers
from hostfw.model.host.baseline import Baseline
from hostfw.model.plan import BASE_PROTECTION, ExternalSet, Member
from hostfw.model.values import Cidr, Family
from hostfw.policy.resolve.external import opened_by

_FILE = "named-peers.json"

Peers = frozenset[tuple[Family, int]]


@dataclass(frozen=True, slots=True)
class NamedPeers:
    """The peers whom rules and failsafes of a generation name first, and its external sets that allow anything."""

    id: str
    peers: Peers
    opens: tuple[str, ...]


def note_named_peers(run_dir: Path, generation: Generation) -> None:
    """Write down the named peers of a generation that is in force; without them everything is checked."""
    path = run_dir / _FILE
    if not generation.plan.external:
        return
    peers = sorted(named_peers(generation.plan))
    content = to_json_of_many(id=generation.id, peers=peers, opens=sorted(opened_by(generation.plan)))
    try:
        if not path.exists() or path.read_bytes() != content:
            write_atomically(path, content)
    except (OSError, WriteError):
        # One that stays is of another generation, and is not believed.
        with suppress(OSError):
            path.unlink(missing_ok=True)


def load_named_peers(run_dir: Path) -> NamedPeers | None:
    """The named peers of what is in force; None where they are not known."""
    record, _ = load_active(run_dir)
    data, _ = load_json(run_dir / _FILE)
    match data:
        case {"id": str(id_), "peers": list(items), "opens": list(opens)} if record is not None and record.id == id_:
            try:
                peers = frozenset((Family(family), int(address)) for family, address in items)
            except (TypeError, ValueError):
                return None
            return NamedPeers(id_, peers, tuple(map(str, opens)))
        case _:
            return None


def concerns_nobody(
    writer: Writer, external: ExternalSet, before: tuple[Member, ...], after: tuple[Member, ...], baseline: Baseline
) -> bool:
    """True if it is certain that a change of members concerns no connection that the host depends on.

    No packet of the lockout check has an end in what is put in or taken out then, so every one of them meets the same
    decision before and after. Raises HostError.
    """
    known = load_named_peers(writer.directories.run)
    if known is None:
        return False
    there, then = ({member.cidr for member in members} for members in (before, after))
    if external.name in known.opens and there - then:
        return False
    touched = there ^ then
    ends = {*known.peers, *_ends(writer, baseline), *_members(writer, known.opens, external)}
    return not any(_holds(cidr, ends) for cidr in touched)


def _holds(cidr: Cidr, ends: Iterable[tuple[Family, int]]) -> bool:
    return any(family is cidr.family and cidr.contains(address) for family, address in ends)


def _ends(writer: Writer, baseline: Baseline) -> Iterator[tuple[Family, int]]:
    """Both ends of every packet of the lockout check, but for the peers that a plan names."""
    for flow in flows(baseline, writer.host.facts(None), BASE_PROTECTION):
        for packet in flow.packets:
            yield packet.family, packet.source
            yield packet.family, packet.destination
            if packet.original is not None:
                yield packet.family, packet.original.destination


def _members(writer: Writer, opens: Iterable[str], external: ExternalSet) -> Iterator[tuple[Family, int]]:
    """The members of other sets by which anything is allowed: rules name them, too."""
    tables = writer.host.read_sets()
    for name in opens:
        found = find_external(tables, name) if name != external.name else None
        if found is not None:
            yield from ((member.cidr.family, member.cidr.address) for member in held(writer.host, found).members)
