"""A generation on trial: in force with a deadline, and what was accepted stays so until it is confirmed."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

from hostfw.build.cache import cached_governance
from hostfw.build.candidate import check_candidate
from hostfw.build.generation import Generation
from hostfw.engine.apply.acceptance import accepted_of, save_first
from hostfw.engine.apply.applied import Applied
from hostfw.engine.apply.standing_record import record_after
from hostfw.engine.kernel.deploy.deploy import enforce
from hostfw.engine.kernel.state.contents import altered_by_name, is_unchanged_since
from hostfw.engine.kernel.state.installed import drift, in_sentences
from hostfw.engine.kernel.state.record import note_saved
from hostfw.engine.kernel.writer import Writer
from hostfw.engine.outcomes import UNCHANGED, UNKNOWN, Confirmed, Failed, RolledBack, TooLate
from hostfw.engine.reading.deadline import left_s
from hostfw.engine.reading.standing import standing
from hostfw.engine.trial.confirm import objection, proving_sockets, unproven
from hostfw.engine.trial.rollback import TRIED_AGAIN, end, expire, note_confirmed
from hostfw.host.errors import HostError
from hostfw.host.store.codec import StateError, Unreadable
from hostfw.host.store.generations.active import load_active
from hostfw.host.store.generations.generations import (
    accept_generation,
    accepted_number,
    forget_generation,
    load_accepted,
    load_generation,
    read_accepted,
    store_generation,
)
from hostfw.host.store.generations.last_event import EventKind, load_event
from hostfw.host.store.generations.trial import (
    RollbackTimer,
    Trial,
    forget_trial,
    load_rollback_timer,
    load_trial,
    save_rollback_timer,
    save_trial,
)
from hostfw.model.host.facts import HostFacts
from hostfw.model.plan import Plan
from hostfw.nft.change import Change
from hostfw.policy.resolve.plan import resolve

_UNCONFIRMABLE = "what is in force cannot be confirmed; apply it again with --confirm-within"


@dataclass(slots=True)
class _TrialStart:
    """The way back of one trial, as it comes about between prepare and switch."""

    writer: Writer
    generation: Generation
    within_s: float
    before: Trial | None
    timer_before: RollbackTimer | None
    previous: int | None
    protected: bool
    trial: Trial | None = None
    timer: RollbackTimer | None = field(default=None)

    def before_switch(self, planned: Change) -> Failed | None:
        """Have the way back on disk, and someone who goes it, before any packet meets the generation."""
        if planned.is_empty and self.before is None:
            return None
        host, directories = self.writer.host, self.writer.directories
        number = store_generation(
            directories.state,
            accepted_of(self.generation, self.writer),
            record_after(self.generation, host),
        )
        token = f"{number:06}-{secrets.token_hex(4)}"
        trial = Trial(
            token,
            number,
            self.generation.id,
            self.previous,
            self.protected,
            host.now() + timedelta(seconds=self.within_s),
            host.uptime() + self.within_s,
            host.boot_id(),
        )
        # The timer first: until the record is there it would find nothing to do, and what was pending before still is.
        command = host.hostfwctl(
            *(f"--config-dir={directories.config.absolute()}", f"--state-dir={directories.state.absolute()}"),
            *(f"--run-dir={directories.run.absolute()}", "rollback", f"--if-pending={token}"),
        )
        self.timer = RollbackTimer(token, host.arm(f"hostfw-rollback-{token}", self.within_s, command))
        save_rollback_timer(directories.run, self.timer)
        save_trial(directories.state, trial)
        self.trial = trial
        return None

    def after_switch(self) -> Iterator[str]:
        """Note the connections that were there, which prove nothing later."""
        if self.timer is None:
            return
        try:
            cookies = frozenset(socket.cookie for socket in self.writer.host.read_tcp_sockets())
            save_rollback_timer(
                self.writer.directories.run, RollbackTimer(self.timer.token, self.timer.watchdog, cookies)
            )
        except HostError as error:
            yield f"{error.message}: only `hostfwctl confirm --console` will confirm"

    def give_up(self) -> None:
        """Have what was pending before again, since nothing has changed. Raises StateError."""
        directories = self.writer.directories
        if self.before is None:
            forget_trial(directories.state, directories.run)
        else:
            save_trial(directories.state, self.before)
            if self.timer_before is not None and self.timer_before.token:
                save_rollback_timer(directories.run, self.timer_before)
        if self.timer is not None:
            self.writer.host.disarm(self.timer.watchdog)


def try_out(writer: Writer, generation: Generation, within_s: float) -> Applied | Failed:
    """Put a generation into force until it is confirmed, or for `within_s` seconds.

    One that changes nothing in the kernel has nothing to prove and is accepted: `trial` is None then.
    """
    start = _begin(writer, generation, within_s)
    if isinstance(start, Failed):
        return start
    try:
        enforced = enforce(generation, writer, start.before_switch, start.after_switch)
    except HostError as error:
        enforced = writer.sent.failed(error)
    if isinstance(enforced, Failed):
        return _given_up(start, enforced)
    if start.trial is not None and start.timer_before is not None and start.timer_before.watchdog:
        writer.host.disarm(start.timer_before.watchdog)
    return Applied(generation, enforced.change, enforced.warnings, start.trial)


def _given_up(start: _TrialStart, failure: Failed) -> Failed:
    """The failure of a trial that did not begin, once nothing is pending by it.

    What stays on record is taken for what is in force by whoever takes over, until its deadline.
    """
    if failure.in_force != UNCHANGED or start.timer is None:
        return failure
    try:
        start.give_up()
    except HostError as error:
        return replace(failure, message=f"{failure.message}; {error.message}", in_force=UNKNOWN)
    return failure


def confirm(writer: Writer, *, console: bool) -> Confirmed | TooLate | Failed:
    """Accept the trial if the caller's connection came through it, or with `console` on the caller's word."""
    expired = expire(writer)
    if isinstance(expired, RolledBack):
        return TooLate(expired.event)
    if isinstance(expired, Failed):
        return expired
    state = writer.directories.state
    trial, _ = load_trial(state)
    if trial is None:
        return _nothing_to_confirm(writer)
    refused = _unknown(writer, trial) or (None if console else _objection(writer, trial))
    if refused is not None:
        return refused
    timer = load_rollback_timer(writer.directories.run)
    unsaved: tuple[str, ...] = ()
    try:
        accept_generation(state, trial.number)
    except StateError as error:
        if accepted_number(state) != trial.number:
            return Failed(error.message, error.hint, in_force=_fate(writer, trial))
        unsaved = (f"{error.message}: a crash of this host may undo it",)
    note_saved(writer.directories.run, writer.cache, saved=not unsaved)
    note_confirmed(writer, trial.id)
    try:
        end(writer, timer)
    except HostError as error:
        unsaved = (*unsaved, f"{error.message}: {TRIED_AGAIN}")
    return Confirmed(trial, trial.id, unsaved=unsaved)


def keep_on_trial(writer: Writer, generation: Generation) -> tuple[str, ...]:
    """Let what is pending be this generation, if it is the same configuration, compiled for the host as it is now.

    Token, deadline, way back and connections stay. Gives what is to be said if that could not be written down.
    """
    state = writer.directories.state
    trial, _ = load_trial(state)
    if trial is None or trial.id == generation.id:
        return ()
    stored, problems = load_generation(state, trial.number)
    if stored is None and problems:
        return (f"{problems[0].position.path}: {problems[0].message}: {_UNCONFIRMABLE}",)
    if stored is None or stored.configuration != generation.candidate.configuration:
        return ()
    try:
        number = store_generation(state, accepted_of(generation, writer), record_after(generation, writer.host))
        save_trial(state, replace(trial, number=number, id=generation.id))
    except (StateError, Unreadable) as error:
        return (f"{error.message}: {_UNCONFIRMABLE}",)
    forget_generation(state, trial.number)
    return ()


def waits(trial: Trial, seconds: float) -> Failed:
    """The refusal of another change while a trial is running."""
    return Failed(
        f"generation {trial.id} is in force for {seconds:.0f} more seconds, unless it is confirmed",
        "`hostfwctl confirm` keeps it, `hostfwctl rollback` rolls it back, `apply --confirm-within` replaces it",
        in_force="nothing was changed",
    )


def _begin(writer: Writer, generation: Generation, within_s: float) -> _TrialStart | Failed:
    state, run = writer.directories.state, writer.directories.run
    before, _ = load_trial(state)
    timer_before = load_rollback_timer(run)
    if before is not None:
        return _TrialStart(writer, generation, within_s, before, timer_before, before.previous, before.protected)
    unsaved = save_first(writer)
    if unsaved:
        return Failed(
            f"there is no way back: {unsaved[0]}",
            "free some space, then run it again; `hostfwctl apply` without --confirm-within accepts another",
        )
    previous = accepted_number(state)
    accepted, problems = load_accepted(state)
    if accepted is None and problems:
        return Failed(
            f"there is no way back: the accepted generation cannot be read: {problems[0].position.path}: "
            f"{problems[0].message}",
            "`hostfwctl apply` without --confirm-within accepts another",
        )
    tables = writer.host.read_tables()
    protected = previous is None and any(table.exists for table in tables.every)
    return _TrialStart(writer, generation, within_s, None, None, previous, protected)


def _unknown(writer: Writer, trial: Trial) -> Failed | None:
    """Refuse where the active generation is not the one on trial."""
    record, _ = load_active(writer.directories.run)
    tables = writer.host.read_tables()
    found: tuple[str, ...] = ("it was not recorded",)
    if record is not None and record.id == trial.id:
        found = drift(tables, record)
        if not is_unchanged_since(tables, record):
            found += in_sentences(altered_by_name(tables, writer.host, writer.directories.run))
    if not found:
        return None
    return Failed(
        f"what is in force is not generation {trial.id} as it was applied: {found[0]}",
        "apply it again with --confirm-within",
        in_force=_fate(writer, trial),
    )


def _objection(writer: Writer, trial: Trial) -> Failed | None:
    timer = load_rollback_timer(writer.directories.run)
    noted = timer.cookies if timer is not None and timer.token == trial.token else None
    ancestors, sockets = writer.host.ancestors(), writer.host.read_tcp_sockets()
    found = objection(ancestors, sockets, noted)
    if found is None:
        plan, facts = _plan_of(writer, trial)
        found = unproven(writer.host.sessions_of(proving_sockets(ancestors, sockets)), plan, facts)
    return None if found is None else Failed(found.message, found.hint, in_force=_fate(writer, trial))


def _plan_of(writer: Writer, trial: Trial) -> tuple[Plan, HostFacts]:
    """The plan on trial, on the host as it is now. Raises HostError."""
    stored, problems = load_generation(writer.directories.state, trial.number)
    if stored is None:
        raise HostError(f"the generation on trial cannot be read: {problems[0].position.path}: {problems[0].message}")
    cache = writer.cache
    candidate = check_candidate(stored.configuration, cache=cache.candidate if cache else None)
    facts = writer.host.facts(candidate.settings.node)
    governance = standing(writer.directories, writer.host, cached_governance(cache))
    plan, _ = resolve(candidate.resources, candidate.settings, facts, governance=governance)
    return plan, facts


def _fate(writer: Writer, trial: Trial) -> str:
    return f"generation {trial.id} is rolled back in {left_s(trial, writer.host):.0f} s"


def _nothing_to_confirm(writer: Writer) -> Confirmed | TooLate | Failed:
    """The answer where no trial is running: it may have been accepted at once, or rolled back."""
    event = load_event(writer.directories.state)
    if event is not None and event.kind is EventKind.ROLLED_BACK:
        return TooLate(event)
    accepted, _ = read_accepted(writer.directories.state)
    if accepted is None or (event is not None and event.kind not in (EventKind.APPLIED, EventKind.CONFIRMED)):
        return Failed("there is nothing to confirm", "`hostfwctl status` shows what is in force", in_force="")
    return Confirmed(None, accepted.id)
