"""Caches of a long-lived engine, so that a reload costs only what changed.

One-shot commands have no cache and compute everything; with a cache the results are the same, byte for byte. It belongs
to the owner of the engine and is used by one thread. It holds the parts of the last generation; unused ones are dropped
with the next generation. Every entry is verified from outside: files by their content, the host by its facts, and the
kernel by nftables' own generation, which every commit changes.
"""

from dataclasses import dataclass, field
from pathlib import Path

from hostfw.build.candidate import Candidate, CandidateCache
from hostfw.build.generation import GenerationCache
from hostfw.host.store.generations.active import ActiveGeneration, load_active, record_stamp
from hostfw.host.store.generations.generations import Accepted, accepted_stamp, read_accepted, save_accepted
from hostfw.host.store.members.sleep import SleepSoFar
from hostfw.model.host.governance import Governance
from hostfw.model.problems import Problem
from hostfw.nft.declarations import SetName
from hostfw.nft.installed import InstalledTable
from hostfw.nft.objects import Ruleset


@dataclass(frozen=True, slots=True)
class LastCommit:
    """Our tables in the kernel after our last commit, when nftables was at `kernel_generation`.

    `record` is its record; `stamp` shows whether that file is still the one that we wrote.
    """

    kernel_generation: int
    ruleset: Ruleset
    installed: tuple[InstalledTable, ...]
    record: ActiveGeneration
    stamp: tuple[int, ...]


@dataclass(slots=True)
class Done:
    """Knowledge about completed steps, which stays valid if the work fails later.

    `stamp` is that of the record of what is in force after it was written, or could not be, None where it never was;
    `owed` is the record that could not be. `unsaved` is whether what is in force was accepted and could not be written
    down as that. `begun` is whether a change of the kernel was begun and did not end, so that it holds parts of it.
    `unsettled` is what is wrong with the ends of members of external sets, and `asleep` are moments at which the
    service knew how long the host had slept, the latest last.
    """

    stamp: tuple[int, ...] | None = None
    owed: ActiveGeneration | None = None
    unsaved: bool = False
    begun: bool = False
    unsettled: str = ""
    asleep: tuple[SleepSoFar, ...] = ()


@dataclass(slots=True)
class EngineCache:
    """The last results: what was read, built, sent and accepted."""

    candidate: CandidateCache = field(default_factory=CandidateCache)
    generation: GenerationCache = field(default_factory=GenerationCache)
    last_commit: LastCommit | None = None
    accepted: tuple[tuple[int, ...], Accepted] | None = None
    feeds: tuple[Candidate, Accepted, Candidate] | None = None
    governance: tuple[int, Governance] | None = None
    done: Done = field(default_factory=Done)
    links: dict[SetName, tuple[int, ...]] | None = None


def cached_governance(cache: EngineCache | None) -> tuple[int, Governance] | None:
    """The standing record as it was last read or written, with the number of its generation."""
    return None if cache is None else cache.governance


def accepted_now(state_dir: Path, cache: EngineCache | None) -> tuple[Accepted | None, tuple[Problem, ...]]:
    """The accepted generation, read only if it is another than the cached one. Raises Unreadable."""
    stamp = accepted_stamp(state_dir)
    if cache is not None and cache.accepted is not None and stamp and cache.accepted[0] == stamp:
        return cache.accepted[1], ()
    accepted, problems = read_accepted(state_dir)
    if cache is not None and accepted is not None and not problems:
        cache.accepted = stamp, accepted
    return accepted, problems


def record_now(run_dir: Path, cache: EngineCache | None) -> ActiveGeneration | None:
    """The record of what is in force, read only if it is another than the cached one. Raises Unreadable."""
    held = cache.last_commit if cache is not None else None
    if held is not None and held.stamp and held.stamp == record_stamp(run_dir):
        return held.record
    return load_active(run_dir)[0]


def accept(
    state_dir: Path, generation: Accepted, governance: Governance, cache: EngineCache | None, *, anew: bool
) -> None:
    """Make a generation the accepted one with its record, and remember it. Raises StateError.

    With `anew` what is stored is damaged, and nothing of it is used.
    """
    save_accepted(state_dir, generation, governance, anew=anew)
    if cache is not None:
        cache.accepted = accepted_stamp(state_dir), generation
