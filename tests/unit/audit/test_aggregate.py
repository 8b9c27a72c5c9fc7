"""Folding: similar packets become one event."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostfw.audit.aggregate import Aggregate
from hostfw.audit.log_prefix import LogTag
from hostfw.audit.packet_event import PacketEvent
from hostfw.audit.packet_headers import Headers
from hostfw.model.packets.decisions import Reason
from hostfw.model.values import Action, Direction
from tests.unit.builders.event_builders import DENIED, MOMENT, SYN, event, from_port, known

OTHERS = [
    ("another rule", event(replace(DENIED, index=2))),
    ("another action", event(replace(DENIED, staged=True))),
    ("another source", event(packet=replace(SYN, source=1))),
    ("another destination", event(packet=replace(SYN, destination=1))),
    ("another destination port", event(packet=replace(SYN, destination_port=23))),
    ("another protocol", event(packet=replace(SYN, protocol=17))),
    ("other TCP flags", event(packet=replace(SYN, tcp_flags=0x10))),
    ("another interface", event(interfaces=("eth1", ""))),
    ("another generation", replace(event(), generation="other")),
]


def test_packets_that_fare_alike_become_one() -> None:
    """With their number, the first and the last, and without what they differ in."""
    fold = Aggregate(window_s=1)

    assert fold.add(event(), 10.0) == ()
    assert fold.add(event(packet=from_port(40001), after_s=0.25), 10.25) == ()
    assert fold.add(event(packet=replace(from_port(40002), length=52), after_s=0.5), 10.5) == ()
    assert fold.due(10.99) == ()
    assert fold.due(11.0) == (
        replace(
            event(packet=replace(SYN, source_port=None, length=None)),
            count=3,
            last=MOMENT + timedelta(seconds=0.5),
        ),
    )
    assert fold.flush() == ()


@pytest.mark.parametrize("other", [case[1] for case in OTHERS], ids=[case[0] for case in OTHERS])
def test_what_differs_stays_apart(other: PacketEvent) -> None:
    """In anything that a person would ask about."""
    fold = Aggregate()
    fold.add(event(), 0)
    fold.add(other, 0)

    assert fold.flush() == (event(), other)


def test_a_packet_alone_keeps_everything() -> None:
    """And so do two of the same connection."""
    fold = Aggregate()
    fold.add(event(), 0)
    fold.add(event(), 0)

    assert fold.flush() == (replace(event(), count=2),)


def test_a_window_begins_with_its_first_packet() -> None:
    """So a flood without end is reported once a window, and not when it ends."""
    fold = Aggregate(window_s=1)

    out = [e.count for tenth in range(35) for e in fold.add(event(), tenth / 10)]

    assert out == [10, 10, 10]
    assert [e.count for e in fold.flush()] == [5]


def test_memory_is_bounded_and_what_had_no_room_is_given_out_early() -> None:
    """The oldest first, counted, and none lost."""
    fold = Aggregate(window_s=1, most=3)
    scan = [event(packet=replace(SYN, destination_port=port)) for port in range(1, 6)]

    out = [fold.add(each, 0) for each in scan]

    assert out == [(), (), (), (scan[0],), (scan[1],)]
    assert fold.evicted == 2
    assert fold.flush() == tuple(scan[2:])


def test_where_nothing_must_wait_the_first_is_given_out_at_once() -> None:
    """And those like it folded, once a window, for as long as they come."""
    fold = Aggregate(window_s=1, at_once=True)

    out = [(tenth, e.count) for tenth in range(35) for e in fold.add(event(), tenth / 10)]

    assert out == [(0, 1), (10, 9), (20, 10), (30, 10)]
    assert fold.packets == 5
    assert [e.count for e in fold.due(4.0)] == [5]
    assert fold.due(5.0) == ()
    assert fold.wait_s(5.0) is None
    assert [e.count for e in fold.add(event(), 9.0)] == [1]


def test_a_kind_that_had_nothing_more_to_tell_makes_room_in_silence() -> None:
    """Packets that were logged at once are not logged again."""
    fold = Aggregate(window_s=1, most=1, at_once=True)

    assert [e.count for e in fold.add(event(), 0)] == [1]
    assert [e.packet.source_text for e in fold.add(OTHERS[2][1], 0)] == [OTHERS[2][1].packet.source_text]
    assert fold.evicted == 1
    assert fold.flush() == ()


def test_who_waits_knows_how_long() -> None:
    """Until the window of the oldest event ends; for ever where there is none."""
    fold = Aggregate(window_s=2)

    assert fold.wait_s(5) is None
    fold.add(event(), 5)
    assert fold.wait_s(6.5) == 0.5
    assert fold.wait_s(9) == 0


KNOWN = known()
END = LogTag(Action.DENY, Direction.INGRESS, Reason.END_OF_TIER, "default")
packets = st.builds(
    lambda sport, dport: replace(SYN, source_port=sport, destination_port=dport), *[st.integers(1, 4)] * 2
)
arrivals = st.lists(st.tuples(st.floats(0, 2), packets, st.sampled_from((DENIED, END))), max_size=60)


@given(arrivals=arrivals, most=st.integers(1, 5), at_once=st.booleans())
def test_every_packet_comes_out_once(arrivals: list[tuple[float, Headers, LogTag]], most: int, at_once: bool) -> None:
    """Whatever comes when, counts add up, nothing is mixed, and no more than the bound is held."""
    fold = Aggregate(window_s=1, most=most, at_once=at_once)
    now_s = 0.0
    out: list[PacketEvent] = []
    for wait_s, packet, tag in arrivals:
        now_s += wait_s
        out += fold.add(event(tag, packet, attributed=KNOWN), now_s)
        assert len(fold._open) <= most
    out += fold.flush()

    def tally(events: list[PacketEvent]) -> dict[tuple[int | None, Reason], int]:
        counts: dict[tuple[int | None, Reason], int] = {}
        for each in events:
            key = each.packet.destination_port, each.reason
            counts[key] = counts.get(key, 0) + each.count
        return counts

    assert tally(out) == tally([event(tag, packet, attributed=KNOWN) for _, packet, tag in arrivals])
