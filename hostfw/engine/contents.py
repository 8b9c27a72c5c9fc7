"""Sets and maps that are not what their names say: declared otherwise, or with other elements.

Another program changes elements without a trace in any rule. Whether it did is asked only where nftables has moved on
since our last commit and nobody heard what it was: the service hears, and `hostfwctl` compares nftables' generation
with the one on record. A set of at most `READ_WHOLE` elements is read and compared by digest. A bigger one is compared
by the number of its elements, where the kernel tells it, and by some of its elements, where these are known.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from hostfw.engine.fills import keys_of
from hostfw.engine.host import Host
from hostfw.host.in_force import InForce
from hostfw.host.nf_tables import KernelSet
from hostfw.host.nftables import Nftables
from hostfw.host.set_contents import load_content
from hostfw.host.set_digests import READ_WHOLE
from hostfw.host.tables import KernelTable, KernelTables
from hostfw.model.values import FAMILIES, Family
from hostfw.nft.declarations import SetName, declarations_of, fixed_contents
from hostfw.nft.objects import Ruleset, Set, Table, VerdictMap

_DIGEST = re.compile(r"\.([0-9a-f]{12})$")
_ADDRESS_BYTES = {Family.V4: 4, Family.V6: 16}


def is_heard(tables: KernelTables, record: InForce | None) -> bool:
    """Whether nobody has committed anything since the commit on record."""
    return record is not None and record.kernel_generation == tables.generation


def misdeclared(tables: KernelTables, wanted: Ruleset) -> frozenset[SetName]:
    """The sets and maps of a ruleset whose names another program has given to something else."""
    return frozenset(
        (table.family, name) for table in wanted.tables for name in _misdeclared(tables.of(table.family), table)
    )


def altered(tables: KernelTables, wanted: Ruleset, host: Host, nftables: Nftables) -> frozenset[SetName]:
    """The sets and maps of a ruleset that the kernel has, with other elements. Raises HostError."""
    found: set[SetName] = set()
    small: list[tuple[Family, KernelSet]] = []
    for table in wanted.tables:
        there = {one.name: one for one in tables.of(table.family).sets}
        for contents in fixed_contents(table):
            one = there.get(contents.name)
            if one is None:
                continue
            if not _is_known_by_mark(contents, there) and len(contents.elements) <= READ_WHOLE:
                small.append((table.family, one))
            elif isinstance(contents, Set) and _differs(table.family, contents, one, there, nftables):
                found.add((table.family, contents.name))
    return frozenset((*found, *_with_other_digests(host, small)))


def altered_by_name(tables: KernelTables, host: Host, run_dir: Path) -> frozenset[SetName]:
    """The sets and maps of ours that do not hold what their names say, whatever the ruleset is. Raises HostError."""
    found: set[SetName] = set()
    small: list[tuple[Family, KernelSet]] = []
    for family in FAMILIES:
        there = tables.of(family).sets
        marks = {one.name.rpartition("/")[0]: one.name.rpartition("/")[2] for one in there if not one.is_map}
        for one in there:
            if one.is_anonymous or one.is_dynamic or _DIGEST.search(one.name) is None:
                continue
            if one.name in marks:
                content = load_content(run_dir, marks[one.name])
                if content is not None and one.count not in (None, len(content) // _ADDRESS_BYTES[family]):
                    found.add((family, one.name))
            elif one.size is None or one.size <= READ_WHOLE:
                small.append((family, one))
            elif one.count not in (None, one.size):
                found.add((family, one.name))
    return frozenset((*found, *_with_other_digests(host, small)))


def _with_other_digests(host: Host, sets: list[tuple[Family, KernelSet]]) -> Iterator[SetName]:
    if not sets:
        return
    digests = host.read_digests(sets)
    for family, one in sets:
        digest, named = digests.get((family, one.name)), _DIGEST.search(one.name)
        if digest is not None and named is not None and digest != named[1]:
            yield family, one.name


def _is_known_by_mark(contents: Set | VerdictMap, there: dict[str, KernelSet]) -> bool:
    """Whether it is a set apart, whose mark says what it holds."""
    return isinstance(contents, Set) and contents.apart and contents.name in there


def _differs(family: Family, wanted: Set, one: KernelSet, there: dict[str, KernelSet], nftables: Nftables) -> bool:
    """Whether a big set has other elements than it should; one with the mark of another content is yet to be edited."""
    if wanted.apart and wanted.mark not in there:
        return False
    if one.count is None and not wanted.apart:
        # It cannot be told from one whose filling was cut short, which is filled up.
        return False
    return one.count not in (None, len(wanted.elements)) or not nftables.is_filled(family, wanted.name, keys_of(wanted))


def _misdeclared(there: KernelTable, wanted: Table) -> Iterator[str]:
    found = {one.name: one.declaration for one in there.sets}
    for name, declared in declarations_of(wanted):
        if found.get(name, declared) != declared:
            yield name
