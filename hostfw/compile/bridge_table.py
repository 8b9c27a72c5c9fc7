"""The table of bridges: which port may send what, before anything else looks at a frame.

It keeps no state, and decides by ports alone:

    hook         priority       ours
    prerouting   -300           each port of a workload: its Ethernet address, its addresses in IPv4, IPv6, ARP and
                                neighbour discovery; nothing that only a router or a server of leases says
    input        -300           the same for frames to addresses of the link itself, which no prerouting sees
    forward      -300           from workload to workload, and between ports of other bridges
    output       -300           to ports of workloads, and to those of other bridges

A port that is in neither of the two lists is closed both ways: no rule can tell which bridge it is a port of, and it is
so from its first frame on. What passes meets policy in the tables of IPv4 and IPv6, to which the kernel hands what is
between ports as well (br_netfilter, at the priorities 0 and -1, behind this table).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from typing import TypeVar

from hostfw.audit.log_prefix import LogTag, encode
from hostfw.compile import object_names as names
from hostfw.compile.layout.costs import DEFAULT_COSTS, CostModel
from hostfw.compile.layout.nft_rules.log_limits import LOG_RECORDS, SUPPRESSED
from hostfw.compile.layout.parts import in_parts
from hostfw.model.host.guests import Workload
from hostfw.model.packets.decisions import Reason
from hostfw.model.plan import Plan, PlannedEndpoint
from hostfw.model.settings import Logging
from hostfw.model.values import BRIDGE, Action, Direction, Family, Mac, address_text
from hostfw.nft.objects import (
    BaseChain,
    Chain,
    Dynamic,
    ElementType,
    Hook,
    Priority,
    Set,
    Table,
    VerdictMap,
)
from hostfw.nft.rules import (
    Accept,
    CounterRef,
    Drop,
    Goto,
    Key,
    Log,
    Match,
    OverLimit,
    Rule,
    SetRef,
    Verdict,
    Vmap,
)

_ETHER_TYPES = ("ip", "arp", "ip6")
"""The kinds of frame that policy knows; a tagged one is of none of them."""
_REPLY_TO_LEASES = (("ip", 67, 68), ("ip6", 547, 546))
"""Answers of a server of leases: EtherType, port of the server, port of the client (RFC 2131, 4.1; RFC 8415, 7.2)."""
_OF_ROUTERS = (134, 137)
"""Router advertisement and redirect (RFC 4861, 4.2 and 4.5)."""
_ADVERTISEMENT = 136
_SOLICITATIONS = (133, 135, 131, 132, 143)
"""The messages before there is an address: for a router, for oneself (RFC 4862, 5.4), and MLD (RFC 3590)."""
_LINK_GROUPS = "01:80:c2:00:00:00-01:80:c2:00:00:0f"
"""Addresses that no bridge passes on (IEEE 802.1D, 7.12.6)."""
_PORTS_WITH_LIMITS = Dynamic(4096, 60)


def bridge_table(plan: Plan, costs: CostModel = DEFAULT_COSTS) -> Table | None:
    """The table of bridges; None where no bridge has workloads."""
    return _BridgeTable(plan, costs).table() if plan.settings.workloads.bridges else None


class _BridgeTable:
    def __init__(self, plan: Plan, costs: CostModel) -> None:
        self._plan = plan
        self._together = costs.dispatched_together
        self._logging = plan.settings.logging
        self._chains: dict[str, Chain] = {}
        self._maps: dict[str, VerdictMap] = {}
        self._sets: dict[str, Set] = {}
        self._counters: set[str] = {LOG_RECORDS, SUPPRESSED[0]}

    def table(self) -> Table:
        ports = sorted((workload.port, endpoint, workload) for endpoint, workload in self._plan.bridged)
        theirs = tuple(port for port, _, _ in ports)
        others = self._set("other-ports", self._plan.other_ports)
        sends, gets = Direction.EGRESS, Direction.INGRESS
        unknown = self._denied(sends, Reason.UNIDENTIFIED, Key.IIFNAME)
        denials = (
            self._denied(sends, Reason.SPOOFED, Key.IIFNAME),
            self._denied(sends, Reason.TO_HOST, Key.IIFNAME),
            unknown,
        )
        judged = {port: Goto(self._port(endpoint, workload, denials)) for port, endpoint, workload in ports}
        first = self._chain("sent", self._sent(judged, [*_of(Key.IIFNAME, others), Rule((), (unknown,))]))
        nowhere = self._denied(gets, Reason.UNIDENTIFIED, Key.OIFNAME)
        undelivered = Rule((), (nowhere,))
        forwarded = self._forwarded(theirs, [*_between(others, others), undelivered], undelivered)
        # What a bridge itself says (STP, every two seconds) is for no workload, and nothing that anybody tried.
        unsaid = Rule((Match(Key.ETHER_DADDR, _LINK_GROUPS),), (Drop(),))
        put_out = self._to_ports("put-out", theirs, [*_of(Key.OIFNAME, others), unsaid, undelivered])
        bases = (
            self._base(Hook.PREROUTING, [Rule((), (Goto(first),))]),
            self._base(Hook.INPUT, [Rule((Match(Key.ETHER_DADDR, _LINK_GROUPS),), (Goto(first),)), _ACCEPTED]),
            self._base(Hook.FORWARD, forwarded),
            self._base(Hook.OUTPUT, put_out),
        )
        return Table(
            BRIDGE,
            tuple(sorted(self._counters)),
            _sorted(self._sets),
            _sorted(self._maps),
            _sorted(self._chains),
            bases,
        )

    def _sent(self, judged: Mapping[str, Verdict], rest: list[Rule]) -> list[Rule]:
        """Rules for what each port of a workload sends, and the rest."""

        def rules_of(ports: tuple[str, ...]) -> Iterator[Rule]:
            elements = tuple((port, judged[port]) for port in ports)
            if elements:
                contents = names.named_map("sent", VerdictMap("", ElementType.IFNAME, elements), BRIDGE)
                self._maps[contents.name] = contents
                yield Rule((), (Vmap(Key.IIFNAME, contents.name),))

        return self._by_parts(Key.IIFNAME, "sent", tuple(judged), rules_of, rest)

    def _forwarded(self, theirs: tuple[str, ...], rest: list[Rule], undelivered: Rule) -> list[Rule]:
        """Rules for what is between ports of workloads, and the rest: one look at both ends, or two among many."""
        if len(theirs) <= self._together:
            ports = self._set("ports", theirs)
            return [*_of_type((Match(Key.IIFNAME, SetRef(ports)),), ports), *rest] if ports is not None else rest
        delivered = Goto(self._chain("delivered", self._to_ports("delivered", theirs, [undelivered])))

        def rules_of(ports: tuple[str, ...]) -> Iterator[Rule]:
            return ((Rule(rule.matches, (delivered,))) for rule in _of(Key.IIFNAME, self._set("ports", ports)))

        return self._by_parts(Key.IIFNAME, "forwarded", theirs, rules_of, rest)

    def _to_ports(self, purpose: str, theirs: tuple[str, ...], rest: list[Rule]) -> list[Rule]:
        """Rules for what goes to ports of workloads, and the rest."""

        def rules_of(ports: tuple[str, ...]) -> Iterator[Rule]:
            return _of_type((), self._set("ports", ports))

        return self._by_parts(Key.OIFNAME, purpose, theirs, rules_of, rest)

    def _by_parts(
        self,
        key: Key,
        purpose: str,
        ports: tuple[str, ...],
        rules_of: Callable[[tuple[str, ...]], Iterable[Rule]],
        rest: list[Rule],
    ) -> list[Rule]:
        chain = partial(self._part, purpose)
        return in_parts(key, ports, self._together, rules_of, rest, chain)

    def _part(self, purpose: str, of: str, rules: Iterable[Rule]) -> str:
        return self._chain(f"{purpose}/{of}", rules)

    def _port(self, endpoint: PlannedEndpoint, workload: Workload, denials: tuple[Verdict, Verdict, Verdict]) -> str:
        chain = _port_chain(endpoint.name, workload, denials)
        self._chains[chain.name] = chain
        return chain.name

    def _denied(self, direction: Direction, reason: Reason, port: Key) -> Verdict:
        """The verdict that counts a frame, logs it within the limit of its port, and drops it."""
        tag = LogTag(Action.DENY, direction, reason)
        counter = names.drop_counter(tag)
        self._counters.add(counter)
        return Goto(self._chain(f"deny/{reason}", _denying(tag, counter, port, self._limits(tag), self._logging)))

    def _limits(self, tag: LogTag) -> str:
        rate, burst = self._logging.rate_per_second, self._logging.burst_packets
        room = f"{_PORTS_WITH_LIMITS.size}-{_PORTS_WITH_LIMITS.timeout_s}s"
        name = f"log/port/{tag.direction.short}.{tag.reason}.{rate}-{burst}.{room}"
        self._sets[name] = Set(name, ElementType.IFNAME, (), dynamic=_PORTS_WITH_LIMITS)
        return name

    def _set(self, purpose: str, ports: tuple[str, ...]) -> str | None:
        """The name of a set of interfaces; None where there is none."""
        if not ports:
            return None
        contents = names.named_set(Set(purpose, ElementType.IFNAME, ports), BRIDGE)
        self._sets[contents.name] = contents
        return contents.name

    def _chain(self, purpose: str, rules: Iterable[Rule]) -> str:
        chain = names.chain(purpose, rules, BRIDGE)
        self._chains[chain.name] = chain
        return chain.name

    def _base(self, hook: Hook, rules: list[Rule]) -> BaseChain:
        return BaseChain(hook, Priority.RAW, policy_drop=False, rules=names.signed(rules, BRIDGE))


_ACCEPTED = Rule((), (Accept(),))
_Named = TypeVar("_Named", Set, VerdictMap, Chain)


def _sorted(objects: dict[str, _Named]) -> tuple[_Named, ...]:
    return tuple(objects[name] for name in sorted(objects))


def _of(key: Key, ports: str | None) -> Iterator[Rule]:
    if ports is not None:
        yield Rule((Match(key, SetRef(ports)),), (Accept(),))


def _of_type(matches: tuple[Match, ...], ports: str | None) -> Iterator[Rule]:
    """Rules that accept what goes out at these ports, of the kinds of frame that policy knows."""
    if ports is not None:
        for kind in _ETHER_TYPES:
            of_kind = Match(Key.OIFNAME, SetRef(ports)), Match(Key.ETHER_TYPE, kind)
            yield Rule((*matches, *of_kind), (Accept(),))


def _between(ports: str | None, others: str | None) -> Iterator[Rule]:
    if ports is not None and others is not None:
        yield Rule((Match(Key.IIFNAME, SetRef(ports)), Match(Key.OIFNAME, SetRef(others))), (Accept(),))


def _denying(tag: LogTag, counter: str, port: Key, limits: str, logging: Logging) -> Iterator[Rule]:
    rate, burst = logging.rate_per_second, logging.burst_packets
    yield Rule((), (CounterRef(counter),))
    yield Rule((), (OverLimit(limits, port, None, rate, burst), CounterRef(SUPPRESSED[0]), Drop()))
    yield Rule((), (CounterRef(LOG_RECORDS), Log(encode(tag), logging.group, logging.snaplen_bytes), Drop()))


@lru_cache(maxsize=16_384)
def _port_chain(name: str, workload: Workload, denials: tuple[Verdict, Verdict, Verdict]) -> Chain:
    return names.chain(f"port/{name}", _port_rules(workload, *denials), BRIDGE)


def _port_rules(workload: Workload, spoofed: Verdict, of_server: Verdict, unknown: Verdict) -> Iterator[Rule]:
    """The rules for what a workload sends on its port: its Ethernet address first, then the inside of the frame."""
    mac = workload.mac
    if mac is None:
        yield Rule((), (unknown,))
        return
    yield Rule((Match(Key.ETHER_SADDR, str(mac), negated=True),), (spoofed,))
    for kind, server, client in _REPLY_TO_LEASES:
        yield Rule((*_type(kind), *_ports(server, client)), (of_server,))
    v4 = [address_text(net.family, net.address) for net in workload.addresses if net.family is Family.V4]
    v6 = [net.address for net in workload.addresses if net.family is Family.V6]
    accept = (Accept(),)
    yield from (Rule((*_type("ip"), Match(Key.IP_SADDR, address)), accept) for address in v4)
    yield Rule((*_type("ip"), Match(Key.IP_SADDR, "0.0.0.0"), *_ports(68, 67)), accept)
    for address in (*v4, "0.0.0.0"):
        ends = Match(Key.ARP_SADDR_ETHER, str(mac)), Match(Key.ARP_SADDR_IP, address)
        yield Rule((*_type("arp"), *_OF_ETHERNET, *ends), accept)
    yield from _ipv6_rules((*v6, _link_local(mac)), spoofed, of_server)
    others = (Match(Key.ETHER_TYPE, kind, negated=True) for kind in _ETHER_TYPES)
    yield Rule(tuple(others), (unknown,))
    yield Rule((), (spoofed,))


def _ipv6_rules(addresses: tuple[int, ...], spoofed: Verdict, of_router: Verdict) -> Iterator[Rule]:
    ipv6, accept = _type("ip6"), (Accept(),)
    yield from (Rule((*ipv6, _icmp(kind)), (of_router,)) for kind in _OF_ROUTERS)
    targets = [f"{address:#034x}" for address in addresses]
    of_others = (Match(Key.ND_TARGET, target, negated=True) for target in targets)
    yield Rule((*ipv6, _icmp(_ADVERTISEMENT), *of_others), (spoofed,))
    for address in addresses:
        yield Rule((*ipv6, Match(Key.IP6_SADDR, address_text(Family.V6, address))), accept)
    unspecified = Match(Key.IP6_SADDR, "::")
    for kind in _SOLICITATIONS:
        asked = targets if kind == _ASKS_FOR_ITSELF else [None]
        for target in asked:
            of_itself = [] if target is None else [Match(Key.ND_TARGET, target)]
            yield Rule((*ipv6, unspecified, _icmp(kind), *of_itself), accept)


_ASKS_FOR_ITSELF = 135
_OF_ETHERNET = (
    Match(Key.ARP_HTYPE, "1"),
    Match(Key.ARP_PTYPE, "ip"),
    Match(Key.ARP_HLEN, "6"),
    Match(Key.ARP_PLEN, "4"),
)
"""ARP of IPv4 over Ethernet, the only one whose fields stand where they are looked for."""


def _type(kind: str) -> tuple[Match, ...]:
    return (Match(Key.ETHER_TYPE, kind),)


def _icmp(kind: int) -> Match:
    return Match(Key.ICMP_TYPE, kind)


def _ports(source: int, destination: int) -> tuple[Match, ...]:
    return Match(Key.UDP_SPORT, str(source)), Match(Key.UDP_DPORT, str(destination))


def _link_local(mac: Mac) -> int:
    """The address that an interface has of itself by its Ethernet address (RFC 4291, appendix A)."""
    high, low = mac.value >> 24, mac.value & 0xFFFFFF
    return 0xFE80 << 112 | (high ^ 0x020000) << 40 | 0xFFFE << 24 | low
