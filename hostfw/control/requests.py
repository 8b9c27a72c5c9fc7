"""What is asked of the one who writes, and what comes of it: one pair of values a verb, whoever carries it out."""

from dataclasses import dataclass

from hostfw.engine.generation import Refused
from hostfw.engine.outcomes import Applied, Confirmed, Failed, NothingPending, TakenBack, TooLate
from hostfw.host.pending import Pending
from hostfw.host.processes import Ancestor
from hostfw.model.problems import Problem
from hostfw.model.sources import Configuration
from hostfw.nft.change import Change
from hostfw.nft.deletions import Deleted


@dataclass(frozen=True, slots=True)
class Files:
    """A configuration that the one who asks has read, with what was wrong about reading it."""

    configuration: Configuration
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Apply:
    """Put a configuration into force: these `files`, or None for what the configuration directory holds.

    With `verbose` the answer holds what was sent to nftables.
    """

    files: Files | None = None
    confirm_within_s: float | None = None
    accept_shrink: bool = False
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class Confirm:
    """Accept what is pending. `ancestors` are the processes above the one who asks, nearest first."""

    ancestors: tuple[Ancestor, ...]
    console: bool = False


@dataclass(frozen=True, slots=True)
class Rollback:
    """Take back what is pending; with `if_pending` only if it has that token."""

    if_pending: str | None = None


@dataclass(frozen=True, slots=True)
class RollbackTo:
    """Put the stored generation of a number into force."""

    number: int


@dataclass(frozen=True, slots=True)
class InForceNow:
    """A generation is in force: how much it governs and what that took.

    `chains_new` and `chains_swept` are numbers of chains; `sent` is what went to nftables, if that was asked for.
    """

    generation: str
    node: str
    policies: int
    endpoints: int
    interfaces: int
    unchanged: bool
    chains_new: int
    chains_swept: int
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    pending: Pending | None = None
    sent: str = ""


Request = Apply | Confirm | Rollback | RollbackTo
Reply = InForceNow | Refused | Confirmed | TooLate | TakenBack | NothingPending | Failed


def in_force_now(applied: Applied, *, verbose: bool) -> InForceNow:
    """What the engine says of an apply, as an answer."""
    generation, change = applied.generation, applied.change
    new, swept = chain_counts(change)
    return InForceNow(
        generation.id,
        generation.plan.node,
        len(generation.inspected.resources.policies),
        len(generation.plan.endpoints),
        generation.governed_interfaces,
        unchanged=change.is_empty,
        chains_new=new,
        chains_swept=swept,
        problems=generation.warnings,
        warnings=applied.warnings,
        pending=applied.pending,
        sent=str(change) if verbose else "",
    )


def chain_counts(change: Change) -> tuple[int, int]:
    """How many chains a change adds, and how many it sweeps away."""
    new = sum(line.startswith("add chain ") and not line.endswith("{") for line in change.prepare.splitlines())
    return new, sum(deletion.what is Deleted.CHAIN for deletion in change.sweep)
