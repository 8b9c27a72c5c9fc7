"""Values that travel over the control socket come out as they went in, and what does not fit is refused."""

from dataclasses import fields, make_dataclass
from datetime import UTC, datetime
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostfw.build.refused import Refused
from hostfw.control.codec import CodecError, Json, decode, encode, shape_digest
from hostfw.control.messages import Apply, Confirm, Files, InForceNow, Reply, Request, Rollback, RollbackTo
from hostfw.control.socket import (
    END,
    Envelope,
    Refusal,
    answer_bytes,
    answer_of,
    envelope_bytes,
    envelope_of,
    our_version,
)
from hostfw.engine.outcomes import Confirmed, Failed, NoTrial, RolledBack, TooLate
from hostfw.host.process.processes import Ancestor
from hostfw.host.store.generations.last_event import Event, EventKind
from hostfw.host.store.generations.trial import Trial
from hostfw.model.host.baseline import Baseline, Gateway, Lease, LeaseKind, Listener, NameServer, Session
from hostfw.model.positions import Position
from hostfw.model.problems import Problem, Severity
from hostfw.model.sources import Configuration, Source
from hostfw.model.values import Family

VERSION = our_version().encode()
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
EVENT = Event(EventKind.ROLLED_BACK, NOON, "abc", "by hand")
PENDING = Trial("t", 3, "abc", None, True, NOON, 1.5, "boot")
PROBLEM = Problem(Position("a.yaml", 1, 2), "no", "yes", "do", Severity.WARNING)
BASELINE = Baseline(
    sessions=(Session(Family.V6, 2**127, 50000, 1, 22, "eth0", own=True),),
    listeners=(Listener(Family.V4, 22),),
    gateways=(Gateway(Family.V4, "eth0", 1),),
    leases=(Lease(LeaseKind.DHCP, Family.V4, "eth0", 7),),
    name_servers=(NameServer(Family.V4, 9),),
    outgoing=(Session(Family.V4, 5, 22, 1, 50000, "eth0"),),
    sees_processes=True,
)

