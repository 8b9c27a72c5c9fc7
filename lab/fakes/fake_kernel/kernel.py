"""An nftables in memory that behaves as the kernel and nft do, for the scripts that hostfw writes."""

import errno
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from hostfw.host.netlink.messages import NetlinkError
from hostfw.host.nftables.nf_tables import DORMANT, KernelCounter, KernelSet
from hostfw.host.nftables.sets.elements import Edit, Keys
from hostfw.host.nftables.sets.set_reloading import Contents
from hostfw.host.nftables.tables import KernelTable, KernelTables, Names
from hostfw.host.nftables.writing.script_runner import NftFailure, NftResult
from hostfw.model.prefixes import PackedAddresses
from hostfw.model.values import TABLE_FAMILIES, TableFamily
from hostfw.nft.amendment import Amendment
from hostfw.nft.declarations import SetName
from hostfw.nft.deletion import Deletion
from hostfw.nft.object_text import DIGEST_CHARACTERS, additions
from hostfw.nft.objects import Set, Table
from hostfw.nft.timed_edit import TimedEdit
from lab.fakes.fake_kernel.script import run_script
from lab.fakes.fake_kernel.tables import Object, Refused, TableObjects, copied, empty_table, kernel_chain, kernel_set


class FakeKernel:
    """Our two tables in memory: an `Nftables` and a `Tables` that agree with each other.

    It takes the scripts that `nft.object_text` and `nft.change` write, each as one transaction, and refuses references
    to what is not there and deletions of what is in use. `failures` are given out, one a request, before anything is
    done; `committed` has the scripts that took effect.
    """

    def __init__(self) -> None:
        self.generation = 1
        self.committed: list[str] = []
        self.checked: list[str] = []
        self.failures: deque[NftResult | NftFailure] = deque()
        self.closed = False
        self.elements: dict[tuple[TableFamily, str], Keys] = {}
        self.edits: list[Edit] = []
        self._tables: dict[TableFamily, TableObjects] = {}

    def check(self, script: str) -> NftResult:
        """Check that the script would take effect now."""
        self.checked.append(script)
        return self._failure() or self._run(script)[0]

    def commit(self, script: str) -> NftResult:
        """Let the script take effect, or none of it."""
        if failure := self._failure():
            return failure
        result = self.meddle(script)
        if result.ok:
            self.committed.append(script)
        return result

    def meddle(self, script: str) -> NftResult:
        """Let a script take effect as by another program: it counts as a change and not among `committed`."""
        result, tables = self._run(script)
        if result.ok:
            self._tables = tables
            self.generation += 1
        return result

    def add_elements(self, family: TableFamily, set_name: str, keys: Keys) -> int:
        """Keep the elements of a set that there is, by one commit; `elements` has them."""
        if set_name not in self._tables.get(family, empty_table())["set"]:
            raise NetlinkError(errno.ENOENT, f"adding {len(keys)} elements to the set {set_name}")
        self.elements[family, set_name] = keys
        self.generation += 1
        return 1

    def is_loaded(self, family: TableFamily, set_name: str, keys: Keys) -> bool:
        """True if the set was given these elements since it was declared."""
        there = set_name in self._tables.get(family, empty_table())["set"]
        return there and self.elements.get((family, set_name)) == keys

    def replace_elements(self, family: TableFamily, set_name: str, edit: Edit) -> None:
        """Edit the elements of a set that there is, and its marks."""
        table = self._tables.get(family, empty_table())
        if not {set_name, *edit.unmark} <= table["set"].keys():
            raise NetlinkError(errno.ENOENT, f"editing the set {set_name}")
        width = edit.added.width
        data = b"" if edit.deleted is None else self.elements[family, set_name].data
        held = {data[start : start + width] for start in range(0, len(data), width)}
        for part, change in ((edit.deleted, held.discard), (edit.added, held.add)):
            for place in range(len(part or ())):
                change((part or edit.added).part(place, place + 1).data)
        self.elements[family, set_name] = Keys(b"".join(sorted(held)), width)
        self.edits.append(edit)
        for mark in edit.unmark:
            del table["set"][mark]
        table["set"][edit.mark] = Object()
        self.generation += 1

    def reload_sets(self, contents: Sequence[Contents]) -> None:
        """Give sets and maps that are there the lines that declare this content, all or none."""
        kinds = ["set" if isinstance(one, Set) else "map" for _, one in contents]
        for kind, (family, one) in zip(kinds, contents, strict=True):
            if one.name not in self._tables.get(family, empty_table())[kind]:
                raise NetlinkError(errno.ENOENT, f"filling {one.name} again")
        for kind, (family, one) in zip(kinds, contents, strict=True):
            if isinstance(one.elements, PackedAddresses):
                self.elements[family, one.name] = Keys(one.elements.data, one.elements.width)
            self._tables[family][kind][one.name].lines.clear()
        tables = [
            Table(family, sets=(one,)) if isinstance(one, Set) else Table(family, maps=(one,))
            for family, one in contents
        ]
        if tables:
            self.meddle("".join(additions(table, Table(table.family)) for table in tables))

    def edit_timed(self, edits: Sequence[TimedEdit]) -> None:
        """Keep edits of sets that there are among `committed`, in nft's words."""
        for edit in edits:
            if edit.set_name not in self._tables.get(edit.family, empty_table())["set"]:
                raise NetlinkError(errno.ENOENT, f"changing members of {edit.set_name}")
        try:
            failure = self._failure()
        except NftFailure as of_worker:
            raise NetlinkError(errno.EBUSY, "changing members") from of_worker
        if failure and not failure.ok:
            raise NetlinkError(errno.EBUSY, "changing members")
        self.committed.append("".join(map(str, edits)))
        self.generation += 1

    def amend(self, amendments: Iterable[Amendment]) -> None:
        """Rename chains and wake tables, which is kept among `committed` in nft's words."""
        script = "".join(f"{amendment}\n" for amendment in amendments)
        result = self.commit(script) if script else NftResult(ok=True)
        if not result.ok:
            raise NetlinkError(errno.ENOENT, script.splitlines()[(result.line or 1) - 1])

    def activate(self, deletions: Iterable[Deletion], generation: int) -> None:
        """Delete rules in one transaction, which is kept among `committed` in nft's words."""
        if generation != self.generation:
            raise NetlinkError(errno.ERESTART, "switching")
        self.delete(deletions)

    def delete(self, deletions: Iterable[Deletion]) -> None:
        """Delete in one transaction, which is kept among `committed` in nft's words."""
        script = "".join(f"{deletion}\n" for deletion in deletions)
        try:
            result = self.commit(script)
        except NftFailure as failure:
            raise NetlinkError(errno.EBUSY if failure.unchanged else errno.ETIMEDOUT, "deleting") from failure
        if not result.ok:
            raise NetlinkError(errno.EBUSY, script.splitlines()[(result.line or 1) - 1])

    def close(self) -> None:
        """Note that the worker was given back."""
        self.closed = True

    def read_tables(self) -> KernelTables:
        """Everything but elements."""
        return KernelTables(self.generation, *(self._kernel_table(family, regular=True) for family in TABLE_FAMILIES))

    def read_names(self) -> KernelTables:
        """The same, but of regular chains only their names."""
        return KernelTables(self.generation, *(self._kernel_table(family, regular=False) for family in TABLE_FAMILIES))

    def read_sets(self) -> KernelTables:
        """The sets and maps alone."""
        there = (self._kernel_table(family, regular=False) for family in TABLE_FAMILIES)
        return KernelTables(self.generation, *(KernelTable(one.family, one.exists, sets=one.sets) for one in there))

    def read_some(self, names: Mapping[TableFamily, Names]) -> KernelTables:
        """Only these, as far as they are there."""
        return KernelTables(
            self.generation, *(self._some(family, names.get(family, Names())) for family in TABLE_FAMILIES)
        )

    def read_digests(self, sets: Iterable[tuple[TableFamily, KernelSet]]) -> Mapping[SetName, str]:
        """The digest that a name carries of what a set or map holds: of its lines, and of elements that came apart."""
        return {(family, one.name): self._digest(family, one) for family, one in sets}

    def _digest(self, family: TableFamily, one: KernelSet) -> str:
        lines = [str(line) for line in self._tables[family]["map" if one.is_map else "set"][one.name].lines]
        keys = self.elements.get((family, one.name))
        if keys is not None:
            lines = [f"size {len(keys)}" if line.startswith("size ") else line for line in lines]
            lines.append(sha256(keys.data).hexdigest())
        return sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()[:DIGEST_CHARACTERS]

    def read_generation(self) -> int:
        """Moves with every script that takes effect."""
        return self.generation

    def lines(self, family: TableFamily, kind: str, name: str) -> tuple[str, ...]:
        """The rules of a chain, or the lines that declare a set or map, as they were written."""
        return tuple(self._tables[family][kind][name].lines)

    def count(self, family: TableFamily, counter: str, packets: int) -> None:
        """Let traffic pass a counter."""
        self._tables[family]["counter"][counter].packets += packets

    def _failure(self) -> NftResult | None:
        if not self.failures:
            return None
        failure = self.failures.popleft()
        if isinstance(failure, NftFailure):
            raise failure
        return failure

    def _run(self, script: str) -> tuple[NftResult, dict[TableFamily, TableObjects]]:
        tables = copied(self._tables)
        try:
            run_script(script, tables)
        except Refused as refused:
            return NftResult(
                ok=False, error=f"{refused.line}:1-1: Error: {refused.reason}\n", line=refused.line, column=1
            ), {}
        return NftResult(ok=True), tables

    def _some(self, family: TableFamily, names: Names) -> KernelTable:
        whole = self._kernel_table(family, regular=True)
        return replace(
            whole,
            chains=tuple(chain for chain in whole.chains if chain.name in names.chains),
            sets=tuple(one for one in whole.sets if one.name in names.sets),
            counters=tuple(counter for counter in whole.counters if counter.name in names.counters),
        )

    def _kernel_table(self, family: TableFamily, *, regular: bool) -> KernelTable:
        table = self._tables.get(family)
        if table is None:
            return KernelTable(family)
        return KernelTable(
            family,
            exists=True,
            chains=tuple(kernel_chain(name, chain, regular=regular) for name, chain in table["chain"].items()),
            sets=tuple(kernel_set(name, one, family) for kind in ("set", "map") for name, one in table[kind].items()),
            counters=tuple(KernelCounter(name, counter.packets, 0) for name, counter in table["counter"].items()),
            flags=DORMANT if "dormant" in table["flag"] else 0,
        )
