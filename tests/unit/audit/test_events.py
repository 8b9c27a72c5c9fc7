"""Packet events: what a log record says, and its fields."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostfw.audit.attribution import Attribution, RuleSource, attribution, policies_of
from hostfw.audit.log_prefix import LogTag, decode, encode, stands_for
from hostfw.audit.packet_event import EventAction, message, packet_event
from hostfw.audit.packet_headers import Headers, headers
from hostfw.journal.message_ids import MessageId
from hostfw.journal.packet_entry import event_of, fields, json_line
from hostfw.model.packets.decisions import Reason
from hostfw.model.plan import Plan
from hostfw.model.resources import Resources
from hostfw.model.settings import Settings
from hostfw.model.values import Action, Direction, Family
from hostfw.policy.resolve.plan import resolve
from tests.unit.builders.event_builders import (
    DENIED,
    GENERATION,
    LONG_POLICY,
    LONG_TIER,
    MOMENT,
    SYN,
    event,
    known,
    plan,
)
from tests.unit.builders.policy_builders import facts, hep, net

IN, OUT = Direction.INGRESS, Direction.EGRESS
PING6 = Headers(
    Family.V6,
    net("2001:db8::2").address,
    net("2001:db8::1").address,
    58,
    104,
    64,
    icmp_type=128,
    icmp_code=0,
    icmp_id=7,
)


def test_an_event_has_these_fields() -> None:
    """The names and values that journals, scripts and dashboards rely on."""
    assert fields(event()) == {
        "MESSAGE": "denied ingress TCP 192.0.2.2:40000 -> 192.0.2.1:22 on eth0 "
        "by default/web ingress[1] (policy.yaml:12)",
        "MESSAGE_ID": "dd18b36d2f544707bcaf999179cf37ff",
        "PRIORITY": "5",
        "SYSLOG_IDENTIFIER": "hostfw",
        "HOSTFW_ACTION": "deny",
        "HOSTFW_DIRECTION": "ingress",
        "HOSTFW_REASON": "rule",
        "HOSTFW_KIND": "GlobalNetworkPolicy",
        "HOSTFW_TIER": "default",
        "HOSTFW_POLICY": "web",
        "HOSTFW_RULE": "1",
        "HOSTFW_ORIGIN": "policy.yaml:12",
        "HOSTFW_ENDPOINT": "uplink",
        "HOSTFW_INTERFACE": "eth0",
        "HOSTFW_IN_INTERFACE": "eth0",
        "HOSTFW_PROTOCOL": "TCP",
        "HOSTFW_SRC_ADDR": "192.0.2.2",
        "HOSTFW_SRC_PORT": "40000",
        "HOSTFW_DST_ADDR": "192.0.2.1",
        "HOSTFW_DST_PORT": "22",
        "HOSTFW_TCP_FLAGS": "SYN",
        "HOSTFW_LENGTH": "60",
        "HOSTFW_GENERATION": GENERATION,
        "HOSTFW_COUNT": "1",
        "HOSTFW_FIRST": "2030-01-01T12:00:00.123456+00:00",
        "HOSTFW_LAST": "2030-01-01T12:00:00.123456+00:00",
    }


def test_the_notes_of_a_policy_go_with_the_packet() -> None:
    """On one line, and cut to a length; there and back, and nothing where there are none."""
    noted = replace(event(), why="scans", ticket="OPS-7")
    said = fields(noted)

    assert (said["HOSTFW_WHY"], said["HOSTFW_TICKET"]) == ("scans", "OPS-7")
    again = event_of(said)
    assert again is not None
    assert (again.why, again.ticket) == ("scans", "OPS-7")
    assert {"HOSTFW_WHY", "HOSTFW_TICKET"}.isdisjoint(fields(event()))
    long = replace(known(), rules={DENIED: RuleSource("GlobalNetworkPolicy", "a:1", "x\ny " * 200, "T")})
    read = packet_event(encode(DENIED), SYN, ("eth0", ""), MOMENT, long)
    assert read is not None
    assert read.why.startswith("x y x y")
    assert len(read.why) == 200
    assert read.ticket == "T"


def test_every_field_name_is_one_that_journald_takes() -> None:
    """Capitals, digits and underscores, no underscore first, at most 64 (systemd.journal-fields(7))."""
    everything = replace(event(packet=replace(PING6, fragment=0)), out_interface="eth1")

    assert [name for name in fields(everything) if not re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", name)] == []


MESSAGES = [
    (
        "a rule without a port",
        LogTag(Action.DENY, OUT, Reason.RULE, "default", "web", 0),
        PING6,
        ("", "eth0"),
        "denied egress ICMPv6 128/0 2001:db8::2 -> 2001:db8::1 on eth0 by default/web egress[0] (policy.yaml:14)",
    ),
    (
        "IPv6 with ports",
        DENIED,
        replace(PING6, protocol=6, icmp_type=None, icmp_code=None, source_port=4, destination_port=5),
        ("eth0", ""),
        "denied ingress TCP [2001:db8::2]:4 -> [2001:db8::1]:5 on eth0 by default/web ingress[1] (policy.yaml:12)",
    ),
    (
        "a Log rule",
        LogTag(Action.LOG, IN, Reason.RULE, "default", "web", 2),
        SYN,
        ("eth0", ""),
        "logged ingress TCP 192.0.2.2:40000 -> 192.0.2.1:22 on eth0 by default/web ingress[2] (policy.yaml:13)",
    ),
    (
        "a staged policy",
        LogTag(Action.DENY, IN, Reason.RULE, "default", "web", 1, staged=True),
        SYN,
        ("eth0", ""),
        "would deny ingress TCP 192.0.2.2:40000 -> 192.0.2.1:22 on eth0 by default/web ingress[1] (policy.yaml:31)",
    ),
    (
        "a profile",
        LogTag(Action.DENY, IN, Reason.RULE, "", "office", 0),
        SYN,
        ("eth0", ""),
        "denied ingress TCP 192.0.2.2:40000 -> 192.0.2.1:22 on eth0 by profile/office ingress[0] (policy.yaml:1)",
    ),
    (
        "the end of a tier",
        LogTag(Action.DENY, IN, Reason.END_OF_TIER, "default"),
        SYN,
        ("eth0", ""),
        "denied ingress TCP 192.0.2.2:40000 -> 192.0.2.1:22 on eth0 by end-of-tier default (ingress)",
    ),
    (
        "nothing known of the packet",
        LogTag(Action.DENY, IN, Reason.UNMANAGED),
        Headers(),
        ("", ""),
        "denied ingress packet ? -> ? by unmanaged-interface (ingress)",
    ),
]


@pytest.mark.parametrize(
    ("tag", "packet", "interfaces", "expected"), [c[1:] for c in MESSAGES], ids=[c[0] for c in MESSAGES]
)
def test_the_message_is_one_line_that_says_it_all(
    tag: LogTag, packet: Headers, interfaces: tuple[str, str], expected: str
) -> None:
    """The packet, the interface, and the rule with its file and line."""
    assert message(event(tag, packet, interfaces)) == expected


def test_a_count_is_said() -> None:
    """Once there is more than one packet."""
    assert message(replace(event(), count=17)).endswith(" (policy.yaml:12), 17 times")


def test_long_names_are_completed() -> None:
    """Names that the prefix had no room for are taken from the plan, for rules and for ends of tiers."""
    by_rule = event(LogTag(Action.DENY, IN, Reason.RULE, LONG_TIER, LONG_POLICY, 0))
    by_end = event(LogTag(Action.DENY, IN, Reason.END_OF_TIER, LONG_TIER))

    assert (by_rule.tier, by_rule.policy, by_rule.origin) == (LONG_TIER, LONG_POLICY, "policy.yaml:20")
    assert by_end.tier == LONG_TIER


STRANGERS = [
    ("a rule behind the last", replace(DENIED, index=9)),
    ("a rule whose action has changed", replace(DENIED, action=Action.LOG)),
    ("a rule of the other direction", replace(DENIED, direction=OUT)),
    ("a policy that has gone", replace(DENIED, policy="gone")),
    ("a policy of another tier", replace(DENIED, tier="other")),
    ("a staged policy that has gone", replace(DENIED, policy=LONG_POLICY, tier=LONG_TIER, staged=True)),
    ("a profile of a policy's name", replace(DENIED, tier="")),
    ("a reason that has no rule", replace(DENIED, reason=Reason.NO_POLICY, tier="", policy="", index=None)),
]


@pytest.mark.parametrize("tag", [case[1] for case in STRANGERS], ids=[case[0] for case in STRANGERS])
def test_a_record_is_not_put_down_to_a_rule_that_did_not_write_it(tag: LogTag) -> None:
    """It keeps what it says of itself, and has no origin."""
    found = event(tag)

    assert (found.origin, found.kind) == ("", "")
    assert (found.direction, found.rule) == (tag.direction, tag.index)
    assert stands_for(decode(encode(tag)).policy, found.policy)  # type: ignore[union-attr]


def test_without_a_plan_a_record_says_what_it_can() -> None:
    """Its names as they are, even shortened, and no endpoint."""
    found = event(LogTag(Action.DENY, IN, Reason.RULE, "default", LONG_POLICY, 0), attributed=Attribution())

    assert (found.tier, found.generation, found.endpoint, found.origin) == ("default", "", "", "")
    assert "~" in found.policy
    assert stands_for(found.policy, LONG_POLICY)


ENDPOINTS = [
    ("bound, in", DENIED, ("eth0", ""), False, "uplink"),
    ("bound, out", replace(DENIED, direction=OUT), ("", "eth0"), False, "uplink"),
    ("forwarded, the way in", DENIED, ("eth0", "eth1"), False, "uplink"),
    ("forwarded, the way out", replace(DENIED, direction=OUT), ("eth0", "eth1"), False, ""),
    ("unmanaged", DENIED, ("eth1", ""), False, ""),
    ("the wildcard's", DENIED, ("eth1", ""), True, "zz-any"),
    ("lo is not the wildcard's", DENIED, ("lo", ""), True, ""),
    ("lo is the wildcard's for forwarding", DENIED, ("lo", "eth0"), True, "zz-any"),
    ("an interface that has gone", DENIED, ("", ""), True, ""),
    (
        "unmanaged when it was logged",
        LogTag(Action.DENY, IN, Reason.UNMANAGED),
        ("eth0", ""),
        True,
        "",
    ),
]


@pytest.mark.parametrize(
    ("tag", "interfaces", "wildcard", "expected"), [c[1:] for c in ENDPOINTS], ids=[c[0] for c in ENDPOINTS]
)
def test_the_endpoint_is_that_of_the_interface(
    tag: LogTag, interfaces: tuple[str, str], wildcard: bool, expected: str
) -> None:
    """Of the way in for ingress, of the way out for egress."""
    assert event(tag, interfaces=interfaces, attributed=known(wildcard=wildcard)).endpoint == expected


KINDS = [
    (Action.DENY, False, EventAction.DENY, MessageId.PACKET_DENIED, "5"),
    (Action.LOG, False, EventAction.LOG, MessageId.PACKET_LOGGED, "6"),
    *((action, True, EventAction(f"would-{action.lower()}"), MessageId.PACKET_STAGED, "6") for action in Action),
]


@pytest.mark.parametrize(("action", "is_staged", "expected", "message_id", "priority"), KINDS)
def test_every_kind_of_event_has_its_id(
    action: Action, is_staged: bool, expected: EventAction, message_id: MessageId, priority: str
) -> None:
    """Denials are notices, the rest is information."""
    found = event(replace(DENIED, action=action, staged=is_staged))

    assert found.action is expected
    assert (fields(found)["MESSAGE_ID"], fields(found)["PRIORITY"]) == (message_id, priority)


def test_message_ids_are_128_bits_and_differ() -> None:
    """As `systemd-id128 new` writes them."""
    assert all(re.fullmatch(r"[0-9a-f]{32}", each) for each in MessageId)
    assert len(set(MessageId)) == len(MessageId)


@pytest.mark.parametrize("prefix", ["", "ulogd: ", "hostfw:", "hostfw:AI|rule|default|web|0", "hostfw:PI|rule|a|b|0"])
def test_what_hostfw_did_not_log_is_no_event(prefix: str) -> None:
    """An Allow or a Pass of a policy in force never logs."""
    assert packet_event(prefix, SYN, ("eth0", ""), MOMENT, known()) is None


texts = st.text(st.characters(codec="utf-8"), max_size=30)
letters = st.sampled_from(("D", "L", "d", "a", "l", "p"))
reasons = st.sampled_from(tuple(Reason))
like_ours = st.builds("hostfw:{}{}|{}|{}|{}|{}".format, letters, st.sampled_from("IE"), reasons, texts, texts, texts)
near_ours = st.sampled_from([encode(tag) for _, tag in STRANGERS] + [encode(DENIED)])
PLAN, KNOWN = plan(), known()


@given(
    prefix=st.one_of(texts, like_ours, near_ours, st.tuples(near_ours, texts).map("".join)),
    payload=st.binary(max_size=80),
    interfaces=st.tuples(st.sampled_from(("", "eth0", "lo")), texts),
)
def test_no_record_is_too_strange(prefix: str, payload: bytes, interfaces: tuple[str, str]) -> None:
    """Whatever another program logs to our group: one line comes of it, and an origin only where a rule writes so."""
    found = packet_event(prefix, headers(payload), interfaces, MOMENT, KNOWN)

    if found is None:
        return
    lines = json_line(found), message(found)
    assert [line for line in lines if not line.isprintable() or len(line.splitlines()) != 1] == []
    assert json.loads(lines[0]) == fields(found)
    written = {encode(tag) for tag in tags_of(PLAN)}
    assert (found.origin != "") == (encode(decode(prefix) or DENIED) in written)


def test_what_hostfw_supplies_itself_is_written_nowhere() -> None:
    """Its built-in profile has rules, and no file."""
    built_in = hep("uplink", "eth0", profiles=("projectcalico-default-allow",))
    found, _ = resolve(Resources(endpoints=(built_in,)), Settings(), facts())

    known_rules = attribution(found).rules
    assert [known_rules.get(tag) for tag in tags_of(found)] == [RuleSource("Profile", "")] * 2


def tags_of(of: Plan) -> list[LogTag]:
    """The tags of a plan's rules, as they come out of a prefix."""
    tags = (
        LogTag(
            rule.action,
            rule.identity.direction,
            Reason.RULE,
            policy.tier,
            policy.name,
            rule.identity.index,
            policy.staged,
        )
        for policy in policies_of(of)
        for rule in policy.rules
    )
    return [decode(encode(tag)) or tag for tag in tags]


def test_every_rule_is_found_by_what_it_logs() -> None:
    """Each by its own file and line, and only by its own action, direction and place."""
    found = [KNOWN.rules.get(tag) for tag in tags_of(PLAN)]

    assert None not in found
    for tag in tags_of(PLAN):
        others = (replace(tag, index=99), replace(tag, staged=not tag.staged, tier="other"), replace(tag, index=None))
        assert [KNOWN.rules.get(other) for other in others] == [None] * 3


def test_names_are_resolved_as_the_codec_shortens_them() -> None:
    """Each decoded name stands for the one that it is resolved to."""
    assert [key for key, names in KNOWN.policies.items() if not stands_for(key[1], names.tier)] == []
    assert [key for key, names in KNOWN.policies.items() if not stands_for(key[2], names.policy)] == []
    assert [names.policy for names in KNOWN.policies.values()] == [LONG_POLICY]
