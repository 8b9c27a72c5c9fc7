"""The service: takes over what is in force, keeps it so, and answers who asks for another.

One event loop, and no polling: it wakes for the control socket, for links, for nftables, for the audit and for
systemd. Whatever writes does so on one thread, in turn, so that the loop goes on meanwhile; base protection alone has
a thread of its own, because it may not wait.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from hostfw import __version__
from hostfw.audit.attribution import Attribution
from hostfw.control.perform import perform
from hostfw.control.requests import Apply, InForceNow, Question, Reply, Report, Request, ServiceReport
from hostfw.control.socket import Answer
from hostfw.daemon.announcements import Announcer
from hostfw.daemon.audit import open_audit
from hostfw.daemon.charge import Charge
from hostfw.daemon.exporter import Exporter, Known, with_records
from hostfw.daemon.follower import Follower, Outcome
from hostfw.daemon.forgotten import Forgotten, find_socket
from hostfw.daemon.guard import TIMEOUT_S as GUARD_TIMEOUT_S
from hostfw.daemon.guard import Guard
from hostfw.daemon.keeper import Keeper, Repair
from hostfw.daemon.outbox import Outbox
from hostfw.daemon.outside import Outside
from hostfw.daemon.server import serve
from hostfw.engine.enforce import counts
from hostfw.engine.engine import Engine
from hostfw.engine.generation import Generation, Refused
from hostfw.engine.host import Directories
from hostfw.engine.installed import unprotected
from hostfw.engine.outcomes import Failed
from hostfw.engine.upkeep import Resumed, base_protection
from hostfw.host import service_manager
from hostfw.host.errors import HostError
from hostfw.host.nftables import NftablesWorker
from hostfw.metrics import AuditFigures, Figures
from hostfw.model.problems import errors
from hostfw.model.settings import Settings
from hostfw.model.words import counted


class Service:
    """The service of one network namespace. Made within the event loop that it serves in."""

    def __init__(self, directories: Directories, outside: Outside) -> None:
        """Nothing is touched before `run`."""
        self._loop = asyncio.get_running_loop()
        self._outside = outside
        outbox = Outbox(outside.journal)
        self._announcer = Announcer(outbox)
        # The engine works on a thread of its own, and the outbox belongs to the loop.
        host = replace(outside.host, announce=lambda entry: self._call(partial(outbox.send, entry)))
        self._charge = Charge(directories, host, self._about_to, self._in_force)
        self._guard = Guard(NftablesWorker(GUARD_TIMEOUT_S, started=self._charge.workers.append))
        self._keeper = Keeper(self._charge, self._guard, self._repaired, self._announcer.backed_off)
        self._follower = Follower(self._charge, self._followed)
        self._audit = open_audit(directories.run, outbox, outside.audit)
        self._forgotten = Forgotten(self._relearn, find_socket)
        self._audit.heard = self._forgotten.hear
        self._exporter = Exporter(self._know, outbox.send)
        self._known: Generation | None = None
        self._attribution = Attribution()
        self._trouble = ""
        self._repairs = 0
        self._started_at = outside.host.now()
        self._tasks: set[asyncio.Task[None]] = set()
        self._taken_over = asyncio.Event()
        self._stopped = asyncio.Event()

    async def run(self) -> None:
        """Serve until SIGTERM. Raises HostError if it cannot even begin."""
        loop = self._loop
        with ExitStack() as ends:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stopped.set)
            loop.add_signal_handler(signal.SIGHUP, lambda: self._spawn(self._reload()))
            for work in (
                self._charge,
                self._guard,
                self._keeper,
                self._follower,
                self._forgotten,
                self._exporter,
                self._audit,
            ):
                ends.callback(work.close)
            # Before anything is put into force, so that nothing goes unheard.
            for listener, hear in (
                (nft := self._outside.listen_nft(), partial(self._keeper.hear, nft)),
                (links := self._outside.listen_links(), partial(self._follower.hear, links)),
            ):
                ends.callback(listener.close)
                loop.add_reader(listener.fileno(), hear)
                ends.callback(loop.remove_reader, listener.fileno())
            self._charge.pause, self._charge.written = nft.paused, partial(self._keeper.hear, nft)
            server = await serve(self._charge.engine.directories, self._reply)
            ends.callback(server.close)
            await self._take_over()
            self._taken_over.set()
            service_manager.tell_ready(self._status())
            # What changed while we took over is only heard from here on.
            self._follower.look()
            self._spawn(self._live())
            audit = loop.create_task(self._audit.run(self._stopped))
            await self._stopped.wait()
            service_manager.tell_stopping("stopping; the rules stay in force")
            for task in self._tasks:
                task.cancel()
            await audit

    async def _take_over(self) -> None:
        """Put into force what was accepted. Where nothing ever was, the configuration directory is asked, this once.

        Whatever goes wrong, base protection is the least that is in force afterwards.
        """
        resumed = await self._charge.write(Engine.resume)
        match resumed:
            case Failed():
                self._trouble = f"what was accepted could not be put into force: {resumed.message}"
            case Resumed(id=None):
                self._judge(await self._charge.write(partial(perform, request=Apply())))
            case Resumed():
                self._trouble = "" if resumed.from_sources else "its sources no longer build on this host"
        if self._charge.current is not None or (isinstance(resumed, Resumed) and resumed.id is not None):
            return
        if not await self._charge.write(_is_protected):
            base = await self._charge.write(partial(Engine.protect, settings=Settings()))
            if isinstance(base, Failed):
                raise HostError(f"not even base protection can be put into force: {base.message}", base.hint)
            self._announcer.trouble(self._trouble, "base protection is in force: failsafes and what was established")
        else:
            self._announcer.trouble(self._trouble, "what the boot put into force still is")

    async def _reply(self, question: Question) -> Answer:
        """Answer who asks at the control socket."""
        return self._report() if isinstance(question, Report) else await self._answer(question)

    def _report(self) -> ServiceReport:
        figures = self._audit.figures()
        return ServiceReport(
            pid=os.getpid(),
            started_at=self._started_at,
            generation=self._known.id if self._known is not None else "",
            trouble=self._trouble,
            repairs=self._repairs,
            records=figures.records,
            lost=figures.lost,
            missed=figures.missed,
            suppressed=sum(figures.suppressed.values()),
            entries_unwritten=figures.unwritten,
            listening=figures.listening,
        )

    def _know(self) -> Known:
        """What there is for Prometheus."""
        known, audit = self._known, self._audit.figures()
        figures = Figures(
            version=__version__,
            started_at=self._started_at,
            generation=known.id if known is not None else "",
            counts=dict(counts(known)) if known is not None else {},
            repairs=self._repairs,
            is_troubled=bool(self._trouble),
            audit=AuditFigures(
                records=audit.records,
                entries=audit.events,
                lost=audit.lost,
                missed=audit.missed,
                unwritten=audit.unwritten,
                is_listening=audit.listening,
            ),
        )
        plan = known.plan if known is not None else None
        return Known(partial(with_records, figures, self._charge.engine.directories), plan)

    async def _answer(self, request: Request) -> Reply:
        """Carry out a request; one that fails in a way nobody thought of ends neither the service nor the rules."""
        await self._taken_over.wait()
        try:
            reply = await self._charge.write(partial(perform, request=request))
        except Exception as error:  # noqa: BLE001  the boundary of the service
            self._announcer.defect(error)
            reply = Failed(f"this is a defect of hostfw: {type(error).__name__}: {error}", "please report it")
        self._judge(reply)
        service_manager.tell_status(self._status())
        return reply

    async def _reload(self) -> None:
        await self._answer(Apply())

    async def _relearn(self, first: frozenset[int]) -> frozenset[int]:
        """Make connections known again that what is in force allows, once it is our turn."""

        def work(engine: Engine) -> frozenset[int]:
            current = self._charge.current
            return engine.relearn(current, first) if current is not None else frozenset()

        return await self._charge.write(work)

    async def _live(self) -> None:
        """Tell the watchdog that the loop goes round, twice as often as it asks."""
        if (limit_s := service_manager.watchdog_s()) is None:
            return
        while True:
            service_manager.tell_alive()
            await asyncio.sleep(limit_s / 2)

    def _about_to(self, generation: Generation, found: Attribution) -> None:
        """Be ready for the log records of what is about to come into force."""
        self._attribution = found
        self._audit.listen(generation.inspected.settings.logging)
        self._audit.changing(found)

    def _in_force(self, generation: Generation | None) -> None:
        """Take notice of what has come into force."""
        before, self._known = self._known, generation
        if generation is None:
            self._attribution = Attribution()
        # The same rules may have moved to other lines.
        if self._attribution is not self._audit.attribution:
            self._audit.attribute(self._attribution)
        if generation is None:
            return
        self._announcer.bindings(before, generation)
        self._exporter.follow(generation.inspected.settings.metrics)
        if before is not None and before.id == generation.id:
            return
        self._forgotten.changed()
        self._guard.make_ready(base_protection(generation.inspected.settings, generation.facts).script)

    def _repaired(self, repair: Repair) -> None:
        known = self._known.id if self._known is not None else ""
        if repair.failed is not None:
            self._trouble = f"what another program changed could not be restored: {repair.failed.message}"
            self._announcer.not_restored(known, repair.failed)
        else:
            self._repairs += 1
            self._announcer.restored(repair.deeds, known, repair.actor)
        service_manager.tell_status(self._status())

    def _followed(self, outcome: Outcome) -> None:
        self._judge(outcome)
        self._announcer.followed(outcome)
        service_manager.tell_status(self._status())

    def _judge(self, outcome: Reply | Outcome) -> None:
        """Keep what is to be said of the last attempt to change what is in force."""
        match outcome:
            case Refused(problems):
                wrong = errors(problems)
                more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
                self._trouble = f"refused: {wrong[0].position}: {wrong[0].message}{more}"
            case Failed():
                self._trouble = outcome.message
            case InForceNow():
                self._trouble = ""
            case _:
                pass

    def _status(self) -> str:
        """One line for `systemctl status`."""
        known = self._known
        if known is None:
            now = "no generation of ours is in force"
        else:
            policies, endpoints = len(known.inspected.resources.policies), len(known.plan.endpoints)
            counts = f"{counted(policies, 'policy', 'policies')}, {counted(endpoints, 'endpoint')}"
            now = f"generation {known.id} in force: {counts}"
        return f"{now}; {self._trouble}" if self._trouble else now

    def _call(self, function: Callable[[], None]) -> None:
        """From another thread."""
        self._loop.call_soon_threadsafe(function)

    def _spawn(self, work: Coroutine[object, object, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _is_protected(engine: Engine) -> bool:
    status = engine.status()
    return not isinstance(status, Failed) and not unprotected(status.tables)
