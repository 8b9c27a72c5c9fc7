"""A netlink socket for the kernel's events, shared by the listeners to links, nftables and logs."""

import errno
import socket
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from hostfw.host.netlink.messages import NetlinkError, enlarge_receive_buffer

DATAGRAM_BYTES = 64 * 1024
"""More than the kernel puts into one datagram of these."""


class ListeningSocket:
    """A socket of the network namespace that the caller is in, which never waits. Whoever listens is one."""

    def __init__(self, protocol: int, receive_buffer_bytes: int, join: Callable[[socket.socket], None]) -> None:
        """Open it, and let `join` tell the kernel what to hear of. Raises OSError, and what `join` does."""
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, protocol)
        try:
            enlarge_receive_buffer(self._socket, receive_buffer_bytes)
            join(self._socket)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """The descriptor that is readable while there is something to hear."""
        return self._socket.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def _datagrams(self, most: int, what: str) -> Iterator[bytes | None]:
        """The datagrams that have arrived, at most so many; None where the kernel had to drop some.

        Raises NetlinkError, in which `what` names what was done.
        """
        for _ in range(most):
            try:
                data = self._socket.recv(DATAGRAM_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise NetlinkError(error.errno or errno.EIO, what) from error
                yield None
            else:
                yield data
