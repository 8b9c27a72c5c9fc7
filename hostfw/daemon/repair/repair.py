"""Repair of the active generation: changes by other programs to our tables are noticed and undone.

Base protection comes first, within milliseconds; then the whole generation: at once for the first few times, with
growing delays under continued tampering.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

from hostfw.build.generation import Generation
from hostfw.daemon.repair.base_protection import BaseProtection
from hostfw.daemon.retries.backoff import Backoff, Retry
from hostfw.daemon.writer import WriterThread, defect
from hostfw.engine.block import restore_block
from hostfw.engine.engine import Engine
from hostfw.engine.kernel.deploy.disturbances import Enforced
from hostfw.engine.outcomes import UNCHANGED, UNKNOWN, Failed, Status
from hostfw.engine.reading.block_state import BlockContext
from hostfw.engine.reconcile import Resumed, builds, is_as_accepted
from hostfw.host.nftables.writing.transactions import NftNews, Transaction, What
from hostfw.host.time.clock import monotonic
from hostfw.journal.entry import UNKNOWN_ACTOR, Actor
from hostfw.model.values import TableFamily
from hostfw.nft.objects import is_external

PROTECTION_PAUSE_S = 0.05
"""Shortest interval between two restorations of base protection under a flood of tampering."""
MOST_CHANGES = 20
"""Most transactions that are reported at a time."""
MOST_EMPTIED = 1000
"""Of more sets than that nobody keeps account: all of them are filled again."""
TELLING_S = 1.0
"""A repair that waits for less is not held back in any way that a person would notice."""
SCRIPT_ALONE = Failed(
    "the accepted configuration does not compile on this host as it is now",
    "`hostfwctl apply` of a configuration that does ends this",
    in_force="its stored script is in force",
)


@dataclass(frozen=True, slots=True)
class Repair:
    """One check of our tables: the changes that were found, in sentences, their author, and the result of the repair.

    Without `changes` there was nothing to repair; with `ours` it was work of our own that had stopped midway, and no
    other program.
    """

    changes: tuple[str, ...]
    actor: Actor = UNKNOWN_ACTOR
    failed: Failed | None = None
    ours: str = ""


NOTHING_TO_REPAIR = Repair(())
_CLOSED = frozenset((What.ELEMENT, What.SET, What.COUNTER))
"""Kinds of objects that base protection has none of: a change of these leaves its rules whole."""

BackedOff = Callable[[int, float, tuple[str, ...], Actor], None]


@dataclass(slots=True)
class Tampering:
    """Changes by other programs to our tables that are not yet repaired.

    `emptied` are the sets and maps whose elements were touched, or may have been all of them with `everything`. With
    `doubt` something was missed. `midway` is how work of ours failed in the midst of it, `guarded` whether base
    protection was put into force, and `is_script` whether a stored script stands in for what was accepted.
    """

    changes: list[str] = field(default_factory=list)
    actor: Actor = UNKNOWN_ACTOR
    emptied: set[tuple[TableFamily, str]] = field(default_factory=set)
    everything: bool = False
    doubt: bool = False
    midway: str = ""
    guarded: bool = False
    is_script: bool = False

    def note(self, transaction: Transaction) -> None:
        """Add what a transaction did; of a flood the first of it is enough."""
        if len(self.changes) < MOST_CHANGES:
            self.changes.append(str(transaction))
        self.actor = Actor(transaction.process, transaction.pid or None)
        self._empty(
            (item.family, item.name)
            for item in transaction.touched
            if item.what is What.ELEMENT and not is_external(item.name)
        )
        self.everything |= bool(transaction.more)

    def add(self, later: "Tampering") -> None:
        """Add what was done after it."""
        self.changes = [*self.changes, *later.changes][:MOST_CHANGES]
        self.actor = later.actor if later.changes else self.actor
        self._empty(later.emptied)
        self.everything |= later.everything
        self.doubt |= later.doubt
        self.midway = self.midway or later.midway
        self.guarded |= later.guarded
        self.is_script |= later.is_script

    @property
    def ours(self) -> str:
        """Our own objects to repair where no other program changed them, empty where that is unknown."""
        if self.changes:
            return ""
        if self.midway:
            return f"a change had failed midway: {self.midway}"
        if self.is_script:
            return "its stored script alone was in force"
        return "base protection had been restored" if self.guarded else ""

    def _empty(self, names: Iterable[tuple[TableFamily, str]]) -> None:
        self.emptied.update(names)
        if len(self.emptied) > MOST_EMPTIED:
            self.emptied.clear()
            self.everything = True

    def __bool__(self) -> bool:
        return bool(self.changes) or self.doubt


class Repairer:
    """Notices tampering and repairs it. Tampering is forgotten only once it is repaired.

    `repaired` is called after every repair, even if it failed or had nothing to do; `unprotected` with the failure to
    restore base protection, or None for success; `backed_off` for each repair that is delayed for long, with the number
    of recent repairs, the seconds to wait, the changes and their author.
    """

    def __init__(
        self,
        writer: WriterThread,
        base_protection: BaseProtection,
        repaired: Callable[[Repair], None],
        unprotected: Callable[[Failed | None], None],
        backed_off: BackedOff,
    ) -> None:
        """Belongs to the event loop that runs now, and repairs nothing before `run`."""
        self._writer = writer
        self._base_protection = base_protection
        self._repaired = repaired
        self._unprotected = unprotected
        self._backed_off = backed_off
        self._backoff = Backoff()
        self._tampering = Tampering()
        self._has_tampering = asyncio.Event()
        self._is_exposed = asyncio.Event()
        self._is_calm = asyncio.Event()
        self._is_calm.set()
        self._is_repairing = False
        self._is_fresh = False

    def note(self, news: NftNews) -> None:
        """Take in transactions: changes by others to our tables are tampering."""
        self._writer.change_tracker.note(news)
        for transaction in news.transactions:
            if not transaction.is_ours(self._writer.workers):
                self._note_one(transaction)
        if news.missed:
            self.doubt()
        elif self._tampering:
            self._has_tampering.set()

    def missed(self) -> None:
        """Take into account that any change may have been missed."""
        self._writer.change_tracker.note(NftNews(missed=True))
        self.doubt()

    def doubt(self) -> None:
        """Have our tables compared with what they should be."""
        self._tampering.doubt = True
        self._is_fresh = True
        self._has_tampering.set()

    def failed(self, message: str) -> None:
        """Have what was accepted put into force again after work of ours that failed in the midst of it."""
        self._tampering.midway = message
        self.doubt()

    def begun(self) -> None:
        """Have what a change of ours left in the kernel that did not end be removed, unless that is about to be."""
        if not self._tampering and not self._is_repairing:
            self.failed("it did not end")

    def scripted(self) -> None:
        """Have what was accepted put into force, once it builds, in place of the script that stands in for it."""
        self._tampering.is_script = True
        self.doubt()

    async def run(self) -> None:
        """Repair whatever is damaged, until that succeeds."""
        retry = Retry()
        while True:
            await self._has_tampering.wait()
            self._has_tampering.clear()
            while self._tampering:
                if await self._make_good():
                    retry.succeeded()
                elif not self._is_fresh:
                    # What is damaged again and again is backed off for that reason.
                    await asyncio.sleep(retry.failed())

    async def protect(self) -> None:
        """Restore base protection within milliseconds wherever it may be gone, until that or the repair succeeds."""
        retry = Retry()
        while True:
            await self._is_exposed.wait()
            self._is_exposed.clear()
            failed = await self.protect_now()
            self._unprotected(failed)
            # What was not read back is not protected; and a repair that has just ended is below what was sent now.
            self._tampering.doubt = self._tampering.guarded = True
            self._has_tampering.set()
            if not self._is_exposed.is_set():
                self._is_calm.set()
            if failed is None:
                retry.succeeded()
                if self._is_exposed.is_set():
                    await asyncio.sleep(PROTECTION_PAUSE_S)
                continue
            await asyncio.sleep(PROTECTION_PAUSE_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(retry.failed()):
                    await self._is_exposed.wait()
            if self._tampering or self._is_repairing:
                self._is_exposed.set()
            else:
                # What was to be protected is whole again.
                self._unprotected(None)

    async def protect_now(self) -> Failed | None:
        """Put base protection into force, once; None if that is done."""
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._base_protection.executor, self._base_protection.protect
            )
        except Exception as error:  # noqa: BLE001  whatever it is, the next try must come
            return defect(error)

    def _note_one(self, transaction: Transaction) -> None:
        if transaction.is_harmless:
            return
        self._tampering.note(transaction)
        self._is_fresh = True
        opens = any(item.what not in _CLOSED for item in transaction.touched) or transaction.more
        if opens:
            self._is_calm.clear()
            self._is_exposed.set()

    async def _make_good(self) -> bool:
        """Repair once; gives whether there is nothing left of what was damaged before."""
        # Another try of what failed is no other repair.
        is_fresh, self._is_fresh = self._is_fresh, False
        wait_s = self._backoff.wait_s(monotonic()) if is_fresh else 0.0
        if wait_s >= TELLING_S:
            known = self._tampering
            self._backed_off(self._backoff.recent, wait_s, tuple(known.changes), known.actor)
        await asyncio.sleep(wait_s)
        # Both at once would undo each other.
        await self._is_calm.wait()
        tampering, self._tampering = self._tampering, Tampering()
        self._is_repairing, is_whole = True, False
        try:
            outcome = await self._writer.write(partial(_repair, writer=self._writer, tampering=tampering))
            if not isinstance(outcome, Failed) and self._writer.done.begun:
                outcome = _left_behind(outcome)
            is_whole = not isinstance(outcome, Failed)
        finally:
            self._is_repairing = False
            if not is_whole:
                tampering.add(self._tampering)
                self._tampering = tampering
        if is_fresh and (tampering.changes or outcome is not None):
            # What is changed again while it is repaired counts as often.
            for _ in range(1 + (outcome.again if isinstance(outcome, Enforced) else 0)):
                self._backoff.note(monotonic())
        changes = tuple(tampering.changes) or ("the changes are unknown: too many at once",)
        if isinstance(outcome, Failed):
            self._repaired(Repair(changes, tampering.actor, outcome, tampering.ours))
            return False
        if tampering.changes or outcome is not None:
            self._repaired(Repair(changes, tampering.actor, ours=tampering.ours))
        else:
            self._repaired(NOTHING_TO_REPAIR)
        return True


def _left_behind(outcome: Enforced | Resumed | None) -> Failed:
    """The failure of a repair after which the kernel still has what a change should have removed."""
    why = "; ".join(outcome.warnings) if isinstance(outcome, Enforced) else ""
    return Failed(why or "what an earlier change left could not be removed", "it is tried again", UNCHANGED)


def _repair(engine: Engine, writer: WriterThread, tampering: Tampering) -> Failed | Enforced | Resumed | None:
    """Make good what was done to our tables, and to a block above them; None if there was nothing to do."""
    blocked = restore_block(BlockContext(engine.directories, engine.host))
    # Of what is in force at the moment at which it is our turn.
    repaired = _repair_tables(engine, writer.current, tampering)
    return blocked if isinstance(blocked, Failed) and not isinstance(repaired, Failed) else repaired


def _repair_tables(
    engine: Engine, current: Generation | None, tampering: Tampering
) -> Failed | Enforced | Resumed | None:
    if not tampering.changes:
        status = engine.status()
        if isinstance(status, Failed):
            return status
        if status.in_force and not status.drift and _is_known(engine, current, status, tampering):
            return None
        if current is None and tampering.is_script and not builds(engine.directories, engine.host, engine.cache):
            return SCRIPT_ALONE
    repaired = engine.resume() if current is None else _again(engine, current, tampering)
    if isinstance(repaired, Resumed) and not repaired.from_sources:
        tampering.changes.clear()
        tampering.doubt = tampering.is_script = True
        return SCRIPT_ALONE
    if current is None:
        return repaired
    if not isinstance(repaired, Enforced) or not (tampering.emptied or tampering.everything):
        return repaired
    # A set that is there by its name is taken for what the name says, unless we know better.
    reloaded = engine.reload_sets(current, _named(current) if tampering.everything else tampering.emptied)
    if isinstance(reloaded, Failed):
        return reloaded
    left = engine.drift()
    if isinstance(left, Failed):
        return left
    hint = "another program changes our tables without pause; `nft monitor` shows which"
    return Failed(f"the repair did not last: {left[0]}", hint, in_force=UNKNOWN) if left else repaired


def _again(engine: Engine, current: Generation, tampering: Tampering) -> Failed | Enforced | Resumed:
    return engine.repair(current, midway=bool(tampering.midway), guarded=tampering.guarded)


def _is_known(engine: Engine, current: Generation | None, status: Status, tampering: Tampering) -> bool:
    """True if what is in force, as far as the kernel shows it, is what is to be."""
    if current is None:
        return not tampering.is_script
    if tampering.guarded:
        return False
    known = status.record is not None and status.record.id == current.id
    if engine.cache is not None and engine.cache.done.begun:
        return False
    return known and (not tampering.midway or is_as_accepted(engine.directories, engine.cache, current))


def _named(generation: Generation) -> set[tuple[TableFamily, str]]:
    return {
        (table.family, name)
        for table in generation.ruleset.tables
        for name in (*(s.name for s in table.sets), *(m.name for m in table.maps))
    }
