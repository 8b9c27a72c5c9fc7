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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hostfw.model.host.facts import HostFacts
from hostfw.model.host.interface_names import is_safe_name
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.kinds.interface_groups import InterfaceGroup
from hostfw.model.plan import Binding
from hostfw.model.problems import Problem, Severity
from hostfw.model.resources import WILDCARD, HostEndpoint
from hostfw.model.settings import Loopback, Workloads
from hostfw.model.values import Cidr, address_text
from hostfw.model.wording import listed, unlisted
from hostfw.policy.resolve.interface_groups import (
    Distrusted,
    HostIndex,
    distrusted,
    distrusted_addresses,
    members_of,
)

_VRF = "vrf"
_NO_WORKLOADS = Workloads()


@dataclass(frozen=True, slots=True)
class Bindings:
    """The governed interfaces, sorted by name, and the HostEndpoint of all others if there is one.

    The interfaces of `workloads` are never a HostEndpoint's.
    """

    bindings: tuple[Binding, ...] = ()
    wildcard: str | None = None
    workloads: Workloads = _NO_WORKLOADS

    def governing_unbound(self, interface: str) -> str | None:
        """The HostEndpoint that governs an interface without a binding, None for none."""
        return None if interface == LOOPBACK or self.workloads.has(interface) else self.wildcard

    @property
    def governing(self) -> frozenset[str]:
        """The names of the HostEndpoints that govern anything."""
        return frozenset((*(b.endpoint for b in self.bindings), *filter(None, (self.wildcard,))))


class Claim(NamedTuple):
    """A HostEndpoint's wish to govern an interface, and why."""

    interface: str
    endpoint: HostEndpoint
    reason: str
    is_wildcard: bool = False


def bind(
    endpoints: Iterable[HostEndpoint],
    groups: Iterable[InterfaceGroup],
    loopback: Loopback,
    facts: HostFacts,
    workloads: Workloads = _NO_WORKLOADS,
) -> tuple[Bindings, tuple[Problem, ...]]:
    """The bindings of this node's HostEndpoints to the interfaces that `facts` has or that they name.

    All problems are warnings. Those about what the host lacks are left out when `facts` has no interface at all:
    every host has `lo`, so nobody has looked.
    """
    in_order = sorted(endpoints, key=lambda e: e.metadata.name)
    host = HostIndex(facts)
    named = {endpoint.interface_group for endpoint in in_order}
    used = [group for group in groups if group.metadata.name in named]
    matched = {group.metadata.name: members_of(group, host) for group in used}
    claims: defaultdict[str, list[Claim]] = defaultdict(list)
    wildcards: list[Claim] = []
    problems: list[Problem] = []
    for endpoint in in_order:
        claimed = [c for c in _claims(endpoint, matched, host) if _may_govern(c, loopback)]
        problems.extend(_claim_problems(endpoint, claimed, host))
        for claim in claimed:
            if claim.is_wildcard:
                wildcards.append(claim)
            elif workloads.has(claim.interface):
                problems.append(_of_a_workload(claim))
            elif is_safe_name(claim.interface):
                claims[claim.interface].append(claim)
    problems.extend(_unknown_link_groups(used, host))
    problems.extend(distrusted_problems(used, in_order, host))
    problems.extend(_lost_claims((*claims.values(), *filter(None, (wildcards,)))))

    if wildcards and loopback is Loopback.POLICED and LOOPBACK not in claims:
        claims[LOOPBACK] = [Claim(LOOPBACK, wildcards[0].endpoint, "interfaceName *, loopback: policed")]
    masters = {interface.name: interface.master for interface in facts.interfaces}
    bindings = tuple(
        Binding(
            name,
            won[0].endpoint.metadata.name,
            won[0].reason,
            present=name in host.names,
            port_of=masters.get(name),
        )
        for name, won in sorted(claims.items())
    )
    wildcard = wildcards[0].endpoint.metadata.name if wildcards else None
    return Bindings(bindings, wildcard, workloads), tuple(problems)


def _of_a_workload(claim: Claim) -> Problem:
    return _warning(
        claim.endpoint,
        f'HostEndpoint "{claim.endpoint.metadata.name}" does not govern {claim.interface}: the setting workloads names '
        "it, so that it is a workload's",
        expected="interfaces that are no workload's",
        hint=f"write a WorkloadEndpoint for {claim.interface}, or take it out of workloads.interfaces in hostfw.yaml",
    )


