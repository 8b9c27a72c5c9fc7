"""The engine: puts generations into force, takes them back, remembers them, and says what is in force.

One generation is one `apply`: observe, resolve, compile, then prepare, switch and sweep, what packets will meet being
checked first; then the kernel is read back, and what was accepted is written down. With a deadline it is accepted only
once it is confirmed, and taken back otherwise. Nothing here depends on a daemon.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import TypeVar

from hostfw.audit.notices import generation_applied, generation_awaiting, generation_failed, generation_refused
from hostfw.engine.block import BELOW_A_BLOCK, UNCONFIRMABLE
from hostfw.engine.enforce import Enforced, Hearers, Writer, counts, enforce
from hostfw.engine.events import note
from hostfw.engine.feed_guard import believed
from hostfw.engine.generation import Generation, Refused, build
from hostfw.engine.host import Directories, Host
from hostfw.engine.inspection import Inspected, inspect
from hostfw.engine.installed import drift, installed_tables
from hostfw.engine.lockout import Judgement, judge
from hostfw.engine.memory import Memory, accept, accepted_now
from hostfw.engine.on_demand import OnDemand
from hostfw.engine.outcomes import (
    Applied,
    Confirmed,
    Failed,
    NothingPending,
    Status,
    TakenBack,
    TooLate,
    failed,
)
from hostfw.engine.refill import Name as SetName
from hostfw.engine.refill import refill
from hostfw.engine.rollback import BY_HAND, DEADLINE, due, end, restore, settle, take_back
from hostfw.engine.trial import accepted_of, confirm, try_out, waits
from hostfw.engine.upkeep import Resumed, follow, protect, resume
from hostfw.host.errors import HostError
from hostfw.host.events import Event, EventKind, load_event
from hostfw.host.in_force import load_in_force
from hostfw.host.pending import Pending, load_armed, load_pending
from hostfw.host.state import (
    Accepted,
    Stored,
    accepted_number,
    load_accepted,
    load_generation,
    stored_generations,
)
from hostfw.host.stored import StateError
from hostfw.model.evidence import Evidence
from hostfw.model.facts import HostFacts
from hostfw.model.problems import errors
from hostfw.model.settings import Settings
from hostfw.nft.change import Change, change
from hostfw.policy.resolve import resolve

Counts = tuple[tuple[str, int], ...]
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class LockoutQuestion:
    """What the host is seen to live by, and whether it is `accepted` that some of it is lost."""

    evidence: Evidence
    accepted: bool = False


@dataclass(frozen=True, slots=True)
class History:
    """The stored generations, oldest first, and which of them are accepted, in force and waiting, by number."""

    generations: tuple[Stored, ...]
    accepted: int | None
    in_force: int | None
    pending: int | None


@dataclass(frozen=True, slots=True)
class Engine:
    """The one who puts generations into force, in the network namespace that it runs in."""

    directories: Directories = field(default_factory=Directories)
    host: Host = field(default_factory=Host)
    hearers: Hearers = field(default_factory=Hearers)
    memory: Memory | None = None

    def observe(self, settings: Settings) -> HostFacts:
        """The facts of the host. Raises HostError."""
        return self.host.observe(settings.node)

    def generation(self, inspected: Inspected) -> Generation | Refused | Failed:
        """The generation of a configuration on this host, not yet in force."""
        if not inspected.is_valid:
            return Refused(inspected.problems)
        try:
            return build(believed(inspected, self.directories.state, self.memory), self.observe(inspected.settings))
        except HostError as error:
            return failed(error)

    def change(self, generation: Generation) -> Change | Failed:
        """What `apply` of the generation would send now."""
        try:
            tables = self.host.read_tables()
        except HostError as error:
            return failed(error)
        record, _ = load_in_force(self.directories.run)
        return change(generation.ruleset, installed_tables(tables, record))

    def apply(
        self,
        inspected: Inspected,
        confirm_within_s: float | None = None,
        *,
        accept_shrink: bool = False,
        lockout: LockoutQuestion | None = None,
    ) -> Applied | Refused | Failed:
        """Put the generation of a configuration into force; a refused one changes nothing.

        It is accepted at once, or with `confirm_within_s` only by `confirm` within so many seconds. Feeds that lost
        more than they may keep their accepted content, unless `accept_shrink`. With `lockout` a generation that would
        cut off what the host lives by is a failure.
        """
        if not inspected.is_valid:
            return self._refused(Refused(inspected.problems))
        candidate = inspected if accept_shrink else believed(inspected, self.directories.state, self.memory)
        built = self.memory.building.generation if self.memory else None
        known = built is not None and built.inspected is candidate
        return self._write(lambda writer: self._apply(writer, candidate, confirm_within_s, lockout), likely=not known)

    def confirm(self, *, console: bool = False) -> Confirmed | TooLate | Failed:
        """Accept what is pending. It counts only through a connection made since, or on purpose with `console`."""
        return self._write(lambda writer: confirm(writer, console=console))

    def rollback(self, if_pending: str | None = None) -> TakenBack | NothingPending | Failed:
        """Take back what is pending, by hand, or with the token of `if_pending` since its deadline has come."""
        return self._write(lambda writer: self._rollback(writer, if_pending))

    def rollback_to(self, number: int) -> TakenBack | Failed:
        """Put a stored generation into force and accept it."""
        return self._write(lambda writer: self._rollback_to(writer, number))

    def resume(self) -> Resumed | Failed:
        """Take over at the start of the service: what was accepted, or still waits, is put into force and known."""
        return self._write(resume)

    def follow(self, generation: Generation) -> Applied | Refused | Failed:
        """Put the same configuration into force for the host as it is now, and accept that if it is accepted."""
        return self._write(lambda writer: self._follow(writer, generation))

    def repair(self, generation: Generation) -> Enforced | Failed:
        """Put a generation into force again that another's hand has damaged, in all but the elements of its sets."""
        return self._write(lambda writer: enforce(generation, writer))

    def refill(self, generation: Generation, names: Collection[SetName]) -> tuple[SetName, ...] | Failed:
        """Give sets and maps that are there the elements again that a generation has in them."""
        return self._write(lambda writer: refill(generation.ruleset, names, writer.nftables))

    def protect(self, settings: Settings) -> Generation | Failed:
        """Put base protection into force: failsafes and what was established, and nothing else comes in."""
        return self._write(lambda writer: protect(writer, settings))

    def accepted(self) -> Inspected | None:
        """The accepted configuration, or None if there is none that can be read."""
        accepted, _ = load_accepted(self.directories.state)
        return None if accepted is None else inspect(accepted.configuration)

    def history(self) -> History:
        """The stored generations. Of equal ones the latest is in force."""
        stored = stored_generations(self.directories.state)
        record, _ = load_in_force(self.directories.run)
        pending, _ = load_pending(self.directories.state)
        accepted = accepted_number(self.directories.state)
        alike = [item.number for item in stored if record is not None and item.id == record.id]
        likely = [number for number in (pending.number if pending else None, accepted) if number in alike]
        in_force = next(iter((*likely, *reversed(alike))), None)
        return History(stored, accepted, in_force, pending.number if pending else None)

    def status(self) -> Status | Failed:
        """What is in force, read from the kernel and held against the record.

        What should have been taken back by now is taken back first.
        """
        settled = self._write(settle) if self._is_due() else None
        try:
            tables = self.host.read_tables()
        except HostError as error:
            return failed(error)
        record, problems = load_in_force(self.directories.run)
        found = drift(tables, record) if record else ()
        pending, pending_problems = load_pending(self.directories.state)
        return Status(
            tables.ip.exists and tables.ip6.exists,
            record,
            found,
            tables,
            (*problems, *pending_problems),
            pending,
            self._left_s(pending) if pending else 0,
            load_event(self.directories.state),
            (f"what should have been taken back is in force: {settled.message}",)
            if isinstance(settled, Failed)
            else (),
        )

    def _write(self, work: Callable[[Writer], Outcome], *, likely: bool = False) -> Outcome | Failed:
        """Let one piece of work write, alone in this network namespace.

        What will `likely` commit something has the nft worker start while it makes up its mind.
        """
        try:
            with self.host.lock(self.directories.run) as lock:
                nftables = OnDemand(lambda: self.host.nftables((lock.fileno(),)))
                if likely or self.memory is None:
                    nftables.start()
                try:
                    return work(Writer(self.directories, self.host, nftables, self.hearers, self.memory))
                finally:
                    nftables.close()
        except HostError as error:
            return failed(error)

    def _apply(
        self, writer: Writer, inspected: Inspected, confirm_within_s: float | None, lockout: LockoutQuestion | None
    ) -> Applied | Refused | Failed:
        settled = settle(writer)
        pending, problems = load_pending(self.directories.state)
        # What can no longer be taken back must not stand in the way of what replaces it.
        if pending is not None and confirm_within_s is None and not isinstance(settled, Failed):
            return waits(pending, self._left_s(pending))
        blocked = self.host.read_block() is not None
        if blocked and confirm_within_s is not None:
            return UNCONFIRMABLE
        generation_id = ""
        judgement = Judgement()
        try:
            built = build(inspected, self.observe(inspected.settings), self.memory.building if self.memory else None)
            if isinstance(built, Refused):
                return self._refused(built)
            generation_id = built.id
            judgement = self._judgement(built, lockout)
            if judgement.refused:
                applied: Applied | Failed = Failed(judgement.message, judgement.hint)
            else:
                applied = self._enforce(writer, built, confirm_within_s)
        except HostError as error:
            applied = failed(error)
        if isinstance(applied, Failed):
            self._note_failure(applied, generation_id)
            return applied
        if applied.pending is None and (pending is not None or problems):
            end(writer, load_armed(self.directories.run))
        self._note_applied(applied, confirm_within_s or 0)
        cut = (f"{loss}; {loss.hint}" for loss in judgement.warned)
        below = (BELOW_A_BLOCK,) if blocked else ()
        return replace(applied, warnings=(*applied.warnings, *cut, *below, *_settled(settled)))

    def _judgement(self, built: Generation, lockout: LockoutQuestion | None) -> Judgement:
        """What the host would lose by a change: what is lost already is no reason to refuse it."""
        record, _ = load_in_force(self.directories.run)
        if lockout is None or (record is not None and record.id == built.id):
            return Judgement()
        facts, accepted = built.facts, lockout.accepted
        judgement = judge(built.plan, None, facts, lockout.evidence, accepted=accepted)
        present = self.accepted() if judgement.refused and record is not None else None
        if present is None:
            return judgement
        plan, _ = resolve(present.resources, present.settings, facts)
        return judge(built.plan, plan, facts, lockout.evidence, accepted=accepted)

    def _enforce(self, writer: Writer, built: Generation, confirm_within_s: float | None) -> Applied | Failed:
        """Put it into force, and accept it unless it has to be confirmed."""
        if confirm_within_s is None:
            enforced = enforce(built, writer)
            applied = enforced if isinstance(enforced, Failed) else Applied(built, enforced.change, enforced.warnings)
        else:
            applied = try_out(writer, built, confirm_within_s)
        if isinstance(applied, Failed) or applied.pending is not None:
            return applied
        return replace(applied, warnings=(*applied.warnings, *self._accept(accepted_of(built, writer))))

    def _follow(self, writer: Writer, generation: Generation) -> Applied | Refused | Failed:
        followed = follow(writer, generation)
        if not isinstance(followed, Applied) or followed.generation.id == generation.id:
            return followed
        pending, _ = load_pending(self.directories.state)
        accepted, _ = accepted_now(self.directories.state, self.memory)
        if pending is not None or accepted is None or accepted.configuration != generation.inspected.configuration:
            return followed
        warnings = self._accept(accepted_of(followed.generation, writer))
        return replace(followed, warnings=(*followed.warnings, *warnings))

    def _accept(self, generation: Accepted) -> tuple[str, ...]:
        """Write down what was accepted. A disk that will not take it does not undo it."""
        accepted, problems = accepted_now(self.directories.state, self.memory)
        known = accepted is not None and not problems and accepted.id == generation.id
        if known and accepted is not None and accepted.configuration == generation.configuration:
            return ()
        try:
            accept(self.directories.state, generation, self.memory)
        except StateError as error:
            return (f"{error.message}: after a reboot an earlier generation is in force",)
        return ()

    def _rollback(self, writer: Writer, if_pending: str | None) -> TakenBack | NothingPending | Failed:
        settled = settle(writer)
        if settled is not None:
            return settled
        pending, _ = load_pending(self.directories.state)
        if pending is None or if_pending not in (None, pending.token):
            return NothingPending()
        return take_back(writer, pending, BY_HAND if if_pending is None else DEADLINE)

    def _rollback_to(self, writer: Writer, number: int) -> TakenBack | Failed:
        settle(writer)
        pending, _ = load_pending(self.directories.state)
        if pending is not None:
            return waits(pending, self._left_s(pending))
        stored, problems = load_generation(self.directories.state, number)
        if stored is None:
            known = any(item.number == number for item in stored_generations(self.directories.state))
            why = f"cannot be read: {problems[0].position.path}: {problems[0].message}" if known else "is not stored"
            return Failed(f"generation number {number} {why}", "`hostfwctl history` lists those that are")
        restored = restore(writer, stored)
        if isinstance(restored, Failed):
            self._note_failure(restored, stored.id)
            return restored
        from_sources = restored.generation is not None
        again = accepted_of(restored.generation, writer) if restored.generation is not None else stored
        warnings = (*restored.warnings, *self._accept(replace(again, applied_at=self.host.now())))
        reason = f"back to generation number {number} by hand"
        event = Event(EventKind.APPLIED, self.host.now(), again.id, reason)
        note(self.directories, self.host, event, generation_applied(again.id, *_three(again.counts), reason))
        return TakenBack(again.id, event, from_sources, warnings)

    def _refused(self, refused: Refused) -> Refused:
        wrong = errors(refused.problems)
        first = f"{wrong[0].position.file_line}: {wrong[0].message}" if wrong else ""
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        event = Event(EventKind.REFUSED, self.host.now(), reason=f"{first}{more}")
        note(self.directories, self.host, event, generation_refused(refused.problems))
        return refused

    def _note_failure(self, failure: Failed, generation: str) -> None:
        event = Event(EventKind.FAILED, self.host.now(), generation, failure.message)
        entry = generation_failed(generation, failure.message, failure.in_force, failure.hint)
        note(self.directories, self.host, event, entry)

    def _note_applied(self, applied: Applied, within_s: float) -> None:
        generation, pending = applied.generation, applied.pending
        if pending is None:
            entry = generation_applied(generation.id, *_three(counts(generation)))
        else:
            entry = generation_awaiting(generation.id, within_s, pending.deadline)
        kind = EventKind.APPLIED if pending is None else EventKind.AWAITING
        note(self.directories, self.host, Event(kind, self.host.now(), generation.id), entry)

    def _is_due(self) -> bool:
        """Whether something is to be taken back, or its end was not written down; without the lock, so perhaps not."""
        pending, problems = load_pending(self.directories.state)
        if pending is None:
            return bool(problems)
        if accepted_number(self.directories.state) == pending.number:
            return True
        armed = load_armed(self.directories.run)
        return due(pending, armed, self.host.boot_id(), self.host.monotonic()) is not None

    def _left_s(self, pending: Pending) -> float:
        return max(pending.deadline_monotonic_s - self.host.monotonic(), 0)


def _three(counted: Counts) -> tuple[int, int, int]:
    """The numbers of policies, endpoints and interfaces."""
    found = dict(counted)
    return found.get("policies", 0), found.get("endpoints", 0), found.get("interfaces", 0)


def _settled(settled: TakenBack | Failed | None) -> tuple[str, ...]:
    """What happened before, to be said beside what was asked for."""
    if isinstance(settled, TakenBack):
        return (f"generation {settled.event.generation} had been taken back: {settled.event.reason}",)
    return ()
