"""The service: takes over the active generation, keeps it in force, and answers requests for another.

One event loop without polling: it wakes for the control socket, links, nftables, the audit and systemd. All writing is
done on one thread, in turn, so the loop is never blocked; only base protection has a thread of its own, because it must
not wait. Messages to the journal and to systemd are sent on threads too.

Every task is supervised. A failure with an outside cause is retried, and reported as trouble for as long as it lasts;
any other exception ends the process, and systemd restarts it while the rules stay in force.
"""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import replace
from functools import partial

from hostfw.audit.attribution import Attribution
from hostfw.build.generation import Generation
from hostfw.build.refused import Refused
from hostfw.control.handlers import handle
from hostfw.control.messages import Apply, InForceNow, Query, Reply, Report, Request
from hostfw.control.presence import Presence
from hostfw.control.server import Server
from hostfw.control.socket import Answer, Refusal
from hostfw.daemon.audit.journal_queue import Outbox
from hostfw.daemon.audit.log_reader import open_audit
from hostfw.daemon.dependencies import Dependencies
from hostfw.daemon.expiries import Alarm, Expiries, MemberEnds
from hostfw.daemon.metrics.exporter import Exporter
from hostfw.daemon.repair.base_protection import TIMEOUT_S as PROTECTION_TIMEOUT_S
from hostfw.daemon.repair.base_protection import BaseProtection, read_base_chains
from hostfw.daemon.repair.forgotten_connections import ForgottenConnections, find_socket
from hostfw.daemon.repair.repair import Repair, Repairer
from hostfw.daemon.reports.announcer import Announcer, first_error
from hostfw.daemon.reports.health import Health
from hostfw.daemon.reports.notifier import Notifier
from hostfw.daemon.reports.troubles import Part
from hostfw.daemon.resync import Resync, ResyncOutcome
from hostfw.daemon.retries.listening import L, Listening, News
from hostfw.daemon.retries.saving import Saving
from hostfw.daemon.takeover import Takeover
from hostfw.daemon.writer import WriterThread
from hostfw.engine.apply.applied import Applied
from hostfw.engine.checks.exposure import services_of
from hostfw.engine.context import Directories
from hostfw.engine.engine import Engine
from hostfw.engine.outcomes import UNKNOWN, Confirmed, Failed, RolledBack
from hostfw.engine.reconcile import build_base_protection
from hostfw.host.process import signals
from hostfw.host.systemd import notify as service_manager
from hostfw.host.time.clock_alarm import ClockNews
from hostfw.host.workloads.events import FolderNews, WorkloadEvents
from hostfw.host.workloads.files import is_read
from hostfw.host.workloads.reader import FOLDER
from hostfw.model.host.services import HostServices

IDLE_S = 60.0
"""Interval between two looks at what the loop waits on, where there is no watchdog to be told."""
READY_PATIENCE_S = 10.0
"""After so long systemd is told that the service is up, whatever stands in the way: others wait for it in the boot."""
WRITING_LIMIT_S = 900.0
"""Nothing takes so long that is ever to end: the watchdog hears no more, and systemd starts the service anew."""
ENDING_S = 5.0
"""Time that clients have to read their answers once the service is to stop."""


