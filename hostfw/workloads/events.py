"""Word of changes from the kernel: files in folders, and interfaces of this host."""

import select
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Protocol

from hostfw.host.workloads.events import WorkloadEvents
from hostfw.host.workloads.interfaces import InterfaceEvents


class Source(Protocol):
    """One that has word of changes."""

    def fileno(self) -> int:
        """The descriptor that is readable while there is something to hear."""

    def read(self) -> object:
        """Take what has arrived; never waits. Raises OSError or EngineError once nothing more will come."""


class SeveralEvents:
    """Word from several at once."""

    def __init__(self, sources: tuple[Source, ...]) -> None:
        """Listen to all of them."""
        self._poll = select.epoll()
        self._sources = sources
        for one in sources:
            self._poll.register(one, select.EPOLLIN)

    def fileno(self) -> int:
        """The descriptor that is readable while there is something to hear."""
        return self._poll.fileno()

    def take(self) -> None:
        """Take what has arrived. Raises OSError once a folder is gone, and what the sources raise."""
        for one in self._sources:
            one.read()

    def close(self) -> None:
        """Stop listening."""
        self._poll.close()


@contextmanager
def changes(*folders: Path, interfaces: bool = False, more: tuple[Source, ...] = ()) -> Iterator[SeveralEvents]:
    """Hear of changes in folders, of which the first has to be there, of interfaces, and of more. Raises OSError."""
    with ExitStack() as stack:
        found: list[Source] = [
            *more,
            *(
                stack.enter_context(closing(WorkloadEvents(folder, make=False)))
                for folder in folders
                if folder is folders[0] or folder.is_dir()
            ),
        ]
        if interfaces:
            found.append(stack.enter_context(InterfaceEvents()))
        yield stack.enter_context(closing(SeveralEvents(tuple(found))))
