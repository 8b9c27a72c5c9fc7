"""The record of the active generation in this network namespace: run_dir/generation.json, which ends with the boot.

Beside it stand the interfaces that its sets of indices hold, in run_dir/links.json, and commits of ours that changed
members alone, in run_dir/commits.json: these change more often than it.
"""

import binascii
import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from hostfw.host.errors import HostError
from hostfw.host.store.atomic_files import write_atomically
from hostfw.host.store.codec import Unreadable, counts_of, garbage, load_json, reading, saving, to_json_of_many
from hostfw.model.problems import Problem
from hostfw.model.time.moments import moment_of
from hostfw.model.values import BRIDGE, FAMILIES, TABLE_FAMILIES, TableFamily

_GENERATION = "generation.json"
_LINKS = "links.json"
_COMMITS = "commits.json"
_BEGUN = "begun"
_LEVEL = 1
"""Compression that takes less time than it takes to make JSON of it."""
_MOST_BYTES = 1 << 28
"""More than the names of any ruleset take."""
_NAMESPACE = Path("/proc/thread-self/ns/net")


@dataclass(frozen=True, slots=True)
class ActiveGeneration:
    """The generation that we put into this network namespace.

    `kernel_generation` is nftables' own after our last commit, and `chains` have the digest of each chain's rules then
    (`tables.KernelChain`): while they match, no other program has touched our chains. `sets` have the declaration of
    each set and map, and `counters` the number of counters of each family with a digest of their names. Records of
    releases that took digests of less have no counters: the digests are empty then, and `sets` is None. `counts` and
    `node` are for people. `saved` is False if it was accepted and could not be stored: the next boot enforces another.
    `compared` is True if all of our tables were found to be just that at `kernel_generation`.
    """

    id: str
    applied_at: datetime
    kernel_generation: int
    chains: tuple[tuple[TableFamily, str, str], ...] = ()
    counts: tuple[tuple[str, int], ...] = ()
    node: str = ""
    sets: tuple[tuple[TableFamily, str, str], ...] | None = None
    saved: bool = True
    counters: tuple[tuple[TableFamily, str], ...] | None = None
    compared: bool = False


def save_active(run_dir: Path, record: ActiveGeneration) -> None:
    """Remember what is in force in the network namespace that we are in. Raises StateError.

    It is written at every link event that changes rules. The names of objects are most of it, and compressed: who reads
    the head alone does not even have to parse them.
    """
    sets = {} if record.sets is None else {"sets": _by_family(record.sets)}
    counters = {} if record.counters is None else {"counters": {of.nft: text for of, text in record.counters}}
    with saving("the record of the generation in force"):
        run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_atomically(
            run_dir / _GENERATION,
            to_json_of_many(
                id=record.id,
                applied_at=record.applied_at.isoformat(),
                namespace=network_namespace(),
                kernel_generation=record.kernel_generation,
                objects=_packed({"chains": _by_family(record.chains), **sets}),
                counts=dict(record.counts),
                node=record.node,
                **counters,
                saved=record.saved,
                compared=record.compared,
            ),
        )


def load_active(run_dir: Path, *, head: bool = False) -> tuple[ActiveGeneration | None, tuple[Problem, ...]]:
    """The record of this network namespace, or None if there is none; of the `head` alone what names no object.

    Its `kernel_generation` is that after later commits of ours which only changed members. Raises Unreadable.
    """
    path = run_dir / _GENERATION
    data, problems = load_json(path)
    match data:
        case None:
            return None, problems
        case {
            "format": 1,
            "id": str(id_),
            "applied_at": str(applied_at),
            "namespace": int(namespace),
            "kernel_generation": int(kernel_generation),
            "counts": dict(),
            **more,
        } if (when := moment_of(applied_at)) is not None and (objects := _objects(more, head=head)) is not None:
            if namespace != network_namespace():
                return None, ()
            (chains, sets), counters = objects, _counters(data)
            if counters is None:
                chains, sets = tuple((family, name, "") for family, name, _ in chains), None
            compared = more.get("compared") is True and counters is not None
            known = (chains, counts_of(data), _node(data), sets, more.get("saved") is not False, counters, compared)
            record = ActiveGeneration(id_, when, kernel_generation, *known)
            since, until = _commits(run_dir) or (0, 0)
            return replace(record, kernel_generation=until) if since == kernel_generation else record, ()
        case _:
            return None, (garbage(path),)


def record_stamp(run_dir: Path) -> tuple[int, ...] | None:
    """A stamp that changes whenever the record is written; empty without a record, None where it cannot be told now."""
    path = run_dir / _GENERATION
    try:
        with reading(path):
            info = path.stat()
    except Unreadable:
        return None
    except OSError:
        return ()
    return info.st_ino, info.st_mtime_ns, info.st_size


def forget_active(run_dir: Path) -> None:
    """Remember that nothing of ours is in force. Raises StateError."""
    with saving("the record of the generation in force"):
        (run_dir / _GENERATION).unlink(missing_ok=True)


def note_commit(run_dir: Path, since: int) -> None:
    """Note that the commit after a generation of nftables was ours and changed members alone.

    What a disk does not take is not noted.
    """
    with suppress(HostError), saving("a commit"):
        first, until = _commits(run_dir) or (since, since)
        span = [first if until == since else since, since + 1]
        write_atomically(run_dir / _COMMITS, to_json_of_many(namespace=network_namespace(), span=span))


