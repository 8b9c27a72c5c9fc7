"""Planned rules in the words of their manifests."""

from collections.abc import Iterable, Iterator

from hostfw.cli.describe.description import Entry, Role
from hostfw.cli.kinds import shortened
from hostfw.model.kinds.source_limit import SourceLimit
from hostfw.model.plan import AddressSet, Plan, PlannedDirection, PlannedPolicy, PlannedRule, PlannedSide, RuleIdentity
from hostfw.model.prefixes import Cidrs
from hostfw.model.values import FAMILIES, Cidr, Icmp, address_text
from hostfw.model.wording import counted

_MANY = 10_000
"""Of so many it is not worth the time to tell addresses from prefixes."""

Criterion = tuple[str, str]
"""A criterion by its name in manifests (as `Step.missed` has it), and its value for people."""


def criteria(rule: PlannedRule, *, whole: bool = False) -> Iterator[Criterion]:
    """Everything that a rule asks of a packet, with the first of many prefixes and ports or the `whole` lists."""
    if rule.families != FAMILIES and rule.protocol is None:
        yield "ipVersion", ", ".join(f"{family:d}" for family in rule.families) or "none"
    if rule.protocol is not None:
        yield "protocol", " or ".join(map(str, rule.protocols))
    if rule.not_protocol is not None:
        yield "notProtocol", str(rule.not_protocol)
    for name, icmp in (("icmp", rule.icmp), ("notICMP", rule.not_icmp)):
        if icmp is not None:
            yield name, icmp_text(icmp)
    if rule.ipsec is not None:
        yield "ipsec", "true" if rule.ipsec else "false"
    for name, side in (("source", rule.source), ("destination", rule.destination)):
        for criterion, value in _side(side, whole=whole):
            yield f"{name}.{criterion}", value


def rule_text(rule: PlannedRule, *, whole: bool = False) -> str:
    """A rule on one line: its action, and what it asks of a packet; `whole` is as of `criteria`."""
    asked = ", ".join(f"{name} {value}" for name, value in criteria(rule, whole=whole))
    notes = ", ".join([*limit_words(rule.limit), *(["not logged"] if rule.unrecorded else [])])
    action = f"{rule.action.value} ({notes})" if notes else rule.action.value
    return f"{action}: {asked}" if asked else action


def limit_words(limit: SourceLimit | None) -> tuple[str, ...]:
    """A limit in words, none where there is none."""
    return () if limit is None else (f"{' and '.join(limit.parts)} from one source",)


def rule_entry(rule: PlannedRule) -> Entry:
    """A rule as an entry of a description."""
    return Entry(
        Role.RULE,
        f"[{rule.identity.index}]",
        rule_text(rule, whole=True),
        rule.position,
        short=rule_text(rule),
    )


def criterion_text(rule: PlannedRule, name: str, *, whole: bool = False) -> str:
    """One criterion of a rule with its value; `whole` is as of `criteria`."""
    value = dict(criteria(rule, whole=whole)).get(name)
    if value is None and name == "ipVersion":
        # Nets and ICMP keep a rule out of the other IP version as ipVersion does.
        value = ", ".join(f"{family:d}" for family in rule.families)
    return f"{name} {value}" if value else name


def rules_by_identity(plan: Plan) -> dict[RuleIdentity, PlannedRule]:
    """Every rule of a Plan."""
    directions = (d for endpoint in plan.endpoints for d in (endpoint.ingress, endpoint.egress))
    return {rule.identity: rule for d in directions for policy in _policies(d) for rule in policy.rules}


def icmp_text(icmp: Icmp) -> str:
    """An ICMP type, and the code if there is one."""
    return f"type {icmp.type}" if icmp.code is None else f"type {icmp.type} code {icmp.code}"


def _policies(direction: PlannedDirection) -> Iterator[PlannedPolicy]:
    for tiers in (direction.untracked_tiers, direction.pre_dnat_tiers, direction.tiers, direction.forward_tiers):
        for tier in tiers:
            yield from tier.policies
    yield from direction.profiles


def _side(side: PlannedSide, *, whole: bool) -> Iterator[Criterion]:
    if side.nets is not None:
        yield "nets", nets_text(side.nets, whole=whole)
    if side.local is not None:
        yield "nets", listed_nets_text(side, whole=whole)
    if side.macs:
        yield "macs", shortened(map(str, side.macs), whole=whole)
    if side.not_nets or side.not_local is not None:
        yield "notNets", listed_nets_text(side, negated=True, whole=whole)
    if side.address_set is not None:
        yield "selector", selected_text(side.address_set)
    if side.not_address_set is not None:
        yield "notSelector", selected_text(side.not_address_set)
    for name, negated in (("ports", False), ("notPorts", True)):
        ports = ports_text(side, negated=negated, whole=whole)
        if ports:
            yield name, ports


def ports_text(side: PlannedSide, *, negated: bool = False, whole: bool = False) -> str:
    """The ports that a side names, or with `negated` those that it must not have; empty where it names none."""
    ranges, sets = (side.not_ports, side.not_port_sets) if negated else (side.ports or (), side.port_sets)
    named = (f"{ports.name} ({counted(len(ports.members), 'member')})" for ports in sets)
    restricted = bool(ranges or sets) if negated else side.restricts_ports
    return shortened((*map(str, ranges), *named), whole=whole) if restricted else ""


def nets_text(nets: Iterable[Cidr], *, whole: bool = False) -> str:
    """Prefixes and addresses, the first of many or all."""
    texts = (address_text(net.family, net.address) if net.is_host else str(net) for net in nets)
    return shortened(texts, whole=whole)


def listed_nets_text(side: PlannedSide, *, negated: bool = False, whole: bool = False) -> str:
    """A list of prefixes that may have the networks of interfaces too, with how many of them are known."""
    if negated:
        links, nets = side.not_local, side.not_nets
    else:
        links, nets = (None, side.nets or ()) if side.local is None else (side.local.links, side.local.nets)
    known = [] if links is None else [f"local ({counted(len(links.networks), 'network')} of interfaces)"]
    return ", ".join((*known, *([nets_text(nets, whole=whole)] if nets else [])))


def selected_text(addresses: AddressSet) -> str:
    """A selector, and how many addresses it stands for."""
    parts = [addresses_text(addresses.cidrs)] if addresses.cidrs or not addresses.external else []
    parts.extend(f"external set {external.name}" for external in addresses.external)
    return f"{addresses.selector} ({', '.join(parts)})"


def addresses_text(cidrs: Cidrs) -> str:
    """The number of addresses and prefixes: `3 addresses, 1 prefix`; for very many only their total."""
    if len(cidrs) > _MANY:
        return f"{len(cidrs)} addresses and prefixes"
    hosts = sum(cidr.is_host for cidr in cidrs)
    parts = [counted(hosts, "address", "addresses")] if hosts else []
    if len(cidrs) > hosts:
        parts.append(counted(len(cidrs) - hosts, "prefix", "prefixes"))
    return ", ".join(parts) or "no address"
