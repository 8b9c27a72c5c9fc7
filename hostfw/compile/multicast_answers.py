"""Answers to questions that the host asked of everybody on a link, which connection tracking does not know as such.

Such a question goes to a multicast or broadcast address, and its answers come from the addresses of whoever has one
(SSDP, WS-Discovery, mDNS of a resolver that is no responder). What policy let out is noted on its way out of the host,
in postrouting, by the interface and by the address and port that it came from. An answer is what goes there, for some
seconds, from a neighbour. A port below 1024, or one at which questions are asked, is a service's, and not opened.
"""

from collections.abc import Iterator

from hostfw.compile.table_builder import TableBuilder
from hostfw.model.host.interface_names import WILDCARD_END
from hostfw.model.plan import LINK_LOCAL, Plan
from hostfw.model.values import UDP, Cidr, Family, PortRange
from hostfw.nft.objects import Dynamic, ElementType
from hostfw.nft.rules import Accept, Beginning, Jump, Key, Match, Remember, Rule, SetRef

ASKED_ROOM = Dynamic(65_536, 10)
"""Most questions that answers are let in to, and the seconds for which they are: a device answers SSDP within five."""
ASKED = f"asked.{ASKED_ROOM.size}-{ASKED_ROOM.timeout_s}s"

_GROUPS = {Family.V4: Cidr(Family.V4, 224 << 24, 4), Family.V6: Cidr(Family.V6, 0xFF << 120, 8)}
_OF_PROGRAMS = PortRange(1024, 65_535)


def questions(plan: Plan, builder: TableBuilder) -> list[Rule]:
    """The rule of postrouting by which questions are noted, none without the setting. It decides nothing."""
    if not plan.settings.multicast_answers:
        return []
    ports = builder.port_set(tuple(PortRange(port, port) for port in plan.settings.multicast_answers))
    asked = builder.dynamic_set(ASKED, ElementType.QUESTION, ASKED_ROOM)
    asks = (Match(Key.DPORT, ports), Match(Key.SPORT, _OF_PROGRAMS), Match(Key.SPORT, ports, negated=True))
    to_all = [Match(Key.DADDR, _GROUPS[builder.family])]
    if builder.family is Family.V4:
        to_all.append(Match(Key.DADDR_TYPE, "broadcast"))
    note = builder.chain("questions", [Rule((*asks, to), (Remember(asked, Key.QUESTION, None),)) for to in to_all])
    # What the host itself sends came in by no interface.
    return [Rule((Match(Key.IIF, 0), Match(Key.PROTOCOL, UDP.number)), (Jump(note),))]


def answers(plan: Plan, builder: TableBuilder) -> Iterator[Rule]:
    """The rules of input by which answers are let in, from the networks of the interface alone."""
    if not plan.settings.multicast_answers:
        return
    asked = builder.dynamic_set(ASKED, ElementType.QUESTION, ASKED_ROOM)
    near = [Match(Key.SOURCE_ON_LINK, one) for one in builder.network_sets(plan.networks)]
    if builder.family is Family.V6:
        near.append(Match(Key.SADDR, LINK_LOCAL))
    known = (Match(Key.PROTOCOL, UDP.number), Match(Key.ANSWER, SetRef(asked)), *_of_no_workload(plan))
    for one in near:
        yield Rule((*known, one), (Accept(),))


def _of_no_workload(plan: Plan) -> Iterator[Match]:
    for pattern in plan.settings.workloads.patterns:
        beginning = pattern.removesuffix(WILDCARD_END)
        value = pattern if beginning == pattern else Beginning(beginning)
        yield Match(Key.IIFNAME, value, negated=True)
