"""Agreement of the simulation and the kernel: random rulesets in a network namespace, and random packets.

Verdict, counters and log records of each packet are the kernel's own, and the state that conntrack gives it is part of
what is asked of the simulation and of `explain`.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from hostfw.compile.ruleset import compile_plan
from hostfw.explain.verdict import explain
from hostfw.model.packets.packet import ConntrackState, Packet, Path
from hostfw.model.plan import Plan
from hostfw.model.settings import ReversePathFilter
from hostfw.model.values import TCP
from hostfw.nft.object_text import render
from hostfw.nft.simulate import Fate, simulate
from lab.namespace import LabError
from tests.kernel.packets.wire import LOOPBACK, Observed, Wire, wired_host
from tests.property.agreement.test_agreement import LAYOUTS
from tests.property.generators.plans import (
    ADDRESSES,
    INTERFACES,
    OWN_TEXTS,
    bridged_plans,
    burst,
    plans,
    seeds,
    tall_plans,
)

pytestmark = pytest.mark.slow

PACKETS_A_PLAN = 40
_EMPTY = "".join(f"table {family} hostfw\ndelete table {family} hostfw\n" for family in ("ip", "ip6", "bridge"))
_SEEN_STATES = (None, ConntrackState.NEW, ConntrackState.INVALID, ConntrackState.UNTRACKED)
"""Those of a packet that conntrack has heard nothing of before, or does not get to see."""


@pytest.fixture(scope="module")
def host() -> Iterator[Wire]:
    """A host with the interfaces that plans are drawn with."""
    interfaces = [name for name in (*INTERFACES, "unknown0") if name != LOOPBACK]
    with ExitStack() as stack:
        try:
            wire = stack.enter_context(wired_host(interfaces, own=OWN_TEXTS))
        except LabError as reason:
            pytest.skip(str(reason))
        yield wire


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow, HealthCheck.large_base_example])
@given(plan=plans(), seed=seeds)
def test_the_kernel_does_what_the_simulation_says(host: Wire, plan: Plan, seed: int) -> None:
    """Each packet meets the verdict, moves the counters and leaves the log records that were predicted."""
    _all_agree(host, plan, seed)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(
    max_examples=10,
    suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow, HealthCheck.large_base_example],
)
@given(plan=tall_plans(), seed=seeds)
def test_the_kernel_takes_many_tiers_in_a_row(host: Wire, plan: Plan, seed: int) -> None:
    """Nine and more, with Pass, rejection, destination NAT and forwarding; it bounds how deep chains may lead."""
    _all_agree(host, plan, seed)


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@settings(suppress_health_check=[HealthCheck.data_too_large, HealthCheck.too_slow, HealthCheck.large_base_example])
@given(plan=bridged_plans(), seed=seeds)
def test_the_kernel_knows_workloads_behind_bridges_by_their_addresses(host: Wire, plan: Plan, seed: int) -> None:
    """As explain and the simulation do. Which port sends under which address is asked in tests/kernel, with frames."""
    _all_agree(host, plan, seed)


def _all_agree(host: Wire, plan: Plan, seed: int) -> None:
    # What routes say of the sources of packets is the kernel's own.
    plan = replace(plan, settings=replace(plan.settings, reverse_path_filter=ReversePathFilter.DISABLED))
    ruleset = compile_plan(plan, LAYOUTS[seed % len(LAYOUTS)])
    committed = host.nftables.commit(_EMPTY + render(ruleset))
    assert committed.ok, committed.error

    told: list[tuple[int, Packet, tuple[str, ...]]] = []
    sent = [_possible(drawn) for drawn in burst(seed, PACKETS_A_PLAN)]
    for possible, observed in zip(sent, host.send_all(sent), strict=True):
        packet = _as_tracked(possible, observed.state)
        predicted = simulate(ruleset, packet)
        told.append((host.last, packet, predicted.prefixes))

        assert observed.passed is predicted.accepted is explain(plan, packet).allowed, packet
        assert Counter(observed.counters) == Counter(predicted.counters), packet
        assert _tells_as_predicted(observed, predicted.fate, packet), packet
    for number, packet, prefixes in told:
        assert host.prefixes(number, len(prefixes)) == prefixes, packet


_GROUPS = (*range(224, 240), 255)
"""The first byte of the addresses of groups: of IPv4, and of IPv6."""


def _possible(drawn: Packet) -> Packet:
    """The packet as it can be had.

    No route leads from outside to `lo`, its state is the kernel's to say, and it is translated only to what it is not,
    with a second route only if that is another address. The kernel takes one hop off before it forwards, which neither
    the simulation nor `explain` does: what they take for neighbour discovery in the forward hook is none any more.
    It forwards none with a single hop left, and filters none to a group that nobody here has
    joined, of whose rejection it tells nobody.
    """
    if drawn.destination >> drawn.family.bits - 8 in _GROUPS:
        source, destination = ADDRESSES[drawn.family][:2]
        drawn = replace(drawn, source=source, destination=destination)
    forwarded_to_lo = drawn.path is Path.FORWARDED and drawn.out_interface == LOOPBACK
    out_interface = "eth0" if forwarded_to_lo else drawn.out_interface
    original = drawn.original
    if original is not None and original.destination == drawn.destination:
        same = original.destination_port == drawn.destination_port
        original = None if same else replace(original, out_interface=None)
    forwarded = {255: 254, 1: 64} if drawn.path is Path.FORWARDED else {}
    hop_limit = forwarded.get(drawn.hop_limit, drawn.hop_limit)
    possible = replace(drawn, out_interface=out_interface, state=ConntrackState.NEW, original=original)
    # The sender's Ethernet address carries its way, so it is none that rules name; there is no tunnel to come out of,
    # nobody has asked anything, and no limit is reached.
    possible = replace(possible, hop_limit=hop_limit, mac=None, ipsec=False, answer=False)
    return replace(possible, no_way_back=False, over_limit=False)


def _as_tracked(packet: Packet, state: ConntrackState | None) -> Packet:
    """The packet in the state that conntrack found it in, if it came so far; only what is new was translated."""
    assert state in _SEEN_STATES
    if state in (None, ConntrackState.NEW):
        return packet
    return replace(packet.untranslated, state=state)


def _tells_as_predicted(observed: Observed, fate: Fate, packet: Packet) -> bool:
    """Nobody is told but of a rejection; of a rejection, TCP always is, while ICMP needs a source address to tell."""
    if fate is not Fate.REJECT:
        return not observed.rejected
    return observed.rejected or packet.protocol != TCP.number
