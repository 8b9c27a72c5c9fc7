"""Changes of the host name: the kernel wakes pollers of /proc/sys/kernel/hostname (kernel 3.3 and later).

The file is always readable, so that an event loop could not wait for it; a change is told as urgent data, which an
epoll of its own waits for and passes on. The kernel tells each opened file of a change once: a loop that asks our epoll
whether it is readable has used that up, and the name itself has to say whether it changed (fs/proc/proc_sysctl.c,
proc_sys_poll).
"""

import select
import socket
from contextlib import suppress
from pathlib import Path

_NAME = Path("/proc/sys/kernel/hostname")


def read_host_name() -> str:
    """The name of the host that we are on, in lower case as HostEndpoints name nodes."""
    return socket.gethostname().lower()


class HostNameEvents:
    """Hears of changes of the name in the UTS namespace that the caller is in.

    Where the kernel does not tell, as in a container without that file, nothing is ever heard.
    """

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._file = None
        self._last = socket.gethostname()
        with suppress(OSError):
            self._file = _NAME.open("rb", buffering=0)
            self._poll.register(self._file, select.EPOLLPRI | select.EPOLLET)
            self._poll.poll(0)

    def fileno(self) -> int:
        """The descriptor that is readable when there is something to hear."""
        return self._poll.fileno()

    def read(self) -> bool:
        """True if the name has changed since the last time; never waits."""
        self._poll.poll(0)
        before, self._last = self._last, socket.gethostname()
        return self._last != before

    def close(self) -> None:
        """Stop listening."""
        self._poll.close()
        if self._file is not None:
            self._file.close()
