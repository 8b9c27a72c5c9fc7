"""Lists of foreign rules as policy: HostEndpoints for the interfaces that rules tell apart, and their policies."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import NamedTuple

from hostfw.importer.condition_rules import rules_saying
from hostfw.importer.conditions import (
    EVERY_MAC,
    IPSEC_OR_NOT,
    NONE,
    OTHERS,
    STATES,
    Condition,
    Interfaces,
    anything,
)
from hostfw.importer.notes import Note
from hostfw.importer.rule_set import Entry, ForeignRule, ForeignRules, Hook, Verdict, flattened
from hostfw.model.kinds.interface_groups import InterfaceGroup, InterfaceMatch
from hostfw.model.kinds.metadata import Metadata, SelectorText
from hostfw.model.packets.packet import ConntrackState
from hostfw.model.positions import Position
from hostfw.model.resources import (
    ANY_NODE,
    WILDCARD,
    GlobalNetworkPolicy,
    HostEndpoint,
    Resource,
    Resources,
    Rule,
)
from hostfw.model.values import (
    Action,
    Direction,
    Family,
)

LABEL = "interface"
"""The label by which policies of one class of interfaces select it."""
_TOO_LONG = "more protocols, ICMP messages or Ethernet addresses than rules may list: left out ({})"


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
        if here is None or (hook is Hook.OUTPUT and not _can_be_sent(here)):
            continue
        if hook is Hook.OUTPUT:
            here = replace(here, ipsec=IPSEC_OR_NOT)
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


def _can_be_sent(condition: Condition) -> bool:
    """True if a packet matches that the host sends: it has no Ethernet address yet, and came through nothing."""
    return condition.macs == EVERY_MAC and False in condition.ipsec


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
        found = rules_saying(condition, family, action)
        if found is None:
            if rule is not None:
                notes.append(Note(rule.position, _TOO_LONG.format(rule.text)))
            continue
        origin = () if rule is None else (rule,)
        if rule is not None:
            limit = rule.limit if action is Action.ALLOW else None
            found = tuple(replace(one, position=rule.position, limit=limit) for one in found)
        yield from (Sourced(one, origin) for one in found)


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
