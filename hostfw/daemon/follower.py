"""Following the host: interfaces come and go, and the generation in force is compiled anew for those that are there."""

import asyncio
from collections.abc import Callable
from functools import partial

from hostfw.daemon.charge import Charge
from hostfw.engine.engine import Engine
from hostfw.engine.generation import Generation, Refused
from hostfw.engine.outcomes import Applied, Failed
from hostfw.host.clock import monotonic
from hostfw.host.debounce import Debounce
from hostfw.host.link_events import LinkListener

QUIET_S = 0.01
"""An interface that comes up is told in several messages: wait for the last."""
AT_MOST_S = 0.05
"""How long a storm of them may keep us waiting."""
_AGAIN_S = 5.0
"""When to try again where the host could not be observed."""

Outcome = Applied | Refused | Failed


class Follower:
    """Who follows. `followed` hears what came of it whenever something had to change or could not."""

    def __init__(self, charge: Charge, followed: Callable[[Outcome], None]) -> None:
        """Belongs to the event loop that runs now."""
        self._charge = charge
        self._followed = followed
        self._debounce = Debounce(QUIET_S, AT_MOST_S)
        self._work: asyncio.Task[None] | None = None

    def hear(self, listener: LinkListener) -> None:
        """Take in what the kernel tells of links, addresses and routes."""
        if listener.read():
            self.look()

    def look(self) -> None:
        """Compare with the host as it is, soon."""
        self._debounce = self._debounce.noted(monotonic())
        if self._work is None or self._work.done():
            self._work = asyncio.get_running_loop().create_task(self._follow())

    def close(self) -> None:
        """Let be what is under way."""
        if self._work is not None:
            self._work.cancel()

    async def _follow(self) -> None:
        """Act when it is due, and again if something happened meanwhile."""
        while (due := self._debounce.due) is not None:
            if (wait_s := due - monotonic()) > 0:
                await asyncio.sleep(wait_s)
                continue
            self._debounce = self._debounce.done()
            before = self._charge.current
            if before is None:
                continue
            outcome = await self._charge.write(partial(_follow, charge=self._charge))
            if not isinstance(outcome, Applied) or outcome.generation.id != before.id:
                self._followed(outcome)
            if isinstance(outcome, Failed):
                await asyncio.sleep(_AGAIN_S)
                self._debounce = self._debounce.noted(monotonic())


def _follow(engine: Engine, charge: Charge) -> Outcome:
    """Of what is in force at the moment at which it is our turn, not of what was when the interface came."""
    current: Generation | None = charge.current
    if current is None:
        return Failed("nothing is in force that could be compiled anew")
    return engine.follow(current)
