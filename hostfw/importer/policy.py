"""Lists of foreign rules as policy: HostEndpoints for the interfaces that rules tell apart, and their policies."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import NamedTuple

from hostfw.importer.conditions import (
    EVERY_ICMP,
    EVERY_PORT,
    EVERY_PROTOCOL,
    FOREIGN,
    MAPPED,
    NONE,
    OTHERS,
    STATES,
    Condition,
    Interfaces,
    all_but,
    anything,
)
from hostfw.importer.notes import Note
from hostfw.importer.rule_set import Entry, ForeignRule, ForeignRules, Hook, Verdict, flattened
from hostfw.model.kinds.interface_groups import InterfaceGroup, InterfaceMatch
from hostfw.model.kinds.metadata import Metadata, SelectorText
from hostfw.model.packet import ConntrackState
from hostfw.model.positions import Position
from hostfw.model.ranges import Ranges, bounds, cidrs_of, difference, every_address, holds, size, union
from hostfw.model.resources import (
    ANY_NODE,
    WILDCARD,
    EntityRule,
    GlobalNetworkPolicy,
    HostEndpoint,
    Resource,
    Resources,
    Rule,
)
from hostfw.model.values import (
    ICMP,
    ICMPV6,
    PORT_PROTOCOLS,
    PROTOCOLS,
    Action,
    Cidr,
    Direction,
    Family,
    Icmp,
    PortRange,
    Protocol,
)

_MAPPED_LENGTH = 96
LABEL = "interface"
"""The label by which policies of one class of interfaces select it."""
_MOST_ALTERNATIVES = 32
"""Most protocols or ICMP messages of a rule that are written one by one."""
_NAMES = {protocol.number: protocol for protocol in PROTOCOLS.values()}


class Sourced(NamedTuple):
    """A rule of ours, and the foreign rules that it stands for; none for the end of a chain."""

    rule: Rule
    of: tuple[ForeignRule, ...]


@dataclass(frozen=True, slots=True)
class Imported:
    """The result of an import: resources, and for each policy its rules with their origin, by name."""

    resources: tuple[Resource, ...]
    origins: dict[str, tuple[Sourced, ...]]
    notes: tuple[Note, ...]

    def as_resources(self) -> Resources:
        """The resources by kind, as decoding their manifests would give them."""
        ordered = sorted(self.resources, key=lambda resource: resource.metadata.name)
        return Resources(
            policies=tuple(one for one in ordered if isinstance(one, GlobalNetworkPolicy)),
            endpoints=tuple(one for one in ordered if isinstance(one, HostEndpoint)),
            interface_groups=tuple(one for one in ordered if isinstance(one, InterfaceGroup)),
        )


def as_policy(sources: Sequence[ForeignRules]) -> Imported:
    """The policy of rule sets, one or two, of different families, which tell the same interfaces apart.

    Raises TooManyEntriesError.
    A family without a rule set has no rule: everything of it is denied.
    """
    interfaces = sources[0].interfaces
    classes = interfaces.governed
    notes: list[Note] = []
    listed: dict[tuple[Hook, str], tuple[Sourced, ...]] = {}
    for hook in Hook:
        lists = [(rules.family, flattened(rules, hook)) for rules in sources]
        for one in classes:
            sides = [(family, tuple(_at(family, entries, hook, one, notes))) for family, entries in lists]
            listed[hook, one] = _merged([(family, tuple(_rules(family, entries, notes))) for family, entries in sides])
    forwards = any(not _lets_all_through(listed[Hook.FORWARD, one], sources) for one in classes)
    policies: list[GlobalNetworkPolicy] = []
    origins: dict[str, tuple[Sourced, ...]] = {}
    for hook, name, direction in _HOOKS:
        if hook is Hook.FORWARD and not forwards:
            continue
        alike = len({tuple(sourced.rule for sourced in listed[hook, one]) for one in classes}) == 1
        for one in classes[:1] if alike else classes:
            rules = listed[hook, one]
            if not forwards:
                rules = _without_last_denial(rules)
            policy = _policy(name, None if alike else one, hook, direction, rules)
            origins[policy.metadata.name] = rules
            policies.append(policy)
    endpoints = (resource for one in classes for resource in _endpoints(one, interfaces))
    return Imported((*endpoints, *policies), origins, tuple(dict.fromkeys(notes)))


_HOOKS = (
    (Hook.INPUT, "inbound", Direction.INGRESS),
    (Hook.OUTPUT, "outbound", Direction.EGRESS),
    (Hook.FORWARD, "forwarded", Direction.INGRESS),
)


def _lets_all_through(rules: Sequence[Sourced], sources: Sequence[ForeignRules]) -> bool:
    """True if nothing that is forwarded is denied, so that no policy of forwarded traffic is needed."""
    everything = Rule(Action.ALLOW)
    return len(sources) == len(Family) and [sourced.rule for sourced in rules] == [everything]


def _at(family: Family, entries: Iterable[Entry], hook: Hook, one: str, notes: list[Note]) -> Iterator[Entry]:
    """The entries that new connections meet which come in (or, at OUTPUT, go out) by a class of interfaces."""
    everything = anything(family)
    entries = tuple(entries)
    for entry in entries:
        if ConntrackState.NEW not in entry.condition.states:
            continue
        into, out = {Hook.INPUT: (one, NONE), Hook.OUTPUT: (NONE, one), Hook.FORWARD: (one, None)}[hook]
        here = entry.condition.at(into, out)
        if here is None:
            continue
        if hook is Hook.FORWARD and here.out is not None:
            if entry.rule is not None:
                notes.append(Note(entry.rule.position, _BOTH_INTERFACES.format(entry.rule.text)))
            elif entry.verdict is Verdict.DENY:
                near = next((other.rule.position for other in entries if other.rule is not None), None)
                notes.extend([] if near is None else [Note(near, _RETURNED)])
            continue
        yield entry._replace(condition=replace(here, into=None, out=None))
        if replace(here, into=None, out=None, states=STATES) == everything:
            return


_RETURNED = (
    "rules in front return what goes out by some interface to a chain that denies it: policy cannot say where "
    "forwarded traffic goes out, so this denial is left out"
)
_BOTH_INTERFACES = (
    "policy of forwarded traffic is of the interface that it comes in by, and cannot say where it goes out: the rule "
    "is left out; name the networks that are behind that interface ({})"
)


def _rules(family: Family, entries: Iterable[Entry], notes: list[Note]) -> Iterator[Sourced]:
    for condition, verdict, rule in entries:
        action = Action.ALLOW if verdict is Verdict.ALLOW else Action.DENY
        found = _said(condition, family, action)
        if found is None:
            if rule is not None:
                notes.append(
                    Note(rule.position, f"more protocols or ICMP messages than a rule may list: left out ({rule.text})")
                )
            continue
        origin = () if rule is None else (rule,)
        if rule is not None:
            limit = rule.limit if action is Action.ALLOW else None
            found = tuple(replace(one, position=rule.position, limit=limit) for one in found)
        yield from (Sourced(one, origin) for one in found)


def _said(condition: Condition, family: Family, action: Action) -> tuple[Rule, ...] | None:
    """The rules that say a condition, without the family; None if that takes too many."""
    if any(addresses != every_address(family) and not _cidrs(addresses, family) for addresses in _sides(condition)):
        return ()
    base = Rule(
        action,
        source=_entity(condition.source, family),
        destination=_entity(condition.destination, family),
    )
    # What no packet has is said in no rule.
    protocols = union(condition.protocols, FOREIGN[family])
    if size(all_but(protocols, EVERY_PROTOCOL)) > 1:
        protocols = difference(condition.protocols, FOREIGN[family])
    condition = replace(condition, protocols=protocols)
    found: list[Rule] = []
    without = all_but(condition.protocols, EVERY_PROTOCOL)
    narrowed = [number for number in _narrowed_protocols(condition, family) if _has(condition.protocols, number)]
    if not narrowed and not without:
        return (base,)
    if not narrowed and size(without) == 1:
        return (replace(base, not_protocol=_protocol(without[0], family)),)
    if size(condition.protocols) > _MOST_ALTERNATIVES:
        return None
    for first, last in bounds(condition.protocols):
        for number in range(first, last + 1):
            of_protocol = _of_protocol(replace(base, protocol=_protocol(number, family)), number, condition, family)
            if of_protocol is None:
                return None
            found += of_protocol
    return tuple(found)


def _narrowed_protocols(condition: Condition, family: Family) -> Iterator[int]:
    """The protocols of which not every packet matches."""
    if condition.source_ports != EVERY_PORT or condition.destination_ports != EVERY_PORT:
        yield from PORT_PROTOCOLS
    if condition.icmp != EVERY_ICMP:
        yield _icmp_number(family)


def _of_protocol(rule: Rule, number: int, condition: Condition, family: Family) -> tuple[Rule, ...] | None:
    if number in PORT_PROTOCOLS:
        return (
            replace(
                rule,
                source=_with_ports(rule.source, condition.source_ports),
                destination=_with_ports(rule.destination, condition.destination_ports),
            ),
        )
    if number != _icmp_number(family) or condition.icmp == EVERY_ICMP:
        return (rule,)
    others = tuple(_messages(all_but(condition.icmp, EVERY_ICMP)))
    if len(others) == 1:
        return (replace(rule, not_icmp=others[0]),)
    messages = tuple(_messages(condition.icmp))
    return tuple(replace(rule, icmp=one) for one in messages) if len(messages) <= _MOST_ALTERNATIVES else None


def _messages(icmp: Ranges) -> Iterator[Icmp]:
    """ICMP messages, whole types where every code is among them; type 255 is reserved, and no rule may have it."""
    for first, last in bounds(icmp):
        at = first
        while at <= last and at < 255 * 256:
            if at % 256 == 0 and at + 255 <= last:
                yield Icmp(at // 256)
                at += 256
            else:
                yield Icmp(at // 256, at % 256)
                at += 1


def _entity(addresses: Ranges, family: Family) -> EntityRule:
    whole = every_address(family)
    if addresses == whole:
        return EntityRule()
    wanted, others = _cidrs(addresses, family), _cidrs(all_but(addresses, whole), family)
    if not others:
        return EntityRule()
    return EntityRule(nets=wanted) if len(wanted) <= len(others) else EntityRule(not_nets=others)


def _cidrs(addresses: Ranges, family: Family) -> tuple[Cidr, ...]:
    return tuple(cidr for cidr in cidrs_of(addresses, family) if not _is_mapped(cidr))


def _sides(condition: Condition) -> tuple[Ranges, Ranges]:
    return condition.source, condition.destination


def _is_mapped(cidr: Cidr) -> bool:
    """True for a prefix of which no packet carries an address, and which no policy may have."""
    return cidr.family is Family.V6 and MAPPED[0] <= cidr.address < MAPPED[1] and cidr.length >= _MAPPED_LENGTH


def _with_ports(entity: EntityRule, ports: Ranges) -> EntityRule:
    if ports == EVERY_PORT:
        return entity
    wanted, others = _ranges(ports), _ranges(all_but(ports, EVERY_PORT))
    # A rule has no word for port 0, so a list that holds it is said by all others.
    return replace(entity, not_ports=others) if holds(ports, 0) else replace(entity, ports=wanted)


def _ranges(ports: Ranges) -> tuple[PortRange, ...]:
    return tuple(PortRange(first, last) for first, last in bounds(ports))


def _has(ranges: Ranges, value: int) -> bool:
    return any(first <= value <= last for first, last in bounds(ranges))


def _icmp_number(family: Family) -> int:
    return (ICMP if family is Family.V4 else ICMPV6).number


def _protocol(number: int, family: Family) -> Protocol:
    known = _NAMES.get(number)
    return known if known is not None and known.family in (None, family) else Protocol(number)


def _merged(lists: Sequence[tuple[Family, tuple[Sourced, ...]]]) -> tuple[Sourced, ...]:
    """One list of one or two families: what both have at once is said for both, all else for its family.

    Rules of one family mean nothing to packets of the other, so only the order within each family counts.
    """
    if len(lists) < 2:
        return tuple(_of_family(sourced, family) for family, rules in lists for sourced in rules)
    (one, first), (other, second) = lists
    mine, theirs = ([_key(sourced.rule) for sourced in rules] for rules in (first, second))
    found: list[Sourced] = []
    for kind, a, b, c, d in SequenceMatcher(None, mine, theirs, autojunk=False).get_opcodes():
        if kind == "equal":
            pairs = zip(first[a:b], second[c:d], strict=True)
            found += (Sourced(left.rule, tuple(dict.fromkeys((*left.of, *right.of)))) for left, right in pairs)
        else:
            found += (_of_family(sourced, one) for sourced in first[a:b])
            found += (_of_family(sourced, other) for sourced in second[c:d])
    return tuple(found)


def _key(rule: Rule) -> Rule:
    return replace(rule, position=Position("", 0, 0))


def _of_family(sourced: Sourced, family: Family) -> Sourced:
    """The same for one family, which need not be said where addresses or the protocol say it."""
    rule = sourced.rule
    said = any((rule.source.nets, rule.destination.nets)) or (
        rule.protocol is not None and rule.protocol.family is not None
    )
    return sourced if said else Sourced(replace(rule, ip_version=family), sourced.of)


def _without_last_denial(rules: tuple[Sourced, ...]) -> tuple[Sourced, ...]:
    """Without what the end of the tier says by itself."""
    while rules and not rules[-1].of and rules[-1].rule.action is Action.DENY:
        rules = rules[:-1]
    return rules


def _policy(
    name: str, one: str | None, hook: Hook, direction: Direction, rules: tuple[Sourced, ...]
) -> GlobalNetworkPolicy:
    ours = tuple(sourced.rule for sourced in rules)
    selector = "all()" if one is None else f"{LABEL} == '{_label(one)}'"
    return GlobalNetworkPolicy(
        Metadata(name if one is None else f"{name}-{_label(one)}"),
        # Local traffic would meet the policy of what is forwarded too, if the others had not decided before.
        order=200.0 if hook is Hook.FORWARD else 100.0,
        selector=SelectorText(selector),
        types=(direction,),
        ingress=ours if direction is Direction.INGRESS else (),
        egress=ours if direction is Direction.EGRESS else (),
        apply_on_forward=hook is Hook.FORWARD,
    )


def _endpoints(one: str, interfaces: Interfaces) -> Iterator[Resource]:
    label = _label(one)
    metadata = Metadata(label, ((LABEL, label),))
    if one == OTHERS:
        yield HostEndpoint(metadata, ANY_NODE, interface_name=WILDCARD)
    elif one.endswith("+"):
        others = sorted(name for name in interfaces.names if name != one and name.startswith(one[:-1]))
        excepted = tuple(InterfaceMatch(name=name.removesuffix("+") + "*" * name.endswith("+")) for name in others)
        yield InterfaceGroup(Metadata(label), (InterfaceMatch(name=f"{one[:-1]}*"),), excepted)
        yield HostEndpoint(metadata, ANY_NODE, interface_group=label)
    else:
        yield HostEndpoint(metadata, ANY_NODE, interface_name=one)


def _label(one: str) -> str:
    """A name and a label for a class of interfaces: `eth0`, `eth-any` for `eth+`, `others`."""
    if one == OTHERS:
        return "others"
    text = f"{one[:-1]}-any" if one.endswith("+") else one
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in text.lower()).strip("-") or "interface"
