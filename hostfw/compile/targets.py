"""Targets: from an endpoint to the chain of what packets meet on one side of its interface.

What workloads meet is kept from plan to plan, as there may be a thousand of them, of which one comes or goes.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import NamedTuple, Self, cast

from hostfw.compile.behind_bridges import ProgramOf
from hostfw.compile.incremental.memo import CompileCache, identity
from hostfw.compile.layout.common_ends import Split, common_ends
from hostfw.compile.layout.cuts.cut import Layout
from hostfw.compile.layout.nft_rules.statements import StatementWriter
from hostfw.compile.layout.rule_list import RuleList
from hostfw.compile.plan_programs import Programs, has_rules
from hostfw.compile.program import Program
from hostfw.compile.table_builder import TableBuilder
from hostfw.model.plan import Plan, PlannedDirection, PlannedEndpoint
from hostfw.model.values import Direction
from hostfw.nft.rules import Accept, Goto, Jump, Return, Rule, Statement, Verdict

_ingress = cast("Callable[[PlannedEndpoint], PlannedDirection]", attrgetter("ingress"))
_egress = cast("Callable[[PlannedEndpoint], PlannedDirection]", attrgetter("egress"))


class _Workloads(NamedTuple):
    """The workloads among some endpoints, by what they meet on one side, which the identities in `met` stand for.

    `first` is the first workload that meets something, `names` has what it meets by its name, and `asked` the same with
    the very plan of it.
    """

    endpoints: Sequence[PlannedEndpoint]
    workloads: list[PlannedEndpoint]
    met: list[int]
    first: dict[int, PlannedEndpoint]
    names: dict[str, int]
    asked: list[tuple[str, PlannedDirection]]

    @classmethod
    def of(cls, endpoints: Sequence[PlannedEndpoint], side: Direction) -> Self:
        """Those of endpoints, which are kept so that their identity stays their own."""
        workloads = [one for one in endpoints if one.workload is not None]
        planned = list(map(_egress if side is Direction.INGRESS else _ingress, workloads))
        met = list(map(id, planned))
        # Of several that meet the same the first one is the last to be put there.
        first = dict(zip(reversed(met), reversed(workloads), strict=True))
        of_met = dict(zip(met, planned, strict=True))
        names = {one.name: of_it for of_it, one in first.items()}
        return cls(endpoints, workloads, met, first, names, [(name, of_met[of_it]) for name, of_it in names.items()])


class Targets:
    """The targets in one table; programs that are one are laid out once.

    `programs` are those of HostEndpoints, `of_workloads` those of workloads; `reject` is as in `Dispatch`.
    """

    def __init__(self, plan: Plan, builder: TableBuilder, cache: CompileCache, *, reject: bool) -> None:
        """Nothing is laid out before it is asked for."""
        self._plan = plan
        self._builder = builder
        self._cache = cache
        self._reject = reject
        self.programs = Programs(plan.settings, reject, cache)
        guests = self.of_workloads = Programs(plan.settings, reject, cache, guests=True)
        # All that they send to the host meets the same, whatever their policy says.
        self._of_workloads: dict[ProgramOf, dict[Direction, ProgramOf]] = {
            self.programs.local: {Direction.EGRESS: guests.from_host},
            self.programs.forward: dict.fromkeys(Direction, guests.workload),
        }
        # By the identity of what is planned: endpoints with the same policies share the very tuples.
        self._chains: dict[tuple[object, ...], Verdict] = {}
        self._of_directions: defaultdict[tuple[str, bool], dict[int, Verdict]] = defaultdict(dict)
        self._identities: dict[tuple[str, Direction], tuple[object, ...]] = {}
        self._workloads: dict[tuple[int, Direction], _Workloads] = {}
        self._ends: dict[str, dict[tuple[object, ...], Split | None]] = {}

    def verdict(
        self,
        endpoint: PlannedEndpoint,
        direction: Direction,
        purpose: str,
        program_of: ProgramOf,
        allow: tuple[Statement, ...],
        *,
        again: bool,
    ) -> Verdict:
        """The verdict that leads to what an endpoint meets on one side, found once for all that meet the same."""
        if endpoint.workload is not None:
            if not self.is_met_by_workloads(program_of):
                # No policy of theirs is of this class.
                return Return()
            if direction not in self._of_workloads[program_of]:
                return self._to_host(direction)
        key = (purpose, *self.met(endpoint, direction))
        make = partial(self._new_verdict, key, endpoint, direction, purpose, program_of, allow, again=again)
        if endpoint.workload is not None:
            met = id(endpoint.direction(endpoint.met(direction)))
            of_them = self._of_directions[purpose, endpoint.workload.bridge != ""]
            if met not in of_them:
                of_them[met] = self._of_workload(endpoint, direction, purpose, make)
            return of_them[met]
        if key not in self._chains:
            self._chains[key] = make()
        return self._chains[key]

    def verdicts(
        self,
        endpoints: Sequence[PlannedEndpoint],
        direction: Direction,
        purpose: str,
        program_of: ProgramOf,
        allow: tuple[Statement, ...],
        *,
        again: bool = False,
    ) -> list[Verdict]:
        """The verdicts of endpoints in their order: of workloads that meet the same, the first one's."""
        of_them = self._of(endpoints, direction)
        workloads, met = of_them.workloads, of_them.met
        # Most are those of the last plan, and cost no call each: there may be a thousand.
        is_known = workloads and not self._cache.is_making and self.is_met_by_workloads(program_of)
        known = self._look_up(of_them, purpose) if is_known else {}
        for of_it, one in of_them.first.items():
            if of_it not in known:
                known[of_it] = self.verdict(one, direction, purpose, program_of, allow, again=again)
        found = list(map(known.__getitem__, met))
        if len(workloads) == len(endpoints):
            return found
        theirs = iter(found)
        return [
            self.verdict(one, direction, purpose, program_of, allow, again=again)
            if one.workload is None
            else next(theirs)
            for one in endpoints
        ]

    def _of(self, endpoints: Sequence[PlannedEndpoint], side: Direction) -> _Workloads:
        """The workloads among endpoints; the same ones are asked about for several hooks."""
        known = self._workloads.get((id(endpoints), side))
        if known is None:
            known = self._workloads[id(endpoints), side] = _Workloads.of(endpoints, side)
        return known

    def _look_up(self, of_them: _Workloads, purpose: str) -> dict[int, Verdict]:
        """The verdicts of workloads that meet the same as in the last plan, by the identity of that.

        It is the verdict of the first of those that meet one thing. They are behind bridges or interfaces of their own,
        not both.
        """
        is_bridged = any(one.workload.bridge for one in of_them.workloads[:1] if one.workload)
        verdicts = self._cache.verdicts(self._place(purpose, bridged=is_bridged), of_them.asked, self._builder.counters)
        found = self._of_directions[purpose, is_bridged]
        found |= {of_them.names[name]: verdict for name, verdict in verdicts.items()}
        return found

    def _place(self, purpose: str, *, bridged: bool) -> tuple[object, ...]:
        return purpose, bridged, self._builder.family, self._reject

    def _of_workload(
        self, endpoint: PlannedEndpoint, side: Direction, purpose: str, make: Callable[[], Verdict]
    ) -> Verdict:
        """The verdict of a workload, that of the last time if it meets the same: there may be a thousand others."""
        planned = endpoint.direction(endpoint.met(side))
        place = self._place(purpose, bridged=endpoint.workload is not None and endpoint.workload.bridge != "")
        return self._kept(place, endpoint.name, planned, make, lambda: not self._may_share(endpoint, side))

    def kept(self, purpose: str, name: str, planned: object, make: Callable[[], Verdict]) -> Verdict:
        """The verdict on something planned, which is that of the last time for the very same."""
        return self._kept(self._place(purpose, bridged=False), name, planned, make, lambda: True)

    def _kept(
        self,
        place: tuple[object, ...],
        name: str,
        planned: object,
        make: Callable[[], Verdict],
        lasts: Callable[[], bool],
    ) -> Verdict:
        known = self._cache.verdicts(place, ((name, planned),), self._builder.counters).get(name)
        if known is not None:
            return known
        return self._cache.make_verdict(place, name, planned, make) if lasts() else make()

    def _new_verdict(
        self,
        key: tuple[object, ...],
        endpoint: PlannedEndpoint,
        direction: Direction,
        purpose: str,
        program_of: ProgramOf,
        allow: tuple[Statement, ...],
        *,
        again: bool,
    ) -> Verdict:
        program = self._program(endpoint, direction, purpose, program_of)
        if endpoint.workload is not None and program_of == self.programs.local:
            return self._from_host(endpoint, direction, program)
        if program is None:
            return Return()
        may_share = not again and self._may_share(endpoint, direction)
        split = self._splits(direction, purpose, program_of).get(key) if may_share else None
        own = f"{purpose}/{endpoint.name}"
        if split is None:
            return self.goto(own, program, allow, again=again)
        return self._split(own, f"{purpose}/shared-{split.number}", split, allow)

    def is_met_by_workloads(self, program_of: ProgramOf) -> bool:
        """True if workloads meet programs of a kind, and not HostEndpoints alone."""
        return program_of in self._of_workloads

    def _to_host(self, side: Direction) -> Verdict:
        """The verdict of what a workload sends to the host."""
        key = ("to-host", side)
        if key not in self._chains:
            program = self.of_workloads.to_host(side.opposite)
            self._chains[key] = self.goto(f"{side.short}/to-host", program, (Accept(),))
        return self._chains[key]

    def _from_host(self, endpoint: PlannedEndpoint, side: Direction, own: Program | None) -> Verdict:
        """The verdict of what the host sends to a workload: leases, then the rules of what is forwarded or its own."""
        allow = (Accept(),)
        policy: Verdict
        if own is None:
            policy = self.verdict(endpoint, side, f"forward-{side.short}", self.programs.forward, allow, again=False)
        else:
            policy = self.goto(f"{side.short}/{endpoint.name}", own, allow)
        if endpoint.workload is not None and endpoint.workload.bridge:
            return policy
        leases = self.chain(f"{side.short}/leases", self.of_workloads.before_workloads(side.opposite), allow)
        rules = (Rule((), (Jump(leases),)), Rule((), (policy,)))
        return Goto(self._builder.chain(f"{side.short}/{endpoint.name}", rules))

    def met(self, endpoint: PlannedEndpoint, side: Direction) -> tuple[object, ...]:
        """The identity of what packets meet on one side of the interface of an endpoint.

        Of workloads that meet the same, resolving makes one object.
        """
        known = self._identities.get((endpoint.name, side))
        if known is None:
            planned, workload = endpoint.direction(endpoint.met(side)), endpoint.workload
            of = (False, *identity(planned)) if workload is None else (True, workload.bridge != "", id(planned))
            known = self._identities[endpoint.name, side] = of
        return known

    def _program(
        self, endpoint: PlannedEndpoint, direction: Direction, purpose: str, program_of: ProgramOf
    ) -> Program | None:
        """The program of what packets meet on one side of the interface of an endpoint."""
        met = endpoint.met(direction)
        planned = endpoint.direction(met)
        key = (purpose, *self.met(endpoint, direction), met, self._reject)
        if endpoint.workload is None:
            return self._cache.program(key, planned, lambda: program_of(planned, direction))
        of_workload = self._of_workloads.get(program_of, {}).get(direction)
        if of_workload is None:
            return None
        return self._cache.program((of_workload.__name__, *key), planned, lambda: of_workload(planned, met))

    def _splits(
        self, direction: Direction, purpose: str, program_of: ProgramOf
    ) -> dict[tuple[object, ...], Split | None]:
        """The programs that end in the same rules as others, by what is planned for them."""
        if purpose not in self._ends:
            bound = {*(binding.endpoint for binding in self._plan.bindings), self._plan.wildcard}
            bound |= {endpoint.name for endpoint, _ in self._plan.bridged}
            of = {
                (purpose, *self.met(endpoint, direction)): endpoint
                for endpoint in self._plan.endpoints
                if endpoint.name in bound and self._may_share(endpoint, direction)
            }
            programs = [self._program(endpoint, direction, purpose, program_of) for endpoint in of.values()]
            splits = common_ends(programs, self._builder.costs.shared_rules)
            self._ends[purpose] = dict(zip(of, splits, strict=True))
        return self._ends[purpose]

    def _may_share(self, endpoint: PlannedEndpoint, side: Direction) -> bool:
        """True unless it is certain that an endpoint meets too few rules to share some with others.

        What those few are laid out as depends on nobody else.
        """
        least = self._builder.costs.shared_rules
        return endpoint.workload is None or has_rules(endpoint.direction(endpoint.met(side)), least)

    def _split(self, own: str, shared: str, split: Split, allow: tuple[Statement, ...]) -> Verdict:
        """The verdict that leads through an endpoint's own rules and those that it shares, each if none decided."""
        parts = [(f"{shared}/first", split.first), (own, split.own), (f"{shared}/last", split.last)]
        chains = [self.chain(part, program, allow) for part, program in parts if program is not None]
        return Goto(self._builder.chain(own, [Rule((), (Jump(name),)) for name in chains]))

    def goto(self, purpose: str, program: Program, allow: tuple[Statement, ...], *, again: bool = False) -> Verdict:
        """The verdict that leads to the chain of a program."""
        return Goto(self.chain(purpose, program, allow, again=again))

    def chain(self, purpose: str, program: Program, allow: tuple[Statement, ...], *, again: bool = False) -> str:
        """The chain of a program."""
        writer = StatementWriter(self._builder, self._plan.settings.logging, allow, again)
        return Layout(RuleList(writer, program.direction), self._cache, self._reject).chain(purpose, program)
