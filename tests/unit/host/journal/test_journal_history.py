"""Entries of the journal that `drops` trusts: those of our own service, as far as the caller may read them."""

import errno
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import ModuleType

import pytest

from hostfw.audit.packet_event import IDENTIFIER
from hostfw.cli.output.console import ExitCode
from hostfw.host.errors import HostError
from hostfw.host.journal import reader as journal_history
from hostfw.host.journal.reader import JournalHistory
from hostfw.journal.message_ids import PACKETS
from tests.unit.cli_runs import Machine, machine

OURS = {"SYSLOG_IDENTIFIER": IDENTIFIER, "_UID": "0", "_SYSTEMD_UNIT": "hostfw.service", "MESSAGE_ID": PACKETS[0]}
THEIRS = [
    ("of another user", {"_UID": "1000"}),
    ("of a process of root's", {"_SYSTEMD_UNIT": "session-1.scope"}),
    ("of a unit of that name in root's own manager", {"_SYSTEMD_UNIT": "user@0.service"}),
    ("of a container, whose unit is its own machine", {"_SYSTEMD_UNIT": "machine-hostfw.scope"}),
    ("under another identifier", {"SYSLOG_IDENTIFIER": "hostfw2"}),
    ("of another kind", {"MESSAGE_ID": "0" * 32}),
]


class Reader:
    """A journal in memory that finds as libsystemd does: one value of each field that was asked for must match."""

    there: list[dict[str, str]]

    def __init__(self, converters: object) -> None:
        assert converters
        self.wanted: dict[str, set[str]] = {}
        self.left: Iterator[dict[str, str]] | None = None

    def add_match(self, *matches: str) -> None:
        """Ask for values of fields."""
        for name, _, value in (match.partition("=") for match in matches):
            self.wanted.setdefault(name, set()).add(value)

    def this_boot(self) -> None:
        """All entries are of this boot."""

    def seek_head(self) -> None:
        """Begin with the first."""

    def seek_realtime(self, moment: float) -> None:
        """Begin with the first as well: these entries have no time."""

    def get_next(self) -> dict[str, str]:
        """The next one that was asked for, empty at the end."""
        if self.left is None:
            self.left = iter(self.there)
        return next((e for e in self.left if all(e.get(n) in values for n, values in self.wanted.items())), {})


@pytest.fixture(name="systemd")
def _systemd(monkeypatch: pytest.MonkeyPatch) -> type[Reader]:
    """python3-systemd, with such a journal."""
    package, module = ModuleType("systemd"), ModuleType("systemd.journal")
    module.Reader = Reader  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "systemd", package)
    monkeypatch.setitem(sys.modules, "systemd.journal", module)
    monkeypatch.setattr(journal_history, "_may_read", lambda: True)
    return Reader


@pytest.mark.parametrize("since", [None, datetime.fromisoformat("2030-01-01T00:00:00+00:00")])
def test_only_what_our_service_wrote_is_believed(systemd: type[Reader], since: datetime | None) -> None:
    """Whoever writes to the journal says what they like, but not who they are."""
    systemd.there = [{**OURS, "HOSTFW_COUNT": "1"}, *({**OURS, **theirs} for _, theirs in THEIRS)]

    found = list(JournalHistory(IDENTIFIER, PACKETS, since).entries())

    assert found == [{**OURS, "HOSTFW_COUNT": "1"}]


@pytest.mark.parametrize(
    ("files", "may"),
    [([], False), (["system.journal"], True), (["system@1.journal"], True), (["user-1000.journal"], False)],
)
def test_who_reads_no_journal_of_the_system_may_read_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], *, may: bool
) -> None:
    """To them libsystemd says nothing, as if nothing had been denied."""
    (tmp_path / "0123abcd").mkdir()
    for name in files:
        (tmp_path / "0123abcd" / name).touch()
    monkeypatch.setattr(journal_history, "_FOLDERS", (tmp_path,))
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    assert journal_history._may_read() is may


def test_drops_says_that_the_journal_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, systemd: type[Reader]
) -> None:
    """And not that nothing was denied."""
    host: Machine = machine(tmp_path, monkeypatch)
    systemd.there = []
    monkeypatch.setattr(journal_history, "_may_read", lambda: False)
    monkeypatch.setattr(journal_history, "SOCKET", tmp_path / "socket")
    monkeypatch.setattr(Path, "is_socket", lambda _: True)

    status, out, err = host.hostfwctl("drops")

    assert (status, out) == (ExitCode.UNAVAILABLE, "")
    assert err == (
        "hostfwctl: the journal may not be read\n"
        "  hint: run it as root, or as a member of the group systemd-journal or adm\n"
    )
    with pytest.raises(HostError) as raised:
        JournalHistory(IDENTIFIER, PACKETS, None)
    assert isinstance(raised.value.__cause__, PermissionError)
    assert raised.value.__cause__.errno == errno.EACCES
