"""The whole ruleset of a Plan: both tables, their hooks, and the dispatch from interfaces to endpoints.

A base chain holds established-first and one way on, into chains that are named after their content and never edited.
A generation takes over by the flip of that one rule: a packet samples the kernel's generation once as it enters a
base chain, so it meets the old structure or the new one and never a mixture.
"""

from collections.abc import Iterator

from hostfw.compile.builder import TableBuilder
from hostfw.compile.costs import DEFAULT_COSTS, CostModel
from hostfw.compile.layout import Layout
from hostfw.compile.program import Program, forward_program, local_program, unmanaged_program
from hostfw.model.plan import Plan, PlannedEndpoint
from hostfw.model.settings import NeighbourDiscovery
from hostfw.model.values import FAMILIES, Direction, Family, PortRange
from hostfw.nft.objects import (
    Accept,
    ElementType,
    Goto,
    Hook,
    Jump,
    Key,
    Match,
    Return,
    Rule,
    Ruleset,
    Table,
    Verdict,
    Vmap,
)

LOOPBACK = "lo"

_ESTABLISHED = Rule((Match(Key.CT_STATE, "established,related"),), (Accept(),))

NEIGHBOUR_DISCOVERY_TYPES = PortRange(133, 136)
"""Router and neighbour solicitations and advertisements (RFC 4861), valid only with a hop limit of 255."""

MULTICAST_LISTENER_TYPES = (PortRange(130, 132), PortRange(143, 143))
"""Multicast listener queries, reports and dones (RFC 2710, RFC 3810)."""

HOP_LIMIT_OF_A_NEIGHBOUR = 255


def compile_plan(plan: Plan, costs: CostModel = DEFAULT_COSTS) -> Ruleset:
    """The ruleset that enforces a plan; the same plan gives the same ruleset, name for name."""
    return Ruleset(tuple(_table(plan, TableBuilder(family, costs)) for family in FAMILIES))


def _table(plan: Plan, builder: TableBuilder) -> Table:
    dispatch = _Dispatch(plan, builder)
    for hook, direction in ((Hook.INPUT, Direction.INGRESS), (Hook.OUTPUT, Direction.EGRESS)):
        local = builder.chain(hook, dispatch.local(direction))
        builder.base_chain(hook, [_ESTABLISHED, Rule((), (Goto(local),))], policy_drop=True)
    forward = [
        Rule((), (Jump(builder.chain(f"forward-{direction.short}", rules)),))
        for direction in Direction
        if (rules := dispatch.forward(direction))
    ]
    builder.base_chain(Hook.FORWARD, [_ESTABLISHED, *forward] if forward else [], policy_drop=False)
    return builder.table()


class _Dispatch:
    """From an interface to the chain of its endpoint, hook by hook; programs that are one are laid out once."""

    def __init__(self, plan: Plan, builder: TableBuilder) -> None:
        self._plan = plan
        self._builder = builder
        self._endpoints = {endpoint.name: endpoint for endpoint in plan.endpoints}
        # By the identity of what is planned: endpoints with the same policies share the very tuples.
        self._local: dict[tuple[int, int, Direction], Verdict] = {}
        self._forward: dict[tuple[int, Direction], Verdict] = {}

    def local(self, direction: Direction) -> list[Rule]:
        """The rules of input or output: loopback, neighbour discovery, interfaces, then all other interfaces."""
        verdicts = {
            binding.interface: self._local_verdict(self._endpoints[binding.endpoint], direction)
            for binding in self._plan.bindings
        }
        return [
            *self._loopback(direction),
            *self._neighbours(),
            *self._interfaces(direction, verdicts),
            Rule((), (self._local_default(direction),)),
        ]

    def forward(self, direction: Direction) -> list[Rule]:
        """The rules that forwarded packets meet on their way in or out; none where no policy applies to them.

        An interface with an endpoint of its own is not the wildcard's, even if its own endpoint lets all pass.
        """
        wildcard = self._plan.wildcard
        default = self._forward_verdict(self._endpoints[wildcard], direction) if wildcard else Return()
        verdicts = {
            binding.interface: self._forward_verdict(self._endpoints[binding.endpoint], direction)
            for binding in self._plan.bindings
        }
        verdicts = {name: verdict for name, verdict in verdicts.items() if verdict != default}
        if default == Return():
            return list(self._interfaces(direction, verdicts))
        return [*self._interfaces(direction, verdicts), Rule((), (default,))]

    def _loopback(self, direction: Direction) -> Iterator[Rule]:
        """Loopback is open unless an endpoint is bound to it."""
        if all(binding.interface != LOOPBACK for binding in self._plan.bindings):
            yield Rule((Match(_interface_key(direction), LOOPBACK),), (Accept(),))

    def _neighbours(self) -> Iterator[Rule]:
        accepted = self._plan.settings.neighbour_discovery is NeighbourDiscovery.ACCEPT
        if self._builder.family is Family.V4 or not accepted:
            return
        near = Match(Key.HOP_LIMIT, HOP_LIMIT_OF_A_NEIGHBOUR)
        yield Rule((Match(Key.ICMP_TYPE, NEIGHBOUR_DISCOVERY_TYPES), near), (Accept(),))
        yield from (Rule((Match(Key.ICMP_TYPE, types),), (Accept(),)) for types in MULTICAST_LISTENER_TYPES)

    def _interfaces(self, direction: Direction, verdicts: dict[str, Verdict]) -> Iterator[Rule]:
        key = _interface_key(direction)
        elements = tuple(sorted(verdicts.items()))
        if len(elements) <= self._builder.costs.linear_interfaces:
            yield from (Rule((Match(key, name),), (verdict,)) for name, verdict in elements)
        else:
            name = self._builder.verdict_map(f"{direction.short}/interfaces", ElementType.IFNAME, elements)
            yield Rule((), (Vmap(key, name),))

    def _local_default(self, direction: Direction) -> Verdict:
        if self._plan.wildcard:
            return self._local_verdict(self._endpoints[self._plan.wildcard], direction)
        program = unmanaged_program(direction, self._plan.settings)
        return Accept() if program is None else self._goto(f"{direction.short}/unmanaged", program, Accept())

    def _local_verdict(self, endpoint: PlannedEndpoint, direction: Direction) -> Verdict:
        planned = endpoint.direction(direction)
        key = (id(planned.tiers), id(planned.profiles), direction)
        if key not in self._local:
            program = local_program(planned, direction, self._plan.settings)
            self._local[key] = self._goto(f"{direction.short}/{endpoint.name}", program, Accept())
        return self._local[key]

    def _forward_verdict(self, endpoint: PlannedEndpoint, direction: Direction) -> Verdict:
        planned = endpoint.direction(direction)
        key = (id(planned.forward_tiers), direction)
        if key not in self._forward:
            program = forward_program(planned, direction, self._plan.settings)
            purpose = f"forward-{direction.short}/{endpoint.name}"
            self._forward[key] = Return() if program is None else self._goto(purpose, program, Return())
        return self._forward[key]

    def _goto(self, purpose: str, program: Program, allow: Verdict) -> Verdict:
        return Goto(Layout(self._builder, self._plan.settings.logging, allow).chain(purpose, program))


def _interface_key(direction: Direction) -> Key:
    return Key.IIFNAME if direction is Direction.INGRESS else Key.OIFNAME
