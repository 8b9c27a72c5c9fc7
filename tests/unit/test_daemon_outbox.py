"""The way to a journal that one must not stop for."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hostfw.audit.message_ids import MessageId
from hostfw.daemon.outbox import RETRY_S, Outbox
from hostfw.host.errors import HostError
from hostfw.testing.fakes import FakeClock, FakeJournal


@dataclass
class Stubborn:
    """A journal that takes entries while `room` is left."""

    room: int = 0
    asked: int = 0
    taken: list[str] = field(default_factory=list)

    def send(self, fields: Mapping[str, str]) -> None:
        """Take it, or refuse it."""
        self.asked += 1
        if not self.room:
            raise HostError("the journal cannot be written: no")
        self.room -= 1
        self.taken.append(fields["MESSAGE"])


def test_what_the_journal_takes_goes_at_once() -> None:
    """And nothing is left to do."""
    journal = FakeJournal()
    outbox = Outbox(journal, FakeClock())

    outbox.send({"MESSAGE": "one"})

    assert journal.sent == [{"MESSAGE": "one"}]
    assert (outbox.wait_s(), outbox.waiting) == (None, 0)


def test_what_it_does_not_take_waits_in_order() -> None:
    """The journal is asked again after a moment, not for every entry."""
    clock, journal = FakeClock(), Stubborn(room=1)
    outbox = Outbox(journal, clock)
    for message in ("one", "two", "three"):
        outbox.send({"MESSAGE": message})
    assert (journal.taken, journal.asked, outbox.waiting) == (["one"], 2, 2)

    assert outbox.wait_s() == RETRY_S
    outbox.due()
    assert journal.asked == 2
    clock.wait(RETRY_S)
    journal.room = 10
    outbox.due()

    assert journal.taken == ["one", "two", "three"]
    assert outbox.wait_s() is None


def test_what_cannot_wait_is_counted_and_said_once_the_journal_is_back() -> None:
    """The oldest are kept, since they say how it began."""
    clock, journal = FakeClock(), Stubborn()
    outbox = Outbox(journal, clock, most=2)
    for number in range(5):
        outbox.send({"MESSAGE": f"{number}"})
    assert (outbox.waiting, outbox.unwritten) == (2, 3)

    clock.wait(RETRY_S)
    journal.room = 10
    outbox.send({"MESSAGE": "5"})

    said = "3 journal entries could not be written: the journal cannot be written: no"
    assert journal.taken == ["0", "1", "4 journal entries" + said[len("3 journal entries") :]]
    assert (outbox.waiting, outbox.unwritten, outbox.wait_s()) == (0, 4, None)


def test_the_entry_about_it_has_its_fields() -> None:
    """Like any other."""
    clock, journal = FakeClock(), FakeJournal()
    refusing = Stubborn()
    outbox = Outbox(refusing, clock, most=1)
    outbox.send({"MESSAGE": "kept"})
    outbox.send({"MESSAGE": "given up"})
    outbox.journal = journal
    clock.wait(RETRY_S)
    outbox.due()

    assert [entry.get("MESSAGE_ID") for entry in journal.sent] == [None, MessageId.ENTRIES_UNWRITTEN]
    assert journal.sent[1]["HOSTFW_ENTRIES"] == "1"
    assert journal.sent[1]["HOSTFW_CAUSE"] == "the journal cannot be written: no"
