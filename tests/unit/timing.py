"""The cost of a piece of work: its time, apart from what else a long run of tests has in memory, and its calls."""

import gc
from collections.abc import Callable
from sys import getprofile, setprofile
from time import process_time
from types import FrameType


def processor_s(work: Callable[[], object]) -> float:
    """The seconds of a processor for a piece of work: the least of three, without collections of garbage.

    One of those walks through all that other tests hold, which can take longer than the work.
    """
    taken: list[float] = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            start = process_time()
            work()
            taken.append(process_time() - start)
    finally:
        gc.enable()
    return min(taken)


def calls_of(work: Callable[[], object]) -> int:
    """The number of calls that Python makes for a piece of work: the same on every machine."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = getprofile()
    setprofile(count)
    try:
        work()
    finally:
        setprofile(before)
    return calls
