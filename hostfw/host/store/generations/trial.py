"""A generation on trial: in force, not yet confirmed, and the data to roll it back.

    state_dir/pending.json    which generation, what to go back to, and until when; outlives a reboot
    run_dir/pending.json      what belongs to this boot: what will roll it back, and the connections before it

Both are written before the switch, so the rollback is possible whatever happens afterwards. Only the connections are
written after it: those that existed when the generation came into force.
"""

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hostfw.host.store.atomic_files import removed, sync_directory, write_atomically
from hostfw.host.store.codec import garbage, is_there, load_json, reading, saving, to_json
from hostfw.model.problems import Problem
from hostfw.model.time.moments import moment_of

_PENDING = "pending.json"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Trial:
    """A generation that is rolled back unless it is confirmed in time.

    `number` is that of the stored generation, `previous` that of the accepted one to go back to. Without one, the way
    back is no ruleset at all, or if there was one (`protected`) that of an empty configuration. `deadline` is for
    people; what counts is `deadline_uptime_s`, in the boot of that id: seconds since the boot, sleep included.
    """

    token: str
    number: int
    id: str
    previous: int | None
    protected: bool
    deadline: datetime
    deadline_uptime_s: float
    boot_id: str


@dataclass(frozen=True, slots=True)
class RollbackTimer:
    """The part of a trial that belongs to this boot.

    `watchdog` is the timer that rolls it back at the deadline. `cookies` are the TCP sockets that existed when it came
    into force, None before that, or where they are unknown.
    """

    token: str
    watchdog: str
    cookies: frozenset[int] | None = None


def save_trial(state_dir: Path, trial: Trial) -> None:
    """Write down the way back, durably. Raises StateError."""
    with saving("the way back"):
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(
            state_dir / _PENDING,
            to_json(
                token=trial.token,
                number=trial.number,
                id=trial.id,
                previous=trial.previous,
                protected=trial.protected,
                deadline=trial.deadline.isoformat(),
                deadline_uptime_s=trial.deadline_uptime_s,
                boot_id=trial.boot_id,
            ),
        )


def load_trial(state_dir: Path) -> tuple[Trial | None, tuple[Problem, ...]]:
    """The trial that waits for confirmation; None with problems if there is one that is damaged. Raises Unreadable."""
    path = state_dir / _PENDING
    if not is_there(path):
        return None, ()
    data, problems = load_json(path)
    match data:
        case None:
            return None, problems
        case {
            "format": 1,
            "token": str(token),
            "number": int(number),
            "id": str(id_),
            "previous": int() | None as previous,
            "protected": bool(protected),
            "deadline": str(deadline),
            "deadline_uptime_s": float() | int() as uptime_s,
            "boot_id": str(boot_id),
        } if (when := moment_of(deadline)) is not None:
            return Trial(token, number, id_, previous, protected, when, float(uptime_s), boot_id), ()
        case _:
            return None, (garbage(path),)


def save_rollback_timer(run_dir: Path, timer: RollbackTimer) -> None:
    """Write down what belongs to this boot. Raises StateError."""
    with saving("the way back"):
        run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        cookies = None if timer.cookies is None else sorted(timer.cookies)
        write_atomically(
            run_dir / _PENDING, to_json(token=timer.token, watchdog=timer.watchdog, tcp_socket_cookies=cookies)
        )


def load_rollback_timer(run_dir: Path) -> RollbackTimer | None:
    """The part of this boot, or None if there is none, as after a reboot.

    A damaged one has neither token nor watchdog: the deadline counts all the same. Raises Unreadable.
    """
    if not is_there(run_dir / _PENDING):
        return None
    data, _ = load_json(run_dir / _PENDING)
    match data:
        case {"format": 1, "token": str(token), "watchdog": str(watchdog), "tcp_socket_cookies": None}:
            return RollbackTimer(token, watchdog)
        case {"format": 1, "token": str(token), "watchdog": str(watchdog), "tcp_socket_cookies": list(cookies)}:
            return RollbackTimer(token, watchdog, frozenset(cookie for cookie in cookies if isinstance(cookie, int)))
        case _:
            return RollbackTimer("", "")


def forget_trial(state_dir: Path, run_dir: Path) -> None:
    """Let nothing be pending, durably: what is in force now is what was accepted. Raises StateError."""
    with saving("that nothing is pending"):
        if removed(state_dir / _PENDING):
            sync_directory(state_dir)
        (run_dir / _PENDING).unlink(missing_ok=True)


def boot_id() -> str:
    """The id of this boot: 32 hexadecimal digits.

    hostfw.service is told by systemd. In a container its sandbox may show that of the machine around it (systemd 252).
    Raises Unreadable.
    """
    with reading(_BOOT_ID):
        return (os.environ.get("HOSTFW_BOOT_ID") or _BOOT_ID.read_text(encoding="ascii").strip()).replace("-", "")
