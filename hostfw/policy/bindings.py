"""Bindings: which HostEndpoint governs which interface of this host.

An interface is governed by one HostEndpoint: among those that claim it (by name, by an expected address, by an
InterfaceGroup) the first by name, however specific the others are. What no HostEndpoint claims belongs to the first
`*` by name, or is unmanaged. A HostEndpoint that names an interface is bound to the name whether the interface is
there or not, since rules match names, so there is no open moment when it appears.

`lo` is special: it carries what the host says to itself, and a rule meant for the network breaks resolvers and
databases. It is governed only by a HostEndpoint that says `lo`: by `interfaceName: lo`, or by an InterfaceGroup with
an entry whose `name` is `lo` (no glob) or whose `kind` is `loopback`. With `loopback: policed` it is an interface like
any other for `*` and for expectedIPs as well, as in Calico.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

from hostfw.model.facts import HostFacts, Interface
from hostfw.model.plan import Binding
from hostfw.model.problems import Problem, Severity
from hostfw.model.resources import HostEndpoint, InterfaceGroup, InterfaceMatch
from hostfw.model.settings import Loopback
from hostfw.model.values import address_text
from hostfw.policy.wording import listed

WILDCARD = "*"
LOOPBACK = "lo"


@dataclass(frozen=True, slots=True)
class Bindings:
    """The governed interfaces, sorted by name, and the HostEndpoint of all others if there is one."""

    bindings: tuple[Binding, ...] = ()
    wildcard: str | None = None

    @property
    def governing(self) -> frozenset[str]:
        """The names of the HostEndpoints that govern anything."""
        return frozenset((*(b.endpoint for b in self.bindings), *filter(None, (self.wildcard,))))


class Claim(NamedTuple):
    """A HostEndpoint's wish to govern an interface, and why."""

    interface: str
    endpoint: HostEndpoint
    reason: str


def bind(
    endpoints: Iterable[HostEndpoint],
    groups: Iterable[InterfaceGroup],
    loopback: Loopback,
    facts: HostFacts,
) -> tuple[Bindings, tuple[Problem, ...]]:
    """The bindings of this node's HostEndpoints to the interfaces that `facts` has or that they name.

    All problems are warnings. Those about what the host lacks are left out when `facts` has no interface at all:
    every host has `lo`, so nobody has looked.
    """
    in_order = sorted(endpoints, key=lambda e: e.metadata.name)
    matched = _members_of_groups(in_order, groups, facts)
    claims: defaultdict[str, list[Claim]] = defaultdict(list)
    problems: list[Problem] = []
    for endpoint in in_order:
        claimed = [c for c in _claims(endpoint, matched, facts) if _may_govern(c, loopback)]
        problems.extend(_claim_problems(endpoint, claimed, facts))
        for claim in claimed:
            if is_safe_name(claim.interface) or claim.interface == WILDCARD:
                claims[claim.interface].append(claim)
    problems.extend(_unknown_link_groups(in_order, groups, facts))
    problems.extend(_lost_claims(claims))

    wildcards = claims.pop(WILDCARD, [])
    if wildcards and loopback is Loopback.POLICED and LOOPBACK not in claims:
        claims[LOOPBACK] = [wildcards[0]._replace(interface=LOOPBACK, reason="interfaceName *, loopback: policed")]
    present = {i.name for i in facts.interfaces}
    bindings = tuple(
        Binding(name, won[0].endpoint.metadata.name, won[0].reason, present=name in present)
        for name, won in sorted(claims.items())
    )
    return Bindings(bindings, wildcards[0].endpoint.metadata.name if wildcards else None), tuple(problems)


def is_safe_name(interface: str) -> bool:
    """Whether an interface name means itself, and itself alone, as a quoted string of nftables.

    The kernel takes nearly any byte. Between double quotes nft 1.0.6 takes printable ASCII as it stands, apart from
    the double quote itself, the backslash (an escape before `*`), and a `*` at the end (any name that begins so).
    """
    return (
        bool(interface)
        and all("!" <= character <= "~" and character not in '"\\' for character in interface)
        and not interface.endswith("*")
    )


def in_group(group: InterfaceGroup, interface: Interface, facts: HostFacts) -> bool:
    """Whether an interface is in an InterfaceGroup: any entry of `match` holds and none of `except`.

    Of the entries of `match` only those that say so count for `lo`.
    """
    numbers = dict(facts.link_groups)
    entries = (m for m in group.match if interface.name != LOOPBACK or m.name == LOOPBACK or m.kind == "loopback")
    return any(_holds(m, interface, numbers) for m in entries) and not any(
        _holds(m, interface, numbers) for m in group.except_
    )


def _holds(entry: InterfaceMatch, interface: Interface, numbers: Mapping[str, int]) -> bool:
    if entry.name is not None and not any(fnmatchcase(n, entry.name) for n in (interface.name, *interface.altnames)):
        return False
    if entry.kind is not None and interface.kind != entry.kind:
        return False
    if entry.link_group is not None:
        number = numbers.get(entry.link_group) if isinstance(entry.link_group, str) else entry.link_group
        if interface.link_group != number:
            return False
    if entry.master is not None and interface.master != entry.master:
        return False
    if entry.address_in and not any(
        prefix.family is address.family and prefix.contains(address.address)
        for prefix in entry.address_in
        for address in interface.addresses
    ):
        return False
    return entry.default_route is None or interface.default_route == entry.default_route


