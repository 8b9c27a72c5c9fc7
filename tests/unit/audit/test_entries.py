"""Packet events out of journal entries."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostfw.audit.packet_event import EventAction, PacketEvent
from hostfw.audit.packet_headers import Headers, headers
from hostfw.journal.packet_entry import event_of, fields
from hostfw.model.packets.decisions import Reason
from hostfw.model.values import Direction, Family
from tests.unit.audit.test_headers import PING6, UDP, v4, v6
from tests.unit.builders.event_builders import SYN, event

EVENTS = [
    ("a SYN", event()),
    ("a ping", event(packet=headers(v6(58, PING6)))),
    ("a datagram", event(packet=headers(v4(17, UDP)))),
    ("a fragment", event(packet=replace(SYN, fragment=1480, source_port=None, destination_port=None))),
    ("no flags", event(packet=replace(SYN, tcp_flags=0))),
    ("an odd protocol", event(packet=replace(SYN, protocol=253, tcp_flags=None))),
    ("several", replace(event(packet=replace(SYN, source_port=None)), count=7)),
    ("forwarded", event(interfaces=("eth0", "eth1"))),
    ("nothing known", event(packet=Headers(), interfaces=("", ""))),
]


@pytest.mark.parametrize("original", [case[1] for case in EVENTS], ids=[case[0] for case in EVENTS])
def test_an_event_comes_back_as_it_went(original: PacketEvent) -> None:
    """All but what no field holds."""
    packet = replace(original.packet, hop_limit=None, icmp_id=None, truncated=False)

    assert event_of(fields(original)) == replace(original, packet=packet)


NOT_EVENTS: list[tuple[str, dict[str, object]]] = [
    ("nothing", {}),
    ("another program's", {"MESSAGE": "hello", "HOSTFW_ACTION": "deny"}),
    ("an action that there is not", {"HOSTFW_ACTION": "allow"}),
    ("a direction that there is not", {"HOSTFW_DIRECTION": "up"}),
    ("bytes that are no text", {"HOSTFW_REASON": b"\xff"}),
    ("a moment of no place", {"HOSTFW_FIRST": "2030-01-01T12:00:00"}),
    ("a moment of nobody's", {"HOSTFW_FIRST": "0001-01-01T00:00:00+14:00"}),
    ("a moment at the end", {"HOSTFW_LAST": "9999-12-31T23:59:59-14:00"}),
    ("no number", {"HOSTFW_COUNT": "many"}),
    ("a long number", {"HOSTFW_COUNT": "9" * 5000}),
    ("none of them", {"HOSTFW_COUNT": "0"}),
]


@pytest.mark.parametrize("changes", [case[1] for case in NOT_EVENTS], ids=[case[0] for case in NOT_EVENTS])
def test_what_is_no_event_is_none(changes: dict[str, object]) -> None:
    """Whoever wrote it."""
    entry = {**fields(event()), **changes} if len(changes) == 1 else changes

    assert event_of(entry) is None


@pytest.mark.parametrize("name", sorted(fields(event())))
def test_a_field_of_5000_digits_is_no_error(name: str) -> None:
    """Whichever it is: Python refuses to read so many."""
    for long in ("9" * 5000, "0" * 5000 + "6"):
        found = event_of({**fields(event()), name: long})
        assert found is None or fields(found)


texts = st.one_of(st.text(max_size=20), st.sampled_from(["-1", "9" * 30, "SYN,SYN", "none", "::1", "1.2.3.4", "256"]))
values = st.one_of(texts, st.binary(max_size=5), st.lists(texts, max_size=2), st.integers())


@given(changes=st.dictionaries(st.sampled_from(sorted(fields(event()))), values))
def test_whatever_an_entry_holds_can_be_shown(changes: dict[str, object]) -> None:
    """Anybody may write to the journal."""
    found = event_of({**fields(event()), **changes})

    if found is not None:
        assert fields(found)["HOSTFW_COUNT"].isdigit()
        assert found.action in EventAction
        assert found.direction in Direction
        assert found.reason in Reason
        assert found.packet.family in (None, *Family)
