"""A generation on trial: in force with a deadline, and what was accepted stays so until it is confirmed."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta

from hostfw.build.candidate import inspect
from hostfw.build.generation import Generation
from hostfw.engine.acceptance import accepted_of
from hostfw.engine.confirm import objection, proving_sockets, unproven
from hostfw.engine.contents import altered_by_name, is_heard
from hostfw.engine.context import Host
from hostfw.engine.deploy import Writer, enforce
from hostfw.engine.installed import drift, told
from hostfw.engine.outcomes import UNCHANGED, Applied, Confirmed, Failed, TakenBack, TooLate
from hostfw.engine.record import note_saved
from hostfw.engine.rollback import TRIED_AGAIN, end, note_confirmed, settle
from hostfw.engine.standing import record_after, standing
from hostfw.host.errors import HostError
from hostfw.host.store.active import load_in_force
from hostfw.host.store.codec import StateError
from hostfw.host.store.generations import (
    accept_generation,
    accepted_number,
    forget_generation,
    load_accepted,
    load_generation,
    store_generation,
)
from hostfw.host.store.refused import EventKind, load_event
from hostfw.host.store.trial import (
    Armed,
    Pending,
    forget_pending,
    load_armed,
    load_pending,
    save_armed,
    save_pending,
)
from hostfw.model.facts import HostFacts
from hostfw.model.plan import Plan
from hostfw.nft.change import Change
from hostfw.policy.resolve.plan import resolve


@dataclass(slots=True)
class _Trial:
    """The way back of one trial, as it comes about between prepare and switch."""

    writer: Writer
    generation: Generation
    within_s: float
    before: Pending | None
    before_armed: Armed | None
    previous: int | None
    protected: bool
    pending: Pending | None = None
    armed: Armed | None = field(default=None)

    def before_switch(self, planned: Change) -> Failed | None:
        """Have the way back on disk, and someone who goes it, before any packet meets the generation."""
        if planned.is_empty and self.before is None:
            return None
        host, directories = self.writer.host, self.writer.directories
        number = store_generation(
            directories.state, accepted_of(self.generation, self.writer), record_after(self.generation, host)
        )
        token = f"{number:06}-{secrets.token_hex(4)}"
        pending = Pending(
            token,
            number,
            self.generation.id,
            self.previous,
            self.protected,
            host.now() + timedelta(seconds=self.within_s),
            host.monotonic() + self.within_s,
            host.boot_id(),
        )
        # Armed first: until the record is there it would find nothing to do, and what was pending before still is.
        command = host.hostfwctl(
            *(f"--config-dir={directories.config.absolute()}", f"--state-dir={directories.state.absolute()}"),
            *(f"--run-dir={directories.run.absolute()}", "rollback", f"--if-pending={token}"),
        )
        self.armed = Armed(token, host.arm(f"hostfw-rollback-{token}", self.within_s, command))
        save_armed(directories.run, self.armed)
        save_pending(directories.state, pending)
        self.pending = pending
        return None

    def after_switch(self) -> Iterator[str]:
        """Note the connections that were there, which prove nothing later."""
        if self.armed is None:
            return
        try:
            cookies = frozenset(socket.cookie for socket in self.writer.host.read_tcp_sockets())
            save_armed(self.writer.directories.run, Armed(self.armed.token, self.armed.watchdog, cookies))
        except HostError as error:
            yield f"{error.message}: only `hostfwctl confirm --console` will confirm"

    def give_up(self) -> None:
        """Have what was pending before again, since nothing has changed. Raises StateError."""
        directories = self.writer.directories
        if self.before is None:
            forget_pending(directories.state, directories.run)
        else:
            save_pending(directories.state, self.before)
            if self.before_armed is not None:
                save_armed(directories.run, self.before_armed)
        if self.armed is not None:
            self.writer.host.disarm(self.armed.watchdog)


def try_out(writer: Writer, generation: Generation, within_s: float) -> Applied | Failed:
    """Put a generation into force until it is confirmed, or for `within_s` seconds.

    One that changes nothing in the kernel has nothing to prove and is accepted: `pending` is None then.
    """
    trial = _begin(writer, generation, within_s)
    if isinstance(trial, Failed):
        return trial
    try:
        enforced = enforce(generation, writer, trial.before_switch, trial.after_switch)
    except HostError:
        if trial.armed is not None and not writer.sent.may_differ:
            trial.give_up()
        raise
    if isinstance(enforced, Failed):
        if enforced.in_force == UNCHANGED and trial.armed is not None:
            trial.give_up()
        return enforced
    if trial.pending is not None and trial.before_armed is not None:
        writer.host.disarm(trial.before_armed.watchdog)
    return Applied(generation, enforced.change, enforced.warnings, trial.pending)


def confirm(writer: Writer, *, console: bool) -> Confirmed | TooLate | Failed:
    """Accept the trial if the caller's connection came through it, or with `console` on the caller's word."""
    settled = settle(writer)
    if isinstance(settled, TakenBack):
        return TooLate(settled.event)
    if isinstance(settled, Failed):
        return settled
    state = writer.directories.state
    pending, _ = load_pending(state)
    if pending is None:
        return _nothing_to_confirm(writer)
    refused = _unknown(writer, pending) or (None if console else _objection(writer, pending))
    if refused is not None:
        return refused
    armed = load_armed(writer.directories.run)
    unsaved: tuple[str, ...] = ()
    try:
        accept_generation(state, pending.number)
    except StateError as error:
        if accepted_number(state) != pending.number:
            return Failed(error.message, error.hint, in_force=_fate(writer, pending))
        unsaved = (f"{error.message}: a crash of this host may undo it",)
    note_saved(writer.directories.run, writer.memory, saved=not unsaved)
    note_confirmed(writer, pending.id)
    try:
        end(writer, armed)
    except HostError as error:
        unsaved = (*unsaved, f"{error.message}: {TRIED_AGAIN}")
    return Confirmed(pending, pending.id, unsaved=unsaved)


def keep_on_trial(writer: Writer, generation: Generation) -> tuple[str, ...]:
    """Let what is pending be this generation, if it is the same configuration, compiled for the host as it is now.

    Token, deadline, way back and connections stay. Gives what is to be said if that could not be written down.
    """
    state = writer.directories.state
    pending, _ = load_pending(state)
    if pending is None or pending.id == generation.id:
        return ()
    stored, _ = load_generation(state, pending.number)
    if stored is None or stored.configuration != generation.inspected.configuration:
        return ()
    try:
        number = store_generation(state, accepted_of(generation, writer), record_after(generation, writer.host))
        save_pending(state, replace(pending, number=number, id=generation.id))
    except StateError as error:
        return (f"{error.message}: what is in force cannot be confirmed; apply it again with --confirm-within",)
    forget_generation(state, pending.number)
    return ()


def left_s(pending: Pending, host: Host) -> float:
    """The seconds that are left to confirm the trial."""
    return max(pending.deadline_monotonic_s - host.monotonic(), 0)


def waits(pending: Pending, seconds: float) -> Failed:
    """The refusal of another change while a trial is running."""
    return Failed(
        f"generation {pending.id} is in force for {seconds:.0f} more seconds, unless it is confirmed",
        "`hostfwctl confirm` keeps it, `hostfwctl rollback` takes it back, `apply --confirm-within` replaces it",
        in_force="nothing was changed",
    )


def _begin(writer: Writer, generation: Generation, within_s: float) -> _Trial | Failed:
    state, run = writer.directories.state, writer.directories.run
    before, _ = load_pending(state)
    before_armed = load_armed(run)
    if before is not None:
        return _Trial(writer, generation, within_s, before, before_armed, before.previous, before.protected)
    previous = accepted_number(state)
    accepted, problems = load_accepted(state)
    if accepted is None and problems:
        return Failed(
            f"there is no way back: the accepted generation cannot be read: {problems[0].position.path}: "
            f"{problems[0].message}",
            "`hostfwctl apply` without --confirm-within accepts another",
        )
    tables = writer.host.read_tables()
    protected = previous is None and (tables.ip.exists or tables.ip6.exists)
    return _Trial(writer, generation, within_s, None, None, previous, protected)


def _unknown(writer: Writer, pending: Pending) -> Failed | None:
    """Refuse where the active generation is not the one on trial."""
    record, _ = load_in_force(writer.directories.run)
    tables = writer.host.read_tables()
    found: tuple[str, ...] = ("it was not recorded",)
    if record is not None and record.id == pending.id:
        found = drift(tables, record)
        if not is_heard(tables, record):
            found += told(altered_by_name(tables, writer.host, writer.directories.run))
    if not found:
        return None
    return Failed(
        f"what is in force is not generation {pending.id} as it was applied: {found[0]}",
        "apply it again with --confirm-within",
        in_force=_fate(writer, pending),
    )


def _objection(writer: Writer, pending: Pending) -> Failed | None:
    armed = load_armed(writer.directories.run)
    noted = armed.cookies if armed is not None and armed.token == pending.token else None
    ancestors, sockets = writer.host.ancestors(), writer.host.read_tcp_sockets()
    found = objection(ancestors, sockets, noted)
    if found is None:
        plan, facts = _plan_of(writer, pending)
        found = unproven(writer.host.sessions_of(proving_sockets(ancestors, sockets)), plan, facts)
    return None if found is None else Failed(found.message, found.hint, in_force=_fate(writer, pending))


def _plan_of(writer: Writer, pending: Pending) -> tuple[Plan, HostFacts]:
    """The plan on trial, on the host as it is now. Raises HostError."""
    stored, problems = load_generation(writer.directories.state, pending.number)
    if stored is None:
        raise HostError(f"the generation on trial cannot be read: {problems[0].position.path}: {problems[0].message}")
    memory = writer.memory
    inspected = inspect(stored.configuration, memory=memory.inspection if memory else None)
    facts = writer.host.observe(inspected.settings.node)
    governance = standing(writer.directories, writer.host, memory)
    plan, _ = resolve(inspected.resources, inspected.settings, facts, governance=governance)
    return plan, facts


def _fate(writer: Writer, pending: Pending) -> str:
    return f"generation {pending.id} is taken back in {left_s(pending, writer.host):.0f} s"


def _nothing_to_confirm(writer: Writer) -> Confirmed | TooLate | Failed:
    """The answer where no trial is running: it may have been accepted at once, or rolled back."""
    event = load_event(writer.directories.state)
    if event is not None and event.kind is EventKind.ROLLED_BACK:
        return TooLate(event)
    accepted, _ = load_accepted(writer.directories.state)
    if accepted is None or (event is not None and event.kind not in (EventKind.APPLIED, EventKind.CONFIRMED)):
        return Failed("there is nothing to confirm", "`hostfwctl status` shows what is in force", in_force="")
    return Confirmed(None, accepted.id)
