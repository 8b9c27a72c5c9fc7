"""Sets and maps that are not what their names say: declared otherwise, or with other elements.

Another program may change elements without a trace in any rule. This is checked only where nftables' generation has
changed since our last commit for an unknown reason: the service listens to transactions, and `hostfwctl` compares the
generation with the one on record. A set of at most `READ_WHOLE` elements is read and compared by digest. A bigger one
is compared by the number of its elements, where the kernel tells it, and by some of its elements, where these are
known.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from hostfw.engine.context import Host
from hostfw.engine.kernel.deploy.set_loading import keys_of
from hostfw.host.nftables.nf_tables import KernelSet
from hostfw.host.nftables.sets.set_digests import READ_WHOLE
from hostfw.host.nftables.tables import KernelTable, KernelTables
from hostfw.host.nftables.writing.script_runner import Nftables
from hostfw.host.store.generations.active import ActiveGeneration, noted_links
from hostfw.host.store.members.set_contents import load_content
from hostfw.model.prefixes import PackedAddresses
from hostfw.model.values import TABLE_FAMILIES, TableFamily, ip_version
from hostfw.nft.declarations import SetName, declarations_of, fixed_contents
from hostfw.nft.object_text import elements_digest
from hostfw.nft.objects import LINKS, ElementType, Ruleset, Set, Table, VerdictMap, is_of_links

_DIGEST = re.compile(r"\.([0-9a-f]{12})$")


def is_unchanged_since(tables: KernelTables, record: ActiveGeneration | None) -> bool:
    """True if nobody has committed anything since the commit on record."""
    return record is not None and record.kernel_generation == tables.generation


def misdeclared(tables: KernelTables, wanted: Ruleset) -> frozenset[SetName]:
    """The sets and maps of a ruleset whose names another program has given to something else."""
    return frozenset(
        (table.family, name) for table in wanted.tables for name in _misdeclared(tables.of(table.family), table)
    )


def altered(tables: KernelTables, wanted: Ruleset, host: Host, nftables: Nftables) -> frozenset[SetName]:
    """The sets and maps of a ruleset that the kernel has, with other elements. Raises HostError."""
    found: set[SetName] = set()
    read: list[_Expected] = []
    for table in wanted.tables:
        there = {one.name: one for one in tables.of(table.family).sets}
        for contents in fixed_contents(table):
            one = there.get(contents.name)
            if one is None:
                continue
            if len(contents.elements) <= READ_WHOLE:
                if (digest := _expected(table.family, contents, there)) is not None:
                    read.append((table.family, one, digest))
            elif isinstance(contents, Set) and _differs(table.family, contents, one, there, nftables):
                found.add((table.family, contents.name))
    return frozenset((*found, *_with_other_digests(host, read)))


def altered_by_name(tables: KernelTables, host: Host, run_dir: Path) -> frozenset[SetName]:
    """The sets and maps of ours that do not hold what their names say, whatever the ruleset is. Raises HostError."""
    found: set[SetName] = set()
    read: list[_Expected] = []
    for family in TABLE_FAMILIES:
        there = tables.of(family).sets
        marks = {one.name.rpartition("/")[0]: one.name.rpartition("/")[2] for one in there if not one.is_map}
        for one in there:
            named = _DIGEST.search(one.name)
            if one.is_anonymous or one.is_dynamic or named is None:
                continue
            digest, count = named[1], one.size
            if one.name in marks:
                content = load_content(run_dir, marks[one.name])
                if content is None:
                    continue
                packed = PackedAddresses(ip_version(family), content)
                digest, count = _digest_of(family, packed, one.comment), len(packed)
            if count is None or count <= READ_WHOLE:
                read.append((family, one, digest))
            elif one.count not in (None, count):
                found.add((family, one.name))
    return frozenset((*found, *_with_other_digests(host, read)))


def altered_links(tables: KernelTables, host: Host, run_dir: Path) -> frozenset[SetName]:
    """The sets of interface indices that do not hold what was noted, or contradict each other. Raises HostError.

    No name says what they hold. Both families hold the same of a HostEndpoint, and the set of all holds what those of
    HostEndpoints do. What is only so while the service writes is not so the next time.
    """
    names = [(family, one.name) for family in TABLE_FAMILIES for one in tables.of(family).sets if is_of_links(one.name)]
    found = _altered_links(names, host, run_dir) if names else frozenset()
    return found & _altered_links(names, host, run_dir) if found else found


def _altered_links(names: list[SetName], host: Host, run_dir: Path) -> frozenset[SetName]:
    noted = noted_links(run_dir) or {}
    links = host.read_links(names)
    return _contradictions(links) | {name for name, held in links.items() if noted.get(name, held) != held}


def _contradictions(links: Mapping[SetName, tuple[int, ...]]) -> frozenset[SetName]:
    found: set[SetName] = set()
    for (family, name), indices in links.items():
        others = [other for other in TABLE_FAMILIES if other is not family and (other, name) in links]
        found.update((family, name) for other in others if links[other, name] != indices)
        if name != LINKS and not set(indices) <= set(links.get((family, LINKS), indices)):
            found.add((family, name))
    for family in TABLE_FAMILIES:
        of_endpoints = [of for (at, name), of in links.items() if at is family and name != LINKS]
        everything = links.get((family, LINKS))
        if everything is not None and of_endpoints and set(everything) != set().union(*map(set, of_endpoints)):
            found.add((family, LINKS))
    return frozenset(found)


_Expected = tuple[TableFamily, KernelSet, str]
"""A set or map, and the digest of what it should hold."""


def _with_other_digests(host: Host, sets: list[_Expected]) -> Iterator[SetName]:
    digests = host.read_digests((family, one) for family, one, _ in sets) if sets else {}
    for family, one, expected in sets:
        if digests.get((family, one.name), expected) != expected:
            yield family, one.name


def _expected(family: TableFamily, wanted: Set | VerdictMap, there: dict[str, KernelSet]) -> str | None:
    """The digest of what a set or map should hold; None of a set apart that is yet to be edited."""
    if isinstance(wanted, Set) and isinstance(wanted.elements, PackedAddresses) and wanted.edited_in_place:
        return _digest_of(family, wanted.elements, wanted.comment) if wanted.mark in there else None
    named = _DIGEST.search(wanted.name)
    return None if named is None else named[1]


def _digest_of(family: TableFamily, addresses: PackedAddresses, comment: str) -> str:
    """The digest that is read of a set of these addresses, whatever it has room for."""
    return elements_digest(Set("", ElementType.ADDRESS, addresses, comment=comment), family)


def _differs(family: TableFamily, wanted: Set, one: KernelSet, there: dict[str, KernelSet], nftables: Nftables) -> bool:
    """True if a big set has other elements than it should; one with the mark of another content is yet to be edited."""
    if wanted.edited_in_place and wanted.mark not in there:
        return False
    if one.count is None and not wanted.edited_in_place:
        # It cannot be told from one whose filling was cut short, which is filled up.
        return False
    return one.count not in (None, len(wanted.elements)) or not nftables.is_loaded(family, wanted.name, keys_of(wanted))


def _misdeclared(there: KernelTable, wanted: Table) -> Iterator[str]:
    found = {one.name: one.declaration for one in there.sets}
    for name, declared in declarations_of(wanted):
        if found.get(name, declared) != declared:
            yield name
