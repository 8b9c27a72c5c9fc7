"""Agreement of the lockout check and the compiled ruleset, for any plan."""

import shlex

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostfw.cli.command_line.parser import parse
from hostfw.cli.explain.packet_query import packet_query
from hostfw.compile.ruleset import compile_plan
from hostfw.engine.checks.lost_connections import check_lockout, losses
from hostfw.lockout.flows import FlowKind, flows
from hostfw.model.host.baseline import Baseline, Gateway, Lease, LeaseKind, Listener, NameServer, Session
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.services import PublishedPort
from hostfw.model.plan import Plan
from hostfw.model.settings import LockoutCheck
from hostfw.model.values import FAMILIES, TCP, Family, host_cidr
from hostfw.nft.simulate import Fate, simulate
from tests.property.generators.plans import ADDRESSES, INTERFACES, PORTS, plans

LINKS = [name for name in INTERFACES if name != "lo"]
FACTS = HostFacts(
    "web1",
    tuple(
        Interface(name, number, addresses=tuple(host_cidr(family, ADDRESSES[family][number]) for family in FAMILIES))
        for number, name in enumerate(LINKS)
    ),
)


@st.composite
def baseline(draw: st.DrawFn) -> Baseline:
    """A random baseline, over both families and at any interface, lo among them."""
    family = draw(st.sampled_from(FAMILIES))
    address = st.sampled_from(ADDRESSES[family])
    interface, port = st.sampled_from(INTERFACES), st.sampled_from(PORTS)
    original = st.none() | st.tuples(address, port)
    ends = (address, st.just(50000), address, port)
    sessions = st.builds(Session, st.just(family), *ends, interface, st.booleans(), original)
    published = st.builds(
        PublishedPort,
        st.just(family),
        st.just(TCP.number),
        port,
        st.just(0) | address,
        port,
        st.just("ip theirs"),
        local=st.just(True),
        certain=st.booleans(),
    )
    router = st.sampled_from(ADDRESSES[Family.V6])
    kinds = st.sampled_from(LeaseKind) if family is Family.V6 else st.just(LeaseKind.DHCP)
    return Baseline(
        tuple(draw(st.lists(sessions, max_size=3))),
        tuple(draw(st.lists(st.builds(Listener, st.just(family), port), max_size=2))),
        tuple(draw(st.lists(st.builds(Gateway, st.just(Family.V6), st.sampled_from(LINKS), router), max_size=1))),
        tuple(draw(st.lists(st.builds(Lease, kinds, st.just(family), st.sampled_from(LINKS), address), max_size=2))),
        tuple(draw(st.lists(st.builds(NameServer, st.just(family), address, interface, address), max_size=2))),
        published=tuple(draw(st.lists(published, max_size=2))),
    )


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(plans(), baseline())
def test_the_ruleset_lets_pass_what_is_not_lost(plan: Plan, seen: Baseline) -> None:
    """Packet by packet, at every hook that it meets."""
    ruleset = compile_plan(plan)
    lost = {loss.what for loss in losses(plan, FACTS, seen)}

    for flow in flows(seen, FACTS, plan):
        passes = [simulate(ruleset, packet).fate is Fate.ACCEPT for packet in flow.packets]
        assert (any(passes) if flow.any_of else all(passes)) or flow.what in lost


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(plans(), plans(), baseline())
def test_a_change_is_judged_by_what_it_cuts(plan: Plan, present: Plan, seen: Baseline) -> None:
    """Refused and warned losses are all losses; nothing is refused for staying as it is."""
    found = losses(plan, FACTS, seen)
    lockout = check_lockout(plan, present, FACTS, seen)

    assert plan.settings.lockout_check is LockoutCheck.REFUSE
    assert sorted((*lockout.refused, *lockout.warned), key=str) == sorted(found, key=str)
    assert check_lockout(plan, plan, FACTS, seen).refused == ()
    assert (lockout.refusal is not None) is bool(lockout.refused)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(plans(), baseline())
def test_the_command_of_a_loss_asks_about_its_packet(plan: Plan, seen: Baseline) -> None:
    """It parses, and every loss has its reason and a way to keep it."""
    for loss in losses(plan, FACTS, seen):
        words = shlex.split(loss.explain)
        question = packet_query(parse(words[1:]))

        assert words[:2] == ["hostfwctl", "explain"]
        assert question.in_interface or question.out_interface
        assert loss.decided_by
        assert loss.hint
        assert loss.kind in FlowKind
