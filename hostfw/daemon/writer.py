"""The one thread on which the service writes, and the generation that it has made active."""

import asyncio
import errno
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import TypeVar

from hostfw.audit.attribution import Attribution, attribution
from hostfw.build.cache import Done, EngineCache
from hostfw.build.generation import Generation
from hostfw.daemon.collector import Collector
from hostfw.daemon.repair.change_tracker import ChangeTracker
from hostfw.daemon.repair.pausing_nftables import Pause, PausingNftables
from hostfw.engine.context import Directories, Host
from hostfw.engine.engine import Engine
from hostfw.engine.kernel.writer import Observer
from hostfw.engine.outcomes import UNKNOWN, Failed, failed
from hostfw.host.errors import HostError, reason
from hostfw.host.nftables.writing.script_runner import Nftables, NftablesWorker, SpareWorker
from hostfw.host.store.generations.active import record_stamp
from hostfw.host.store.members.sleep import SleepSoFar
from hostfw.host.time.clock import monotonic
from hostfw.model.plan import Plan

_ASLEEP_S = 1.0
_MOST_SLEEPS = 16
"""Sleeps that are remembered until members of sets have ended in time for them."""
KNOWN_WORKERS = 64
"""Most nft workers of either kind that are remembered, to tell their transactions from those of others."""

_NOTICE_S = 1.0
"""Longest time that the event loop may hold up a change: the change counts for more than exact attribution."""

T = TypeVar("T")
OnSwitch = Callable[[Generation, Attribution], None]
OnActive = Callable[[Generation | None], None]


