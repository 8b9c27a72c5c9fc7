"""An alarm by the clock on the wall: it goes off at a moment, and whenever somebody sets the clock.

A timer descriptor of CLOCK_REALTIME with TFD_TIMER_CANCEL_ON_SET (Linux 3.0, timerfd_create(2)): it follows steps of
the clock in both directions, goes off after a sleep in which its moment passed, and tells of a step. Python has it
from 3.13; the C library is asked directly for the sake of 3.11.
"""

import ctypes
import errno
import os
import sys
import time
from dataclasses import dataclass
from datetime import datetime

_CLOCK_REALTIME = 0
_NONBLOCK_CLOEXEC = os.O_NONBLOCK | os.O_CLOEXEC
_ABSOLUTE, _CANCEL_ON_SET = 1, 2


class _Timespec(ctypes.Structure):
    """struct timespec."""

    _fields_ = (("tv_sec", ctypes.c_long), ("tv_nsec", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    """struct itimerspec."""

    _fields_ = (("it_interval", _Timespec), ("it_value", _Timespec))


@dataclass(frozen=True, slots=True)
class ClockNews:
    """The reason of an alarm: its moment has come, or the clock was set, by `step_s` seconds (0 where it was not)."""

    step_s: float = 0.0


class ClockAlarm:
    """An alarm for one moment at a time, which an event loop waits for. Raises OSError."""

    def __init__(self) -> None:
        """Goes off at no moment before `set`."""
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._checked(self._libc.timerfd_create(_CLOCK_REALTIME, _NONBLOCK_CLOEXEC))
        self._ahead_s = _ahead_s()
        self._has_unread_step = False

    def fileno(self) -> int:
        """The descriptor that is readable once the alarm has gone off."""
        return self._fd

    def set(self, moment: datetime | None) -> None:
        """Go off at a moment, at once if that has passed, and at every step of the clock before; None is never.

        A step that nobody has read yet is told all the same, by going off at once.
        """
        # Both zero would disarm it: the moment is at least one nanosecond after the epoch.
        at_ns = max(int(moment.timestamp() * 1_000_000) * 1000, 1) if moment is not None else 0
        if not self._has_unread_step and not self._arm(at_ns):
            self._has_unread_step = True
        if self._has_unread_step:
            self._arm(1)
        else:
            self._ahead_s = _ahead_s()

    def read(self) -> ClockNews:
        """The reason why the alarm went off; never waits. After a step it is to be set again."""
        try:
            os.read(self._fd, 8)
        except OSError as error:
            if error.errno == errno.ECANCELED:
                return self._step()
            if error.errno != errno.EAGAIN:
                raise
        return self._step() if self._has_unread_step else ClockNews()

    def close(self) -> None:
        """Let it be."""
        os.close(self._fd)

    def _step(self) -> ClockNews:
        ahead_s = _ahead_s()
        # A step that is undone by now is one nevertheless: the alarm is to be set again.
        step_s = ahead_s - self._ahead_s or sys.float_info.epsilon
        self._ahead_s, self._has_unread_step = ahead_s, False
        return ClockNews(step_s)

    def _arm(self, at_ns: int) -> bool:
        """Give False if the clock was set since the last read: the alarm is set, but will not say so."""
        value = _Timespec(*divmod(at_ns, 1_000_000_000))
        timer = _Itimerspec(_Timespec(0, 0), value)
        flags = _ABSOLUTE | _CANCEL_ON_SET
        try:
            self._checked(self._libc.timerfd_settime(self._fd, flags, ctypes.byref(timer), None))
        except OSError as error:
            if error.errno != errno.ECANCELED:
                raise
            return False
        return True

    def _checked(self, result: int) -> int:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result


def _ahead_s() -> float:
    """Seconds by which the clock on the wall is ahead of the one that counts from the boot, sleep included."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
