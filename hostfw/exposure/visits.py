"""Visits: connections to a door, and which sources something has decided about so far."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from hostfw.exposure.rules import EntryPoint
from hostfw.exposure.sources import Part, Sources, common, difference_of, everybody, without
from hostfw.model.packets.explanation import Step, StepVerdict
from hostfw.model.plan import Plan
from hostfw.model.ranges import ranges_of
from hostfw.model.settings import UNIDENTIFIED
from hostfw.model.values import Cidr, Family


class Decision(NamedTuple):
    """Some of the sources, and the step that decides about them."""

    sources: Part
    step: Step


@dataclass(slots=True)
class Visit:
    """Connections to a door, and the sources that nothing has decided about yet.

    `let_in` are those of forwarded connections that the policy of the way in allows: the way out may still deny them.
    `sender` is the workload that they all come from, of those behind one bridge.
    """

    owner: int
    entry_point: EntryPoint
    left: Sources
    decided: list[Decision] = field(default_factory=list)
    let_in: list[Decision] = field(default_factory=list)
    sender: str | None = None

    def take(self, part: Part, step: Step) -> None:
        """Decide about the sources of a part that are left."""
        self._decide(common(self.left, part), step)
        self.left = without(self.left, part)

    def take_rest(self, step: Step) -> None:
        """Decide about all sources that are left."""
        self._decide(self.left, step)
        self.left = ()

    def take_others(self, kept: Sources, step: Step) -> None:
        """Decide about all sources that are left but some."""
        self._decide(difference_of(self.left, kept), step)
        self.left = kept

    def _decide(self, sources: Sources, step: Step) -> None:
        waits = self.entry_point.out_interface is not None and step.verdict is StepVerdict.ALLOW
        (self.let_in if waits else self.decided).extend(Decision(part, step) for part in sources)


def visits_of(plan: Plan, doors: Sequence[EntryPoint]) -> Iterator[Visit]:
    """A visit for each door; for what is forwarded from a bridge of workloads one for each policy among these."""
    known: dict[tuple[str, Family], list[tuple[str, Sources]]] = {}
    for number, door in enumerate(doors):
        bridge, everyone = door.interface, (everybody(door.family),)
        if door.out_interface is None or not plan.settings.workloads.has_bridge(bridge):
            yield Visit(number, door, everyone)
            continue
        if (bridge, door.family) not in known:
            known[bridge, door.family] = list(_senders(plan, bridge, door.family))
        for sender, sources in known[bridge, door.family]:
            yield Visit(number, door, sources, sender=sender)


def _senders(plan: Plan, bridge: str, family: Family) -> Iterator[tuple[str, Sources]]:
    """The workloads behind a bridge with their addresses, those with the same policy as one; last who is none."""
    names: dict[tuple[int, ...], str] = {}
    nets: defaultdict[str, list[Cidr]] = defaultdict(list)
    for endpoint, workload in plan.bridged:
        if workload.bridge == bridge:
            sent = endpoint.egress
            policies = (*(policy for tier in sent.tiers for policy in tier.policies), *sent.profiles)
            same = (len(sent.tiers), *map(id, policies))
            nets[names.setdefault(same, endpoint.name)] += (n for n in workload.addresses if n.family is family)
    left: Sources = (everybody(family),)
    for name, own in nets.items():
        if not own:
            continue
        part = Part(ranges_of(tuple(own), family))
        yield name, (part,)
        left = without(left, part)
    yield UNIDENTIFIED, left
