"""Reach within a fleet: which new connections between its hosts both ends let through, and who decides.

What comes in is answered for by `exposure.reach`, with every source at once; what goes out by `explain`, one packet at
a time and only where it would be let in. What lies between two hosts is nobody's business here.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hostfw.explain.verdict import explain
from hostfw.exposure.reach import Reach, reach
from hostfw.exposure.rules import DYNAMIC_PORT, EntryPoint
from hostfw.exposure.sources import Part, common, difference_of
from hostfw.fleet.members import Member, Place
from hostfw.model.packets.explanation import Step, StepVerdict
from hostfw.model.packets.packet import Packet
from hostfw.model.ranges import ranges_of
from hostfw.model.values import Cidr, Direction, Family

Service = tuple[int, int]
"""The protocol number and the port of a service."""


Door = tuple[str, Family, int, Service]
"""A service of a host at one of its addresses."""


class Answer(NamedTuple):
    """The verdict on a connection between two places, and the step that decides it."""

    allowed: bool
    step: Step


@dataclass(frozen=True, slots=True)
class FleetReach:
    """Answers for some services of all hosts of a fleet."""

    members: dict[str, Member]
    doors: dict[Door, Reach]

    def between(self, source: Place, target: Place, service: Service) -> Answer:
        """The verdict on a new connection: the target's where it denies, then the source's."""
        found = self.doors[_key(target, service)]
        coming = next((one for one in found.decisions if one.sources.holds(source.family, source.address)), None)
        if coming is None:
            raise ValueError("nothing decides about a source")
        if coming.step.verdict is StepVerdict.DENY:
            return Answer(allowed=False, step=coming.step)
        protocol, port = service
        packet = Packet(
            source.family,
            protocol,
            source.address,
            target.address,
            DYNAMIC_PORT,
            port,
            out_interface=source.interface,
        )
        going = explain(self.members[source.host].plan, packet)
        return Answer(going.allowed, coming.step if going.allowed else going.decided_by)

    def from_net(self, net: Cidr, target: Place, service: Service, *, allowed: bool) -> Step | None:
        """The first step that decides otherwise than expected about any address of a prefix, None where none does."""
        asked = (Part(ranges_of((net,), net.family)),)
        found = self.doors[_key(target, service)]
        if allowed:
            if not _any(difference_of(asked, found.allowed), net.family):
                return None
            denying = (one for one in found.decisions if one.step.verdict is StepVerdict.DENY)
        else:
            denying = (one for one in found.decisions if one.step.verdict is StepVerdict.ALLOW)
        return next((one.step for one in denying if _any(common(asked, one.sources), net.family)), None)


def fleet_reach(members: Iterable[Member], services: Sequence[Service]) -> FleetReach:
    """Ask every host about these services at each of its places."""
    known = {member.name: member for member in members}
    doors: dict[Door, Reach] = {}
    for member in known.values():
        asked = [(place, service) for place in member.places for service in services]
        points = [EntryPoint(place.family, *_door(place, service), place.interface) for place, service in asked]
        found = reach(member.plan, points) if points else ()
        doors.update((_key(*one), reached) for one, reached in zip(asked, found, strict=True))
    return FleetReach(known, doors)


def pairs(sources: Iterable[Place], targets: Iterable[Place]) -> Iterator[tuple[Place, Place]]:
    """Every way from one host to another, of one family."""
    to = tuple(targets)
    for source in sources:
        for target in to:
            if source.host != target.host and source.family is target.family:
                yield source, target


def side_of(step: Step) -> str:
    """The end of a connection that a step belongs to: "way out" of the source, or "way in" of the target."""
    return "way out" if step.direction is Direction.EGRESS else "way in"


def _door(place: Place, service: Service) -> tuple[int, int, int]:
    protocol, port = service
    return protocol, place.address, port


def _key(place: Place, service: Service) -> Door:
    return place.host, place.family, place.address, service


def _any(parts: Iterable[Part], family: Family) -> bool:
    return any(not part.is_empty(family) for part in parts)