REQUESTS: list[Request] = [
    Apply(),
    Apply(
        Files(Configuration(Source("hostfw.yaml", "{}"), (Source("b\udcff.yaml", "x\0"),)), (PROBLEM,)),
        90,
        accept_shrink=True,
        baseline=BASELINE,
    ),
    Confirm((Ancestor(1, "sshd", frozenset({5, 3})), Ancestor(2, "su", None)), console=True),
    Rollback(),
    Rollback("token"),
    RollbackTo(12),
]
REPLIES: list[Reply | Refusal] = [
    InForceNow("abc", "web1", 1, 2, 3, unchanged=False, chains_new=4, chains_swept=5, problems=(PROBLEM,)),
    InForceNow("abc", "web1", 1, 2, 3, unchanged=True, chains_new=0, chains_swept=0, trial=PENDING, sent="x"),
    Refused((PROBLEM, PROBLEM)),
    Confirmed(PENDING, "abc", ("full",)),
    Confirmed(None, "abc"),
    TooLate(EVENT),
    RolledBack(None, EVENT),
    NoTrial(),
    Failed("no", "yes", not_permitted=True),
    Refusal("elsewhere", elsewhere=True),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_a_request_arrives_as_it_was_sent(request_: Request) -> None:
    """With surrogates for bytes that are no UTF-8, NUL bytes in texts, and nets of sockets."""
    envelope = Envelope(4026531840, "/etc/hostfw", "/var/lib/hostfw", request_)
    data = envelope_bytes(envelope)
    assert data.count(END) == 1
    assert envelope_of(data.removesuffix(END)) == envelope


@pytest.mark.parametrize("reply", REPLIES, ids=lambda reply: type(reply).__name__)
def test_an_answer_arrives_as_it_was_sent(reply: Reply | Refusal) -> None:
    """Of whatever type the answer is."""
    assert answer_of(answer_bytes(reply).removesuffix(END)) == reply


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "this is not JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"\xff", "this is not JSON: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (b"[]", "a version and a content are expected"),
        (b'{"version":2}', "hostfwctl and the running hostfw.service are of different releases"),
        (b'{"version":1,"content":[]}', "hostfwctl and the running hostfw.service are of different releases"),
        (b'{"version":"x","content":[]}', "hostfwctl and the running hostfw.service are of different releases"),
        (b'{"version":[],"content":[]}', "a version and a content are expected"),
        (b'{"version":' + VERSION + b"}", "a version and a content are expected"),
        (b'{"version":' + VERSION + b',"content":[]}', "request: Letter is expected, not list"),
        (b'{"version":' + VERSION + b',"content":{"type":"Apply"}}', "request: Letter is expected, not Apply"),
        (b'{"version":' + VERSION + b',"content":{"type":"Letter"}}', "request.namespace: is missing"),
    ],
)
def test_what_is_no_request_is_refused_with_the_place(data: bytes, message: str) -> None:
    """Garbage, another version, and objects of another type."""
    with pytest.raises(CodecError) as refused:
        envelope_of(data)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("expected", "data", "message"),
    [
        (Rollback, {"type": "Rollback", "if_pending": 3}, "$.if_pending: int is not expected here"),
        (RollbackTo, {"type": "RollbackTo", "number": True}, "$.number: int is expected, not bool"),
        (RollbackTo, {"type": "RollbackTo", "number": 1, "x": 1}, "$.x: is not part of RollbackTo"),
        (RollbackTo, {"type": "RollbackTo"}, "$.number: is missing"),
        (RollbackTo | Rollback, {"type": "Reboot"}, "$: a Reboot is not expected here"),
        (Severity, "fatal", "$: 'fatal' is no Severity"),
        (datetime, "noon", "$: 'noon' is not a moment"),
        (tuple[int, ...], 3, "$: a list is expected, not int"),
        (tuple[int, str], [3], "$: 2 items are expected, not 1"),
        (
            Ancestor,
            {"type": "Ancestor", "pid": 1, "name": "a", "sockets": ["b"]},
            "$.sockets: list is not expected here",
        ),
    ],
)
def test_a_value_of_another_type_is_refused_with_the_place(expected: type, data: Json, message: str) -> None:
    """So that nothing past the codec meets a value that its type does not allow."""
    with pytest.raises(CodecError) as refused:
        decode(expected, data)
    assert str(refused.value) == message


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=9),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=9), inner),
        max_leaves=20,
    )
)
def test_no_json_does_anything_but_decode_or_be_refused(data: Json) -> None:
    """Whatever comes over the socket."""
    try:
        decode(Envelope, data)
    except CodecError:
        return
    raise AssertionError(f"{data!r} was taken for a letter")


def test_what_has_no_form_in_json_is_refused_when_sent() -> None:
    """A defect shows where it is, and not with who receives it."""
    with pytest.raises(CodecError, match="a object has no form in JSON"):
        encode((object(),))


def _changed(**changes: object) -> type:
    """A `Trial` of another release: its fields but those that are None, and others."""
    kept = {field.name: field.type for field in fields(Trial)} | changes
    return make_dataclass("Pending", [(name, kind) for name, kind in kept.items() if kind is not None])


@pytest.mark.parametrize(
    "changes", [{"more": int}, {"token": None}, {"number": str}, {"deadline": datetime | None}], ids=str
)
def test_another_field_anywhere_is_another_version(changes: dict[str, object]) -> None:
    """Nobody has to remember to raise it."""
    assert shape_digest(tuple[_changed(), ...]) == shape_digest(tuple[Trial, ...])  # type: ignore[misc]
    assert shape_digest(tuple[_changed(**changes), ...]) != shape_digest(tuple[Trial, ...])  # type: ignore[misc]


def test_another_value_of_an_enum_is_another_version() -> None:
    """Whoever does not know it could not read it."""
    now = StrEnum("now", [("A", "a"), ("B", "b")])
    later = StrEnum("now", [("A", "a"), ("B", "b"), ("C", "c")])  # type: ignore[misc]

    assert shape_digest(later | None) != shape_digest(now | None)


def test_a_refusal_stays_as_it_is() -> None:
    """Every release reads it, whatever its version: so an old hostfwctl says why it is refused."""
    refusal = {"type": "Refusal", "message": "m", "hint": "h", "elsewhere": True}

    assert encode(Refusal("m", "h", elsewhere=True)) == refusal
