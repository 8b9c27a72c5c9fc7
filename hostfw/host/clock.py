"""The time: one for people, one for waiting."""

from datetime import UTC, datetime
from time import monotonic
from typing import Protocol

__all__ = ["Clock", "monotonic", "now"]


class Clock(Protocol):
    """A clock; this module is one."""

    def now(self) -> datetime:
        """The date and time in UTC, which may be set back."""

    def monotonic(self) -> float:
        """Seconds since some moment, which never go back."""


def now() -> datetime:
    """The date and time in UTC, which may be set back."""
    return datetime.now(UTC)
