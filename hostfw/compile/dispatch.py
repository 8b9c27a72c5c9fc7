"""Dispatch: from the interface of a packet to the chain of its endpoint, hook by hook."""

from collections.abc import Iterable, Iterator
from functools import partial

from hostfw.compile import object_names as names
from hostfw.compile.before_translation import BeforeTranslation
from hostfw.compile.behind_bridges import BehindBridges, ProgramOf, interface_key, of_patterns, places_of
from hostfw.compile.incremental.memo import CompileCache
from hostfw.compile.layout.parts import in_parts
from hostfw.compile.multicast_answers import answers
from hostfw.compile.neighbours import neighbours
from hostfw.compile.plan_programs import Programs
from hostfw.compile.reverse_path import reverse_path
from hostfw.compile.table_builder import TableBuilder
from hostfw.compile.targets import Targets
from hostfw.model.host.guests import Workload
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.plan import Plan
from hostfw.model.values import Direction
from hostfw.nft.objects import Dynamic, ElementType
from hostfw.nft.rules import (
    Accept,
    Goto,
    Key,
    Match,
    Notrack,
    Return,
    Rule,
    SetRef,
    Statement,
    Verdict,
    Vmap,
)

_PASSED_BY = Return()

ROOM_FOR_LINKS = Dynamic(65_536)
"""Most interfaces of a HostEndpoint that are known by their index as well."""


