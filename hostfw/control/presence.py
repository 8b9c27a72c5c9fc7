"""Presence of the control socket: it is opened again at its path when somebody removes or replaces it."""

import asyncio
import errno
from collections.abc import Callable

from hostfw.control.server import Server
from hostfw.host.errors import HostError
from hostfw.host.folder_events import FolderEvents
from hostfw.host.store.generations.active import record_stamp

QUIET_S = 0.1
"""Time that whoever removes the socket has to remove its folder as well."""
AGAIN_S = 0.25
"""Time until the next try, twice as long after each failure."""
LONGEST_S = 4.0
LOOK_S = 60.0
"""Interval between looks of which no event tells: something may be mounted above the path."""


class Presence:
    """Looks after the socket of a server, by the events of its folder.

    `trouble` is called with what is wrong, empty once nothing is, and `tell` with what was done about it.
    `folder_lost` is called with the reason where what was in the folder is gone as well. `start_anew` has a
    service manager start us again, where there is one: a sandbox may not let us make the folder.
    """

    def __init__(
        self,
        server: Server,
        trouble: Callable[[str], None],
        tell: Callable[[str], None],
        folder_lost: Callable[[str], None],
        start_anew: Callable[[], None] | None,
    ) -> None:
        """Does nothing before `run`."""
        self._server = server
        self._trouble, self._tell, self._folder_lost, self._start_anew = trouble, tell, folder_lost, start_anew

    async def run(self) -> None:
        """Look after it for good."""
        wait_s = AGAIN_S
        while True:
            lacking = self._server.lacking()
            if not lacking:
                self._trouble("")
                wait_s = AGAIN_S
                await self._change()
                await asyncio.sleep(QUIET_S)
                continue
            folder = self._server.path.parent
            folder_gone = not folder.is_dir()
            try:
                await self._server.open()
            except HostError as error:
                self._trouble(f"{lacking}, so hostfwctl does not reach the service: {error.message}")
                is_sandboxed = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EROFS
                if folder_gone and is_sandboxed and self._start_anew is not None:
                    self._tell(f"{lacking}, and the service starts anew to have it made again")
                    self._start_anew()
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_S)
            else:
                self._tell(f"{lacking}: the control socket is open there again")
                if record_stamp(folder) == ():
                    self._folder_lost(lacking)

    async def _change(self) -> None:
        """Wait until something may have become of the socket."""
        try:
            events = FolderEvents(self._server.path)
        except OSError:
            await asyncio.sleep(LONGEST_S)
            return
        loop, noted = asyncio.get_running_loop(), asyncio.Event()
        try:
            loop.add_reader(events.fileno(), noted.set)
            # What happened before anybody listened is seen now.
            while not self._server.lacking():
                try:
                    async with asyncio.timeout(LOOK_S):
                        await noted.wait()
                    noted.clear()
                    events.read()
                except (OSError, TimeoutError):
                    return
        finally:
            loop.remove_reader(events.fileno())
            events.close()
