"""Exceptions that nobody thought of, and those that are the want of something."""

import errno

import pytest

from hostfw.daemon.writer import defect
from hostfw.engine.outcomes import UNKNOWN


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "the service: too many open files"),
        (OSError(errno.ENFILE, "Too many open files in system"), "the service: too many open files in system"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "the service: cannot allocate memory"),
        (MemoryError(), "the service has no memory left"),
        (
            OSError(errno.EBADF, "Bad file descriptor"),
            "this is a defect of hostfw: OSError: [Errno 9] Bad file descriptor",
        ),
        (KeyError("eth0"), "this is a defect of hostfw: KeyError: 'eth0'"),
    ],
)
def test_what_a_host_lacks_is_no_defect_of_hostfw(error: Exception, message: str) -> None:
    """Whatever it is, it may have stopped the work midway."""
    found = defect(error)

    assert (found.message, found.in_force) == (message, UNKNOWN)
    assert found.hint