class Service:
    """The service of one network namespace. Made within the event loop that it serves in.

    `has_ended` is True after `run` if no thread is blocked by the journal.
    """

    def __init__(self, directories: Directories, dependencies: Dependencies) -> None:
        """Nothing is touched before `run`."""
        self._loop = asyncio.get_running_loop()
        self._outbox = Outbox(dependencies.journal)
        self._announcer = Announcer(self._outbox)
        self._notifier = Notifier()
        host = replace(dependencies.host, announce=self._outbox.send).below(directories.run)
        self._writer = WriterThread(
            directories, host, self._about_to, self._in_force, self._announcer.defect, dependencies.worker
        )
        self._base_protection = BaseProtection(
            dependencies.worker(PROTECTION_TIMEOUT_S, started=self._writer.protectors.append),
            lambda: read_base_chains(dependencies.host.read_some),
        )
        self._repairer = Repairer(
            self._writer, self._base_protection, self._repaired, self._unprotected, self._announcer.backed_off
        )
        self._audit = open_audit(directories.run, self._outbox, dependencies.audit)
        self._audit.defect = self._announcer.defect
        self._forgotten = ForgottenConnections(self._relearn, find_socket)
        self._audit.on_event = self._forgotten.note
        self._health = Health(self._outbox, self._writer, self._audit, self._notifier, dependencies.host.now())
        self._troubles = self._health.troubles
        self._audit.losses.trouble = partial(self._troubles.note, Part.AUDIT)
        self._resync = Resync(self._writer, self._resynced, self._troubles)
        self._saving = Saving(self._writer, self._troubles)
        self._exporter = Exporter(self._health.figures, self._exported)
        self._server = Server(directories, self._reply, self._announcer.defect)
        self._nft = self._listening(
            dependencies.listen_nft, self._repairer.note, self._repairer.missed, Part.NFT_EVENTS
        )
        self._links = self._listening(dependencies.listen_links, self._resync.note, self._resync.look, Part.LINK_EVENTS)
        self._workloads: Listening[WorkloadEvents, FolderNews] = self._listening(
            lambda: WorkloadEvents(directories.run / FOLDER, counts=is_read),
            self._resync.note_workloads,
            self._resync.look,
            Part.WORKLOADS,
        )
        self._name = dependencies.listen_name()
        self._expiries = Expiries(self._announcer, self._resync.look_now, self._writer, self._troubles)
        self._member_ends = MemberEnds(self._troubles, self._resync.look)
        self._clock: Listening[Alarm, ClockNews] = self._listening(
            dependencies.listen_clock,
            lambda news: self._expiries.note(news, self._clock.listener),
            lambda: self._expiries.missed(self._clock.listener),
            Part.CLOCK,
        )
        writing = self._writer, self._base_protection, self._repairer
        self._takeover = Takeover(*writing, self._troubles, self._audit.listen, self._announcer.trouble)
        self._attribution = Attribution()
        self._hung_up = asyncio.Event()
        self._stopped = asyncio.Event()
        anew = self._stopped.set if service_manager.is_there() else None
        told = partial(self._troubles.note, Part.CONTROL), self._announcer.warning, self._repairer.failed
        self._presence = Presence(self._server, *told, anew)
        self._broken: asyncio.Future[None] = self._loop.create_future()
        self.has_ended = False

    async def run(self) -> None:
        """Serve until SIGTERM. Raises HostError if it cannot even begin, and what ended a task of it otherwise."""
        loop = self._loop
        with ExitStack() as ends:
            ends.callback(self._close_journal)
            stopping = dict.fromkeys((signal.SIGTERM, signal.SIGINT), self._stopped.set)
            ends.enter_context(signals.handled(loop, {**stopping, signal.SIGHUP: self._hung_up.set}))
            loop.set_exception_handler(self._unhandled)
            writing = self._notifier, self._writer, self._base_protection, self._exporter, self._audit
            for work in (*writing, self._nft, self._links, self._workloads, self._clock, self._server):
                ends.callback(work.close)
            # Before anything is put into force, so that no event is missed.
            self._nft.open()
            self._links.open()
            self._workloads.open()
            self._clock.open()
            ends.callback(self._name.close)
            loop.add_reader(self._name.fileno(), self._renamed)
            ends.callback(loop.remove_reader, self._name.fileno())
            self._writer.pause, self._writer.written = self._pause, self._written
            await self._server.open()
            try:
                await self._serve()
            except BaseExceptionGroup as group:
                # Several may come of one; the first is told.
                self._announcer.defect(group.exceptions[0])
                raise

    async def _serve(self) -> None:
        """Have every task of the service run, until it is to stop, or until one of them cannot go on."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._lasting(name, work), name=name)
                for name, work in (
                    ("repair", self._repairer.run()),
                    ("base protection", self._repairer.protect()),
                    ("interfaces", self._resync.run()),
                    ("masters of interfaces", self._resync.note_masters()),
                    ("nftables events", self._nft.run()),
                    ("link events", self._links.run()),
                    ("workloads", self._workloads.run()),
                    ("clock", self._clock.run()),
                    ("deadlines", self._expiries.run()),
                    ("audit", self._audit.run(self._stopped)),
                    ("forgotten connections", self._forgotten.run()),
                    ("metrics", self._exporter.run()),
                    ("saving", self._saving.run()),
                    ("control socket", self._presence.run()),
                    ("watchdog", self._live()),
                    ("reload", self._reload()),
                    ("callbacks", self._watch_callbacks()),
                )
            ]
            tasks.append(group.create_task(self._begin(), name="takeover"))
            await self._stopped.wait()
            self._notifier.stopping("stopping; the rules stay in force")
            await self._stop()
            for task in tasks:
                task.cancel()

    def _renamed(self) -> None:
        """Look at the host again when it has another name: who reads the journal is to know that nothing follows."""
        if self._name.read():
            self._resync.look()

    async def _lasting(self, name: str, work: Coroutine[object, object, None]) -> None:
        """Run what is never to end before the service does."""
        await work
        if not self._stopped.is_set():
            raise RuntimeError(f"the task {name} has ended")

    async def _begin(self) -> None:
        """Take over, and tell systemd once that is done."""
        taking_over = asyncio.ensure_future(self._takeover.run())
        needs_help = asyncio.ensure_future(self._takeover.needs_help.wait())
        try:
            waited_for = (taking_over, needs_help)
            await asyncio.wait(waited_for, timeout=READY_PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
            if taking_over.done():
                taking_over.result()
            self._notifier.ready(self._health.status())
            await taking_over
        finally:
            taking_over.cancel()
            needs_help.cancel()
        # What changed while we took over is only heard from here on.
        self._resync.look()
        self._resync.look_once_settled()
        self._expiries.look_at_deadlines()

    async def _stop(self) -> None:
        """Let nobody in any more, finish what was begun, and give everybody an answer."""
        await self._server.stop()
        await self._writer.drain()
        await self._server.drain(ENDING_S)
        await self._writer.drain()

    def _close_journal(self) -> None:
        self.has_ended = self._outbox.close()

    def _unhandled(self, _: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """Take what a callback of the loop raised, such as a reader of a descriptor: the service cannot go on."""
        error = context.get("exception")
        if "handle" not in context or not isinstance(error, Exception):
            self._announcer.warning(f"{context.get('message')}: {error}")
        elif not self._broken.done():
            self._broken.set_exception(error)

    async def _watch_callbacks(self) -> None:
        await self._broken

    async def _reply(self, query: Query) -> Answer:
        """Answer a request at the control socket."""
        return self._health.report() if isinstance(query, Report) else await self._answer(query)

    async def _answer(self, request: Request) -> Answer:
        """Carry out a request; one that fails in a way nobody thought of ends neither the service nor the rules."""
        await self._takeover.attempted.wait()
        reply = await self._writer.write(partial(self._handle, request=request))
        match reply:
            case InForceNow(unsaved=unsaved):
                self._takeover.superseded()
                self._troubles.clear(Part.INTERFACES)
                self._saving.note(unsaved)
            case Confirmed(unsaved=unsaved) | RolledBack(unsaved=unsaved):
                self._saving.note(unsaved)
            case Failed(in_force=in_force) if in_force == UNKNOWN:
                self._repairer.failed(reply.message)
            case _:
                pass
        if isinstance(request, Apply) and request.files is None:
            self._health.note_reload(reply)
        return reply

    def _handle(self, engine: Engine, request: Request) -> Reply | Refusal:
        """On the writing thread, once it is its turn."""
        is_over = self._stopped.is_set()
        return Refusal("the service is stopping", elsewhere=True) if is_over else handle(engine, request)

    def _written(self) -> None:
        """After whatever was written: hear what came of it, and see to what could not be written down."""
        self._nft.read()
        self._saving.written()
        self._member_ends.written(self._writer.done.unsettled)
        if self._writer.done.begun:
            self._repairer.begun()

    async def _reload(self) -> None:
        while True:
            await self._hung_up.wait()
            self._hung_up.clear()
            services = await self._writer.write(lambda engine: services_of(engine.host))
            await self._answer(Apply(services=services if isinstance(services, HostServices) else None))

    async def _relearn(self, first: frozenset[int]) -> frozenset[int] | None:
        """Make connections known again that what is in force allows, once it is our turn; None if that failed."""

        def work(engine: Engine) -> frozenset[int] | Failed:
            current = self._writer.current
            return engine.relearn(current, first) if current is not None else frozenset()

        known = await self._writer.write(work)
        # What could not be done now is left to the next packet.
        return None if isinstance(known, Failed) else known

    async def _live(self) -> None:
        """Tell the watchdog that the loop goes round, twice as often as it asks, and look at what it waits on."""
        limit_s = service_manager.watchdog_s()
        while True:
            for listening in (self._nft, self._links, self._workloads, self._clock, self._audit):
                listening.check()
            if self._writer.busy_s < WRITING_LIMIT_S:
                self._notifier.alive()
            await asyncio.sleep(IDLE_S if limit_s is None else limit_s / 2)

    def _listening(
        self, opened: Callable[[], L], receive: Callable[[News], None], missed: Callable[[], None], part: Part
    ) -> Listening[L, News]:
        """A listener whose failures are trouble for as long as they last."""

        def failed(error: Exception) -> None:
            self._troubles.report(part, f"{part} cannot be read: {error}")
            self._announcer.warning(f"{part} cannot be read, and are read again: {error}")

        return Listening(opened, receive, missed, failed, lambda: self._troubles.clear(part))

    def _pause(self) -> AbstractContextManager[None]:
        """On the writing thread: hear nothing of big sets."""
        listener = self._nft.listener
        return nullcontext() if listener is None else listener.paused()

    def _about_to(self, generation: Generation, found: Attribution) -> None:
        """Be ready for the log records of what is about to come into force."""
        self._attribution = found
        self._audit.listen(generation.candidate.settings.logging)
        self._audit.changing(found)

    def _in_force(self, generation: Generation | None) -> None:
        """Take notice of what has come into force."""
        before, self._health.known = self._health.known, generation
        if generation is None:
            self._attribution = Attribution()
            self._expiries.follow_script(self._clock.listener)
            if self._takeover.is_over.is_set():
                self._repairer.scripted()
        # The same rules may have moved to other lines.
        if self._attribution is not self._audit.attribution:
            self._audit.attribute(self._attribution)
        if generation is None:
            return
        if before is None and self._takeover.is_over.is_set():
            # Interfaces could not be followed meanwhile.
            self._resync.look()
        self._announcer.in_force(before, generation)
        self._expiries.follow(before, generation, self._clock.listener)
        self._exporter.follow(generation.candidate.settings.metrics)
        if before is not None and before.id == generation.id:
            return
        self._forgotten.changed()
        self._base_protection.make_ready(build_base_protection(generation.candidate.settings, generation.facts).script)
        self._health.tell_status()

    def _repaired(self, repair: Repair) -> None:
        known = self._health.known.id if self._health.known is not None else ""
        if repair.failed is not None:
            what = "an unfinished change of hostfw" if repair.ours else "changes of another program"
            trouble = f"{what} could not be repaired: {repair.failed.message}"
            if trouble != self._troubles.of(Part.REPAIR):
                self._announcer.not_restored(known, repair.failed)
            self._troubles.report(Part.REPAIR, trouble)
            return
        self._troubles.clear(Part.REPAIR)
        if repair.changes:
            self._health.repairs += 1
            if repair.ours and self._health.known is not None:
                self._announcer.recovered(self._health.known, repair.ours)
            else:
                self._announcer.restored(repair.changes, known, repair.actor)

    def _unprotected(self, failed: Failed | None) -> None:
        if failed is None:
            self._troubles.clear(Part.PROTECTION)
            return
        trouble = f"base protection could not be restored: {failed.message}"
        if trouble != self._troubles.of(Part.PROTECTION):
            self._announcer.unprotected(failed)
        self._troubles.report(Part.PROTECTION, trouble)

    def _resynced(self, outcome: ResyncOutcome) -> None:
        before = self._troubles.of(Part.INTERFACES)
        if isinstance(outcome, Applied):
            self._troubles.clear(Part.INTERFACES)
            if outcome.unsaved:
                self._saving.note(outcome.unsaved)
            if not outcome.change.is_empty:
                self._announcer.resynced(outcome)
            return
        if isinstance(outcome, Failed) and outcome.in_force == UNKNOWN:
            self._repairer.failed(outcome.message)
        why = first_error(outcome.problems) if isinstance(outcome, Refused) else outcome.message
        self._troubles.report(Part.INTERFACES, f"interfaces could not be followed: {why}")
        if before != self._troubles.of(Part.INTERFACES):
            self._announcer.resynced(outcome)

    def _exported(self, trouble: str) -> None:
        if trouble:
            self._announcer.no_figures(trouble)
        self._troubles.note(Part.METRICS, trouble and f"no figures for Prometheus: {trouble}")
