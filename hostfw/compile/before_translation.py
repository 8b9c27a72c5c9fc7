"""Chains as they are for the destination that packets had before destination NAT.

What a published port is for policy is what the same port of the host itself would be, so nothing is laid out again for
it: the chains of input are gone through, and whatever tests for the destination of the packet tests for that of its
connection instead. A chain that asks for no destination, as most behind a dispatch by port, is the same for both.

The kernel gives the port of a connection for every protocol, and nft only where the rule itself says that the protocol
has ports. In a cell it is the dispatch that has tested for the protocol, so the test is made again, for 5 to 11 ns.
"""

from collections.abc import Iterable

from hostfw.compile.table_builder import TableBuilder
from hostfw.model.alike import alike_ends
from hostfw.nft.objects import Element
from hostfw.nft.rules import Field, Goto, Jump, Key, Match, Rule, Statement, Verdict, Vmap

_ORIGINAL = {
    Key.DADDR: Key.ORIGINAL_DADDR,
    Key.DPORT: Key.ORIGINAL_DPORT,
    Key.DESTINATION_SOCKET: Key.ORIGINAL_SOCKET,
}
_LEADING = (Goto, Jump)
Elements = tuple[tuple[Element, Verdict], ...]
_OF_PORTS = frozenset((Key.ORIGINAL_DPORT, Key.ORIGINAL_SOCKET))


class BeforeTranslation:
    """Makes the chains of a table that a packet meets with its original destination."""

    def __init__(self, builder: TableBuilder) -> None:
        """Chains that earlier tables of the builder's store had are known."""
        self._builder = builder

    def rules(self, rules: Iterable[Rule]) -> list[Rule]:
        """The rules for the original destination of packets of any protocol."""
        return [self._rule(rule, None) for rule in rules]

    def _verdict(self, verdict: Verdict, protocol: int | None) -> Verdict:
        """The verdict that leads on with the original destination; `protocol` is that of the packets, None if open."""
        if not isinstance(verdict, Goto | Jump):
            return verdict
        chain = self._chain(verdict.chain, protocol)
        # Most are the same, and there are tens of thousands.
        return verdict if chain == verdict.chain else type(verdict)(chain)

    def _chain(self, name: str, protocol: int | None) -> str:
        known = self._builder.before_translation[protocol]
        found = known.get(name)
        if found is None:
            rules = self._builder.chains[name].rules
            changed = tuple(self._rule(rule, protocol) for rule in rules)
            found = name if changed == rules else self._builder.chain(_purpose(name), changed)
            known[name] = found
        return found

    def _rule(self, rule: Rule, protocol: int | None) -> Rule:
        if any(match.key is Key.DADDR_TYPE for match in rule.matches):
            # What the log learns of routes is of where the packet goes now.
            return rule
        tested = (match.value for match in rule.matches if match.key is Key.PROTOCOL and not match.negated)
        named = next((value for value in tested if isinstance(value, int)), None)
        within = protocol if named is None else named
        matches = tuple(Match(_ORIGINAL.get(m.key, m.key), m.value, m.negated) for m in rule.matches)
        statements = tuple(self._statement(statement, within) for statement in rule.statements)
        if matches == rule.matches and statements == rule.statements:
            return rule
        asked = {m.key for m in matches} | {key for s in statements if isinstance(s, Vmap) for key in s.keys}
        if named is None and within is not None and asked & _OF_PORTS:
            matches = (Match(Key.PROTOCOL, within), *matches)
        return Rule(matches, statements, rule.comment)

    def _statement(self, statement: Statement, protocol: int | None) -> Statement:
        match statement:
            case Vmap(tuple() as fields, name):
                before = tuple(Field(_ORIGINAL.get(field.key, field.key), field.length) for field in fields)
                return Vmap(before, self._map(name, protocol))
            case Vmap(Key() as key, name, length, mask):
                return Vmap(_ORIGINAL.get(key, key), self._map(name, protocol), length, mask)
            case Goto() | Jump():
                return self._verdict(statement, protocol)
            case _:
                return statement

    def _map(self, name: str, protocol: int | None) -> str:
        known = self._builder.before_translation[protocol]
        if name not in known:
            known[name] = self._changed_map(name, protocol)
        return known[name]

    def _changed_map(self, name: str, protocol: int | None) -> str:
        contents = self._builder.maps[name]
        like = protocol, name.rpartition(".")[0], contents.type, contents.interval
        elements = self._changed_elements(contents.elements, self._builder.last_translated.get(like), protocol)
        if elements == contents.elements:
            found = name
        else:
            found = self._builder.verdict_map(_purpose(name), contents.type, elements, interval=contents.interval)
        self._builder.last_translated[like] = name, found
        return found

    def _changed_elements(self, elements: Elements, last: tuple[str, str] | None, protocol: int | None) -> Elements:
        """The elements of a map for the original destination; those that the last one of its purpose has, from there.

        A verdict leads to a chain that is named after its content, so it stays what it was.
        """
        before, after = (self._builder.maps[of].elements if last is not None else () for of in last or ("", ""))
        first, end = alike_ends(before, elements)
        others = self._changed_verdicts(elements[first : len(elements) - end], protocol)
        return (*after[:first], *others, *after[len(after) - end :])

    def _changed_verdicts(self, elements: Elements, protocol: int | None) -> Elements:
        # Many elements share a verdict, and most verdicts are known to stay.
        verdicts = [verdict for _, verdict in elements]
        verdict_of_id = dict(zip(map(id, verdicts), verdicts, strict=True))
        known = self._builder.before_translation[protocol]
        leading = {which: verdict for which, verdict in verdict_of_id.items() if isinstance(verdict, _LEADING)}
        changed = {
            which: other
            for which, verdict in leading.items()
            if known.get(verdict.chain) != verdict.chain and (other := self._verdict(verdict, protocol)) is not verdict
        }
        if not changed:
            return elements
        return tuple([(key, changed.get(id(verdict), verdict)) for key, verdict in elements])


def _purpose(name: str) -> str:
    """The name of a chain or map of the original destination: after the one that it comes from."""
    return f"published/{name.rpartition('.')[0]}"
