"""Disabling hostfw: no rule of ours in the kernel, and nothing that would load one again.

Everything that would load the rules again is removed first and the rules last, so an interruption leaves them in force.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hostfw.engine.block import Unblocked, unblock
from hostfw.engine.context import Directories, Host
from hostfw.engine.events import note
from hostfw.engine.kernel.deploy.deploy import enforce_nothing
from hostfw.engine.kernel.writer import Writer
from hostfw.engine.outcomes import Failed, failed
from hostfw.engine.reading.block_state import BlockContext
from hostfw.engine.trial.rollback import end
from hostfw.host.errors import HostError
from hostfw.host.store.generations.active import load_active
from hostfw.host.store.generations.generations import accepted_number, forget_accepted
from hostfw.host.store.generations.last_event import Event, EventKind
from hostfw.host.store.generations.trial import load_rollback_timer
from hostfw.host.store.generations.unsaved import forget_unsaved
from hostfw.host.systemd import units as systemd
from hostfw.journal.notices import rules_removed
from hostfw.nft.objects import TABLE

UNITS = ("hostfw.service", "hostfw-boot.service")


@dataclass(frozen=True, slots=True)
class Units:
    """Operations on our systemd units: disable them for every boot, and stop them."""

    run_here: Callable[[], bool] = systemd.runs_here
    change: Callable[..., str] = systemd.change


@dataclass(frozen=True, slots=True)
class Disabled:
    """Nothing of ours is in force. `removed` is the generation that was, `number` that under which it is stored.

    `steps` says what was done, in sentences.
    """

    removed: str | None
    number: int | None
    steps: tuple[str, ...]


def _nobody() -> int | None:
    return None


def disable(
    directories: Directories,
    host: Host,
    units: Units | None = None,
    still_running: Callable[[], int | None] = _nobody,
) -> Disabled | Failed:
    """Stop and disable the units, let nothing be pending, have no boot load anything, and remove our tables.

    The configuration and the stored generations stay. `still_running` gives the pid of a service that is there after
    its unit was stopped, and would put everything back.
    """
    steps = list[str]()
    try:
        stopped = _stop(units or Units(), steps)
        if stopped is not None:
            return _after(steps, stopped)
        pid = still_running()
        if pid is not None:
            return Failed(f"the service still runs (pid {pid}), and would put the rules back", f"`kill {pid}` first")
        with host.lock(directories.run) as lock:
            nftables = host.nftables((lock.fileno(),))
            try:
                removed = _remove(Writer(directories, host, nftables), steps)
                return _after(steps, removed) if isinstance(removed, Failed) else removed
            finally:
                nftables.close()
    except HostError as error:
        return _after(steps, failed(error))


def _after(steps: Sequence[str], failure: Failed) -> Failed:
    """The failure, with what was done before it."""
    return replace(failure, message=f"{failure.message}; before that: {', '.join(steps)}") if steps else failure


def _stop(units: Units, steps: list[str]) -> Failed | None:
    if not units.run_here():
        return None
    for unit in UNITS:
        trouble = units.change("disable", "--now", unit)
        # Where the package is not installed there is no unit, and nothing to stop.
        if trouble and "does not exist" not in trouble and "not loaded" not in trouble:
            return Failed(f"{unit} could not be disabled: {trouble}", f"`systemctl status {unit}` says more")
        if not trouble:
            steps.append(f"stopped and disabled {unit}")
    return None


def _remove(writer: Writer, steps: list[str]) -> Disabled | Failed:
    directories = writer.directories
    record, _ = load_active(directories.run)
    number = accepted_number(directories.state)
    timer = load_rollback_timer(directories.run)
    end(writer, timer)
    if timer is not None:
        steps.append("the unconfirmed change is no longer on trial")
    # Also where none can be seen: what is there and cannot be removed would be loaded by the next boot.
    forget_accepted(directories.state)
    if number is not None:
        steps.append("no boot loads a generation any more")
    forget_unsaved(directories.run)
    unblocked = unblock(BlockContext(directories, writer.host))
    if isinstance(unblocked, Failed):
        return unblocked
    if unblocked != Unblocked(None):
        steps.append("the block is taken away")
    removed = enforce_nothing(writer)
    if isinstance(removed, Failed):
        return removed
    nothing = removed.change.is_empty
    tables = " and ".join(f"{one.family.nft} {TABLE}" for one in removed.change.sweep)
    steps.append("there were no tables of ours" if nothing else f"the tables {tables} are removed")
    steps.extend(removed.warnings)
    generation = record.id if record is not None else None
    event = Event(EventKind.DISABLED, writer.host.now(), generation or "", "by hand")
    note(directories, writer.host, event, rules_removed(event.generation))
    return Disabled(generation, number, tuple(steps))
