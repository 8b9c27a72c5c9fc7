"""Zones and policies of firewalld as the chains of its nftables backend."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from hostfw.importer.firewalld.expressions import (
    ACCEPT,
    DROP,
    IPSET,
    REJECT,
    address,
    match,
    meta,
    ports,
    protocol_named,
    unknown,
)
from hostfw.importer.firewalld.icmp import messages
from hostfw.importer.firewalld.ipsets import IpSet
from hostfw.importer.firewalld.xml import Element
from hostfw.importer.nft.listing import BaseChain, ListedRule, Listing
from hostfw.importer.nft.text import Json
from hostfw.importer.notes import Note
from hostfw.importer.rule_set import Hook, Verdict
from hostfw.model.positions import Position
from hostfw.model.values import FAMILIES

TABLE: dict[str, Json] = {"family": "inet", "table": "firewalld"}
NAME = "inet firewalld"
PARTS = ("pre", "log", "deny", "allow", "post")
"""The parts of the chain of a zone or policy, in their order."""
_FAMILIES = ("ipv4", "ipv6")
_ACTIONS: Mapping[str, Json] = {"accept": ACCEPT, "reject": {"reject": None}, "drop": DROP}
_OUTSIDE = ("masquerade", "forward-port", "tcp-mss-clamp")
"""Elements that change packets and filter none."""
_DESCRIBED = frozenset({"short", "description"})


@dataclass(slots=True)
class Chains:
    """The chains while they grow, with what describes services and ipsets."""

    services: Mapping[str, Element]
    ipsets: Mapping[str, IpSet]
    listing: Listing = field(default_factory=Listing)
    _later: dict[str, list[tuple[int, ListedRule]]] = field(default_factory=dict)

    def base(self, chain: str, hook: Hook) -> None:
        """Begin a chain at a hook."""
        self.listing.bases.append(BaseChain(10, f"{NAME} {chain}", hook, Verdict.ALLOW, FAMILIES))

    def add(self, chain: str, position: Position, text: str, *expr: Json) -> None:
        """Add a rule to a chain."""
        self.listing.rules.append(self._rule(chain, position, text, expr))

    def add_by_priority(self, chain: str, priority: int, position: Position, text: str, *expr: Json) -> None:
        """Add a rule to a chain whose rules are in the order of priorities, once all are known."""
        self._later.setdefault(chain, []).append((priority, self._rule(chain, position, text, expr)))

    def finish(self) -> Listing:
        """The listing with everything in it."""
        for rules in self._later.values():
            self.listing.rules += (rule for _, rule in sorted(rules, key=lambda item: item[0]))
        self.listing.sets[NAME] = {name: one.content for name, one in self.ipsets.items()}
        return self.listing

    def note(self, position: Position, message: str) -> None:
        """Say something beside the rules."""
        self.listing.notes.append(Note(position, message))

    def _rule(self, chain: str, position: Position, text: str, expr: Iterable[Json]) -> ListedRule:
        content: dict[str, Json] = {**TABLE, "chain": chain, "expr": [self._resolved(one) for one in expr]}
        return ListedRule(f"{NAME} {chain}", position, content, text)

    def _resolved(self, expr: Json) -> Json:
        """A match of an ipset, with the keys that the set has."""
        match expr:
            case {"ipset:": {"name": str(name), "side": str(side), "op": str(op)}}:
                if name not in self.ipsets:
                    return unknown(f"the ipset {name}, which no file describes")
                return {"match": {**self.ipsets[name].match(side, op), "right": f"@{name}"}}
            case _:
                return expr

    def body(self, chain: str) -> None:
        """Make the parts of a chain be met one after the other."""
        for part in PARTS:
            self.add(chain, Position("firewalld", 0, 0), f"jump {part}", go_to("jump", f"{chain}_{part}"))

    def content(self, of: Element, name: str, chain: str, known: frozenset[str]) -> None:
        """Add what a zone or policy lets through or denies, and name what it has besides."""
        inverted = any(of.all("icmp-block-inversion"))
        for element in of.children:
            text = f"{name}: {element.as_text}"
            match element.name:
                case "service" | "port" | "protocol" | "source-port":
                    for expr in self._element(element, _FAMILIES):
                        self.add(f"{chain}_allow", element.position, text, *expr, ACCEPT)
                case "icmp-block":
                    self._icmp_block(element, chain, text, inverted=inverted)
                case "rule":
                    self._rich(element, chain, text)
                case _ if element.name in _OUTSIDE:
                    self.note(
                        element.position,
                        f"hostfw filters, and does no more: keep {element.as_text} in a table of your own "
                        f"(docs: recipes, NAT router) ({name})",
                    )
                case _ if element.name not in known | _DESCRIBED:
                    self.note(element.position, f"{element.as_text} is not known here, and left out ({name})")
                case _:
                    pass

    def _icmp_block(self, element: Element, chain: str, text: str, *, inverted: bool) -> None:
        """Add a block of an ICMP message, or with `icmp-block-inversion` what is let through."""
        for expr in self._messages(element, _FAMILIES):
            if inverted:
                self.add(f"{chain}_allow", element.position, text, *expr, ACCEPT)
            else:
                self.add(f"{chain}_deny", element.position, text, *expr, REJECT)

    def _messages(self, element: Element, families: tuple[str, ...]) -> list[list[Json]]:
        name = element.get("name")
        return messages(name, families) or [[unknown(f"the ICMP message {name}")]]

    def _element(self, element: Element, families: tuple[str, ...]) -> Iterator[list[Json]]:
        """The alternatives of what an element matches."""
        match element.name:
            case "service":
                yield from self._service(element.get("name"), ())
            case "port":
                yield ports(element)
            case "source-port":
                yield ports(element, "sport")
            case "protocol":
                yield [protocol_named(element.get("value"))]
            case "icmp-type" | "icmp-block":
                yield from self._messages(element, families)
            case _:
                yield [unknown(element.as_text)]

    def _service(self, name: str, above: tuple[str, ...]) -> Iterator[list[Json]]:
        service = self.services.get(name)
        if service is None:
            yield [unknown(f"the service {name}, which no file describes")]
            return
        destinations: list[list[Json]] = [
            [address("daddr", one.get(family))]
            for one in service.all("destination")
            for family in _FAMILIES
            if one.get(family)
        ] or [[]]
        for child in service.children:
            alternatives: list[list[Json]] = []
            match child.name:
                case "port":
                    alternatives = [ports(child)]
                case "source-port":
                    alternatives = [ports(child, "sport")]
                case "protocol":
                    alternatives = [[protocol_named(child.get("value"))]]
                case "include" if child.get("service") not in above:
                    yield from self._service(child.get("service"), (*above, name))
                case "helper":
                    self.note(child.position, f"{_without_helper(child)} ({child.as_text} of service {name})")
                case "module" | "destination" | "include":
                    pass
                case _ if child.name not in _DESCRIBED:
                    alternatives = [[unknown(f"{child.as_text} of service {name}")]]
            yield from ([*where, *one] for where in destinations for one in alternatives)

    def _rich(self, rule: Element, chain: str, text: str) -> None:
        """Add a rich rule (firewalld.richlanguage(5))."""
        family = rule.get("family")
        families = (family,) if family in _FAMILIES else _FAMILIES
        expr: list[Json] = [match(meta("nfproto"), family)] if family else []
        priority = rule.get("priority") or "0"
        action, subject = "", None
        for child in rule.children:
            match child.name:
                case "source" | "destination":
                    expr.append(_side(child))
                case "accept" | "reject" | "drop" | "mark":
                    action = child.name
                    expr += ({"limit": {"rate": limit.get("value"), "per": ""}} for limit in child.all("limit"))
                case "log" | "nflog" | "audit":
                    pass
                case "limit":
                    expr.append({"limit": {"rate": child.get("value"), "per": ""}})
                case _:
                    subject = child
        expr += (
            unknown(f"the attribute {one} of a rich rule") for one in set(rule.attributes) - {"family", "priority"}
        )
        if subject is not None and subject.name in _OUTSIDE:
            self.note(rule.position, f"hostfw filters, and does no more: keep it in a table of your own ({text})")
            return
        if action == "mark":
            self.note(rule.position, f"hostfw marks no packets: keep it in a table of your own ({text})")
            return
        if not action and subject is not None and subject.name == "icmp-block":
            action = "reject"
        if not action or not priority.lstrip("-").isdecimal():
            if any(rule.all("log", "nflog", "audit")) and not action:
                return
            self.note(rule.position, f"the rule is not understood, and left out ({text})")
            return
        number = int(priority)
        alternatives = [[]] if subject is None else list(self._element(subject, families))
        for one in alternatives:
            whole = (*expr, *one, _ACTIONS[action])
            if number:
                part = "pre" if number < 0 else "post"
                self.add_by_priority(f"{chain}_{part}", number, rule.position, text, *whole)
            else:
                self.add(f"{chain}_{'allow' if action == 'accept' else 'deny'}", rule.position, text, *whole)


def go_to(kind: str, chain: str) -> Json:
    """On to a chain: `jump` comes back, `goto` does not."""
    target: dict[str, Json] = {"target": chain}
    return {kind: target}


def _without_helper(helper: Element) -> str:
    """Say what does the work of a helper of connections, of which hostfw sets up none."""
    if helper.get("name") == "netbios-ns":
        return "multicastAnswers: [137] in hostfw.yaml lets the answers in that this helper lets in"
    return "hostfw sets up no helper of connections: keep it in a table of your own (docs: recipes, NFS and FTP)"


def _side(element: Element) -> Json:
    """The source or destination of a rich rule."""
    side = "saddr" if element.name == "source" else "daddr"
    negated = element.get("invert").lower() in ("true", "yes", "1")
    if set(element.attributes) - {"address", "mac", "ipset", "invert", "family"}:
        return unknown(element.as_text)
    where = element.get("address") or element.get("mac") or f"{IPSET}{element.get('ipset')}"
    return address(side, where, negated=negated)
