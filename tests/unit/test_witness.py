"""Knowledge of whether other programs touched our tables."""

from threading import Timer

import pytest

from hostfw.daemon import change_tracker as module
from hostfw.daemon.change_tracker import Witness
from hostfw.host.nftables.transactions import NftNews, Touched, Transaction, What
from hostfw.host.nftables.worker import NAME
from hostfw.model.values import Family

OURS, GUARD = 100, 101


@pytest.fixture
def witness(monkeypatch: pytest.MonkeyPatch) -> Witness:
    """A witness who knows the worker `OURS`, and for whom nobody waits for long."""
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    return Witness((OURS,))


def _touch(generation: int, port: int, process: str = NAME, *, is_batch: bool = False) -> Transaction:
    touched = (Touched(Family.V4, What.CHAIN, "input", 1, 0),)
    return Transaction(generation, port, port, process, is_batch, touched)


def _news(generation: int, *transactions: Transaction) -> NftNews:
    return NftNews(generation, transactions)


def test_what_others_do_elsewhere_does_not_count(witness: Witness) -> None:
    """Nor what we do ourselves, by a worker or in a batch."""
    witness.hear(_news(12, _touch(11, OURS), _touch(12, 7, "python3", is_batch=True)))
    witness.hear(NftNews(20, others=8))

    assert witness.undisturbed(10, 20)


@pytest.mark.parametrize("port", [GUARD, 4711])
def test_what_anybody_else_does_to_our_tables_counts(witness: Witness, port: int) -> None:
    """A worker that is not the writer's is somebody else; what was read afterwards holds again."""
    witness.hear(_news(13, _touch(12, port)))

    assert not witness.undisturbed(10, 13)
    assert not witness.undisturbed(11, 12)
    assert witness.undisturbed(12, 13)


def test_what_was_missed_may_have_been_anything(witness: Witness) -> None:
    """Until the end of what was told with it or next."""
    witness.hear(NftNews(11))
    witness.hear(NftNews(missed=True))
    assert not witness.undisturbed(10, 11)

    witness.hear(NftNews(15, others=1))

    assert not witness.undisturbed(14, 15)
    assert witness.undisturbed(15, 15)


def test_what_has_not_been_heard_of_is_waited_for(witness: Witness, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a turn of the event loop, and no longer."""
    assert not witness.undisturbed(10, 11)

    monkeypatch.setattr(module, "PATIENCE_S", 10)
    told = Timer(0.02, witness.hear, [NftNews(11, others=1)])
    told.start()
    try:
        assert witness.undisturbed(10, 11)
    finally:
        told.join()
