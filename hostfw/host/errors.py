"""Errors of the outside world, as exceptions that a person can read.

    HostError
     |- NetlinkError      host/netlink             the kernel refused a request
     |- NftFailure        host/nftables/writing    the nft worker died, hung or could not start
     |- LockHeld          host/lock                another writer is at work in this network namespace
     |- StateError        host/store               what must survive a crash could not be written
     |- WatchdogError     host/systemd             nothing would roll back at the deadline what is not confirmed

Whatever a person can get wrong in a file is a `Problem` instead and is never raised.
"""

import errno


class HostError(Exception):
    """A failure outside hostfw: what happened, and with `hint` the next step if there is one."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def reason(error: OSError) -> str:
    """The operating system's error, in words that fit behind a colon."""
    match error.errno:
        case errno.ELOOP:
            return "symbolic links that lead round in a circle"
        case errno.ENOENT:
            return "there is no such file or directory"
        case errno.ENOSPC | errno.EDQUOT:
            return "the disk is full"
        case errno.EROFS:
            return "the file system is mounted read-only"
        case _:
            return (error.strerror or "input/output error").lower()
