"""The limits of the log: what keeps a packet from it, in which order, and what outlives a reload."""

import re

import pytest

from hostfw.compile.layout.nft_rules.log_limits import LOG_RECORDS, SUPPRESSED
from hostfw.compile.ruleset import compile_plan
from hostfw.model.resources import Resources
from hostfw.model.settings import DenyAction, Logging, Settings
from hostfw.model.values import FAMILIES, Action, Direction, Family
from hostfw.nft.change import change
from hostfw.nft.installed import InstalledTable
from hostfw.nft.object_text import render
from hostfw.nft.objects import Dynamic, Ruleset, Table
from hostfw.policy.resolve.plan import resolve
from tests.unit.builders.policy_builders import facts, gnp, hep, rule

V4, V6 = FAMILIES


def ruleset(logging: Logging | None = None, deny: DenyAction = DenyAction.DROP) -> Ruleset:
    """A host with a policy that logs and denies, in and out."""
    rules = (rule(Action.LOG), rule(Action.DENY))
    policy = gnp("web", ingress=rules, egress=rules, types=(Direction.INGRESS, Direction.EGRESS))
    resources = Resources(policies=(policy,), endpoints=(hep("uplink", "eth0"),))
    plan, _ = resolve(resources, Settings(logging=logging or Logging(), deny_action=deny), facts())
    return compile_plan(plan)


def chains(of: Ruleset, purpose: str, family: Family = V4) -> list[list[str]]:
    """The rules of the chains of a purpose, without digests and with short names of sets."""
    text = render(Ruleset(tuple(table for table in of.tables if table.family is family)))
    found = re.findall(rf"^add chain \S+ hostfw {purpose}\.[0-9a-f]+ \{{\n(.*?)^\}}", text, re.MULTILINE | re.DOTALL)
    return [[_short(line.strip()) for line in body.splitlines()] for body in found]


def _short(line: str) -> str:
    named = re.sub(r"\.[0-9a-f]{12}\b", "", line)
    return re.sub(r"(@log/[a-z/.-]+?)\.[0-9][0-9s.-]*", r"\1", named).replace(" packets }", " }")


OWN, HALF, QUARTER = (
    "limit rate over 10/second burst 50",
    "limit rate over 50/second burst 250",
    "limit rate over 25/second burst 125",
)
NO_ROOM = 'counter name "log/suppressed/no-room"'
NET = {V4: "255.255.255.0", V6: "ffff:ffff:ffff:ffff::"}
V6_NET = NET[V6]


def test_first_packets_of_a_source_and_port_go_another_way_than_those_after_them() -> None:
    """Known pairs are refreshed; those without room, or without a port, count as known."""
    (limits,) = chains(ruleset(), "log/limits/in.rule")
    seen, echo, port = "@log/seen/in.rule", "ip saddr . meta l4proto . th sport", "ip saddr . meta l4proto . th dport"

    assert limits[2:] == [
        f"ip protocol icmp {echo} {seen} update {seen} {{ {echo} }} goto log/repeat/in.rule",
        f"ip protocol != icmp {port} {seen} update {seen} {{ {port} }} goto log/repeat/in.rule",
        f"ip protocol icmp update {seen} {{ {echo} }} goto log/first/in.rule",
        f"ip protocol != icmp update {seen} {{ {port} }} goto log/first/in.rule",
        "goto log/repeat/in.rule",
    ]
    assert chains(ruleset(), "log/first/in.rule") == [
        [
            f'update @log/first/in.rule {{ ip saddr & 0.0.0.0 {HALF} }} counter name "log/suppressed/shared" drop',
            f"update @log/source {{ ip saddr {OWN} }}",
        ]
    ]
    assert chains(ruleset(), "log/repeat/in.rule") == [
        [
            f'update @log/source {{ ip saddr {OWN} }} counter name "log/suppressed/source" drop',
            f"ip saddr != @log/source update @log/no-room/in.rule {{ ip saddr & 0.0.0.0 {OWN} }} {NO_ROOM} drop",
            f'update @log/repeat/in.rule {{ ip saddr & 0.0.0.0 {HALF} }} counter name "log/suppressed/shared" drop',
        ]
    ]


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
def test_neighbours_have_room_of_their_own_in_all_that_is_limited(family: Family) -> None:
    """Neighbours are learned from the destinations of denied packets, and remembered for a day."""
    (limits,) = chains(ruleset(), "log/limits/in.rule", family)
    sets = {s.name: s.dynamic for t in ruleset().tables if t.family is family for s in t.sets}

    assert limits[:2] == [
        (
            f"{family.nft} daddr & {NET[family]} != @log/networks fib daddr type local "
            f"update @log/networks {{ {family.nft} daddr & {NET[family]} }}"
        ),
        f"{family.nft} saddr & {NET[family]} @log/networks goto log/limits/in.rule.near",
    ]
    assert sets["log/networks.1024-86400s"] == Dynamic(1024, 86_400)
    assert {
        "log/seen/in.rule.near.65536-60s",
        "log/source.near.10-50.16384-60s",
        "log/first/in.rule.near.50-250",
        "log/repeat/in.rule.near.50-250",
        "log/no-room/in.rule.near.10-50",
    } <= sets.keys()