def distrusted_problems(
    groups: Iterable[InterfaceGroup], endpoints: Sequence[HostEndpoint], host: HostIndex
) -> Iterator[Problem]:
    """Warnings about entries and expectedIPs that match nothing because what they ask for came from a neighbour.

    Of the groups those count that an endpoint names.
    """
    named = {endpoint.interface_group for endpoint in endpoints}
    for group in groups:
        for entry in group.match if group.metadata.name in named else ():
            found = distrusted(entry, host)
            if found is not None:
                yield Problem(
                    entry.position,
                    f"no interface matches this entry: {listed(found.facts)}, and a neighbour may say that",
                    expected="addresses and default routes that an administrator set",
                    hint=f"add {found.trusting} if it is to decide all the same",
                    severity=Severity.WARNING,
                    more=unlisted(found.facts),
                )
    for endpoint in endpoints:
        doubted = _distrusted_expectation(endpoint, host)
        if doubted is not None:
            yield _warning(
                endpoint,
                f'HostEndpoint "{endpoint.metadata.name}" claims no interface now: {listed(doubted.facts)}, '
                "and a neighbour may say that",
                expected="expectedIPs that an administrator set",
                hint=f"give an interfaceName, or add {doubted.trusting} if it is to decide all the same",
                more=unlisted(doubted.facts),
            )


def _distrusted_expectation(endpoint: HostEndpoint, host: HostIndex) -> Distrusted | None:
    """The reason why no interface has a trusted expected address of an endpoint: a neighbour supplied it."""
    if not _is_bound_by_address(endpoint):
        return None
    wanted = frozenset(endpoint.expected_ips)
    holders = {one.name: one for cidr in endpoint.expected_ips for one in host.holders(cidr)}
    if any(not wanted.isdisjoint(one.addresses_of(endpoint.learned)) for one in holders.values()):
        return None
    found = [distrusted_addresses(one, endpoint.learned, wanted) for one in holders.values()]
    return next((one for one in found if one is not None), None)


def _is_bound_by_address(endpoint: HostEndpoint) -> bool:
    return endpoint.interface_name is None and endpoint.interface_group is None


def _claims(endpoint: HostEndpoint, matched: Mapping[str, tuple[str, ...]], host: HostIndex) -> Iterator[Claim]:
    if endpoint.interface_name is not None:
        name = endpoint.interface_name
        yield Claim(name, endpoint, f"interfaceName {name}", is_wildcard=name == WILDCARD)
    elif endpoint.interface_group is not None:
        for name in matched[endpoint.interface_group]:
            yield Claim(name, endpoint, f"interfaceGroup {endpoint.interface_group}")
    else:
        held: dict[str, Cidr] = {}
        for cidr in sorted(endpoint.expected_ips):
            for interface in host.holders(cidr):
                if cidr in interface.addresses_of(endpoint.learned):
                    held.setdefault(interface.name, cidr)
        for name, cidr in sorted(held.items()):
            yield Claim(name, endpoint, f"expectedIPs {address_text(cidr.family, cidr.address)}")


def _may_govern(claim: Claim, loopback: Loopback) -> bool:
    """True if a claim stands: an address on `lo` says nothing about `lo`, unless Calico's ways are asked for."""
    by_address = _is_bound_by_address(claim.endpoint)
    return claim.interface != LOOPBACK or loopback is Loopback.POLICED or not by_address


def _claim_problems(endpoint: HostEndpoint, claimed: list[Claim], host: HostIndex) -> Iterator[Problem]:
    who = f'HostEndpoint "{endpoint.metadata.name}"'
    for claim in claimed:
        if not claim.is_wildcard and not is_safe_name(claim.interface):
            yield _warning(
                endpoint,
                f"{who} cannot govern the interface {claim.interface!r}: nftables cannot match its name",
                expected='a name of printable ASCII without " and \\ and without * at its end',
                hint="rename the interface; until then it has the policy of the HostEndpoint *, or without one what "
                "unmanagedInterfaces says, which leaves egress open unless it denies it",
            )
    if not host.names:
        return
    if endpoint.interface_name is not None:
        if endpoint.interface_name != WILDCARD and endpoint.interface_name not in host.names:
            yield _absent(endpoint, endpoint.interface_name, host)
    elif endpoint.interface_group is not None and not claimed:
        yield _warning(
            endpoint,
            f'{who} claims no interface now: InterfaceGroup "{endpoint.interface_group}" has none of this host',
            expected=host.all_names,
        )
    elif not claimed and _distrusted_expectation(endpoint, host) is None:
        yield _warning(
            endpoint,
            f"{who} claims no interface now: no interface of this host has one of its expectedIPs",
            hint="give an interfaceName, which binds whatever the addresses are",
        )


