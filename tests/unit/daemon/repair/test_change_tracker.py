"""Knowledge of whether other programs touched our tables."""

from threading import Timer

import pytest

from hostfw.daemon.repair import change_tracker as module
from hostfw.daemon.repair.change_tracker import ChangeTracker
from hostfw.host.nftables.writing.transactions import NftNews, Touched, Transaction, What
from hostfw.host.nftables.writing.worker import NAME
from hostfw.model.values import Family

OURS, PROTECTION = 100, 101


@pytest.fixture
def change_tracker(monkeypatch: pytest.MonkeyPatch) -> ChangeTracker:
    """A tracker that knows the worker `OURS`, and that nobody waits for long."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    return ChangeTracker((OURS,))


def _touch(generation: int, port: int, process: str = NAME, *, is_batch: bool = False) -> Transaction:
    touched = (Touched(Family.V4, What.CHAIN, "input", 1, 0),)
    return Transaction(generation, port, port, process, is_batch, touched)


def _news(generation: int, *transactions: Transaction) -> NftNews:
    return NftNews(generation, transactions)


def test_what_others_do_elsewhere_does_not_count(change_tracker: ChangeTracker) -> None:
    """Nor what we do ourselves, by a worker or in a batch."""
    change_tracker.note(_news(12, _touch(11, OURS), _touch(12, 7, "python3", is_batch=True)))
    change_tracker.note(NftNews(20, others=8))

    assert change_tracker.only_ours(10, 20)


@pytest.mark.parametrize("port", [PROTECTION, 4711])
def test_what_anybody_else_does_to_our_tables_counts(change_tracker: ChangeTracker, port: int) -> None:
    """A worker that is not the writer's is somebody else; what was read afterwards holds again."""
    change_tracker.note(_news(13, _touch(12, port)))

    assert not change_tracker.only_ours(10, 13)
    assert not change_tracker.only_ours(11, 12)
    assert change_tracker.only_ours(12, 13)


def test_others_are_told_how_far_our_tables_are_untouched(change_tracker: ChangeTracker) -> None:
    """To the newest generation that was heard of; no further than to where somebody touched them or all was missed."""
    change_tracker.note(_news(13, _touch(12, OURS)))
    assert (change_tracker.untouched_since(10), change_tracker.untouched_since(14)) == (13, 14)

    change_tracker.note(_news(16, _touch(15, PROTECTION)))
    assert (change_tracker.untouched_since(14), change_tracker.untouched_since(15)) == (None, 16)

    change_tracker.note(NftNews(missed=True))
    assert change_tracker.untouched_since(15) is None


def test_what_was_missed_may_have_been_anything(change_tracker: ChangeTracker) -> None:
    """Until the end of what was told with it or next."""
    change_tracker.note(NftNews(11))
    change_tracker.note(NftNews(missed=True))
    assert not change_tracker.only_ours(10, 11)

    change_tracker.note(NftNews(15, others=1))

    assert not change_tracker.only_ours(14, 15)
    assert change_tracker.only_ours(15, 15)


def test_what_has_not_been_heard_of_is_waited_for(
    change_tracker: ChangeTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a turn of the event loop, and no longer."""
    assert not change_tracker.only_ours(10, 11)

    monkeypatch.setattr(module, "PATIENCE_S", 10)
    told = Timer(0.02, change_tracker.note, [NftNews(11, others=1)])
    told.start()
    try:
        assert change_tracker.only_ours(10, 11)
    finally:
        told.join()
