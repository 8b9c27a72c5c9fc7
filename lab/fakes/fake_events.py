"""Fakes of what listens to the kernel: news that a test tells, on a descriptor that an event loop can watch."""

import socket
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from hostfw.host.network.interfaces.link_events import LinkNews
from hostfw.host.nftables.writing.transactions import NftNews


class FakeNftEvents:
    """An `NftListener` that hears what it is told."""

    def __init__(self) -> None:
        self.is_closed = False
        self._told: deque[NftNews] = deque()
        self._missed = False
        self._ours, self._theirs = _sockets()

    def tell(self, news: NftNews) -> None:
        """Let something be heard."""
        self._told.append(news)
        self._theirs.send(b"n")

    def fileno(self) -> int:
        """Readable while there is something to hear."""
        return self._ours.fileno()

    def read(self) -> NftNews:
        """One piece of news."""
        if self._missed:
            self._missed = False
            return NftNews(missed=True)
        if not self._told:
            return NftNews()
        self._ours.recv(1)
        return self._told.popleft()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Hear nothing of what is told in the block."""
        told = len(self._told)
        yield
        while len(self._told) > told:
            self._told.pop()
            self._ours.recv(1)
        self._missed = True

    def close(self) -> None:
        """Stop listening."""
        self.is_closed = True
        self._ours.close()
        self._theirs.close()


class FakeLinkEvents:
    """A `LinkListener` that hears what it is told."""

    def __init__(self) -> None:
        self.is_closed = False
        self._told: deque[LinkNews] = deque()
        self._ours, self._theirs = _sockets()

    def tell(self, news: LinkNews) -> None:
        """Let something be heard."""
        self._told.append(news)
        self._theirs.send(b"n")

    def fileno(self) -> int:
        """Readable while there is something to hear."""
        return self._ours.fileno()

    def read(self) -> LinkNews:
        """One piece of news."""
        if not self._told:
            return LinkNews()
        self._ours.recv(1)
        return self._told.popleft()

    def close(self) -> None:
        """Stop listening."""
        self.is_closed = True
        self._ours.close()
        self._theirs.close()


def _sockets() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    return ours, theirs
