"""Our tables in the kernel, as far as a change needs to know them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hostfw.model.values import TableFamily
from hostfw.nft.deletion import DeletionKind
from hostfw.nft.objects import BaseChain, Table


@dataclass(frozen=True, slots=True)
class InstalledBaseChain:
    """A base chain in the kernel: whether it drops by policy, its number of rules, and the last one's comment.

    Those are the rules that packets meet, up to one that is `final`, if there is one; `hidden` is how many stand behind
    it. `handles` are of all rules, in order, where they are known.

    One that is `misplaced` has the name of a base chain of ours and is attached elsewhere or nowhere, or drops by
    policy where none of ours does; `handle` is its own.
    """

    policy_drop: bool
    rules: int
    comment: str
    final: bool = True
    hidden: int = 0
    handles: tuple[int, ...] = field(default=(), compare=False)
    misplaced: bool = False
    handle: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class InstalledTable:
    """One of our tables in the kernel, by the names of its objects.

    `suspect` are the chains, base chains among them, that may not hold what their names or comments say: changed by
    another program, or there before we keep a record. Those that are still wanted are written again. `unfilled` are the
    big sets among `sets` whose filling was cut short, `altered` the sets and maps to which another program gave other
    elements, and `misdeclared` those whose names it gave to something else. A `dormant` table is met by no packet.
    `others` are objects of kinds that hostfw never makes. Only its `owner` may change a table that has one, and nobody
    one that is `abandoned` by it, which goes first; so does one that is `commented`, or has such a chain.
    """

    family: TableFamily
    counters: frozenset[str] = frozenset()
    sets: frozenset[str] = frozenset()
    maps: frozenset[str] = frozenset()
    chains: frozenset[str] = frozenset()
    base_chains: Mapping[str, InstalledBaseChain] = field(default_factory=dict)
    suspect: frozenset[str] = frozenset()
    unfilled: frozenset[str] = frozenset()
    altered: frozenset[str] = frozenset()
    misdeclared: frozenset[str] = frozenset()
    dormant: bool = False
    others: tuple[tuple[DeletionKind, str], ...] = ()
    owner: str = ""
    abandoned: bool = False
    commented: bool = False

    @property
    def goes_first(self) -> bool:
        """True if it has to be deleted and made again, since what is wrong with it cannot be changed."""
        return self.abandoned or self.commented


def as_installed(chain: BaseChain) -> InstalledBaseChain:
    """The kernel's view of a base chain once it is in force."""
    if not chain.rules:
        return InstalledBaseChain(chain.policy_drop, 0, "", final=False)
    last = chain.rules[-1]
    return InstalledBaseChain(chain.policy_drop, len(chain.rules), last.comment, last.is_final)


def missing_objects(desired: Table, installed: InstalledTable) -> Table:
    """The objects of a table that are not installed, without its base chains."""
    names = desired.names
    counters, sets, maps, chains = (
        names.counters - installed.counters,
        names.sets - installed.sets,
        names.maps - installed.maps,
        names.chains - installed.chains,
    )
    return Table(
        desired.family,
        tuple([name for name in desired.counters if name in counters]) if counters else (),
        tuple([one for one in desired.sets if one.name in sets]) if sets else (),
        tuple([one for one in desired.maps if one.name in maps]) if maps else (),
        tuple([one for one in desired.chains if one.name in chains]) if chains else (),
    )
