"""The manual of the audit says what events are."""

import re
from dataclasses import replace
from pathlib import Path

from hostfw.audit.packet_event import EventAction
from hostfw.cli.command_line.arguments import LOGGED_REASONS
from hostfw.journal.message_ids import MessageId
from hostfw.journal.packet_entry import fields
from tests.unit.builders.event_builders import SYN, event
from tests.unit.journal.test_notices import NOTICES

MANUAL = (Path(__file__).parents[3] / "docs" / "audit.md").read_text()
NOTICE_FIELDS = MANUAL.partition("| field | value |")[2].partition("| field | value |")[2].partition("\n\n")[0]
FIELDS = MANUAL.partition("| field | value |")[2].partition("\n\n")[0]


def test_the_manual_has_every_field_in_order() -> None:
    """And no other."""
    everything = replace(SYN, icmp_type=8, icmp_code=0, fragment=0)
    rows = [line.split("|")[1] for line in FIELDS.splitlines()[2:]]

    documented = [name for row in rows for name in re.findall(r"`(\w+)`", row)]

    noted = replace(event(packet=everything, interfaces=("eth0", "eth1")), why="scans", ticket="OPS-7")
    assert sorted(documented) == sorted(fields(noted))


def test_the_manual_has_every_field_of_notices() -> None:
    """And no other."""
    rows = [line.split("|")[1] for line in NOTICE_FIELDS.splitlines()[1:]]

    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}

    assert documented == {name for notice in NOTICES for name in notice[1] if name.startswith("HOSTFW_")}


def test_the_manual_has_every_value_of_what_has_few() -> None:
    """Actions and reasons."""
    assert [action for action in EventAction if f"`{action}`" not in FIELDS] == []
    assert [reason for reason in LOGGED_REASONS if f"`{reason}`" not in FIELDS] == []


def test_the_manual_has_every_message_id() -> None:
    """With what it stands for."""
    table = MANUAL.partition("| `MESSAGE_ID` | is |")[2].partition("\n\n")[0]

    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(MessageId)