def test_neighbours_of_ipv6_are_told_apart_by_the_whole_address() -> None:
    """A source farther away is a /64."""
    (limits,) = chains(ruleset(), "log/limits/in.rule", V6)
    (near,) = chains(ruleset(), "log/limits/in.rule.near", V6)
    far = f"ip6 saddr & {V6_NET}"

    assert limits[5] == (
        f"meta l4proto != icmpv6 update @log/seen/in.rule {{ {far} . meta l4proto . th dport }} goto log/first/in.rule"
    )
    assert near[3] == (
        "meta l4proto != icmpv6 update @log/seen/in.rule.near { ip6 saddr . meta l4proto . th dport } "
        "goto log/first/in.rule.near"
    )
    assert chains(ruleset(), "log/repeat/in.rule.near", V6)[0][0] == (
        f'update @log/source.near {{ ip6 saddr {OWN} }} counter name "log/suppressed/source" drop'
    )
    assert chains(ruleset(), "log/repeat/in.rule", V6)[0][0] == (
        f'update @log/source {{ {far} {OWN} }} counter name "log/suppressed/source" drop'
    )


def test_what_is_sent_is_limited_by_destination_and_port_and_by_user() -> None:
    """Its source is the host; a user has half of what first packets have, and of what the others have."""
    (limits,) = chains(ruleset(), "log/limits/out.rule")
    (repeat,) = chains(ruleset(), "log/repeat/out.rule")
    port, others = "ip daddr . meta l4proto . th dport", "ip protocol != icmp"
    without = f"{others} {port} != @log/destination"
    beyond = 'counter name "log/suppressed/destination"'

    assert limits[1].startswith(f"ip protocol != icmp {port} @log/seen/out.rule update")
    assert limits[2] == f'update @log/user/first {{ meta skuid {QUARTER} }} counter name "log/suppressed/user" drop'
    assert limits[4] == f"ip protocol != icmp update @log/seen/out.rule {{ {port} }} goto log/first/out.rule"
    assert repeat[2:] == [
        f"{others} update @log/destination {{ {port} {OWN} }} {beyond} drop",
        f"{without} update @log/no-room/out.rule {{ ip saddr & 0.0.0.0 {OWN} }} {NO_ROOM} drop",
        f'update @log/user/repeat {{ meta skuid {QUARTER} }} counter name "log/suppressed/user" drop',
        f'update @log/repeat/out.rule {{ ip saddr & 0.0.0.0 {HALF} }} counter name "log/suppressed/shared" drop',
    ]


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
def test_each_reason_and_direction_has_limits_of_its_own(family: Family) -> None:
    """So that a flood of one leaves room for the others; what is common to them is the limit of one address."""
    text = render(Ruleset(tuple(table for table in ruleset().tables if table.family is family)))
    sets = set(re.findall(r"^add set \S+ hostfw log/(\S+?)/(in|out)\.(\S+?)\.[0-9]", text, re.MULTILINE))

    for part in ("seen", "first", "repeat", "no-room"):
        kinds = {(direction, what) for name, direction, what in sets if name == part}
        assert {("in", "rule"), ("in", "invalid"), ("out", "rule")} <= kinds
    assert {("in", "log"), ("out", "log")} <= {(direction, what) for name, direction, what in sets if name == "repeat"}


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
def test_a_denial_goes_to_the_limits_of_its_reason_and_is_logged_behind_them(family: Family) -> None:
    """Once for all denials of a reason, and the record is counted as well."""
    made = ruleset()

    denials = chains(made, "deny/web", family)
    assert {denial[0].rpartition(" jump ")[2] for denial in denials} == {"log/limits/in.rule", "log/limits/out.rule"}
    for denial in denials:
        assert re.fullmatch(
            r'counter name "log/records" log prefix "hostfw:D[IE]\|\S+" group 100 snaplen 128 drop', denial[1]
        )
    assert {LOG_RECORDS, *SUPPRESSED} <= set(made.tables[0].counters)


