"""Rules of IPv4 and IPv6 for workloads behind bridges, by address; the table of bridges sees that none is forged."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from hostfw.compile.layout.parts import Place, by_prefix
from hostfw.compile.neighbours import of_the_link
from hostfw.compile.plan_programs import Programs
from hostfw.compile.program import Program
from hostfw.compile.table_builder import TableBuilder
from hostfw.model.host.guests import BEFORE_AN_ADDRESS, Workload
from hostfw.model.host.interface_names import WILDCARD_END
from hostfw.model.plan import Plan, PlannedDirection, PlannedEndpoint
from hostfw.model.values import Cidr, Direction, Family
from hostfw.nft.objects import ElementType
from hostfw.nft.rules import Accept, Beginning, Goto, Jump, Key, Match, Return, Rule, Statement, Verdict, Vmap

ProgramOf = Callable[[PlannedDirection, Direction], Program | None]

_ALLOW = (Accept(),)


class VerdictsOf(Protocol):
    """The verdicts that lead to what endpoints meet on one side."""

    def __call__(
        self, endpoints: Sequence[PlannedEndpoint], direction: Direction, purpose: str, program_of: ProgramOf, /
    ) -> list[Verdict]:
        """The verdicts, in the order of the endpoints."""


class ChainOf(Protocol):
    """The chain of a program."""

    def __call__(self, purpose: str, program: Program, allow: tuple[Statement, ...], /) -> str:
        """The name of the chain."""


def interface_key(direction: Direction) -> Key:
    """The name of the interface that a packet of a direction comes in on, or goes out on."""
    return Key.IIFNAME if direction is Direction.INGRESS else Key.OIFNAME


def of_patterns(side: Direction, patterns: Iterable[str], verdict: Callable[[], Verdict]) -> Iterator[Rule]:
    """One verdict for all interfaces of some names, or beginnings of names."""
    for pattern in patterns:
        beginning = pattern.removesuffix(WILDCARD_END)
        value = pattern if beginning == pattern else Beginning(beginning)
        yield Rule((Match(interface_key(side), value),), (verdict(),))


class Places(NamedTuple):
    """Where workloads are behind bridges in a family, in order, each with the name of its workload.

    Many are in `parts`, by prefixes of a length in bits.
    """

    names: Mapping[Place, str]
    parts: tuple[int, Mapping[int, Sequence[Place]]] | None


def places_of(bridged: Iterable[tuple[PlannedEndpoint, Workload]], family: Family, most: int) -> Places:
    """The places of workloads, in parts if they are more than can be together."""
    found = sorted(
        ((workload.bridge, net.address), endpoint.name)
        for endpoint, workload in bridged
        for net in workload.addresses
        if net.family is family
    )
    names = dict(found)
    return Places(names, by_prefix(list(names), family, most) if len(names) > most else None)


@dataclass(frozen=True, slots=True)
class BehindBridges:
    """The rules for the bridges of workloads, one for each name of the setting; none without one.

    `endpoints` are those behind bridges, and `places` where they are in the family of the table.
    What is behind a new port or a new bridge has no element in any map, and so is denied.
    """

    plan: Plan
    endpoints: Sequence[PlannedEndpoint]
    places: Places
    builder: TableBuilder
    guests: Programs
    chain_of: ChainOf
    verdicts_of: VerdictsOf

    def sources(self, programs: Programs) -> Iterator[Rule]:
        """Sources behind bridges: those of workloads there, and what any neighbour uses before it has an address.

        Which port sends under which of them is told where ports are known, in the table of bridges.
        """
        side = Direction.EGRESS

        def verdict() -> Verdict:
            advertised = Jump(self.chain_of("sources/router", programs.router_advertisements(side), _ALLOW))
            first = [Rule((), (advertised,))] if self.builder.family is Family.V6 else []
            denied = self._goto("sources/unidentified", programs.unidentified_on_bridge(side))
            rest = [*self._before_an_address(Return()), Rule((), (denied,))]
            rules = [*first, *self._senders("sources/bridges", Return(), rest)]
            return Goto(self.builder.chain("sources/bridges", rules))

        yield from of_patterns(Direction.INGRESS, self.plan.settings.workloads.bridges, verdict)

    def local(self, side: Direction, program_of: ProgramOf) -> Iterator[Rule]:
        """Packets from behind bridges of workloads to the host itself, or from the host to there."""
        short = side.short

        def verdict() -> Verdict:
            if side is Direction.INGRESS:
                open_to_all = self._goto(f"{short}/to-host", self.guests.to_host(side.opposite))
                denied = self._goto(f"{short}/unidentified", self.guests.unidentified_on_bridge(side.opposite))
                rest = [*self._before_an_address(open_to_all), Rule((), (denied,))]
                rules = self._senders(f"{short}/bridges", open_to_all, rest)
            else:
                leases = Jump(self.chain_of(f"{short}/leases", self.guests.before_workloads(side.opposite), _ALLOW))
                denied = self._goto(f"{short}/unidentified", self.guests.unidentified(side.opposite))
                # Mostly the very map by which forwarded packets are told apart.
                verdicts = self._verdicts(side, short, program_of)
                known = self._known(side, f"forward-{short}", verdicts, [Rule((), (denied,))])
                rules = [Rule((), (leases,)), *known]
            return Goto(self.builder.chain(f"{short}/bridges", rules))

        yield from of_patterns(side, self.plan.settings.workloads.bridges, verdict)

    def forwarded(self, side: Direction, purpose: str, program_of: ProgramOf) -> Iterator[Rule]:
        """Packets from behind bridges of workloads to anybody else, or to there, between two ports as well."""

        def verdict() -> Verdict:
            denied = self._goto(f"{purpose}/unidentified", self.guests.unidentified_on_bridge(side.opposite))
            verdicts = self._verdicts(side, purpose, program_of)
            rules = [
                *of_the_link(self.builder.family),
                *self._known(side, purpose, verdicts, [Rule((), (denied,))]),
            ]
            return Goto(self.builder.chain(f"{purpose}/bridges", rules))

        yield from of_patterns(side, self.plan.settings.workloads.bridges, verdict)

    def _goto(self, purpose: str, program: Program) -> Verdict:
        return Goto(self.chain_of(purpose, program, _ALLOW))

    def _before_an_address(self, verdict: Verdict) -> Iterator[Rule]:
        for net in BEFORE_AN_ADDRESS:
            if net.family is self.builder.family:
                yield Rule((Match(Key.SADDR, net),), (verdict,))

    def _senders(self, purpose: str, verdict: Verdict, rest: list[Rule]) -> list[Rule]:
        """The verdict of what comes from a workload, by bridge and address, and the rest for all else."""

        def rules_of(places: Sequence[Place]) -> Rule:
            known = self.builder.place_set("senders/bridged", tuple(places))
            return Rule((Match(Key.SOURCE_ON_LINK, known),), (verdict,))

        return self._by_place(Direction.INGRESS, purpose, rules_of, rest)

    def _known(self, side: Direction, purpose: str, verdicts: Mapping[str, Verdict], rest: list[Rule]) -> list[Rule]:
        """The verdicts of workloads, by bridge and address, and the rest for what is of none."""
        key = Key.SOURCE_ON_LINK if side is Direction.INGRESS else Key.DESTINATION_ON_LINK
        names = self.places.names

        def rules_of(places: Sequence[Place]) -> Rule:
            elements = tuple((place, verdicts[names[place]]) for place in places)
            return Rule((), (Vmap(key, self.builder.verdict_map(f"{purpose}/bridged", ElementType.NETWORK, elements)),))

        return self._by_place(side, f"{purpose}/bridges", rules_of, rest)

    def _by_place(
        self, side: Direction, purpose: str, rule_of: Callable[[Sequence[Place]], Rule], rest: list[Rule]
    ) -> list[Rule]:
        """The rule of all places, where there are any, and the rest; of many in chains by prefixes of addresses."""
        places, builder = self.places, self.builder
        if not places.names:
            return rest
        if places.parts is None:
            return [rule_of(tuple(places.names)), *rest]
        length, parts = places.parts
        onward = Rule((), (Goto(builder.chain(f"{purpose}/rest", rest)),))
        elements = tuple(
            (prefix, Goto(builder.chain(f"{purpose}/part", (rule_of(part), onward)))) for prefix, part in parts.items()
        )
        address = Key.SADDR if side is Direction.INGRESS else Key.DADDR
        if builder.family is Family.V4 and len(elements) <= builder.costs.linear_rules:
            # Four bytes are compared inline, so that a few of them cost less than a lookup.
            one_by_one = (
                Rule((Match(address, Cidr(Family.V4, prefix, length)),), (verdict,)) for prefix, verdict in elements
            )
            return [*one_by_one, onward]
        top = builder.verdict_map(f"{purpose}/parts", ElementType.ADDRESS, elements)
        return [Rule((), (Vmap(address, top, length),)), onward]

    def _verdicts(self, side: Direction, purpose: str, program_of: ProgramOf) -> dict[str, Verdict]:
        found = self.verdicts_of(self.endpoints, side, purpose, program_of)
        return {endpoint.name: verdict for endpoint, verdict in zip(self.endpoints, found, strict=True)}
