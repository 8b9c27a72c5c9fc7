"""The writer lock belongs to a network namespace."""

from pathlib import Path

import pytest

from hostfw.host.lock import LockHeld, WriterLock, writer_lock
from hostfw.host.store.generations.active import ActiveGeneration, load_active, save_active
from hostfw.host.time.clock import now
from lab.namespace import inside, namespace


def test_writers_of_two_namespaces_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """Although they share a run directory; two of one namespace do."""
    with namespace("one") as one, namespace("two") as two, inside(one), WriterLock(tmp_path):
        with inside(two), WriterLock(tmp_path, timeout_s=0):
            pass
        with inside(one), pytest.raises(LockHeld):
            WriterLock(tmp_path, timeout_s=0).acquire()


def test_writers_with_two_run_directories_exclude_each_other(tmp_path: Path) -> None:
    """In one namespace there is one ruleset; in another they do not wait."""
    with namespace("one") as one, namespace("two") as two, inside(one), writer_lock(tmp_path / "a"):
        other = writer_lock(tmp_path / "b")
        other.timeout_s = 0
        with pytest.raises(LockHeld):
            other.acquire()
        with inside(two), writer_lock(tmp_path / "b"):
            pass


def test_a_namespace_does_not_believe_the_record_of_another(tmp_path: Path) -> None:
    """The generation of one namespace is not in force in the other."""
    record = ActiveGeneration("a", now(), 3)
    with namespace("one") as one, namespace("two") as two:
        with inside(one):
            save_active(tmp_path, record)
        with inside(two):
            assert load_active(tmp_path) == (None, ())
        with inside(one):
            assert load_active(tmp_path) == (record, ())