def _commits(run_dir: Path) -> tuple[int, int] | None:
    """The generations of nftables between which only we committed, and only members."""
    data, _ = load_json(run_dir / _COMMITS)
    match data:
        case {"format": 1, "namespace": int(namespace), "span": [int(since), int(until)]} if (
            namespace == network_namespace()
        ):
            return since, until
        case _:
            return None


def note_begun(run_dir: Path) -> None:
    """Note that a change of our tables in this network namespace has begun. What a disk does not take is not noted."""
    with suppress(OSError, Unreadable):
        run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        (run_dir / _BEGUN).write_text(f"{network_namespace()}\n", encoding="ascii")


def has_begun(run_dir: Path) -> bool:
    """True if a change of our tables in this network namespace did not end, so that they may hold parts of it.

    Raises Unreadable.
    """
    path = run_dir / _BEGUN
    try:
        with reading(path):
            return path.read_text(encoding="ascii").strip() == str(network_namespace())
    except (OSError, ValueError):
        return False


def forget_begun(run_dir: Path) -> None:
    """Note that our tables are as they were written."""
    with suppress(OSError):
        (run_dir / _BEGUN).unlink(missing_ok=True)


def note_links(run_dir: Path, links: Mapping[tuple[TableFamily, str], tuple[int, ...]]) -> None:
    """Note the indices that our sets of interfaces hold. What a disk does not take is not noted."""
    held = {family.nft: {name: indices for (of, name), indices in links.items() if of is family} for family in FAMILIES}
    try:
        with saving("the interfaces that are governed"):
            run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
            content = to_json_of_many(namespace=network_namespace(), links=held)
            write_atomically(run_dir / _LINKS, content)
    except HostError:
        forget_links(run_dir)


def noted_links(run_dir: Path) -> Mapping[tuple[TableFamily, str], tuple[int, ...]] | None:
    """The indices that our sets of interfaces hold, None where that is not known. Raises Unreadable."""
    data, _ = load_json(run_dir / _LINKS)
    match data:
        case {"format": 1, "namespace": int(namespace), "links": {"ip": dict(), "ip6": dict()} as links} if (
            namespace == network_namespace()
        ):
            return {(family, name): tuple(indices) for family, of in _tables(links) for name, indices in of.items()}
        case _:
            return None


def forget_links(run_dir: Path) -> None:
    """Note that it is not known what our sets of interfaces hold, as while they change."""
    with suppress(OSError):
        (run_dir / _LINKS).unlink(missing_ok=True)


_Named = tuple[tuple[TableFamily, str, str], ...]


def _objects(record: Mapping[Any, Any], *, head: bool) -> tuple[_Named, _Named | None] | None:
    """The chains and the sets of a record, none of them for its head; None if it has none that can be read.

    Releases of before wrote them as they are.
    """
    match record:
        case {"objects": str()} if head:
            return (), None
        case {"objects": str(packed)}:
            return _objects(_unpacked(packed), head=False)
        case {"chains": {"ip": dict(), "ip6": dict()} as chains}:
            return ((), None) if head else (_named(chains), _sets(record))
        case _:
            return None


def _packed(objects: Mapping[str, object]) -> str:
    return b64encode(zlib.compress(json.dumps(objects).encode(), _LEVEL)).decode()


def _unpacked(packed: str) -> Mapping[object, object]:
    """The objects that were packed; none where they cannot be told."""
    try:
        content = zlib.decompressobj().decompress(b64decode(packed, validate=True), _MOST_BYTES)
        found = json.loads(content)
    except (binascii.Error, ValueError, RecursionError, zlib.error):
        return {}
    return {name: named for name, named in found.items() if name != "objects"} if isinstance(found, dict) else {}


def _by_family(named: tuple[tuple[TableFamily, str, str], ...]) -> dict[str, dict[str, str]]:
    found = {family.nft: {name: text for of, name, text in named if of is family} for family in TABLE_FAMILIES}
    return {table: of for table, of in found.items() if of or table != BRIDGE.nft}


def _tables(by_table: Mapping[str, dict[str, Any]]) -> Iterator[tuple[TableFamily, dict[str, Any]]]:
    """The records of each table; an older one has none of bridges."""
    return ((family, by_table.get(family.nft, {})) for family in TABLE_FAMILIES)


def _named(by_table: dict[str, dict[str, Any]]) -> tuple[tuple[TableFamily, str, str], ...]:
    return tuple((family, str(name), str(text)) for family, of in _tables(by_table) for name, text in of.items())


def _sets(data: object) -> tuple[tuple[TableFamily, str, str], ...] | None:
    match data:
        case {"sets": {"ip": dict(), "ip6": dict()} as sets}:
            return _named(sets)
        case _:
            return None


def _counters(data: object) -> tuple[tuple[TableFamily, str], ...] | None:
    match data:
        case {"counters": {"ip": str(), "ip6": str()} as counters}:
            return tuple((family, str(counters[family.nft])) for family in TABLE_FAMILIES if family.nft in counters)
        case _:
            return None


def _node(data: object) -> str:
    match data:
        case {"node": str(node)}:
            return node
        case _:
            return ""


def network_namespace() -> int:
    """The inode of our network namespace: a record of another, in a shared run directory, says nothing of ours.

    Raises Unreadable.
    """
    with reading(_NAMESPACE):
        return _NAMESPACE.stat().st_ino
