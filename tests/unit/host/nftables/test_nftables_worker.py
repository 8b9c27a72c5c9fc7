"""The worker's behaviour around a script; the rest of it is `test_host_nftables`."""

from pathlib import Path

import pytest

from hostfw.host.nftables.writing import worker as nftables_worker
from hostfw.host.nftables.writing.worker import let_packets_leave


class _Nft:
    """A libnftables that notes what it is asked to run."""

    def __init__(self, events: list[str]) -> None:
        self._events = events

    def set_dry_run(self, check: bool) -> None:
        """Note which of the two follows."""
        self._events.append("check" if check else "commit")

    def cmd_from_file(self, name: bytes) -> tuple[int, bytes, bytes]:
        """Run nothing."""
        assert Path(name.decode()).exists()
        return 0, b"", b""


@pytest.mark.parametrize(
    ("name", "script", "check", "events"),
    [
        ("a sweep", b"flush chain ip hostfw a\ndelete chain ip hostfw a\n", False, ["wait", "commit"]),
        ("a deletion alone", b"delete table ip hostfw\n", False, ["wait", "commit"]),
        ("a sweep that is checked", b"delete table ip hostfw\n", True, ["check"]),
        ("an addition", b"add table ip hostfw\nadd counter ip hostfw delete/this\n", False, ["commit"]),
    ],
)
def test_packets_leave_before_anything_is_deleted(
    monkeypatch: pytest.MonkeyPatch, name: str, script: bytes, check: bool, events: list[str]
) -> None:
    """And only then: to wait takes longer than most commits."""
    seen: list[str] = []
    monkeypatch.setattr(nftables_worker, "let_packets_leave", lambda: seen.append("wait"))

    assert nftables_worker._run(_Nft(seen), script, check=check) == (True, b"")

    assert seen == events, name


def test_waiting_for_packets_ends() -> None:
    """On this very kernel."""
    let_packets_leave()