class Dispatch:
    """The dispatch of every hook in one table; programs that are one are laid out once.

    `reject` is whether denials tell the sender, which the kernel allows in input, forward and output alone.
    """

    def __init__(self, plan: Plan, builder: TableBuilder, cache: CompileCache, *, reject: bool) -> None:
        """The dispatch of a plan's interfaces."""
        self._plan = plan
        self._builder = builder
        self._cache = cache
        self._reject = reject
        self._targets = Targets(plan, builder, cache, reject=reject)
        self._programs = self._targets.programs
        self._programs_that_drop = Programs(plan.settings, reject=False, cache=cache)
        self._programs_of_workloads = self._targets.of_workloads
        self._endpoints = {endpoint.name: endpoint for endpoint in plan.endpoints}
        bridged = plan.bridged
        self._behind_bridges = BehindBridges(
            plan,
            [endpoint for endpoint, _ in bridged],
            places_of(bridged, builder.family, builder.costs.dispatched_together),
            builder,
            self._programs_of_workloads,
            self._targets.chain,
            partial(self._targets.verdicts, allow=(Accept(),)),
        )
        self._local: dict[Direction, list[Rule]] = {}

    def local(self, direction: Direction) -> list[Rule]:
        """Input or output: loopback, neighbour discovery, interfaces, then all other interfaces."""
        if direction not in self._local:
            self._local[direction] = self._new_local(direction)
        return self._local[direction]

    def _new_local(self, direction: Direction) -> list[Rule]:
        allow = (Accept(),)
        default = self._wildcard(direction, direction.short, self._programs.local, allow)
        if default is None:
            program = self._programs.unmanaged(direction)
            default = (
                Accept() if program is None else self._targets.goto(f"{direction.short}/unmanaged", program, allow)
            )
        verdicts = self._verdicts(direction, direction.short, self._programs.local, allow)
        rest = [
            *self._renamed(direction, direction.short, verdicts, may_close=True),
            *self._unidentified(direction, direction.short, self._programs_of_workloads),
            *self._behind_bridges.local(direction, self._programs.local),
            Rule((), (default,)),
        ]
        return [
            *self._loopback(direction),
            *neighbours(self._plan.settings, self._builder.family),
            *(answers(self._plan, self._builder) if direction is Direction.INGRESS else ()),
            *self._by_interface(direction, direction.short, verdicts, rest),
        ]

    def forward(self, direction: Direction) -> list[Rule]:
        """The rules for forwarded packets on their way in or out; none where no policy applies to them."""
        purpose = f"forward-{direction.short}"
        return self._class(direction, purpose, self._programs.forward, (Accept(),), may_close=True)

    def published(self) -> list[Rule]:
        """Rules for packets to published ports, by the interface that they came in on: input, before translation.

        They come back where no endpoint governs the interface, as they do on `lo` where only the wildcard would.
        """
        allow = (Accept(),)
        ingress = Direction.INGRESS
        verdicts = self._verdicts(ingress, ingress.short, self._programs.local, allow)
        # What a workload sends to a published port is forwarded, or for the host, and meets its policy there.
        workloads = {b.interface for b in self._plan.bindings if self._endpoints[b.endpoint].workload is not None}
        verdicts |= dict.fromkeys(workloads, Return())
        default = self._wildcard(ingress, ingress.short, self._programs.local, allow)
        if default is None and all(verdict == Return() for verdict in verdicts.values()):
            return []
        rules = [
            *self._interfaces(ingress, ingress.short, verdicts),
            *self._renamed(ingress, ingress.short, verdicts, may_close=True),
        ]
        if default is not None:
            on_lo = (Rule(rule.matches, (Return(),)) for rule in self._loopback(ingress))
            of_workloads = of_patterns(ingress, self._plan.settings.workloads.patterns, Return)
            rules = [*on_lo, *rules, *of_workloads, Rule((), (default,))]
        return BeforeTranslation(self._builder).rules(rules)

    def untracked(self, direction: Direction, *, again: bool = False) -> list[Rule]:
        """The rules before connection tracking; none where no policy is doNotTrack.

        At the hooks after it a packet that is not tracked meets it `again`: what is allowed there skips them.
        """
        allow = (Accept(),) if again else (Notrack(), Accept())
        purpose = f"untracked-{direction.short}"
        return self._early(direction, purpose, self._programs_that_drop.untracked, allow, again=again)

    def sources(self) -> list[Rule]:
        """The rules that deny what workloads send under addresses that are not theirs, or under no name at all.

        There are none without a workload, and without the setting that says which interfaces are those of workloads.
        """
        side = Direction.INGRESS
        programs = Programs(self._plan.settings, reject=False, cache=self._cache, guests=True)
        verdicts: dict[str, Verdict] = {}
        for binding in self._plan.bindings:
            workload = self._endpoints[binding.endpoint].workload
            if workload is not None:
                make = partial(self._sources_of, binding.endpoint, workload, programs)
                verdicts[binding.interface] = self._targets.kept("sources", binding.endpoint, workload, make)
            elif self._plan.settings.workloads.has(binding.interface):
                verdicts[binding.interface] = Return()
        rest = [
            *self._renamed(side, "sources", verdicts, may_close=False),
            *self._unidentified(side, "sources", programs),
            *self._behind_bridges.sources(programs),
        ]
        return self._by_interface(side, "sources", verdicts, rest)

    def _sources_of(self, name: str, workload: Workload, programs: Programs) -> Verdict:
        """The verdict on what one workload sends: its Ethernet address if it has to have one, then its addresses."""
        direction = Direction.EGRESS
        of_addresses = self._targets.goto(f"sources/{name}", programs.sources(workload, direction), (Accept(),))
        if workload.mac is None:
            return of_addresses
        spoofed = self._targets.goto("sources/mac", programs.spoofed(direction), (Accept(),))
        other = Match(Key.ETHER_SADDR, str(workload.mac), negated=True)
        return Goto(self._builder.chain(f"sources/{name}/mac", (Rule((other,), (spoofed,)), Rule((), (of_addresses,)))))

    def reverse_path(self) -> list[Rule]:
        """The rules by which new packets are denied that no route leads back from; none without the setting."""
        program = self._programs_that_drop.without_a_way_back()
        exempt = tuple(neighbours(self._plan.settings, self._builder.family))
        return reverse_path(
            self._plan.settings,
            self._builder.family,
            exempt,
            lambda: self._targets.goto("reverse-path/denied", program, (Accept(),)),
        )

    def pre_dnat(self, allow: tuple[Statement, ...], *, again: bool = False) -> list[Rule]:
        """The rules for new packets before destination NAT; empty without a preDNAT policy; `again` as in untracked."""
        return self._early(Direction.INGRESS, "pre-dnat", self._programs_that_drop.pre_dnat, allow, again=again)

    def _early(
        self,
        direction: Direction,
        purpose: str,
        program_of: ProgramOf,
        allow: tuple[Statement, ...],
        *,
        again: bool,
    ) -> list[Rule]:
        """A class that comes before the filters, which loopback and neighbour discovery are exempt from as well."""
        rules = self._class(direction, f"{purpose}/again" if again else purpose, program_of, allow, again=again)
        if not rules:
            return []
        exempt = [*self._loopback(direction), *neighbours(self._plan.settings, self._builder.family)]
        return [*(Rule(rule.matches, (Return(),)) if again else rule for rule in exempt), *rules]

    def _class(
        self,
        direction: Direction,
        purpose: str,
        program_of: ProgramOf,
        allow: tuple[Statement, ...],
        *,
        again: bool = False,
        may_close: bool = False,
    ) -> list[Rule]:
        """Interfaces whose endpoint has policies of a class, then all others.

        An interface with an endpoint of its own is not the wildcard's, even if its own endpoint lets all pass.
        """
        default = self._wildcard(direction, purpose, program_of, allow, again=again) or Return()
        verdicts = self._verdicts(direction, purpose, program_of, allow, again=again)
        theirs = self._plan.settings.workloads
        # One that keeps its HostEndpoint under the name of a workload's interface is not taken for unidentified.
        is_told = may_close or default != Return()
        verdicts = {
            name: verdict for name, verdict in verdicts.items() if verdict != default or (is_told and theirs.has(name))
        }
        unidentified: Iterable[Rule] = ()
        if may_close:
            own = self._unidentified(direction, purpose, self._programs_of_workloads)
            unidentified = (*own, *self._behind_bridges.forwarded(direction, purpose, self._programs.forward))
        elif default != Return():
            unidentified = of_patterns(direction, theirs.patterns, Return)
        rest = [
            *self._renamed(direction, purpose, verdicts, may_close=may_close),
            *unidentified,
            *([] if default == Return() else [Rule((), (default,))]),
        ]
        return self._by_interface(direction, purpose, verdicts, rest)

    def _loopback(self, direction: Direction) -> Iterator[Rule]:
        """Loopback is open unless an endpoint is bound to it."""
        if all(binding.interface != LOOPBACK for binding in self._plan.bindings):
            yield Rule((Match(interface_key(direction), LOOPBACK),), (Accept(),))

    def _by_interface(
        self, direction: Direction, purpose: str, verdicts: dict[str, Verdict], rest: list[Rule]
    ) -> list[Rule]:
        """The verdicts of interfaces, and the rest for what none of them is of."""
        return in_parts(
            interface_key(direction),
            sorted(verdicts),
            self._builder.costs.dispatched_together,
            lambda names: self._interfaces(direction, purpose, {name: verdicts[name] for name in names}),
            rest,
            lambda of, rules: self._builder.chain(f"{purpose}/{of}", rules),
        )

    def _interfaces(self, direction: Direction, purpose: str, verdicts: dict[str, Verdict]) -> Iterator[Rule]:
        key = interface_key(direction)
        elements = tuple(sorted(verdicts.items()))
        if len(elements) <= self._builder.costs.linear_interfaces:
            yield from (Rule((Match(key, name),), (verdict,)) for name, verdict in elements)
        else:
            name = self._builder.verdict_map(f"{purpose}/interfaces", ElementType.IFNAME, elements)
            yield Rule((), (Vmap(key, name),))

    def _renamed(
        self, direction: Direction, purpose: str, verdicts: dict[str, Verdict], *, may_close: bool
    ) -> Iterator[Rule]:
        """Interfaces that have another name than the one that was governed, known by their index.

        It is the policy that they had until names are compiled anew, which takes as long as it takes. Where there are
        too many HostEndpoints to ask for each, such an interface is closed until then.
        """
        key = Key.IIF if direction is Direction.INGRESS else Key.OIF
        of = {
            binding.endpoint: verdicts[binding.interface]
            for binding in self._plan.bindings
            if binding.interface in verdicts and binding.interface != LOOPBACK
        }
        if len(of) <= self._builder.costs.linear_rules:
            for endpoint, verdict in sorted(of.items()):
                links = self._links(names.governed_links(endpoint))
                yield Rule((Match(key, links),), (verdict,))
        elif may_close:
            closed = self._targets.goto(f"{purpose}/renamed", self._programs.renamed(direction), (Accept(),))
            yield Rule((Match(key, self._links(names.governed_links())),), (closed,))

    def _unidentified(self, side: Direction, purpose: str, programs: Programs) -> Iterator[Rule]:
        """Interfaces that workloads are behind and that no rule before has named: a new one needs no rule."""
        program = programs.unidentified(side.opposite)
        patterns = self._plan.settings.workloads.interfaces
        return of_patterns(side, patterns, lambda: self._targets.goto(f"{purpose}/unidentified", program, (Accept(),)))

    def _links(self, name: str) -> SetRef:
        return SetRef(self._builder.dynamic_set(name, ElementType.IFINDEX, ROOM_FOR_LINKS))

    def _verdicts(
        self,
        direction: Direction,
        purpose: str,
        program_of: ProgramOf,
        allow: tuple[Statement, ...],
        *,
        again: bool = False,
    ) -> dict[str, Verdict]:
        if not self._targets.is_met_by_workloads(program_of):
            # No policy of workloads is of a class that has no way for them.
            governing = {one.interface: self._endpoints[one.endpoint] for one in self._plan.bindings}
            return {
                interface: _PASSED_BY
                if endpoint.workload is not None
                else self._targets.verdict(endpoint, direction, purpose, program_of, allow, again=again)
                for interface, endpoint in governing.items()
            }
        endpoints = [self._endpoints[one.endpoint] for one in self._plan.bindings]
        found = self._targets.verdicts(endpoints, direction, purpose, program_of, allow, again=again)
        return {one.interface: verdict for one, verdict in zip(self._plan.bindings, found, strict=True)}

    def _wildcard(
        self,
        direction: Direction,
        purpose: str,
        program_of: ProgramOf,
        allow: tuple[Statement, ...],
        *,
        again: bool = False,
    ) -> Verdict | None:
        """The verdict of interfaces without an endpoint of their own, or None where there is no wildcard."""
        if self._plan.wildcard is None:
            return None
        endpoint = self._endpoints[self._plan.wildcard]
        return self._targets.verdict(endpoint, direction, purpose, program_of, allow, again=again)
