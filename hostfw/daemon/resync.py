"""Resync with the host: interfaces come and go, and the active generation is compiled again for the present ones."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import starmap

from hostfw.build.generation import Generation
from hostfw.build.refused import Refused
from hostfw.daemon.reports.troubles import Part, Troubles
from hostfw.daemon.retries.backoff import Retry
from hostfw.daemon.writer import WriterThread
from hostfw.engine.apply.applied import Applied
from hostfw.engine.engine import Engine
from hostfw.engine.kernel.governed_links import Port, governed_masters
from hostfw.engine.outcomes import Failed
from hostfw.engine.reading.deadline import has_expired
from hostfw.host.network.interfaces.link_events import LinkNews
from hostfw.host.network.interfaces.links import SETTLED_S
from hostfw.host.time.clock import monotonic
from hostfw.host.time.debounce import Debounce
from hostfw.host.workloads.events import FolderNews
from hostfw.policy.interest import Interest, interest

QUIET_S = 0.01
"""An interface that comes up is told in several messages: wait for the last."""
AT_MOST_S = 0.05
"""Longest wait for the end of a storm of messages."""
LATER_S = 1.0
"""Wait after a change that can move no binding: where containers come and go, one look does for many of them."""

ResyncOutcome = Applied | Refused | Failed


class Resync:
    """Follows interfaces. `resynced` hears whenever something changed, or failed, or succeeded again.

    What no HostEndpoint, InterfaceGroup or setting asks about is looked at once for all that comes within `LATER_S`.
    What has expired and could not be ended is trouble as long as that is so.
    """

    def __init__(self, writer: WriterThread, resynced: Callable[[ResyncOutcome], None], troubles: Troubles) -> None:
        """Belongs to the event loop that runs now, and does nothing before `run`."""
        self._writer = writer
        self._resynced = resynced
        self._troubles = troubles
        self._debounce = Debounce(QUIET_S, AT_MOST_S)
        self._later = Debounce(LATER_S, LATER_S)
        self._noted = asyncio.Event()
        self._hastened = asyncio.Event()
        self._interest: tuple[Generation, Interest] | None = None
        self._is_urgent = asyncio.Event()
        self._same_network = False
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
        if not news:
            return
        self._same_network = False
        if self._is_of_interest(news):
            self.look()
        else:
            self._later = self._later.noted(monotonic())
            self._noted.set()

    def _is_of_interest(self, news: LinkNews) -> bool:
        """True unless it is certain that no binding changes by it: it is looked at in any case, but not at once."""
        current = self._writer.current
        explained = {link.name for link in news.links} | {name for name, _ in news.addresses}
        if current is None or news.routes or news.missed or not news.interfaces <= explained:
            return True
        if self._interest is None or self._interest[0] is not current:
            known = current.candidate.resources, current.plan, current.facts, current.governance
            self._interest = current, interest(*known)
        found = self._interest[1]
        return any(map(found.in_link, news.links)) or any(starmap(found.in_address, news.addresses))

    def look_once_settled(self) -> None:
        """Compare once more when nothing new is in doubt: a DHCP client has written down what it gave by then."""
        if self._once_settled is not None:
            self._once_settled.cancel()
        self._once_settled = asyncio.get_running_loop().call_later(SETTLED_S + AT_MOST_S, self.look)

    def look(self) -> None:
        """Compare with the host as it is, soon."""
        self._same_network = False
        self._debounce = self._debounce.noted(monotonic())
        self._noted.set()
        self._hastened.set()

    def note_workloads(self, news: FolderNews) -> None:
        """Take in changes of the files about workloads: those that are whole are looked at without waiting for more.

        The network is not: what the kernel tells of it is noted as well.
        """
        if news is FolderNews.WHOLE:
            self._debounce = self._debounce.noted(monotonic() - QUIET_S)
            self._noted.set()
            self._hastened.set()
        elif news:
            self.look()

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
            await self._until_due()
            self._noted.clear()
            self._is_urgent.clear()
            is_likely = self._debounce.due is not None
            self._debounce, self._later = self._debounce.done(), self._later.done()
            if await self._resync(likely=is_likely):
                retry.succeeded()
            else:
                # An interface that comes meanwhile is another reason to try, and not a sooner one.
                with suppress(TimeoutError):
                    async with asyncio.timeout(retry.failed()):
                        await self._is_urgent.wait()
                self.look()

    async def _until_due(self) -> None:
        """Wait for the end of a storm; what is noted meanwhile may hasten or put off the moment."""
        while dues := [due for due in (self._debounce.due, self._later.due) if due is not None]:
            self._hastened.clear()
            wait_s = min(dues) - monotonic()
            if wait_s <= 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._hastened.wait()

    async def _resync(self, *, likely: bool) -> bool:
        """Do what is due; gives False if it is to be tried again. A change of rules is `likely` or not."""
        before = self._writer.current
        work = partial(_resync, writer=self._writer, likely=likely, same_network=self._same_network)
        # Whatever the kernel tells from now on is looked at the next time.
        self._same_network = True
        outcome = None if before is None else await self._writer.write(work)
        ended: Failed | None = None
        if not isinstance(outcome, Applied):
            self._same_network = False
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


def _resync(engine: Engine, writer: WriterThread, *, likely: bool, same_network: bool) -> ResyncOutcome | None:
    """Of what is in force at the moment at which it is our turn, not of what was when the interface came."""
    current: Generation | None = writer.current
    return None if current is None else engine.resync(current, likely=likely, same_network=same_network)


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
