"""Requests to change the host and their replies, whoever carries them out."""

from dataclasses import dataclass
from datetime import datetime

from hostfw.build.refused import Refused
from hostfw.engine.apply.asked import Asked
from hostfw.engine.outcomes import (
    Confirmed,
    Failed,
    MembersChange,
    MembersChanged,
    NoSuchSet,
    NoTrial,
    RolledBack,
    TooLate,
)
from hostfw.host.process.processes import Ancestor
from hostfw.host.store.generations.trial import Trial
from hostfw.model.host.baseline import Baseline
from hostfw.model.host.services import ExposureChange, HostServices
from hostfw.model.problems import Problem
from hostfw.model.sources import Configuration


@dataclass(frozen=True, slots=True)
class Files:
    """A configuration that the caller has read, and the problems of reading it.

    Its Feeds may name files below these `folders`, whose symbolic links are followed; None is anywhere.
    """

    configuration: Configuration
    problems: tuple[Problem, ...] = ()
    folders: tuple[str, ...] | None = ()


@dataclass(frozen=True, slots=True)
class Apply:
    """Put a configuration into force: these `files`, or None for what the configuration directory holds.

    `baseline` is the baseline as the caller sees it; without it, the engine collects it. `services` are those that the
    answer is to tell the change of. With `verbose` the answer holds what was sent to nftables.
    """

    files: Files | None = None
    confirm_within_s: float | None = None
    accept_shrink: bool = False
    accept_lockout: bool = False
    baseline: Baseline | None = None
    services: HostServices | None = None
    verbose: bool = False
    accept_loss: bool = False
    asked: Asked = Asked.RELOAD


@dataclass(frozen=True, slots=True)
class Confirm:
    """Accept what is pending. `ancestors` are the processes above the caller, nearest first."""

    ancestors: tuple[Ancestor, ...]
    console: bool = False


@dataclass(frozen=True, slots=True)
class Rollback:
    """Roll back what is pending; with `if_pending` only if it has that token, and then whatever is lost by it.

    `baseline` and what is accepted are as in `Apply`.
    """

    if_pending: str | None = None
    accept_lockout: bool = False
    baseline: Baseline | None = None
    accept_loss: bool = False


@dataclass(frozen=True, slots=True)
class RollbackTo:
    """Put the stored generation of a number into force; `baseline` and what is accepted are as in `Apply`."""

    number: int
    accept_lockout: bool = False
    baseline: Baseline | None = None
    accept_loss: bool = False


@dataclass(frozen=True, slots=True)
class ChangeMembers:
    """Change the members of an external set; `baseline` and what is accepted are as in `Apply`."""

    change: MembersChange
    accept_lockout: bool = False
    baseline: Baseline | None = None


@dataclass(frozen=True, slots=True)
class UpdateFeed:
    """Put the download of a Feed that waits in the state directory into force, with what was accepted of the rest.

    `baseline` and what is accepted are as in `Apply`.
    """

    name: str
    accept_shrink: bool = False
    accept_lockout: bool = False
    baseline: Baseline | None = None


@dataclass(frozen=True, slots=True)
class InForceNow:
    """A generation is in force: how much it governs and what that took.

    `chains_new` and `chains_swept` are numbers of chains; `sent` is what went to nftables, if that was asked for, and
    `unsaved` what could not be written down, so that a reboot leads to something else.
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
    trial: Trial | None = None
    sent: str = ""
    unsaved: tuple[str, ...] = ()
    exposure: tuple[ExposureChange, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """Say how the service itself does; nobody else can."""


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """State of the service since it was started.

    `trouble` is what is wrong at this moment, `repairs` how often changes by other programs to our tables were
    undone. Of the audit: `records` are the log records that were read, `lost` those that came too fast, `missed` those
    that came while nobody read the log, and `suppressed` the packets beyond the kernel's limits since the tables were
    made; `entries_unwritten` were refused by the journal. `listening` is whether the log can be read at all.
    `untouched` are the generations of nftables at the last commit on record and at the newest heard of, if no other
    program touched our tables in between.
    """

    pid: int
    started_at: datetime
    generation: str
    trouble: str
    repairs: int
    records: int
    lost: int
    missed: int
    suppressed: int
    entries_unwritten: int
    listening: bool
    untouched: tuple[int, int] | None = None


Request = Apply | Confirm | Rollback | RollbackTo | ChangeMembers | UpdateFeed
Query = Request | Report
"""Any message to the service: a request, or a question about itself."""
Reply = InForceNow | Refused | Confirmed | TooLate | RolledBack | NoTrial | MembersChanged | NoSuchSet | Failed
