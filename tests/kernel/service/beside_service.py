"""The service in the process of a test, whose clock, sleep or kernel are what the test makes them."""

import asyncio
import os
import signal
from collections.abc import Callable

from hostfw.daemon.dependencies import Dependencies
from hostfw.daemon.service import Service
from hostfw.engine.context import Directories

PATIENCE_S = 30.0
"""Longest wait for anything that the service does."""


def live(directories: Directories, dependencies: Dependencies, story: Callable[[], None]) -> None:
    """Let a story happen on a thread, in the namespace that this one is in, while the service runs; then stop it."""

    async def both() -> None:
        running = asyncio.create_task(Service(directories, dependencies).run())
        try:
            await asyncio.to_thread(story)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(running, PATIENCE_S)

    asyncio.run(both())
