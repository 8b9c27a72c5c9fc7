"""A listener to the kernel that is opened anew when it fails: what was missed meanwhile counts as missed."""

import asyncio
import errno
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from hostfw.daemon.retries.backoff import Retry
from hostfw.host.process.descriptors import descriptor_identity
from hostfw.host.time.clock import monotonic

_SOUND_S = 5.0
"""A listener that was good for so long did not fail for the reason of the one before it."""

News = TypeVar("News")
News_co = TypeVar("News_co", covariant=True)


class Listener(Protocol[News_co]):
    """A source of kernel events, such as `NftEvents` and `LinkEvents`."""

    def fileno(self) -> int:
        """The descriptor that is readable while there is something to hear."""

    def read(self) -> News_co:
        """The events since the last call, or a bounded part of them; never waits."""

    def close(self) -> None:
        """Stop listening."""


L = TypeVar("L", bound=Listener[Any])


class Listening(Generic[L, News]):
    """One listener at a time, watched by the event loop; `receive` gets the news.

    `listener` is None while there is none. `missed` is called for a new one, since anything may have happened in
    between. `failed` is called with the reason when it fails, and `back` when it works again.
    """

    def __init__(
        self,
        open_listener: Callable[[], L],
        receive: Callable[[News], None],
        missed: Callable[[], None],
        failed: Callable[[Exception], None],
        back: Callable[[], None],
    ) -> None:
        """Belongs to the event loop that runs now, and listens to nothing before `open`."""
        self._loop = asyncio.get_running_loop()
        self._open_listener = open_listener
        self._receive, self._missed, self._failed, self._back = receive, missed, failed, back
        self.listener: L | None = None
        self._lost = asyncio.Event()
        self._retry = Retry()
        self._opened_s = 0.0
        self._watched = -1
        self._identity: tuple[int, int] | None = None

    def open(self) -> bool:
        """Listen from now on; where that fails, `run` tries again."""
        listener: L | None = None
        try:
            listener = self._open_listener()
            self._watched = listener.fileno()
            self._loop.add_reader(self._watched, self.read)
        except Exception as error:  # noqa: BLE001  what cannot be opened now may be later, whatever it is
            if listener is not None:
                _let_go(listener)
            self._failed(error)
            self._lost.set()
            return False
        self.listener = listener
        self._identity = descriptor_identity(self._watched)
        self._opened_s = monotonic()
        return True

    def read(self) -> None:
        """Take in what has come."""
        if self.listener is None:
            return
        try:
            news = self.listener.read()
        except Exception as error:  # noqa: BLE001  one that cannot be read is replaced, whatever it is
            self.lose(error)
            return
        self._receive(news)

    def check(self) -> None:
        """Give up a listener that was closed under us: nothing ever comes of it, and no error either."""
        if self.listener is not None and descriptor_identity(self._watched) != self._identity:
            self.lose(OSError(errno.EBADF, "its descriptor was closed"))

    def lose(self, error: Exception) -> None:
        """Give up a listener that failed; `run` opens another."""
        if monotonic() - self._opened_s >= _SOUND_S:
            self._retry.succeeded()
        self.close()
        self._failed(error)
        self._lost.set()

    async def run(self) -> None:
        """Open another listener whenever one was lost."""
        while True:
            await self._lost.wait()
            await asyncio.sleep(self._retry.failed())
            self._lost.clear()
            if self.open():
                self._back()
                self._missed()

    def close(self) -> None:
        """Stop listening. One that is broken is let go like any other, and keeps nobody from opening another."""
        if self.listener is not None:
            listener, self.listener = self.listener, None
            self._loop.remove_reader(self._watched)
            _let_go(listener)


def _let_go(listener: Listener[Any]) -> None:
    with suppress(Exception):
        listener.close()
