"""What systemd is told of a service, and how often it wants to hear of it (sd_notify(3), sd_watchdog_enabled(3))."""

import os
from collections.abc import Mapping

from hostfw.host.errors import HostError

_READY = "READY=1"
_STOPPING = "STOPPING=1"
_ALIVE = "WATCHDOG=1"
_STATUS_CHARACTERS = 400


def tell_ready(status: str) -> None:
    """Say that the service is up, and what it does."""
    _notify(f"{_READY}\n{_status(status)}")


def tell_status(status: str) -> None:
    """Say on one line what the service does: what `systemctl status` shows."""
    _notify(_status(status))


def tell_alive() -> None:
    """Say that the service still works, for the watchdog."""
    _notify(_ALIVE)


def tell_stopping(status: str) -> None:
    """Say that the service is about to end."""
    _notify(f"{_STOPPING}\n{_status(status)}")


def watchdog_s(environment: Mapping[str, str] = os.environ, pid: int | None = None) -> float | None:
    """How many seconds the watchdog waits for a sign of life from this process; None if there is none."""
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", ""))
        meant = int(environment.get("WATCHDOG_PID", pid or os.getpid()))
    except ValueError:
        return None
    return microseconds / 1e6 if microseconds > 0 and meant == (pid or os.getpid()) else None


def _status(text: str) -> str:
    line = " ".join(text.split())
    return f"STATUS={line[:_STATUS_CHARACTERS]}"


def _notify(state: str) -> None:
    """Send it where a service manager listens; elsewhere, as in a terminal, nobody does."""
    if not os.environ.get("NOTIFY_SOCKET"):
        return
    try:
        from systemd.daemon import notify
    except ImportError as error:
        raise HostError("systemd cannot be told anything", "install the package python3-systemd") from error
    notify(state)