class WriterThread:
    """A long-lived engine with its active generation, and the thread that it writes on.

    In the event loop `about` hears of each generation that is about to be switched to, and `in_force` of what has come
    into force: None of a script that nothing else is known of, or of nothing at all. `protectors` are the nft workers
    of base protection, which outlive any number of those of the writes, and `change_tracker` is to hear what nftables
    tells, so that the engine need not read what nobody
    touched. `pause` pauses the listener while big sets are loaded, and `written` is called after each piece of work.
    `defect` is called with unexpected exceptions.
    """

    def __init__(
        self,
        directories: Directories,
        host: Host,
        about: OnSwitch,
        in_force: OnActive,
        defect: Callable[[Exception], None],
        worker: Callable[..., Nftables] = NftablesWorker,
    ) -> None:
        """Belongs to the event loop that runs now."""
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "writer")
        self._worker, self._spare = worker, SpareWorker()
        self._collector = Collector()
        self._since: float | None = None
        self._asleep_s = max(host.uptime() - host.monotonic(), 0.0)
        self._waiting = 0
        self._about_to, self._in_force, self._defect = about, in_force, defect
        self.protectors: deque[int] = deque(maxlen=KNOWN_WORKERS)
        self._own_workers: deque[int] = deque(maxlen=KNOWN_WORKERS)
        self.change_tracker = ChangeTracker(self._own_workers)
        self.pause: Pause = nullcontext
        self.written: Callable[[], None] = _nothing
        self.current: Generation | None = None
        self._attributed: tuple[Plan, Attribution] | None = None
        host = replace(host, nftables=self._nftables, only_ours=self.change_tracker.only_ours)
        self.engine = Engine(directories, host, Observer(self._about, self._told), EngineCache())

    @property
    def workers(self) -> tuple[int, ...]:
        """The process ids of all nft workers of the service: base protection's, which live long, and our own."""
        return (*self.protectors, *self._own_workers)

    async def write(self, work: Callable[[Engine], T]) -> T | Failed:
        """Have the engine do something, when it is its turn.

        What raises is a failure of this piece of work alone: what the engine remembered is forgotten with it. A
        HostError is no defect, but what stood in the way, before anything was sent.
        """
        self._waiting += 1
        try:
            return await self._loop.run_in_executor(self._thread, partial(self._do, work))
        except HostError as error:
            return failed(error)
        except Exception as error:  # noqa: BLE001  whatever it is, the next piece of work must not pay for it
            self._defect(error)
            return defect(error)
        finally:
            self._waiting -= 1
            self.written()

    def woken(self) -> None:
        """Note, in the event loop, that the clock went another way just now: the host may have slept up to here."""
        at_s = self.engine.host.monotonic()
        asleep_s = max(self.engine.host.uptime() - at_s, 0.0)
        if asleep_s - self._asleep_s >= _ASLEEP_S:
            before = SleepSoFar(at_s, self._asleep_s)
            self.done.asleep = (*self.done.asleep, before)[-_MOST_SLEEPS:]
            self._asleep_s = asleep_s

    @property
    def busy_s(self) -> float:
        """For how long the writing thread has been at the same piece of work; 0 if it is at none."""
        since = self._since
        return 0.0 if since is None else max(monotonic() - since, 0.0)

    @property
    def done(self) -> Done:
        """Knowledge about the files of the active generation."""
        cache = self.engine.cache
        return Done() if cache is None else cache.done

    def untouched(self) -> tuple[int, int] | None:
        """The generations of nftables that only we committed between, from that on record to the newest heard of.

        None where that is not known, as while something is written, or where the record is none of ours.
        """
        held = self.engine.cache.last_commit if self.engine.cache is not None else None
        if held is None or not held.stamp or held.stamp != record_stamp(self.engine.directories.run):
            return None
        until = self.change_tracker.untouched_since(held.kernel_generation)
        return None if until is None else (held.kernel_generation, until)

    async def drain(self) -> None:
        """Wait until everything that was begun or waits for its turn is done."""
        while self._waiting:
            await self._loop.run_in_executor(self._thread, _nothing)

    def close(self) -> None:
        """Wait for what is being written."""
        self._thread.shutdown()
        self._spare.close()

    def _do(self, work: Callable[[Engine], T]) -> T:
        """On the writing thread."""
        self._since = monotonic()
        try:
            with self._collector.off():
                return work(self.engine)
        except Exception:
            # It may have stopped anywhere: nothing that it left half done is to be taken for known, but for files.
            self.engine = replace(self.engine, cache=EngineCache(done=self.done))
            raise
        finally:
            self._since = None

    def _nftables(self, keep_open: Sequence[int]) -> Nftables:
        worker = self._worker(keep_open=keep_open, started=self._started, spare=self._spare)
        return PausingNftables(worker, lambda: self.pause())  # noqa: PLW0108  what it is at that moment

    def _started(self, worker: int) -> None:
        self._own_workers.append(worker)

    def _about(self, generation: Generation) -> None:
        """On the writing thread, which waits until the loop has heard of it: records of it may follow at once."""
        if self._attributed is None or self._attributed[0] is not generation.plan:
            self._attributed = generation.plan, attribution(generation.plan, generation.id)
        _, found = self._attributed
        noticed = threading.Event()

        def receive() -> None:
            self._about_to(generation, found)
            noticed.set()

        self._loop.call_soon_threadsafe(receive)
        noticed.wait(_NOTICE_S)

    def _told(self, generation: Generation | None) -> None:
        """On the writing thread."""
        self.current = generation
        self._loop.call_soon_threadsafe(self._in_force, generation)


_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM))
"""Errors of a process or a host that has no more of something, which is no defect of ours."""


def defect(error: Exception) -> Failed:
    """A failure that nobody thought of, or for want of memory or descriptors: it may have stopped midway."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _EXHAUSTED):
        lack = "the service has no memory left" if isinstance(error, MemoryError) else f"the service: {reason(error)}"
        return Failed(lack, "`systemctl restart hostfw` frees what it holds; the rules stay", in_force=UNKNOWN)
    return Failed(f"this is a defect of hostfw: {type(error).__name__}: {error}", "please report it", in_force=UNKNOWN)


def _nothing() -> None:
    return None
