"""The takeover at the start of the service, and clients that do not wait for it."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

from hostfw.daemon.repair.base_protection import BaseProtection
from hostfw.daemon.repair.repair import Repairer
from hostfw.daemon.reports.troubles import Part, Troubles
from hostfw.daemon.takeover import Takeover
from hostfw.daemon.writer import WriterThread
from hostfw.engine.engine import Engine
from hostfw.engine.outcomes import Failed


def test_a_try_that_fails_after_a_client_was_served_is_no_trouble() -> None:
    """The client's generation is in force; whatever the try left is compared with it."""
    troubles, doubts = Troubles(lambda: None), list[str]()

    async def scenario() -> None:
        async def write(work: Callable[..., object]) -> object:
            if work is Engine.resume:
                takeover.superseded()
            return Failed("no buffer space available")

        writer = cast("WriterThread", SimpleNamespace(write=write, current=None))
        repairer = cast("Repairer", SimpleNamespace(doubt=lambda: doubts.append("doubt")))
        protection = cast("BaseProtection", SimpleNamespace())
        takeover = Takeover(writer, protection, repairer, troubles, lambda _: None, lambda *_: None)
        await asyncio.wait_for(takeover.run(), 5)

    asyncio.run(scenario())

    assert troubles.of(Part.TAKEOVER) == ""
    assert doubts == ["doubt"]
