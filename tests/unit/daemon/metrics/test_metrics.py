"""The text for node_exporter, read back by Prometheus' own parser."""

from collections import Counter as Tally
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from hostfw.compile.ruleset import compile_plan
from hostfw.daemon.metrics import text as metrics
from hostfw.daemon.metrics.text import AuditFigures, Figures, metrics_text
from hostfw.engine.kernel.counts.counters import (
    Counter,
    OtherCounter,
    RuleCounter,
    Value,
    Values,
    counters_of,
    values_of,
)
from hostfw.model.plan import RuleIdentity
from hostfw.model.values import FAMILIES, Action, Direction
from hostfw.nft.object_text import render
from lab.fakes.fake_kernel.kernel import FakeKernel
from tests.unit.builders.event_builders import plan

V4, V6 = FAMILIES
BEGAN = datetime(2030, 1, 1, tzinfo=UTC)
BARE = Figures("0.1.0", BEGAN)
EVERYTHING = Figures(
    version="0.1.0",
    started_at=BEGAN,
    generation="0123456789ab",
    applied_at=datetime(2030, 1, 2, 3, 4, 5, 250_000, tzinfo=UTC),
    counts={"policies": 12, "interfaces": 3},
    repairs=2,
    is_troubled=True,
    changed="rolled-back",
    changed_at=datetime(2030, 1, 2, tzinfo=UTC),
    deadline=datetime(2030, 1, 3, tzinfo=UTC),
    audit=AuditFigures(records=9, entries=7, lost=1, missed=2, unwritten=3, is_listening=True),
)


def rule(policy: str, index: int = 0, *, staged: bool = False) -> RuleCounter:
    """The counter of a rule, named as nobody else's."""
    kind = "StagedGlobalNetworkPolicy" if staged else "GlobalNetworkPolicy"
    identity = RuleIdentity(kind, "default", policy, Direction.INGRESS, f"{index:012x}", index % 2, index)
    return RuleCounter(f"rule/{policy}/{index}", identity, Action.DENY, "etc/web.yaml:9", staged)


def samples(figures: Figures, counters: tuple[Counter, ...] = (), values: Values | None = None) -> list[Sample]:
    """The samples that Prometheus reads in the text, which has each series once, with a type and a help each."""
    text = metrics_text(figures, counters, values or {})
    families = list(text_string_to_metric_families(text))
    found = [sample for family in families for sample in family.samples]
    assert text.endswith("\n")
    assert all(family.documentation and family.type in ("gauge", "counter") for family in families)
    assert [
        series for series, times in Tally((s.name, *sorted(s.labels.items())) for s in found).items() if times > 1
    ] == []
    assert all(
        sample.name.endswith("_total") == (family.type == "counter") for family in families for sample in family.samples
    )
    return found


def numbers(found: list[Sample], name: str) -> dict[tuple[str, ...], float]:
    """The values of a metric by the values of its labels."""
    return {tuple(sample.labels.values()): sample.value for sample in found if sample.name == f"hostfw_{name}"}


def test_the_service_tells_of_itself() -> None:
    """Everything that there may be to tell."""
    found = samples(EVERYTHING)

    assert {sample.name.removeprefix("hostfw_"): sample.value for sample in found if not sample.labels} == {
        "start_time_seconds": BEGAN.timestamp(),
        "generation_applied_timestamp_seconds": BEGAN.timestamp() + 86_400 + 11_045.25,
        "trouble": 1,
        "last_change_timestamp_seconds": BEGAN.timestamp() + 86_400,
        "confirmation_pending": 1,
        "confirmation_deadline_timestamp_seconds": BEGAN.timestamp() + 172_800,
        "repairs_total": 2,
        "audit_listening": 1,
        "audit_records_total": 9,
        "audit_records_lost_total": 1,
        "audit_records_missed_total": 2,
        "audit_entries_total": 7,
        "audit_entries_unwritten_total": 3,
    }
    assert numbers(found, "build_info") == {("0.1.0",): 1}
    assert numbers(found, "generation_info") == {("0123456789ab",): 1}
    assert numbers(found, "generation_objects") == {("policies",): 12, ("interfaces",): 3}
    assert numbers(found, "last_change_info") == {("rolled-back",): 1}


