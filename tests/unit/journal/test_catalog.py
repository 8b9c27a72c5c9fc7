"""The journal's catalog explains every kind of event."""

import re
from pathlib import Path

import pytest

from hostfw.cli.command_line.verb_table import VERBS
from hostfw.journal.message_ids import MessageId
from hostfw.journal.packet_entry import fields
from tests.unit.builders.event_builders import event
from tests.unit.journal.test_notices import NOTICES

ROOT = Path(__file__).parents[3]
ENTRIES = dict(
    re.findall(
        r"^-- (\w{32})\n(.*?)(?=^-- |\Z)", (ROOT / "units" / "hostfw.catalog").read_text(), re.DOTALL | re.MULTILINE
    )
)
FIELDS: dict[str, set[str]] = {MessageId.PACKET_DENIED: set(fields(event()))}
FIELDS |= dict.fromkeys((MessageId.PACKET_LOGGED, MessageId.PACKET_STAGED), FIELDS[MessageId.PACKET_DENIED])
for notice in NOTICES:
    FIELDS[notice[2]] = FIELDS.get(notice[2], set()) | set(notice[1])


def test_every_kind_of_event_is_in_the_catalog() -> None:
    """In their order, and no other."""
    assert list(ENTRIES) == list(MessageId)


@pytest.mark.parametrize("message_id", MessageId, ids=[kind.name for kind in MessageId])
def test_an_entry_has_what_journalctl_shows(message_id: MessageId) -> None:
    """A subject, where to read on, a text, and no field that such an event does not have (systemd's catalog(7))."""
    headers, _, text = ENTRIES[message_id].partition("\n\n")

    assert re.match(r"Subject: \S.*\nDefined-By: hostfw\nDocumentation: man:hostfw-audit\(7\)\Z", headers)
    assert text.strip()
    assert max(map(len, ENTRIES[message_id].splitlines())) <= 100
    assert set(re.findall(r"@(\w+)@", ENTRIES[message_id])) <= FIELDS[message_id]


def test_verbs_that_it_names_are_there() -> None:
    """The commands that it names exist."""
    named = {verb for entry in ENTRIES.values() for verb in re.findall(r"hostfwctl (\w+)", entry)}

    assert named <= {verb.name for verb in VERBS}
