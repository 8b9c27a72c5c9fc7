"""Notifications of a service to systemd, and the interval of its watchdog (sd_notify(3), sd_watchdog_enabled(3))."""

import os
from collections.abc import Mapping

from hostfw.host.errors import HostError

_STATUS_CHARACTERS = 400


def is_there() -> bool:
    """True if a service manager listens; where there is none, as in a terminal, nobody does."""
    return bool(os.environ.get("NOTIFY_SOCKET"))


def notify(state: str) -> None:
    """Tell it: lines of NAME=value. Waits for as long as it does not take it. Raises HostError."""
    try:
        from systemd.daemon import notify as sd_notify
    except ImportError as error:
        raise HostError("systemd cannot be notified", "install the package python3-systemd") from error
    try:
        sd_notify(state)
    except OSError as error:
        raise HostError(f"systemd cannot be notified: {error.strerror}") from error


def status_line(text: str) -> str:
    """The status of a service, as one line of bounded length."""
    return " ".join(text.split())[:_STATUS_CHARACTERS]


def watchdog_s(environment: Mapping[str, str] = os.environ, pid: int | None = None) -> float | None:
    """The watchdog's timeout for this process, in seconds; None if there is no watchdog."""
    try:
        microseconds = int(environment.get("WATCHDOG_USEC", ""))
        meant = int(environment.get("WATCHDOG_PID", pid or os.getpid()))
    except ValueError:
        return None
    return microseconds / 1e6 if microseconds > 0 and meant == (pid or os.getpid()) else None
