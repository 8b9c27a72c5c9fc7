"""Entries of the service about a generation that has come into force."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest

from hostfw.build.candidate import check_candidate
from hostfw.build.feed_shrink import keep_accepted_feeds
from hostfw.build.generation import Generation, build
from hostfw.daemon.reports.announcer import Announcer
from hostfw.host.store.configuration.feed_files import read_own_feeds
from hostfw.host.store.configuration.files import read_configuration
from hostfw.journal.message_ids import MessageId
from tests.unit.cli_runs import UPLINK, Machine, machine

FEED = """\
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: bad, labels: {list: bad}}
spec: {path: bad.txt}
"""


class Outbox:
    """The entries that were sent, in order."""

    def __init__(self) -> None:
        """Nothing so far."""
        self.entries: list[Mapping[str, str]] = []

    def send(self, fields: Mapping[str, str]) -> None:
        """Keep it."""
        self.entries.append(fields)


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = machine(tmp_path, monkeypatch)
    made.write(feed=FEED, uplink=UPLINK)
    return made


def _generation(host: Machine, lines: int) -> Generation:
    """The generation of a configuration whose feed holds so many hosts."""
    (host.config / "bad.txt").write_text("".join(f"10.0.0.{n}\n" for n in range(lines)))
    feeds = partial(read_own_feeds, host.config, state_dir=host.directory / "var")
    candidate = check_candidate(*read_configuration(host.config), feeds)
    found = build(keep_accepted_feeds(candidate, host.directory / "var"), host.facts)
    assert isinstance(found, Generation)
    return found


def test_a_feed_that_shrank_is_told_once_for_each_loss(host: Machine) -> None:
    """At the first generation that keeps the accepted content, and again when it lost even more."""
    whole = _generation(host, 100)
    assert host.hostfwctl("apply").status == 0
    shrunk, more = _generation(host, 10), _generation(host, 5)
    outbox = Outbox()
    announcer = Announcer(outbox)

    for before, now in ((None, whole), (whole, shrunk), (shrunk, shrunk), (shrunk, more), (more, whole), (None, more)):
        announcer.feeds(before, now)

    assert [entry["MESSAGE_ID"] for entry in outbox.entries] == [MessageId.FEED_SHRUNK] * 3
    assert [entry["MESSAGE"].rpartition("/")[2] for entry in outbox.entries] == [
        f'feed.yaml:4: the file of Feed "bad" lost {percent}% of what was accepted, which stays in force'
        for percent in (90, 95, 95)
    ]
    assert outbox.entries[0]["HOSTFW_FEED"] == "bad"
