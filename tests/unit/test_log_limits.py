"""The limits of the log: what keeps a packet from it, in which order, and what outlives a reload."""

import re

import pytest

from hostfw.compile.outcomes import LOG_RECORDS, SUPPRESSED
from hostfw.compile.ruleset import compile_plan
from hostfw.model.resources import Resources
from hostfw.model.settings import DenyAction, Logging, Settings
from hostfw.model.values import FAMILIES, Action, Family
from hostfw.nft.change import change
from hostfw.nft.installed import InstalledTable
from hostfw.nft.objects import Ruleset, Table
from hostfw.nft.render import render
from hostfw.policy.resolve import resolve
from tests.unit.policy_builders import facts, gnp, hep, rule

V4, V6 = FAMILIES


def ruleset(logging: Logging | None = None, deny: DenyAction = DenyAction.DROP) -> Ruleset:
    """A host with a policy that logs and denies."""
    resources = Resources(
        policies=(gnp("web", ingress=(rule(Action.LOG), rule(Action.DENY))),), endpoints=(hep("uplink", "eth0"),)
    )
    plan, _ = resolve(resources, Settings(logging=logging or Logging(), deny_action=deny), facts())
    return compile_plan(plan)


def chains(of: Ruleset, purpose: str, family: Family = V4) -> list[list[str]]:
    """The rules of the chains of a purpose."""
    text = render(Ruleset(tuple(table for table in of.tables if table.family is family)))
    found = re.findall(rf"^add chain \S+ hostfw {purpose}\.[0-9a-f]+ \{{\n(.*?)^\}}", text, re.MULTILINE | re.DOTALL)
    return [[re.sub(r"\.[0-9a-f]{12}\b", "", line.strip()) for line in body.splitlines()] for body in found]


LIMITS = {
    V4: [
        (
            "update @log/sources.10-50-16384-60s { ip saddr limit rate over 10/second burst 50 packets } "
            'counter name "log/suppressed/source" drop'
        ),
        (
            "ip saddr != @log/sources.10-50-16384-60s "
            "update @log/no-room.10-50 { ip saddr & 0.0.0.0 limit rate over 10/second burst 50 packets } "
            'counter name "log/suppressed/no-room" drop'
        ),
        (
            "update @log/shared.100-500 { ip saddr & 0.0.0.0 limit rate over 100/second burst 500 packets } "
            'counter name "log/suppressed/shared" drop'
        ),
    ],
    V6: [
        (
            "update @log/sources.10-50-16384-60s "
            "{ ip6 saddr & ffff:ffff:ffff:ffff:: limit rate over 10/second burst 50 packets } "
            'counter name "log/suppressed/source" drop'
        ),
        (
            "ip6 saddr & ffff:ffff:ffff:ffff:: != @log/sources.10-50-16384-60s "
            "update @log/no-room.10-50 { ip6 saddr & :: limit rate over 10/second burst 50 packets } "
            'counter name "log/suppressed/no-room" drop'
        ),
        (
            "update @log/shared.100-500 { ip6 saddr & :: limit rate over 100/second burst 500 packets } "
            'counter name "log/suppressed/shared" drop'
        ),
    ],
}


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
def test_a_source_is_limited_then_those_without_room_then_all(family: Family) -> None:
    """Once for all denials, each with a counter of its own, before the record that is counted as well."""
    made = ruleset()

    assert chains(made, "log/limits", family) == [LIMITS[family]]
    (denial,) = chains(made, "deny/web", family)
    assert denial[0].endswith(" jump log/limits")
    assert re.fullmatch(r'counter name "log/records" log prefix "hostfw:DI\|\S+" group 100 snaplen 128 drop', denial[1])
    assert {LOG_RECORDS, *SUPPRESSED} <= set(made.tables[0].counters)


def test_a_rejection_is_limited_like_a_drop() -> None:
    """The sender is told in either case."""
    made = ruleset(deny=DenyAction.REJECT)

    (limits,) = (found for found in chains(made, "log/limits") if found[0].endswith("goto reject"))
    assert [line.rpartition("counter name ")[2] for line in limits] == [f'"{name}" goto reject' for name in SUPPRESSED]
    assert chains(made, "deny/web")[0][1].endswith(" goto reject")
    assert chains(made, "reject") == [
        ["ip protocol tcp reject with tcp reset", "reject with icmp type admin-prohibited"]
    ]


def test_what_is_only_logged_comes_back_in_any_case() -> None:
    """Counted first, then within the limits of the same sources."""
    (log,) = chains(ruleset(), "log")

    own = [line.replace(" drop", " return") for line in LIMITS[V4]]
    assert [re.sub(r'^counter name "gnp/\S+" ', "", log[0]), *log[1:3]] == own
    assert log[3].startswith('counter name "log/records" log prefix "hostfw:LI|')


def test_settings_name_their_own_sets() -> None:
    """An element keeps the limit that it was made with, so other limits are other sets."""
    made = ruleset(Logging(rate_per_second=1, burst_packets=200, shared_rate_per_second=7, shared_burst_packets=9))

    assert [s.name for s in made.tables[0].sets] == [
        "log/no-room.1-200",
        "log/shared.7-9",
        "log/sources.1-200-16384-200s",
    ]
    assert [(s.dynamic.size, s.dynamic.timeout_s) for s in made.tables[0].sets if s.dynamic] == [
        (1, None),
        (1, None),
        (16_384, 200),
    ]


def installed(table: Table) -> InstalledTable:
    """What the kernel holds once a table is in force."""
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
    assert made.fills == made.edits == ()
    assert "elements" not in scripts
    assert "flush set" not in scripts
    assert not [deletion for deletion in made.sweep if "log/" in str(deletion) and "set" in str(deletion)]
    assert scripts.count("add set ip hostfw log/sources") == 1


def test_other_limits_take_the_place_of_those_before() -> None:
    """Which nothing refers to any more."""
    before, after = ruleset(), ruleset(Logging(rate_per_second=20))

    made = change(after, [installed(table) for table in before.tables])

    assert "add set ip hostfw log/sources.20-50-16384-60s {\n" in made.prepare
    swept = [str(deletion) for deletion in made.sweep if "log/sources" in str(deletion)]
    assert len(swept) == 2


def test_the_whole_script_keeps_what_sets_have_learnt() -> None:
    """As the boot loads it, or a person again."""
    script = render(ruleset())

    assert script.count("flags dynamic,timeout\n\ttimeout 60s\n}") == 2
    assert "flush set" not in script
