"""The way to a journal that one must not stop for."""

import time
from collections.abc import Callable, Mapping
from threading import Event

from hostfw.daemon.audit.journal_queue import Outbox
from hostfw.host.errors import HostError
from hostfw.journal.message_ids import MessageId
from lab.fakes.fakes import FakeJournal

PATIENCE_S = 10


class Stubborn:
    """A journal that takes nothing until it is told to, and may hang over an entry instead of refusing it."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.takes = Event()
        self.asked = Event()
        self.taken: list[dict[str, str]] = []
        self._hangs = hangs

    def send(self, fields: Mapping[str, str]) -> None:
        """Take it, refuse it, or hang."""
        self.asked.set()
        if self._hangs:
            self.takes.wait()
        if not self.takes.is_set():
            raise HostError("the journal cannot be written: no")
        self.taken.append(dict(fields))

    @property
    def messages(self) -> list[str]:
        """The messages that were written."""
        return [entry["MESSAGE"] for entry in self.taken]


def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds, for some seconds."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it does not"
        time.sleep(0.002)


def test_what_the_journal_takes_goes_at_once() -> None:
    """And nothing is left to do."""
    journal = FakeJournal()
    outbox = Outbox(journal)

    outbox.send({"MESSAGE": "one"})
    until(lambda: outbox.waiting == 0)

    assert outbox.close()
    assert journal.sent == [{"MESSAGE": "one"}]
    assert (outbox.unwritten, outbox.stuck_s) == (0, 0)


def test_what_it_does_not_take_waits_in_order() -> None:
    """The journal is asked again after a moment, for the first entry in line."""
    journal = Stubborn()
    outbox = Outbox(journal, retry_s=0.01)
    for message in ("one", "two", "three"):
        outbox.send({"MESSAGE": message})
    until(journal.asked.is_set)
    assert outbox.waiting == 3
    until(lambda: outbox.stuck_s > 0)

    journal.takes.set()

    until(lambda: outbox.waiting == 0)
    assert journal.messages == ["one", "two", "three"]
    assert outbox.close()


def test_a_journal_that_hangs_holds_nobody_up() -> None:
    """Neither who sends nor who ends the service; how long it has hung can be told."""
    journal = Stubborn(hangs=True)
    outbox = Outbox(journal, most=100)
    begun = time.monotonic()

    for number in range(1000):
        outbox.send({"MESSAGE": f"{number}"})

    assert (outbox.waiting, outbox.unwritten) == (100, 900)
    until(lambda: outbox.stuck_s > 0.02)
    assert not outbox.close(0.05)
    assert time.monotonic() - begun < PATIENCE_S
    journal.takes.set()


def test_what_cannot_wait_is_counted_and_said_once_the_journal_is_back() -> None:
    """The oldest are kept, since they say how it began."""
    journal = Stubborn()
    outbox = Outbox(journal, most=2, retry_s=0.01)
    for number in range(5):
        outbox.send({"MESSAGE": f"{number}"})
    until(lambda: bool(outbox.reason))
    assert (outbox.waiting, outbox.unwritten) == (2, 3)

    journal.takes.set()

    until(lambda: len(journal.taken) == 3)
    assert journal.messages == ["0", "1", "3 journal entries could not be written: the journal cannot be written: no"]
    assert journal.taken[2]["MESSAGE_ID"] == MessageId.ENTRIES_UNWRITTEN
    assert journal.taken[2]["HOSTFW_ENTRIES"] == "3"
    assert outbox.close()
    assert outbox.unwritten == 3


def test_an_entry_that_cannot_be_written_at_all_stops_no_other() -> None:
    """Whatever is raised over it; it counts as lost."""
    written: list[str] = []

    class Picky:
        def send(self, fields: Mapping[str, str]) -> None:
            written.append(fields["MESSAGE"].encode("ascii").decode())

    outbox = Outbox(Picky())
    outbox.send({"MESSAGE": "café"})
    outbox.send({"MESSAGE": "tea"})

    until(lambda: len(written) == 2)
    assert outbox.close()
    lost, tea = sorted(written)
    assert tea == "tea"
    assert lost.startswith("1 journal entry could not be written: UnicodeEncodeError")
    assert outbox.unwritten == 1
