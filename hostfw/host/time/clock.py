"""The time: one for people, one for waiting, and one that counts sleep as well."""

from datetime import UTC, datetime
from time import CLOCK_BOOTTIME, clock_gettime, monotonic
from typing import Protocol

__all__ = ["Clock", "monotonic", "now", "uptime"]


class Clock(Protocol):
    """A clock; this module is one."""

    def now(self) -> datetime:
        """The date and time in UTC, which may be set back."""

    def monotonic(self) -> float:
        """Seconds since some moment, which never go back."""


def now() -> datetime:
    """The date and time in UTC, which may be set back."""
    return datetime.now(UTC)


def uptime() -> float:
    """Seconds since the boot, sleep included (CLOCK_BOOTTIME, clock_gettime(2))."""
    return clock_gettime(CLOCK_BOOTTIME)