def port_problems(bound: Bindings, endpoints: Iterable[HostEndpoint], facts: HostFacts) -> Iterator[Problem]:
    """HostEndpoints that govern a port of a bridge or bond, where no packet is judged, and not the bridge or bond."""
    by_name = {endpoint.metadata.name: endpoint for endpoint in endpoints}
    governs = {binding.interface: binding.endpoint for binding in bound.bindings}
    ports: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for binding in bound.bindings:
        of_host = binding.endpoint in by_name
        if of_host and binding.port_of is not None and governs.get(binding.port_of) != binding.endpoint:
            ports[binding.endpoint, binding.port_of].append(binding.interface)
    kinds = {interface.name: interface.kind for interface in facts.interfaces}
    for (name, master), names in sorted(ports.items()):
        kind = kinds.get(master) or "interface"
        who = governs.get(master, bound.wildcard)
        governing = "no HostEndpoint governs" if who is None else f'HostEndpoint "{who}" governs'
        are = f"is a port of the {kind}" if len(names) == 1 else f"are ports of the {kind}"
        where = "packets for this host come in" if kind == _VRF else "packets come in and go out"
        yield _warning(
            by_name[name],
            f'HostEndpoint "{name}" is for {listed(names)}, which {are} {master}: {where} on {master}',
            expected=f"a HostEndpoint for {master}, which {governing} now",
            hint=f"name {master} instead",
            more=unlisted(names),
        )


def _absent(endpoint: HostEndpoint, name: str, host: HostIndex) -> Problem:
    alternative = host.by_altname.get(name)
    hint = "its policy applies as soon as the interface appears"
    if alternative is not None:
        hint = f'"{name}" is an alternative name of "{alternative.name}", and rules match the name itself'
    return _warning(
        endpoint,
        f'HostEndpoint "{endpoint.metadata.name}" names the interface "{name}", which this host does not have',
        expected=host.all_names,
        hint=hint,
        more=host.unlisted_names,
    )


def _unknown_link_groups(groups: Iterable[InterfaceGroup], host: HostIndex) -> Iterator[Problem]:
    if not host.names:
        return
    known = host.link_groups
    for group in groups:
        for entry in (*group.match, *group.except_):
            if isinstance(entry.link_group, str) and entry.link_group not in known:
                such_as = f" such as {listed(known)}" if known else ""
                yield Problem(
                    entry.position,
                    f'this host has no link group "{entry.link_group}", so no interface matches this entry',
                    expected=f"a number, or a name of /etc/iproute2/group{such_as}",
                    severity=Severity.WARNING,
                    more=unlisted(known),
                )


def _lost_claims(claims: Iterable[list[Claim]]) -> Iterator[Problem]:
    lost: defaultdict[tuple[str, str], list[Claim]] = defaultdict(list)
    for contenders in claims:
        winner, *losers = contenders
        for loser in losers:
            lost[winner.endpoint.metadata.name, loser.endpoint.metadata.name].append(loser)
    for (winner_name, loser_name), losses in lost.items():
        where = listed(c.interface for c in losses)
        yield _warning(
            losses[0].endpoint,
            f'HostEndpoint "{loser_name}" does not govern {where}: "{winner_name}" does, being first by name',
            expected="one HostEndpoint for an interface",
            more=unlisted(c.interface for c in losses),
        )


def _warning(
    endpoint: HostEndpoint, message: str, *, expected: str = "", hint: str = "", more: tuple[str, ...] = ()
) -> Problem:
    position = endpoint.metadata.position if endpoint.interface_group is None else endpoint.interface_group_position
    return Problem(position, message, expected=expected, hint=hint, severity=Severity.WARNING, more=more)
