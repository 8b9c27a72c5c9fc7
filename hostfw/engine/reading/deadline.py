"""The deadline of a trial: how long it may still be confirmed, and why it is to be rolled back."""

from datetime import timedelta

from hostfw.engine.context import Directories, Host
from hostfw.host.store.generations.active import load_active
from hostfw.host.store.generations.generations import accepted_number, accepted_until
from hostfw.host.store.generations.trial import RollbackTimer, Trial, load_rollback_timer, load_trial

DEADLINE = "it was not confirmed in time"
_SERVICE_PATIENCE = timedelta(seconds=5)
"""The time in which a service that runs takes out of force what has expired."""
REBOOT = "the host was started again before it was confirmed"


def left_s(trial: Trial, host: Host) -> float:
    """The seconds that are left to confirm the trial."""
    return max(trial.deadline_uptime_s - host.uptime(), 0)


def due(trial: Trial, timer: RollbackTimer | None, boot_id: str, uptime_s: float) -> str | None:
    """The reason to roll back a trial now, or None while it may still be confirmed.

    What belongs to this boot is lost with it, and with the restart of a container, which has the boot id of before.
    """
    if timer is None or trial.boot_id != boot_id:
        return REBOOT
    return DEADLINE if uptime_s >= trial.deadline_uptime_s else None


def is_due(directories: Directories, host: Host) -> bool:
    """True if a trial is due to be rolled back, or its end was not saved; read without the lock, so only likely.

    Raises Unreadable.
    """
    trial, problems = load_trial(directories.state)
    if trial is None:
        return bool(problems)
    if accepted_number(directories.state) == trial.number:
        return True
    timer = load_rollback_timer(directories.run)
    return due(trial, timer, host.boot_id(), host.uptime()) is not None


def has_expired(directories: Directories, host: Host, patience: timedelta = _SERVICE_PATIENCE) -> bool:
    """True if something is in force that has expired for so long that no service takes it out. Raises Unreadable."""
    until = accepted_until(directories.state)
    if until is None or host.now() < until + patience:
        return False
    record, _ = load_active(directories.run)
    trial, _ = load_trial(directories.state)
    return record is not None and trial is None
