"""The start of the service: the accepted generation is put into force, with base protection until then.

Base protection comes first where there is no ruleset. Then the accepted generation is retried until it is in force; in
the meantime the service answers requests, reads the log, and reports the obstacle.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from hostfw.build.candidate import check_candidate
from hostfw.build.generation import Generation
from hostfw.build.refused import Refused
from hostfw.control.handlers import handle
from hostfw.control.messages import Apply, InForceNow
from hostfw.daemon.repair.base_protection import BaseProtection, read_base_chains
from hostfw.daemon.repair.repair import Repairer
from hostfw.daemon.reports.announcer import first_error
from hostfw.daemon.reports.troubles import Part, Troubles
from hostfw.daemon.retries.backoff import Retry
from hostfw.daemon.writer import WriterThread
from hostfw.engine.engine import Engine
from hostfw.engine.kernel.state.installed import unprotected
from hostfw.engine.outcomes import Failed
from hostfw.engine.reading.deadline import has_expired
from hostfw.engine.reconcile import Resumed, build_base_protection, builds
from hostfw.host.errors import HostError
from hostfw.host.store.generations.generations import load_accepted
from hostfw.model.host.facts import HostFacts
from hostfw.model.settings import Logging, Settings
from hostfw.model.sources import Configuration

BASE_ALONE = "base protection alone is in force: failsafe ports and established connections"
BOOT_RULES = "the rules that were in force before the service started still are"


@dataclass(frozen=True, slots=True)
class Found:
    """State at the start: `is_protected` is True where our tables deny by default, None if the kernel did not answer.

    `is_damaged` is True if the accepted generation exists and cannot be read.
    """

    is_protected: bool | None
    settings: Settings
    is_damaged: bool = False


class Takeover:
    """Takes over. `attempted` is set after the first attempt, `is_over` when nothing is left to be tried.

    `needs_help` is set once the obstacle needs an administrator, so nobody waits for it to pass.
    """

    def __init__(
        self,
        writer: WriterThread,
        base_protection: BaseProtection,
        repairer: Repairer,
        troubles: Troubles,
        listen: Callable[[Logging], None],
        announce: Callable[[str, str], None],
    ) -> None:
        """`listen` has the log read, and `announce` takes what went wrong, and what is in force nevertheless."""
        self._writer = writer
        self._base_protection = base_protection
        self._repairer = repairer
        self._troubles = troubles
        self._listen = listen
        self._announce = announce
        self._base: Generation | None = None
        self._announced = ""
        self._is_script = False
        self._is_base_alone = False
        self.attempted = asyncio.Event()
        self.is_over = asyncio.Event()
        self.needs_help = asyncio.Event()

    async def run(self) -> None:
        """Try until a generation is in force that was accepted, or that a client asked for meanwhile."""
        self._troubles.report(Part.TAKEOVER, "the accepted generation is not in force yet: the service is starting")
        retry = Retry()
        while not self._is_known() and not await self._attempt():
            self.attempted.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(retry.failed()):
                    await self.is_over.wait()
            if self.is_over.is_set():
                # A client was served while the last try waited for its turn, or while it failed.
                self._troubles.clear(Part.TAKEOVER)
                self._repairer.doubt()
                return
        self.attempted.set()
        self.is_over.set()

    def superseded(self) -> None:
        """Note that a client has put a generation into force."""
        self._troubles.clear(Part.TAKEOVER)
        self.is_over.set()

    def _is_known(self) -> bool:
        """True if something other than base protection has come into force by a repair."""
        current = self._writer.current
        known = current is not None and current is not self._base
        if known:
            self._troubles.clear(Part.TAKEOVER)
        return known

    async def _attempt(self) -> bool:
        """Try once; gives whether it is over."""
        if self._is_script and await self._writer.write(_builds) is not True:
            return False
        await self._protect()
        resumed = await self._writer.write(Engine.resume)
        match resumed:
            case Failed():
                await self._fail(f"the accepted generation could not be put into force: {resumed.message}")
                return False
            case Resumed(id=None):
                return await self._begin()
        self._is_script = not resumed.from_sources
        if self._is_script:
            self._say(
                "the accepted configuration does not compile on this host as it is now", "its stored script is in force"
            )
            return False
        self._troubles.clear(Part.TAKEOVER)
        return True

    async def _begin(self) -> bool:
        """Put the configuration directory into force, where nothing was ever accepted."""
        applied = await self._writer.write(partial(handle, request=Apply()))
        if isinstance(applied, InForceNow):
            self._troubles.clear(Part.TAKEOVER)
            return True
        why = first_error(applied.problems) if isinstance(applied, Refused) else getattr(applied, "message", "")
        base = await self._writer.write(_protect_unless_recorded)
        if isinstance(base, Generation):
            self._base = base
            self._is_base_alone = True
        await self._fail(f"nothing was ever accepted, and the configuration could not be put into force: {why}")
        # A mistake of the user's is for the user to mend; anything else may pass.
        return isinstance(applied, Refused) and not isinstance(base, Failed)

    async def _protect(self) -> None:
        """Put base protection into force where our tables do not deny, before anything that takes its time."""
        found = await self._writer.write(_look)
        if isinstance(found, Failed):
            return
        if self._writer.current is None:
            self._base_protection.make_ready(build_base_protection(found.settings, HostFacts("localhost")).script)
            self._listen(found.settings.logging)
        if found.is_protected is False:
            self._is_base_alone = await self._repairer.protect_now() is None

    async def _fail(self, message: str) -> None:
        """Say what stands in the way, and what is in force nevertheless."""
        found = await self._writer.write(_look)
        is_protected = None if isinstance(found, Failed) else found.is_protected
        if isinstance(found, Found) and found.is_damaged:
            self.needs_help.set()
        if is_protected is False:
            failed = await self._repairer.protect_now()
            self._is_base_alone = failed is None
            in_force = BASE_ALONE if failed is None else f"nothing is in force: {failed.message}"
        elif is_protected is None:
            in_force = "the rules in force cannot be read"
        else:
            in_force = BASE_ALONE if self._is_base_alone else BOOT_RULES
        self._say(message, in_force)

    def _say(self, message: str, in_force: str) -> None:
        trouble = f"{message}; {in_force}"
        self._troubles.report(Part.TAKEOVER, trouble)
        if trouble != self._announced:
            self._announced = trouble
            self._announce(message, in_force)


def _look(engine: Engine) -> Found:
    """Read the state, without the lock and without building anything."""
    try:
        is_protected: bool | None = not unprotected(read_base_chains(engine.host.read_some))
    except HostError:
        is_protected = None
    accepted, problems = load_accepted(engine.directories.state)
    settings = None if accepted is None else accepted.configuration.settings
    is_damaged = accepted is None and bool(problems)
    return Found(is_protected, check_candidate(Configuration(settings=settings)).settings, is_damaged)


def _builds(engine: Engine) -> bool:
    # The script that stands in for it knows of no moment.
    if has_expired(engine.directories, engine.host):
        engine.end_expired()
    return builds(engine.directories, engine.host, engine.cache)


def _protect_unless_recorded(engine: Engine) -> Generation | Failed | None:
    """Put base protection into force, unless what is in force is on record: who put it there wants it."""
    status = engine.status()
    if isinstance(status, Failed):
        return status
    if status.record is not None and not unprotected(status.tables):
        return None
    return engine.protect(Settings())
