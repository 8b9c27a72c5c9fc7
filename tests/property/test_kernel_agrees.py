"""What the simulation says, the kernel does: random rulesets in a network namespace, and random packets through them.

Verdict, counters and log records of each packet are the kernel's own, and the state that conntrack gives it is part of
what is asked of the simulation and of `explain`.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostfw.compile.ruleset import compile_plan
from hostfw.host.nftables import NftablesWorker
from hostfw.model.packet import ConntrackState, Packet
from hostfw.model.plan import Plan
from hostfw.model.values import TCP, UDP
from hostfw.nft.render import render
from hostfw.nft.simulate import Fate, simulate
from hostfw.policy.explain import explain
from hostfw.testing.lab_namespace import LabError, inside
from tests.kernel.wire import LOOPBACK, Observed, Wire, wired_host
from tests.property.plans import INTERFACES, packets, plans

PACKETS_A_PLAN = 40
_EMPTY = "table ip hostfw\ndelete table ip hostfw\ntable ip6 hostfw\ndelete table ip6 hostfw\n"
_SEEN_STATES = frozenset((ConntrackState.NEW, ConntrackState.INVALID, ConntrackState.UNTRACKED))
"""Those of a packet that conntrack has heard nothing of before."""


@pytest.fixture(scope="module")
def host() -> Iterator[tuple[Wire, NftablesWorker]]:
    """A host with the interfaces that plans are drawn with, and nft in its namespace."""
    interfaces = [name for name in (*INTERFACES, "unknown0") if name != LOOPBACK]
    with ExitStack() as stack:
        try:
            wire = stack.enter_context(wired_host(interfaces))
        except LabError as reason:
            pytest.skip(str(reason))
        with inside(wire.namespace):
            nftables = stack.enter_context(NftablesWorker())
        yield wire, nftables


@settings(suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow, HealthCheck.large_base_example])
@given(plan=plans(), sent=st.lists(packets(), min_size=PACKETS_A_PLAN, max_size=PACKETS_A_PLAN))
def test_the_kernel_does_what_the_simulation_says(
    host: tuple[Wire, NftablesWorker], plan: Plan, sent: list[Packet]
) -> None:
    """Each packet meets the verdict, moves the counters and leaves the log records that were predicted."""
    wire, nftables = host
    ruleset = compile_plan(plan)
    committed = nftables.commit(_EMPTY + render(ruleset))
    assert committed.ok, committed.error

    told: list[tuple[int, Packet, tuple[str, ...]]] = []
    for drawn in sent:
        observed = wire.send(drawn)
        assert observed.state in _SEEN_STATES
        packet = replace(drawn, state=observed.state)
        predicted = simulate(ruleset, packet)
        told.append((wire.last, packet, predicted.prefixes))

        assert observed.passed is predicted.accepted is explain(plan, packet).allowed, packet
        assert Counter(observed.counters) == Counter(predicted.counters), packet
        assert _tells_as_predicted(observed, predicted.fate, packet), packet
    for number, packet, prefixes in told:
        assert wire.prefixes(number, len(prefixes)) == prefixes, packet


def _tells_as_predicted(observed: Observed, fate: Fate, packet: Packet) -> bool:
    """Nobody is told but of a rejection; of a rejection, the senders of TCP and UDP are, while ICMP may stay silent."""
    if fate is not Fate.REJECT:
        return not observed.rejected
    return observed.rejected or packet.protocol not in (TCP.number, UDP.number)
