"""Keeping in force what is in force: another program's hand in our tables is noticed, and made good.

Base protection comes first, within milliseconds; then the whole generation, at once for the first few times and ever
more slowly under tampering that does not end.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from hostfw.audit.notices import UNKNOWN_ACTOR, Actor
from hostfw.daemon.backoff import Backoff
from hostfw.daemon.charge import Charge
from hostfw.daemon.guard import Guard
from hostfw.engine.block import Ground, restore_block
from hostfw.engine.enforce import Enforced
from hostfw.engine.engine import Engine
from hostfw.engine.generation import Generation
from hostfw.engine.outcomes import UNKNOWN, Failed
from hostfw.engine.upkeep import Resumed
from hostfw.host.clock import monotonic
from hostfw.host.nft_events import NftListener
from hostfw.host.nft_news import NftNews, Transaction, What
from hostfw.model.values import Family

GUARD_PAUSE_S = 0.05
"""How soon base protection may be restored again under a flood of tampering."""
MOST_DEEDS = 20
"""So many transactions are told of at a time."""
TELLING_S = 1.0
"""A repair that waits for less is not held back in any way that a person would notice."""
_HARMLESS = frozenset({What.COUNTER})


@dataclass(frozen=True, slots=True)
class Repair:
    """One time that our tables were made good: what had been done to them, in sentences, by whom, and how it ended."""

    deeds: tuple[str, ...]
    actor: Actor = UNKNOWN_ACTOR
    failed: Failed | None = None


BackedOff = Callable[[int, float, tuple[str, ...], Actor], None]


@dataclass(slots=True)
class Damage:
    """What has been done to our tables and is not yet made good.

    `emptied` are the sets and maps whose elements were touched, or may have been all of them with `everything`. With
    `doubt` something was missed.
    """

    deeds: list[str] = field(default_factory=list)
    actor: Actor = UNKNOWN_ACTOR
    emptied: set[tuple[Family, str]] = field(default_factory=set)
    everything: bool = False
    doubt: bool = False

    def note(self, transaction: Transaction) -> None:
        """Add what a transaction did; of a flood the first of it is enough."""
        if len(self.deeds) < MOST_DEEDS:
            self.deeds.append(str(transaction))
        self.actor = Actor(transaction.process, transaction.pid or None)
        self.emptied.update((item.family, item.name) for item in transaction.touched if item.what is What.ELEMENT)
        self.everything |= bool(transaction.more)

    def __bool__(self) -> bool:
        return bool(self.deeds) or self.doubt


class Keeper:
    """Who notices and repairs. `repaired` hears of every repair, `backed_off` of each that has to wait for long.

    That is told with the number of repairs of late, the seconds to wait, and what was done by whom.
    """

    def __init__(self, charge: Charge, guard: Guard, repaired: Callable[[Repair], None], backed_off: BackedOff) -> None:
        """Belongs to the event loop that runs now."""
        self._charge = charge
        self._guard = guard
        self._repaired = repaired
        self._backed_off = backed_off
        self._backoff = Backoff()
        self._damage = Damage()
        self._work: asyncio.Task[None] | None = None
        self._protecting: asyncio.Task[None] | None = None
        self._exposed = False

    def hear(self, listener: NftListener) -> None:
        """Take in what nftables tells."""
        self.take_in(listener.read())

    def take_in(self, news: NftNews) -> None:
        """Judge what was heard: what others did to our tables is damage."""
        self._charge.witness.hear(news)
        foreign = [item for item in news.transactions if not item.is_ours(self._charge.workers)]
        for transaction in foreign:
            self._note(transaction)
        self._damage.doubt |= news.missed
        if self._damage and (self._work is None or self._work.done()):
            self._work = asyncio.get_running_loop().create_task(self._make_good())

    def close(self) -> None:
        """Let be what is under way."""
        for task in (self._work, self._protecting):
            if task is not None:
                task.cancel()

    def _note(self, transaction: Transaction) -> None:
        if all(item.what in _HARMLESS for item in transaction.touched) and not transaction.more:
            return
        self._damage.note(transaction)
        opens = any(item.what not in (What.ELEMENT, What.SET) for item in transaction.touched) or transaction.more
        if not opens:
            return
        self._exposed = True
        if self._protecting is None or self._protecting.done():
            self._protecting = asyncio.get_running_loop().create_task(self._protect())

    async def _protect(self) -> None:
        """Restore base protection, again if it was needed again meanwhile."""
        while self._exposed:
            self._exposed = False
            failed = await asyncio.get_running_loop().run_in_executor(self._guard.executor, self._guard.protect)
            # What was not read back is not protected: the repair looks at everything.
            self._damage.doubt |= failed is not None
            if self._exposed:
                await asyncio.sleep(GUARD_PAUSE_S)

    async def _make_good(self) -> None:
        """Repair until there is nothing left to repair."""
        while self._damage:
            wait_s = self._backoff.wait_s(monotonic())
            if wait_s >= TELLING_S:
                known = self._damage
                self._backed_off(self._backoff.recent, wait_s, tuple(known.deeds), known.actor)
            await asyncio.sleep(wait_s)
            if self._protecting is not None:
                # Both at once would undo each other.
                await self._protecting
            damage, self._damage = self._damage, Damage()
            self._backoff.note(monotonic())
            current = self._charge.current
            outcome = await self._charge.write(partial(_repair, current=current, damage=damage))
            if outcome is None and not damage.deeds:
                continue
            failed = outcome if isinstance(outcome, Failed) else None
            deeds = tuple(damage.deeds) or ("what was done is not known: too much happened at once",)
            self._repaired(Repair(deeds, damage.actor, failed))
            if failed is not None:
                self._damage.doubt = True


def _repair(engine: Engine, current: Generation | None, damage: Damage) -> Failed | Enforced | Resumed | None:
    """Make good what was done to our tables, and to a block above them; None if there was nothing to do."""
    blocked = restore_block(Ground(engine.directories, engine.host))
    repaired = _repair_tables(engine, current, damage)
    return blocked if isinstance(blocked, Failed) and not isinstance(repaired, Failed) else repaired


def _repair_tables(engine: Engine, current: Generation | None, damage: Damage) -> Failed | Enforced | Resumed | None:
    if not damage.deeds:
        status = engine.status()
        if isinstance(status, Failed):
            return status
        if status.in_force and not status.drift:
            return None
    if current is None:
        return engine.resume()
    repaired = engine.repair(current)
    if not isinstance(repaired, Enforced) or not (damage.emptied or damage.everything):
        return repaired
    # A set that is there by its name is taken for what the name says, unless we know better.
    refilled = engine.refill(current, _named(current) if damage.everything else damage.emptied)
    if isinstance(refilled, Failed):
        return refilled
    left = engine.drift()
    if isinstance(left, Failed):
        return left
    hint = "another program changes our tables without pause; `nft monitor` shows which"
    return Failed(f"what was sent does not last: {left[0]}", hint, in_force=UNKNOWN) if left else repaired


def _named(generation: Generation) -> set[tuple[Family, str]]:
    return {
        (table.family, name)
        for table in generation.ruleset.tables
        for name in (*(s.name for s in table.sets), *(m.name for m in table.maps))
    }
