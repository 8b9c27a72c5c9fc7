"""The time that a piece of work takes, apart from what else a long run of tests has in memory."""

import gc
from collections.abc import Callable
from time import process_time


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
