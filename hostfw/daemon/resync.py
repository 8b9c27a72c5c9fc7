"""Resync with the host: interfaces come and go, and the active generation is compiled again for the present ones."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial

from hostfw.build.generation import Generation
from hostfw.build.refused import Refused
from hostfw.daemon.backoff import Retry
from hostfw.daemon.troubles import Part, Troubles
from hostfw.daemon.writer import WriterThread
from hostfw.engine.applied import Applied
from hostfw.engine.engine import Engine
from hostfw.engine.kernel.governed_links import Port, governed_masters
from hostfw.engine.outcomes import Failed
from hostfw.engine.reading.deadline import has_expired
from hostfw.host.clock import monotonic
from hostfw.host.debounce import Debounce
from hostfw.host.network.link_events import LinkNews
from hostfw.host.network.links import SETTLED_S

QUIET_S = 0.01
"""An interface that comes up is told in several messages: wait for the last."""
AT_MOST_S = 0.05
"""Longest wait for the end of a storm of messages."""

ResyncOutcome = Applied | Refused | Failed


class Resync:
    """Follows interfaces. `resynced` hears whenever something changed, or failed, or succeeded again.

    What has expired and could not be ended is trouble as long as that is so.
    """

    def __init__(self, writer: WriterThread, resynced: Callable[[ResyncOutcome], None], troubles: Troubles) -> None:
        """Belongs to the event loop that runs now, and does nothing before `run`."""
        self._writer = writer
        self._resynced = resynced
        self._troubles = troubles
        self._debounce = Debounce(QUIET_S, AT_MOST_S)
        self._noted = asyncio.Event()
        self._is_urgent = asyncio.Event()
        self._has_failed = False
        self._ports: set[Port] = set()
        self._ports_noted = asyncio.Event()
        self._once_settled: asyncio.TimerHandle | None = None

    def note(self, news: LinkNews) -> None:
        """Take in the kernel's messages about links, addresses and routes."""
        if news.ports:
            self._ports |= news.ports
            self._ports_noted.set()
        if news.endless or news.missed:
            self.look_once_settled()
        if news:
            self.look()

    def look_once_settled(self) -> None:
        """Compare once more when nothing new is in doubt: a DHCP client has written down what it gave by then."""
        if self._once_settled is not None:
            self._once_settled.cancel()
        self._once_settled = asyncio.get_running_loop().call_later(SETTLED_S + AT_MOST_S, self.look)

    def look(self) -> None:
        """Compare with the host as it is, soon."""
        self._debounce = self._debounce.noted(monotonic())
        self._noted.set()

    def look_now(self) -> None:
        """Compare without waiting for the next try of what has failed: something may have expired."""
        self._is_urgent.set()
        self.look()

    async def note_masters(self) -> None:
        """Have the master of a governed interface governed like its port at once, and not once rules are compiled."""
        while True:
            await self._ports_noted.wait()
            self._ports_noted.clear()
            ports, self._ports = self._ports, set()
            await self._writer.write(partial(_note_masters, writer=self._writer, ports=frozenset(ports)))

    async def run(self) -> None:
        """Act when it is due; what failed is tried again until it succeeds."""
        retry = Retry()
        while True:
            await self._noted.wait()
            while (due := self._debounce.due) is not None and (wait_s := due - monotonic()) > 0:  # noqa: ASYNC110  it is waited for the end of a storm
                await asyncio.sleep(wait_s)
            self._noted.clear()
            self._is_urgent.clear()
            self._debounce = self._debounce.done()
            if await self._resync():
                retry.succeeded()
            else:
                # An interface that comes meanwhile is another reason to try, and not a sooner one.
                with suppress(TimeoutError):
                    async with asyncio.timeout(retry.failed()):
                        await self._is_urgent.wait()
                self.look()

    async def _resync(self) -> bool:
        """Do what is due; gives False if it is to be tried again."""
        before = self._writer.current
        outcome = None if before is None else await self._writer.write(partial(_resync, writer=self._writer))
        ended: Failed | None = None
        if not isinstance(outcome, Applied):
            # What has expired ends, whatever becomes of the rest.
            ended = await self._writer.write(partial(_end_expired, writer=self._writer))
        self._troubles.note(Part.EXPIRIES, "" if ended is None else f"what has expired stays: {ended.message}")
        if outcome is None or before is None:
            # Once something is known, what is there then is looked at.
            return ended is None
        if not isinstance(outcome, Applied) or self._has_failed or outcome.generation.id != before.id:
            self._resynced(outcome)
        self._has_failed = not isinstance(outcome, Applied)
        return not isinstance(outcome, Failed)


def _resync(engine: Engine, writer: WriterThread) -> ResyncOutcome | None:
    """Of what is in force at the moment at which it is our turn, not of what was when the interface came."""
    current: Generation | None = writer.current
    return None if current is None else engine.resync(current)


def _end_expired(engine: Engine, writer: WriterThread) -> Failed | None:
    """Have what has expired out of force although nothing can be compiled; None if it is, or nothing has."""
    current: Generation | None = writer.current
    if current is not None:
        return engine.end_by_script(current)
    return engine.end_expired() if has_expired(engine.directories, engine.host, timedelta()) else None


def _note_masters(engine: Engine, writer: WriterThread, ports: frozenset[Port]) -> None:
    """Whatever goes wrong, the compiling of rules that follows makes up for it."""
    current = writer.current
    if current is not None and governed_masters(current, ports):
        engine.note_masters(current, ports)
