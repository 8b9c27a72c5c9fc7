"""Caches of a long-lived engine, so that a reload costs only what changed.

One-shot commands have no cache and compute everything; with a cache the results are the same, byte for byte. It belongs
to the owner of the engine and is used by one thread. It holds the parts of the last generation; unused ones are dropped
with the next generation. Every entry is verified from outside: files by their content, the host by its facts, and the
kernel by nftables' own generation, which every commit changes.
"""

from dataclasses import dataclass, field
from pathlib import Path

from hostfw.build.candidate import Inspected, Inspection
from hostfw.build.generation import Building
from hostfw.host.store.active import InForce
from hostfw.host.store.generations import Accepted, accepted_stamp, load_accepted, save_accepted
from hostfw.model.governance import Governance
from hostfw.model.problems import Problem
from hostfw.nft.declarations import SetName
from hostfw.nft.installed import InstalledTable
from hostfw.nft.objects import Ruleset


@dataclass(frozen=True, slots=True)
class Held:
    """Our tables in the kernel after our last commit, when nftables was at `kernel_generation`.

    `record` is its record; `stamp` shows whether that file is still the one that we wrote.
    """

    kernel_generation: int
    ruleset: Ruleset
    installed: tuple[InstalledTable, ...]
    record: InForce
    stamp: tuple[int, ...]


@dataclass(slots=True)
class Done:
    """Knowledge about completed steps, which stays valid if the work fails later.

    `stamp` is that of the record of what is in force after it was written, or could not be, None where it never was;
    `owed` is the record that could not be. `unsaved` is whether what is in force was accepted and could not be written
    down as that. `begun` is whether a change of the kernel was begun and did not end, so that it holds parts of it.
    """

    stamp: tuple[int, ...] | None = None
    owed: InForce | None = None
    unsaved: bool = False
    begun: bool = False


@dataclass(slots=True)
class Memory:
    """The last results: what was read, built, sent and accepted."""

    inspection: Inspection = field(default_factory=Inspection)
    building: Building = field(default_factory=Building)
    held: Held | None = None
    accepted: tuple[tuple[int, ...], Accepted] | None = None
    believed: tuple[Inspected, Accepted, Inspected] | None = None
    governance: tuple[int, Governance] | None = None
    done: Done = field(default_factory=Done)
    links: dict[SetName, tuple[int, ...]] | None = None


def accepted_now(state_dir: Path, memory: Memory | None) -> tuple[Accepted | None, tuple[Problem, ...]]:
    """The accepted generation, read only if it is another than that of the memory."""
    stamp = accepted_stamp(state_dir)
    if memory is not None and memory.accepted is not None and stamp and memory.accepted[0] == stamp:
        return memory.accepted[1], ()
    accepted, problems = load_accepted(state_dir)
    if memory is not None and accepted is not None and not problems:
        memory.accepted = stamp, accepted
    return accepted, problems


def accept(state_dir: Path, generation: Accepted, governance: Governance, memory: Memory | None, *, anew: bool) -> None:
    """Make a generation the accepted one with its record, and remember it. Raises StateError.

    With `anew` what is stored is damaged, and nothing of it is used.
    """
    save_accepted(state_dir, generation, governance, anew=anew)
    if memory is not None:
        memory.accepted = accepted_stamp(state_dir), generation
