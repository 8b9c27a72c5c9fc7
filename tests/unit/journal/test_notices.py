"""Notices: what happens to generations and to the daemon, as journal fields."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hostfw.journal import bundle_notices, notices, set_notices
from hostfw.journal.entry import Actor, Fields
from hostfw.journal.message_ids import MessageId
from hostfw.journal.packet_entry import fields
from hostfw.model.host.services import ExposureChange
from hostfw.model.positions import Position
from hostfw.model.problems import Problem, Severity
from tests.unit.builders.event_builders import event

ANSIBLE = Actor("hostfwctl", 4711, 0)


def problem(line: int, message: str = 'unknown field "selectr"', severity: Severity = Severity.ERROR) -> Problem:
    """Something wrong in a file."""
    return Problem(Position("/etc/hostfw/web.yaml", line, 3), message, hint="a hint", severity=severity)


MANY = [problem(line) for line in range(1, 31)]

NOTICES: list[tuple[str, Fields, MessageId, str, str, dict[str, str]]] = [
    (
        "applied",
        notices.generation_applied("0a1b", 12, 1, 3, actor=ANSIBLE),
        MessageId.GENERATION_APPLIED,
        "5",
        "generation 0a1b is in force: 12 policies, 1 endpoint, 3 interfaces",
        {
            "GENERATION": "0a1b",
            "POLICIES": "12",
            "ENDPOINTS": "1",
            "INTERFACES": "3",
            "PROCESS": "hostfwctl",
            "PID": "4711",
            "UID": "0",
        },
    ),
    (
        "applied for a reason",
        notices.generation_applied("0a1b", 1, 0, 0, "since the links of this host changed"),
        MessageId.GENERATION_APPLIED,
        "5",
        "generation 0a1b is in force: 1 policy, 0 endpoints, 0 interfaces, since the links of this host changed",
        {
            "GENERATION": "0a1b",
            "POLICIES": "1",
            "ENDPOINTS": "0",
            "INTERFACES": "0",
            "CAUSE": "since the links of this host changed",
        },
    ),
    (
        "refused",
        notices.generation_refused([problem(9), problem(7, "a\nb"), problem(8, "old", Severity.WARNING)]),
        MessageId.GENERATION_REFUSED,
        "4",
        "the configuration was refused: /etc/hostfw/web.yaml:7: a?b, and 1 more problem",
        {
            "PROBLEMS": '/etc/hostfw/web.yaml:7:3: a?b\n/etc/hostfw/web.yaml:9:3: unknown field "selectr"',
            "PROBLEM_COUNT": "2",
            "ORIGIN": "/etc/hostfw/web.yaml:7",
        },
    ),
    (
        "refused for many reasons",
        notices.generation_refused(MANY),
        MessageId.GENERATION_REFUSED,
        "4",
        'the configuration was refused: /etc/hostfw/web.yaml:1: unknown field "selectr", and 29 more problems',
        {
            "PROBLEMS": "\n".join((*map(str, MANY[:20]), "and 10 more")),
            "PROBLEM_COUNT": "30",
            "ORIGIN": "/etc/hostfw/web.yaml:1",
        },
    ),
    (
        "failed",
        notices.generation_failed("0a1b", "nft died", "the ruleset in force is unchanged", "look there", ANSIBLE),
        MessageId.GENERATION_FAILED,
        "3",
        "generation 0a1b could not be put into force: nft died; the ruleset in force is unchanged",
        {
            "GENERATION": "0a1b",
            "CAUSE": "nft died",
            "IN_FORCE": "the ruleset in force is unchanged",
            "HINT": "look there",
            "PROCESS": "hostfwctl",
            "PID": "4711",
            "UID": "0",
        },
    ),
    (
        "failed before it had an id",
        notices.generation_failed("", "nft died"),
        MessageId.GENERATION_FAILED,
        "3",
        "the generation could not be put into force: nft died",
        {"CAUSE": "nft died"},
    ),
    (
        "awaiting",
        notices.generation_awaiting("0a1b", 90.0, datetime(2030, 1, 1, tzinfo=UTC)),
        MessageId.GENERATION_AWAITING,
        "5",
        "generation 0a1b is in force until it is confirmed or, in 90 seconds, rolled back",
        {"GENERATION": "0a1b", "WITHIN_SECONDS": "90", "DEADLINE": "2030-01-01T00:00:00+00:00"},
    ),
    (
        "confirmed",
        notices.generation_confirmed("0a1b"),
        MessageId.GENERATION_CONFIRMED,
        "5",
        "generation 0a1b was confirmed",
        {"GENERATION": "0a1b"},
    ),
    (
        "rolled back",
        notices.generation_rolled_back("0a1b", "ffff", "it was not confirmed in time"),
        MessageId.GENERATION_ROLLED_BACK,
        "4",
        "generation 0a1b was rolled back: it was not confirmed in time; generation ffff is in force again",
        {"GENERATION": "ffff", "TAKEN_BACK": "0a1b", "CAUSE": "it was not confirmed in time"},
    ),
    (
        "rolled back to nothing",
        notices.generation_rolled_back("", "", "by hand"),
        MessageId.GENERATION_ROLLED_BACK,
        "4",
        "what was in force was rolled back: by hand; nothing is in force, as before",
        {"CAUSE": "by hand"},
    ),
    (
        "restored",
        notices.tables_restored(["table ip hostfw is gone", "table ip6 hostfw is gone"], "0a1b", Actor("nft", 99)),
        MessageId.TABLES_RESTORED,
        "4",
        "the ruleset was changed by nft[99] and is restored: table ip hostfw is gone, and 1 more",
        {
            "GENERATION": "0a1b",
            "CHANGES": "table ip hostfw is gone\ntable ip6 hostfw is gone",
            "PROCESS": "nft",
            "PID": "99",
        },
    ),
    (
        "restored, by whom is not known",
        notices.tables_restored([]),
        MessageId.TABLES_RESTORED,
        "4",
        "the ruleset was changed and is restored",
        {},
    ),
    (
        "tampered with again and again",
        notices.tampering_backed_off(5, 10, 60, ["chain input is gone"], Actor(pid=99)),
        MessageId.TAMPERING_BACKED_OFF,
        "3",
        "the ruleset was changed by process 99 5 times within 10 seconds; it is restored again in 60 seconds",
        {
            "TIMES": "5",
            "WITHIN_SECONDS": "10",
            "RETRY_SECONDS": "60",
            "CHANGES": "chain input is gone",
            "PID": "99",
        },
    ),
    (
        "tampered with by a process whose name is known",
        notices.tampering_backed_off(2, 10, 60, actor=Actor("nft", 99)),
        MessageId.TAMPERING_BACKED_OFF,
        "3",
        "the ruleset was changed by nft[99] 2 times within 10 seconds; it is restored again in 60 seconds",
        {"TIMES": "2", "WITHIN_SECONDS": "10", "RETRY_SECONDS": "60", "PROCESS": "nft", "PID": "99"},
    ),
    (
        "bound",
        notices.interface_bound("eth\n0", "uplink", "0a1b"),
        MessageId.INTERFACE_BOUND,
        "6",
        "interface eth?0 is governed by HostEndpoint uplink",
        {"INTERFACE": "eth\n0", "ENDPOINT": "uplink", "GENERATION": "0a1b"},
    ),
    (
        "unbound",
        notices.interface_unbound("eth0", "uplink"),
        MessageId.INTERFACE_UNBOUND,
        "6",
        "interface eth0 is no longer governed by HostEndpoint uplink",
        {"INTERFACE": "eth0", "ENDPOINT": "uplink"},
    ),
    (
        "closed",
        notices.exposure_changed(
            "0a1b",
            (
                ExposureChange(closes=True, text="closes tcp/80 nginx.service on eth0 to 0.0.0.0/0", answered="used"),
                ExposureChange(closes=False, text="opens tcp/22 on eth0 to 10.0.0.0/8"),
            ),
        ),
        MessageId.EXPOSURE_CHANGED,
        "4",
        "generation 0a1b closes tcp/80 nginx.service on eth0 to 0.0.0.0/0; used, and 1 more change",
        {
            "GENERATION": "0a1b",
            "CHANGES": "closes tcp/80 nginx.service on eth0 to 0.0.0.0/0; used\nopens tcp/22 on eth0 to 10.0.0.0/8",
        },
    ),
    (
        "kept",
        notices.interface_kept("wan0", "uplink", "it was eth0", "0a1b"),
        MessageId.INTERFACE_KEPT,
        "4",
        "no HostEndpoint claims interface wan0, which keeps the policy of HostEndpoint uplink: it was eth0",
        {
            "INTERFACE": "wan0",
            "ENDPOINT": "uplink",
            "GENERATION": "0a1b",
            "CAUSE": "it was eth0",
            "HINT": "give a HostEndpoint interfaceName: wan0, or release it with `hostfwctl apply --accept-loss`",
        },
    ),
    (
        "renamed",
        notices.node_renamed("web-1", "web-2", "0a1b"),
        MessageId.NODE_RENAMED,
        "4",
        "this host is called web-2 now; the policy of node web-1, which was accepted for it, stays in force",
        {
            "NODE": "web-1",
            "HOST_NAME": "web-2",
            "GENERATION": "0a1b",
            "HINT": "give HostEndpoints the name web-2 and run `hostfwctl apply`, or set node: web-1 in hostfw.yaml",
        },
    ),
    (
        "expired",
        notices.resources_expired(["GlobalNetworkPolicy/a", "Tier/b"], "0a1b"),
        MessageId.RESOURCES_EXPIRED,
        "5",
        "GlobalNetworkPolicy/a and 1 more expired: the rules without them are in force",
        {"EXPIRED": "GlobalNetworkPolicy/a\nTier/b", "GENERATION": "0a1b"},
    ),
    (
        "clock behind",
        notices.clock_behind(["GlobalNetworkPolicy/a"], "0a1b"),
        MessageId.CLOCK_BEHIND,
        "4",
        (
            "the clock of this host is behind the moment of the last apply: 1 resource that expires allows nothing "
            "until it is set"
        ),
        {"EXPIRED": "GlobalNetworkPolicy/a", "GENERATION": "0a1b"},
    ),
    (
        "members",
        set_notices.members_changed("bans", ["192.0.2.7"], [], 600, Actor("fail2ban-server", 7, 0)),
        MessageId.MEMBERS_CHANGED,
        "5",
        "192.0.2.7 put into bans for 600 s, by fail2ban-server[7]",
        {
            "SET": "bans",
            "ADDED": "192.0.2.7",
            "SECONDS": "600",
            "PROCESS": "fail2ban-server",
            "PID": "7",
            "UID": "0",
        },
    ),
    (
        "members taken out",
        set_notices.members_changed("bans", [], ["a", "b", "c", "d", "e"]),
        MessageId.MEMBERS_CHANGED,
        "5",
        "a, b, c and 2 more taken out of bans",
        {"SET": "bans", "REMOVED": "a\nb\nc\nd\ne"},
    ),
    (
        "clock set",
        notices.clock_set(-3600.2),
        MessageId.CLOCK_SET,
        "5",
        "the clock of this host was set back by 3600 seconds; what expires goes by it",
        {"STEP_SECONDS": "-3600"},
    ),
    (
        "shrunk",
        set_notices.feed_shrunk(problem(4, 'the file of Feed "bad" lost 90%'), "bad", "/var/lib/bad.txt"),
        MessageId.FEED_SHRUNK,
        "4",
        '/etc/hostfw/web.yaml:4: the file of Feed "bad" lost 90%',
        {"FEED": "bad", "FILE": "/var/lib/bad.txt", "ORIGIN": "/etc/hostfw/web.yaml:4", "HINT": "a hint"},
    ),
    (
        "downloaded",
        set_notices.feed_updated("bad", "https://a.example/l", 12),
        MessageId.FEED_UPDATED,
        "5",
        "Feed bad was updated: 12 prefixes",
        {"FEED": "bad", "SOURCE": "https://a.example/l", "ELEMENTS": "12"},
    ),
    (
        "not downloaded",
        set_notices.feed_not_updated("bad", "https://a.example/l", "it is gone"),
        MessageId.FEED_NOT_UPDATED,
        "4",
        "Feed bad was not updated, what is in force of it stays: it is gone",
        {"FEED": "bad", "SOURCE": "https://a.example/l", "CAUSE": "it is gone"},
    ),
    (
        "bundle",
        bundle_notices.bundle_taken("https://a.example/b", 7, "ops", "7-1"),
        MessageId.BUNDLE_TAKEN,
        "5",
        "bundle 7 is in force, signed by ops",
        {"SOURCE": "https://a.example/b", "BUNDLE": "7", "SIGNER": "ops", "GENERATION": "7-1"},
    ),
    (
        "bad bundle",
        bundle_notices.bundle_not_taken("https://a.example/b", 8, "failed", "it is not well", "look"),
        MessageId.BUNDLE_NOT_TAKEN,
        "4",
        "bundle 8 was not taken (failed), what was in force stays: it is not well",
        {
            "SOURCE": "https://a.example/b",
            "BUNDLE": "8",
            "STATE": "failed",
            "CAUSE": "it is not well",
            "HINT": "look",
        },
    ),
    (
        "no bundle",
        bundle_notices.bundle_not_taken("https://a.example/b", None, "unreached", "it is gone", ""),
        MessageId.BUNDLE_NOT_TAKEN,
        "4",
        "no bundle was taken (unreached), what was in force stays: it is gone",
        {"SOURCE": "https://a.example/b", "STATE": "unreached", "CAUSE": "it is gone"},
    ),
    (
        "missed",
        notices.records_missed(1, 1),
        MessageId.RECORDS_MISSED,
        "4",
        (
            "1 log record were missed while the service was not running, and 1 packet beyond the limits of the log; "
            "`hostfwctl counters` has every packet"
        ),
        {"RECORDS": "1", "SUPPRESSED": "1"},
    ),
    (
        "lost",
        notices.records_lost(3),
        MessageId.RECORDS_LOST,
        "4",
        "3 log records came faster than they were read and are lost; `hostfwctl counters` has every packet",
        {"RECORDS": "3"},
    ),
    (
        "unwritten",
        notices.entries_unwritten(2, "no"),
        MessageId.ENTRIES_UNWRITTEN,
        "4",
        "2 journal entries could not be written: no",
        {"ENTRIES": "2", "CAUSE": "no"},
    ),
    (
        "unreadable",
        notices.log_unreadable("NFLOG group 100 has a reader already", "move it"),
        MessageId.LOG_UNREADABLE,
        "3",
        "denied packets are counted, but not logged: NFLOG group 100 has a reader already",
        {"HINT": "move it"},
    ),
    (
        "readable",
        notices.log_readable(7),
        MessageId.LOG_READABLE,
        "5",
        "NFLOG group 7 is read again",
        {},
    ),
    (
        "blocked",
        notices.host_blocked(("203.0.113.9 port 40000 to port 22",), everything=False),
        MessageId.HOST_BLOCKED,
        "4",
        "the host is blocked: nothing passes but lo and 1 ssh session",
        {"KEPT": "203.0.113.9 port 40000 to port 22"},
    ),
    (
        "blocked altogether",
        notices.host_blocked((), everything=True),
        MessageId.HOST_BLOCKED,
        "4",
        "the host is blocked: nothing passes but lo",
        {},
    ),
    (
        "unblocked",
        notices.host_unblocked(7),
        MessageId.HOST_UNBLOCKED,
        "4",
        "the host is no longer blocked; 7 packets were dropped",
        {"DROPPED": "7"},
    ),
    (
        "disabled",
        notices.rules_removed("0a1b"),
        MessageId.RULES_REMOVED,
        "4",
        "hostfw was disabled: the rules of generation 0a1b are removed, and no boot loads any",
        {"GENERATION": "0a1b"},
    ),
    (
        "disabled, whatever was in force",
        notices.rules_removed(""),
        MessageId.RULES_REMOVED,
        "4",
        "hostfw was disabled: the rules are removed, and no boot loads any",
        {},
    ),
]


@pytest.mark.parametrize(
    ("found", "message_id", "priority", "message", "expected"), [n[1:] for n in NOTICES], ids=[n[0] for n in NOTICES]
)
def test_a_notice_says_what_happened(
    found: Fields, message_id: MessageId, priority: str, message: str, expected: dict[str, str]
) -> None:
    """In one line for people and in fields for programs."""
    assert found == {
        "MESSAGE": message,
        "MESSAGE_ID": message_id,
        "PRIORITY": priority,
        "SYSLOG_IDENTIFIER": "hostfw",
        **{f"HOSTFW_{name}": value for name, value in expected.items()},
    }


def test_every_kind_of_event_is_one_of_them_or_of_packets() -> None:
    """No MESSAGE_ID without an event."""
    packets = {MessageId.PACKET_DENIED, MessageId.PACKET_LOGGED, MessageId.PACKET_STAGED}

    assert {notice[2] for notice in NOTICES} | packets == set(MessageId)


STEERS = "\x1b[2J\x9b31m\u202eand\rmore"
"""Characters that a process, an interface or a cause may have in its name."""
STEERING = [
    notices.generation_applied(STEERS, 1, 1, 1, STEERS, Actor(STEERS, 1, 0)),
    notices.generation_refused([problem(1, STEERS)], Actor(STEERS)),
    notices.generation_failed(STEERS, STEERS, STEERS, STEERS),
    notices.generation_rolled_back(STEERS, STEERS, STEERS),
    notices.tables_restored([STEERS, STEERS], STEERS, Actor(STEERS)),
    notices.entries_unwritten(1, STEERS),
    notices.log_unreadable(STEERS, STEERS),
    notices.host_blocked([STEERS, STEERS], everything=False),
    fields(replace(event(), in_interface=STEERS, out_interface=STEERS, policy=STEERS, origin=STEERS, endpoint=STEERS)),
]


@pytest.mark.parametrize("entry", STEERING, ids=[entry["MESSAGE_ID"] for entry in STEERING])
def test_no_field_steers_a_terminal(entry: Fields) -> None:
    """`journalctl -x` puts them into the text of the catalog as they are."""
    assert "".join(entry.values()).count("?[2J") >= 1
    assert all(line.isprintable() for value in entry.values() for line in value.split("\n"))