def _members_of_groups(
    endpoints: Iterable[HostEndpoint], groups: Iterable[InterfaceGroup], facts: HostFacts
) -> dict[str, tuple[str, ...]]:
    named = {e.interface_group for e in endpoints}
    return {
        group.metadata.name: tuple(sorted(i.name for i in facts.interfaces if in_group(group, i, facts)))
        for group in groups
        if group.metadata.name in named
    }


def _claims(endpoint: HostEndpoint, matched: Mapping[str, tuple[str, ...]], facts: HostFacts) -> Iterator[Claim]:
    if endpoint.interface_name is not None:
        yield Claim(endpoint.interface_name, endpoint, f"interfaceName {endpoint.interface_name}")
    elif endpoint.interface_group is not None:
        for name in matched[endpoint.interface_group]:
            yield Claim(name, endpoint, f"interfaceGroup {endpoint.interface_group}")
    else:
        expected = frozenset(endpoint.expected_ips)
        for interface in facts.interfaces:
            held = next((a for a in sorted(interface.addresses) if a in expected), None)
            if held is not None:
                yield Claim(interface.name, endpoint, f"expectedIPs {address_text(held.family, held.address)}")


def _may_govern(claim: Claim, loopback: Loopback) -> bool:
    """Whether a claim stands: an address on `lo` says nothing about `lo`, unless Calico's ways are asked for."""
    by_address = claim.endpoint.interface_name is None and claim.endpoint.interface_group is None
    return claim.interface != LOOPBACK or loopback is Loopback.POLICED or not by_address


def _claim_problems(endpoint: HostEndpoint, claimed: list[Claim], facts: HostFacts) -> Iterator[Problem]:
    who = f'HostEndpoint "{endpoint.metadata.name}"'
    for claim in claimed:
        if claim.interface != WILDCARD and not is_safe_name(claim.interface):
            yield _warning(
                endpoint,
                f"{who} cannot govern the interface {claim.interface!r}: nftables cannot match its name",
                expected='a name of printable ASCII without " and \\ and without * at its end',
                hint="rename the interface; until then it is treated as one that no HostEndpoint names",
            )
    if not facts.interfaces:
        return
    if endpoint.interface_name is not None:
        if endpoint.interface_name != WILDCARD and facts.interface(endpoint.interface_name) is None:
            yield _absent(endpoint, endpoint.interface_name, facts)
    elif endpoint.interface_group is not None and not claimed:
        yield _warning(
            endpoint,
            f'{who} governs nothing now: the InterfaceGroup "{endpoint.interface_group}" has no interface of this host',
            expected=_interfaces_text(facts),
        )
    elif not claimed:
        yield _warning(
            endpoint,
            f"{who} governs nothing now: no interface of this host has one of its expectedIPs",
            hint="give an interfaceName, which binds whatever the addresses are",
        )


def _absent(endpoint: HostEndpoint, name: str, facts: HostFacts) -> Problem:
    alternative = next((i.name for i in facts.interfaces if name in i.altnames), None)
    hint = "its policy applies as soon as the interface appears"
    if alternative is not None:
        hint = f'"{name}" is an alternative name of "{alternative}", and rules match the name itself'
    return _warning(
        endpoint,
        f'HostEndpoint "{endpoint.metadata.name}" names the interface "{name}", which this host does not have',
        expected=_interfaces_text(facts),
        hint=hint,
    )


def _unknown_link_groups(
    endpoints: Iterable[HostEndpoint], groups: Iterable[InterfaceGroup], facts: HostFacts
) -> Iterator[Problem]:
    if not facts.interfaces:
        return
    known = dict(facts.link_groups)
    named = {e.interface_group for e in endpoints}
    for group in groups:
        for entry in (*group.match, *group.except_):
            if group.metadata.name in named and isinstance(entry.link_group, str) and entry.link_group not in known:
                such_as = f" such as {listed(known)}" if known else ""
                yield Problem(
                    entry.position,
                    f'this host has no link group "{entry.link_group}", so no interface matches this entry',
                    expected=f"a number, or a name of /etc/iproute2/group{such_as}",
                    severity=Severity.WARNING,
                )


def _lost_claims(claims: Mapping[str, list[Claim]]) -> Iterator[Problem]:
    lost: defaultdict[tuple[str, str], list[Claim]] = defaultdict(list)
    for contenders in claims.values():
        winner, *losers = contenders
        for loser in losers:
            lost[winner.endpoint.metadata.name, loser.endpoint.metadata.name].append(loser)
    for (winner_name, loser_name), losses in lost.items():
        where = listed(c.interface for c in losses)
        yield _warning(
            losses[0].endpoint,
            f'HostEndpoint "{loser_name}" does not govern {where}: "{winner_name}" does, being first by name',
            expected="one HostEndpoint for an interface",
        )


def _warning(endpoint: HostEndpoint, message: str, *, expected: str = "", hint: str = "") -> Problem:
    position = endpoint.metadata.position if endpoint.interface_group is None else endpoint.interface_group_position
    return Problem(position, message, expected=expected, hint=hint, severity=Severity.WARNING)


def _interfaces_text(facts: HostFacts) -> str:
    return f"one of {listed(i.name for i in facts.interfaces)}"
