"""Send packets to addresses until standard input ends, and print what became of them as JSON.

Each address has an echo over one connection (port 7), new connections that are allowed (80) and that are not (9100).
"""

import asyncio
import json
import socket
import sys

PATIENCE_S = 0.5
# A first segment that is lost is sent again after a second: what takes as long met a closed door.
RETRANSMISSION_S = 0.9


async def established(address, counts):
    """Talk over one connection that is made at the start."""
    reader, writer = await asyncio.open_connection(address, 7)
    while True:
        try:
            writer.write(b"hello")
            await asyncio.wait_for(reader.readexactly(5), 5)
        except (TimeoutError, OSError, EOFError):
            counts["broken"] += 1
            return
        counts["echoes"] += 1
        await asyncio.sleep(0.02)


async def allowed(address, counts):
    """Make a new connection again and again."""
    while True:
        started = asyncio.get_running_loop().time()
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(address, 80), 5)
        except (TimeoutError, OSError):
            counts["refused"] += 1
            continue
        took_s = asyncio.get_running_loop().time() - started
        counts["refused" if took_s > RETRANSMISSION_S else "taken"] += 1
        writer.close()
        await asyncio.sleep(0.02)


async def denied(address, counts):
    """Try what may not be again and again; each attempt is one packet."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    loop = asyncio.get_running_loop()
    while True:
        with socket.socket(family, socket.SOCK_STREAM) as attempt:
            attempt.setblocking(False)
            try:
                await asyncio.wait_for(loop.sock_connect(attempt, (address, 9100)), PATIENCE_S)
                counts["let in"] += 1
            except (TimeoutError, OSError):
                counts["kept out"] += 1


async def main(addresses):
    """Do all of it at once."""
    found = {
        address: {
            "established": {"echoes": 0, "broken": 0},
            "allowed": {"taken": 0, "refused": 0},
            "denied": {"kept out": 0, "let in": 0},
        }
        for address in addresses
    }
    tasks = []
    for address, counts in found.items():
        tasks.append(asyncio.create_task(established(address, counts["established"])))
        tasks.append(asyncio.create_task(allowed(address, counts["allowed"])))
        tasks.extend(asyncio.create_task(denied(address, counts["denied"])) for _ in range(5))
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    print(json.dumps(found))


asyncio.run(main(sys.argv[1:]))
