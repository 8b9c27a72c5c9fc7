"""The audit accounts for whatever the compiler writes: every log prefix, and every counter."""

from collections.abc import Iterator
from datetime import UTC, datetime

from hypothesis import given

from hostfw.audit.attribution import attribution
from hostfw.audit.log_prefix import decode
from hostfw.audit.packet_event import packet_event
from hostfw.audit.packet_headers import Headers
from hostfw.compile.ruleset import compile_plan
from hostfw.engine.kernel.counts.counters import OtherCounter, Value, counters_of
from hostfw.model.packets.decisions import OF_RULES
from hostfw.model.plan import Plan
from hostfw.nft.objects import Ruleset
from hostfw.nft.rules import Log
from tests.property.generators.plans import plans

MOMENT = datetime(2030, 1, 1, tzinfo=UTC)


@given(plan=plans())
def test_every_record_of_a_ruleset_is_put_down_to_its_rule(plan: Plan) -> None:
    """Each log prefix is an event, and each of a policy rule is that of exactly one rule of the plan."""
    known = attribution(plan, "generation")

    for prefix in prefixes(compile_plan(plan)):
        tag = decode(prefix)
        event = packet_event(prefix, Headers(), ("eth0", ""), MOMENT, known)
        assert tag is not None
        assert event is not None
        assert (tag in known.rules) == (tag.reason in OF_RULES)
        assert (event.tier, event.policy, event.rule, event.reason) == (tag.tier, tag.policy, tag.index, tag.reason)


@given(plan=plans())
def test_every_counter_of_a_ruleset_is_accounted_for(plan: Plan) -> None:
    """By one rule or one reason."""
    values = {(table.family, name): Value(1, 1) for table in compile_plan(plan).tables for name in table.counters}

    found = counters_of(plan, values)

    assert [counter for counter in found if isinstance(counter, OtherCounter)] == []
    assert sorted(counter.name for counter in found) == sorted({name for _, name in values})
    said = [(counter.by, counter.action, getattr(counter, "staged", False)) for counter in found]  # type: ignore[union-attr]
    assert len(set(said)) == len(said)


def prefixes(ruleset: Ruleset) -> Iterator[str]:
    """The prefixes that the rules of both tables log with."""
    for table in ruleset.tables:
        chains = (*(chain.rules for chain in table.chains), *(chain.rules for chain in table.base_chains))
        statements = (statement for rules in chains for rule in rules for statement in rule.statements)
        yield from (statement.prefix for statement in statements if isinstance(statement, Log))