def test_a_rejection_is_limited_like_a_drop() -> None:
    """The sender is told in either case."""
    made = ruleset(deny=DenyAction.REJECT)

    endings = [line for chain in chains(made, "log/repeat/in.rule") for line in chain]
    assert endings
    assert all(line.endswith(" goto reject") for line in endings)
    assert chains(made, "deny/web")[0][1].endswith(" goto reject")
    assert chains(made, "reject") == [
        ["ip protocol tcp reject with tcp reset", "reject with icmp type admin-prohibited"]
    ]


def test_what_is_only_logged_comes_back_in_any_case() -> None:
    """Counted first, then within limits that denials do not share."""
    (log,) = (
        chain
        for chain in chains(ruleset(), "log")
        if chain[-1].endswith('"hostfw:LI|rule|default|web|0" group 100 snaplen 128')
    )

    near, far = (f"ip saddr & {NET[V4]} {operator}@log/networks" for operator in ("", "!= "))
    assert log[0].startswith('counter name "gnp/')
    assert log[1:7] == [
        f"ip daddr & {NET[V4]} != @log/networks fib daddr type local update @log/networks {{ ip daddr & {NET[V4]} }}",
        f'{near} update @log/source.near {{ ip saddr {OWN} }} counter name "log/suppressed/source" return',
        (
            f"{near} ip saddr != @log/source.near update @log/no-room/in.log.near {{ ip saddr & 0.0.0.0 {OWN} }} "
            f"{NO_ROOM} return"
        ),
        f'{far} update @log/source {{ ip saddr {OWN} }} counter name "log/suppressed/source" return',
        f"{far} ip saddr != @log/source update @log/no-room/in.log {{ ip saddr & 0.0.0.0 {OWN} }} {NO_ROOM} return",
        f'update @log/repeat/in.log {{ ip saddr & 0.0.0.0 {HALF} }} counter name "log/suppressed/shared" return',
    ]
    assert log[7].startswith('counter name "log/records" log prefix "hostfw:LI|')


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
def test_what_is_only_logged_is_counted_once_whatever_is_tested_first(family: Family) -> None:
    """Also where the first of the limits is not for every packet."""
    for log in chains(ruleset(), "log", family):
        assert [line.count('counter name "gnp/') for line in log] == [1, *[0] * (len(log) - 1)]
        assert log[0].startswith("counter name")


def test_settings_name_their_own_sets() -> None:
    """An element keeps the limit that it was made with, so other limits are other sets."""
    made = ruleset(Logging(rate_per_second=1, burst_packets=200, shared_rate_per_second=7, shared_burst_packets=1))
    sets = {s.name: s.dynamic for s in made.tables[0].sets if s.dynamic}

    for name, size, timeout_s in (
        ("log/source.1-200.16384-200s", 16_384, 200),
        ("log/destination.1-200.16384-200s", 16_384, 200),
        ("log/user/first.1-1.16384-60s", 16_384, 60),
        ("log/seen/in.rule.65536-60s", 65_536, 60),
        ("log/seen/out.rule.16384-60s", 16_384, 60),
        ("log/first/in.rule.3-1", 1, None),
        ("log/no-room/in.rule.1-200", 1, None),
    ):
        assert (sets[name].size, sets[name].timeout_s) == (size, timeout_s)


def installed(table: Table) -> InstalledTable:
    """The kernel's view of a table that is in force."""
    return InstalledTable(
        table.family,
        frozenset(table.counters),
        frozenset(s.name for s in table.sets),
        frozenset(m.name for m in table.maps),
        frozenset(c.name for c in table.chains),
    )


def test_a_reload_leaves_the_sets_alone() -> None:
    """New rules that use them are told what they are, without an element; none is deleted, flushed or filled."""
    before, after = ruleset(), ruleset(deny=DenyAction.REJECT)

    made = change(after, [installed(table) for table in before.tables])

    scripts = made.prepare + made.switch
    assert made.set_loads == made.set_edits == ()
    assert "elements" not in scripts
    assert "flush set" not in scripts
    assert not [deletion for deletion in made.sweep if "log/" in str(deletion) and "set" in str(deletion)]
    assert scripts.count("add set ip hostfw log/source.10-50") == 1


def test_other_limits_take_the_place_of_those_before() -> None:
    """Nothing refers to the earlier ones any more."""
    before, after = ruleset(), ruleset(Logging(rate_per_second=20))

    made = change(after, [installed(table) for table in before.tables])

    assert "add set ip hostfw log/source.20-50.16384-60s {\n" in made.prepare
    swept = [str(deletion) for deletion in made.sweep if "log/source" in str(deletion)]
    assert len(swept) == 4


def test_the_whole_script_keeps_what_sets_have_learnt() -> None:
    """As the boot loads it, or a person again."""
    script = render(ruleset())

    assert script.count("flags dynamic,timeout\n\ttimeout 60s\n}") == script.count("timeout 60s") > 10
    assert "flush set" not in script