def test_what_is_not_there_is_not_told() -> None:
    """Neither a generation nor a deadline of the year 1970."""
    names = {sample.name for sample in samples(BARE)}

    assert "hostfw_confirmation_pending" in names
    assert not any(word in name for name in names for word in ("generation", "deadline", "change", "packets"))


def test_rules_tell_packets_and_bytes_by_family() -> None:
    """Staged ones apart, so that a sum over rules is of what was done."""
    web, staged = rule("web", 3), rule("web-next", staged=True)
    values: Values = {(V4, web.name): Value(5, 300), (V6, web.name): Value(2**53 + 1, 1)}
    values[V4, staged.name] = Value(7, 70)
    text = metrics_text(BARE, (web, staged), values)
    found = samples(BARE, (web, staged), values)
    labels = ("GlobalNetworkPolicy", "default", "web", "ingress", "3", "000000000003.1", "Deny")

    assert numbers(found, "rule_packets_total") == {(*labels, "ipv4"): 5, (*labels, "ipv6"): 2**53 + 1}
    assert f" {2**53 + 1}\n" in text, "not rounded to what a float holds"
    assert numbers(found, "rule_bytes_total") == {(*labels, "ipv4"): 300, (*labels, "ipv6"): 1}
    assert [*numbers(found, "staged_rule_packets_total").values()] == [7]
    assert (
        '\nhostfw_rule_bytes_total{kind="GlobalNetworkPolicy",tier="default",policy="web",direction="ingress",rule="3",'
        'digest="000000000003.1",action="Deny",family="ipv4"} 300\n'
    ) in text


@pytest.mark.parametrize("wildcard", [False, True])
def test_every_counter_of_a_ruleset_has_its_series(wildcard: bool) -> None:
    """Whatever the classes of policy, and each once."""
    planned = plan(wildcard=wildcard)
    kernel = FakeKernel()
    assert kernel.commit(render(compile_plan(planned))).ok
    for number, (family, name) in enumerate(values_of(kernel.read_tables()), 1):
        kernel.count(family, name, number)
    values = values_of(kernel.read_tables())

    found = samples(BARE, counters_of(planned, values), values)

    of_counters = ("packets_total", "log_records_total", "log_suppressed_total")
    counted = [sample.value for sample in found if sample.name.endswith(of_counters)]
    assert sorted(counted) == sorted(value.packets for value in values.values())
    assert {"hostfw_drop_packets_total", "hostfw_failsafe_packets_total"} <= {sample.name for sample in found}


def test_reasons_are_labelled_in_the_words_of_the_log() -> None:
    """And failsafes by their port."""
    kernel = FakeKernel()
    assert kernel.commit(render(compile_plan(plan()))).ok
    values = values_of(kernel.read_tables())
    found = samples(BARE, counters_of(plan(), values), values)

    assert ("end-of-tier", "ingress", "default", "ipv4") in numbers(found, "drop_packets_total")
    assert ("tcp 22", "ingress", "", "ipv6") in numbers(found, "failsafe_packets_total")
    assert {limit for limit, _ in numbers(found, "log_suppressed_total")} == {
        "source",
        "destination",
        "user",
        "no-room",
        "shared",
    }


def test_labels_are_escaped() -> None:
    """Another program may have put any counter into our tables."""
    name = 'a "quoted" back\\slash\nand {a=brace}'
    found = samples(BARE, (OtherCounter(name),), {(V4, name): Value(1, 2)})

    assert numbers(found, "unaccounted_packets_total") == {(name, "ipv4"): 1}


def test_many_rules_that_nobody_met_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that ten thousand policies do not make a file of megabytes."""
    monkeypatch.setattr(metrics, "ALL_RULES", 4)
    rules = tuple(rule("web", index) for index in range(5))
    values: Values = {(V4, each.name): Value(index, index) for index, each in enumerate(rules)}

    few = numbers(samples(BARE, rules[:4], values), "rule_packets_total")
    many = numbers(samples(BARE, rules, values), "rule_packets_total")

    assert sorted(few.values()) == [0, 1, 2, 3]
    assert sorted(many.values()) == [1, 2, 3, 4]
