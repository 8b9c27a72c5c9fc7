"""Nothing that is garbage is spared from collection for ever, and what is free goes back to the kernel."""

import gc
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path
from resource import getpagesize

import pytest

from hostfw.daemon.collector import Collector, freeze, give_back


class Circle:
    """An object that holds on to itself."""

    def __init__(self) -> None:
        self.own = self


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    """Leave the collector as it was: what is frozen here is the whole test process.

    What other tests have left, event loops among it, is none of these tests' business.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.unfreeze()
        gc.collect()
    yield
    gc.unfreeze()
    gc.enable()


def test_what_a_piece_of_work_left_is_collected_before_anything_is_frozen() -> None:
    """Circular garbage of a library, say; what is kept is frozen."""
    with Collector().off():
        assert not gc.isenabled()
        left = weakref.ref(Circle())
        kept = Circle()

    assert gc.isenabled()
    assert left() is None
    assert all(kept is not found for found in gc.get_objects())


def test_what_died_after_it_was_frozen_is_found_in_the_end() -> None:
    """A look through everything comes with every so many pieces of work."""
    collector = Collector(every=3)
    circle = Circle()
    died = weakref.ref(circle)
    with collector.off():
        pass
    del circle
    with collector.off():
        pass
    assert died() is not None

    with collector.off():
        pass

    assert died() is None


def test_a_failure_leaves_the_collector_on() -> None:
    """As does success."""
    with pytest.raises(ZeroDivisionError), Collector().off():
        _ = 1 / 0

    assert gc.isenabled()


def test_a_process_that_begins_spares_what_is_in_use_and_nothing_else() -> None:
    """Modules, for the most part."""
    left = weakref.ref(Circle())

    freeze()

    assert left() is None
    assert gc.get_freeze_count() > 1000


def test_memory_that_is_free_between_what_is_in_use_is_given_back_to_the_kernel() -> None:
    """Texts of policies that were replaced lie between others: 40 MB of them, of which each twentieth stays."""
    texts = [bytes([number % 256]) * 100_000 for number in range(400)]
    kept = texts[::20]
    del texts
    before = _resident_bytes()

    give_back()

    assert before - _resident_bytes() > 20_000_000
    assert len(kept) == 20


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * getpagesize()
