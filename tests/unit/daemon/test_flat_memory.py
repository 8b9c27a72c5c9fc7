"""The memory of the service's process: large blocks go back to the kernel, however often they are replaced."""

import subprocess
import sys

_MOST_KIB = 400
"""Less than half of the table of interned strings that the service has."""
_CHURN = """
import sys
from pathlib import Path
from threading import Thread
from hostfw.daemon import main as daemon

def resident_kib():
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0])

def churn(turn):
    # Strings come and go, as parts of paths do, among other blocks.
    others = []
    for number in range(40_000):
        sys.intern(f"{turn}-{number}")
        if not number % 7:
            others.append(bytearray(600 + number % 900))
        if len(others) > 50:
            others.clear()

def serve(work):
    work.close()
    found = []
    for turn in range(10):
        thread = Thread(target=churn, args=(f"thread-{turn}",))
        thread.start()
        thread.join()
        found.append(resident_kib())
        churn(f"main-{turn}")
        found.append(resident_kib())
    # The first turn makes the heap of a thread.
    print(max(found[2:]) - min(found[2:]))

daemon.asyncio.run = serve
daemon.main([])
"""


def test_strings_that_come_and_go_leave_memory_flat() -> None:
    """Python copies its table of them now and then, on whatever thread; glibc left alone keeps room for several."""
    done = subprocess.run([sys.executable, "-c", _CHURN], capture_output=True, text=True, check=True, timeout=60)

    assert int(done.stdout) < _MOST_KIB
