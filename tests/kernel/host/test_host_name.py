"""Renames of a real host are heard in an event loop, each of them."""

import asyncio
import socket
from contextlib import closing

from hostfw.host.host_name import HostNameEvents
from lab.namespace import inside, namespace

_NAMES = tuple(f"host-{number}" for number in range(20))


def test_each_rename_is_heard_once() -> None:
    """By a loop that polls the descriptor before it reads, which the kernel counts as having been told."""
    with namespace("host-name") as node, inside(node):
        assert asyncio.run(_renames()) == list(_NAMES)


async def _renames() -> list[str]:
    received: list[str] = []
    changed = asyncio.Event()
    loop = asyncio.get_running_loop()
    with closing(HostNameEvents()) as events:

        def read() -> None:
            if events.read():
                received.append(socket.gethostname())
                changed.set()

        loop.add_reader(events.fileno(), read)
        for name in _NAMES:
            socket.sethostname(name)
            async with asyncio.timeout(5):
                await changed.wait()
            changed.clear()
        await asyncio.sleep(0.05)
        loop.remove_reader(events.fileno())
    return received
