"""The sets of sources that reach a port are those of which explain lets a packet through, and for the same reason."""

from dataclasses import fields, is_dataclass, replace
from itertools import product
from random import Random
from typing import TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostfw.explain.verdict import explain
from hostfw.exposure.reach import Reach, reach
from hostfw.exposure.rules import DYNAMIC_PORT, EntryPoint
from hostfw.model.host.guests import Workload
from hostfw.model.packets.decisions import Reason
from hostfw.model.packets.packet import Original, Packet
from hostfw.model.plan import Plan, PlannedDirection, PlannedEndpoint, PlannedRule
from hostfw.model.values import FAMILIES, Cidr, Direction
from tests.property.generators.plans import ADDRESSES, CIDRS, INTERFACES, MACS, PORTS, WITH_PORTS, plans

Value = TypeVar("Value")

LINKS = [name for name in INTERFACES if name != "lo"]


def _doors(chance: Random) -> EntryPoint:
    family = chance.choice(FAMILIES)
    address, port = chance.choice(ADDRESSES[family]), chance.choice(PORTS)
    door = EntryPoint(family, chance.choice(WITH_PORTS).number, address, port, chance.choice(LINKS))
    if chance.random() < 0.4:
        door = door._replace(original=(chance.choice(ADDRESSES[family]), chance.choice(PORTS)))
    return door._replace(out_interface=chance.choice(LINKS)) if chance.random() < 0.4 else door


def _packet(door: EntryPoint, source: int) -> Packet:
    return Packet(
        door.family,
        door.protocol,
        source,
        door.address,
        DYNAMIC_PORT,
        door.port,
        in_interface=door.interface,
        out_interface=door.out_interface,
        original=None if door.original is None else Original(*door.original),
    )


def _probes(door: EntryPoint, chance: Random) -> list[int]:
    """Every address of the small world, the edges of its prefixes, what is beside them, and any others."""
    edges = [
        edge
        for cidr in CIDRS[door.family]
        for first, last in [(cidr.address, cidr.address | (1 << door.family.bits - cidr.length) - 1)]
        for edge in (first - 1, first, last, last + 1)
        if 0 <= edge < 1 << door.family.bits
    ]
    return [*ADDRESSES[door.family], *edges, *(chance.getrandbits(door.family.bits) for _ in range(4))]


def _agrees(plan: Plan, door: EntryPoint, found: Reach, source: int) -> None:
    expected = explain(plan, _packet(door, source))
    deciding = [decision for decision in found.decisions if decision.sources.holds(door.family, source)]
    assert len(deciding) == 1, (door, source, deciding)
    step = replace(deciding[0].step, interface=expected.decided_by.interface)
    assert step == expected.decided_by, (door, source)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(plans(), st.integers(0, 2**16 - 1))
def test_reach_is_what_explain_says_of_every_source(plan: Plan, seed: int) -> None:
    """Verdict, step and rule alike, for local ports and translated ones, and each source has one decision."""
    chance = Random(seed)
    doors = [_doors(chance) for _ in range(12)]
    plan = _of_addresses_alone(plan)
    for door, found in zip(doors, reach(plan, doors), strict=True):
        for source in _probes(door, chance):
            _agrees(plan, door, found, source)


BRIDGE = LINKS[0]


def _with_bridge(plan: Plan, chance: Random) -> Plan:
    """The plan with one of its links as a bridge of two workloads, which have some of the policies that it has."""
    addresses = {family: chance.sample(ADDRESSES[family], 2) for family in FAMILIES}
    sides = [endpoint.direction(side) for endpoint in plan.endpoints for side in Direction] or [PlannedDirection()]

    def side() -> PlannedDirection:
        return replace(chance.choice(sides), forward_tiers=(), untracked_tiers=(), pre_dnat_tiers=())

    workloads = (
        PlannedEndpoint(
            f"shop/{number}",
            side(),
            side(),
            workload=Workload(
                tuple(Cidr(family, addresses[family][number], family.bits) for family in FAMILIES),
                bridge=BRIDGE,
                port=f"port{number}",
            ),
        )
        for number in range(2)
    )
    return replace(
        plan,
        settings=replace(plan.settings, workloads=replace(plan.settings.workloads, bridges=(BRIDGE,))),
        endpoints=(*plan.endpoints, *workloads),
        bindings=tuple(binding for binding in plan.bindings if binding.interface != BRIDGE),
    )


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(plans(), st.integers(0, 2**16 - 1))
def test_reach_tells_workloads_behind_a_bridge_apart(plan: Plan, seed: int) -> None:
    """Policy of each judges what it sends on, to others behind the same bridge and to anybody else."""
    chance = Random(seed)
    plan = _with_bridge(_of_addresses_alone(plan), chance)
    doors = [_doors(chance)._replace(interface=BRIDGE) for _ in range(6)]
    doors += [_doors(chance)._replace(out_interface=BRIDGE) for _ in range(6)]
    for door, found in zip(doors, reach(plan, doors), strict=True):
        for source in _probes(door, chance):
            expected = explain(plan, _packet(door, source)).decided_by
            (deciding,) = (d.step for d in found.decisions if d.sources.holds(door.family, source))
            # Of several workloads with the same policy one stands for all; what nobody sends is denied early or late.
            said = replace(deciding, interface=expected.interface, endpoint=expected.endpoint)
            if expected.reason is Reason.UNIDENTIFIED:
                said = replace(said, policy_class=expected.policy_class)
            assert said == expected, (door, source)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(plans(), st.integers(0, 2**16 - 1))
def test_what_may_come_by_a_tunnel_or_from_a_named_neighbour_counts_as_open(plan: Plan, seed: int) -> None:
    """Whoever explain lets in by some Ethernet address, or through IPsec or not, is in the set of the port."""
    chance = Random(seed)
    doors = [_doors(chance) for _ in range(6)]
    for door, found in zip(doors, reach(plan, doors), strict=True):
        for source in chance.sample(_probes(door, chance), 4):
            is_open = any(part.holds(door.family, source) for part in found.allowed)
            for mac, ipsec in product((None, *MACS), (False, True)):
                packet = replace(_packet(door, source), mac=mac, ipsec=ipsec)
                assert is_open or not explain(plan, packet).allowed, (door, source, mac, ipsec)


def _of_addresses_alone(value: Value) -> Value:
    """A plan, or a part of one, whose rules ask for neither IPsec nor Ethernet addresses."""
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return type(value)(map(_of_addresses_alone, value))
    if isinstance(value, PlannedRule):
        return replace(value, ipsec=None, source=replace(value.source, macs=()))
    if is_dataclass(value) and not isinstance(value, type):
        changed = {field.name: _of_addresses_alone(getattr(value, field.name)) for field in fields(value)}
        return replace(value, **changed)
    return value
