"""Leaves without the rules that follow the dispatch anyway.

Behind a dispatch stand the rules for all packets that it does not tell apart. A leaf that ends in those very rules does
not repeat them: it is jumped to, and a packet that it leaves undecided comes back to them. That is a rule less for each
leaf, for the disk, for nft, and for the kernel, which walks through all of them whenever it checks a table.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from hostfw.nft.objects import Chain, VerdictMap
from hostfw.nft.rules import (
    Accept,
    Drop,
    Goto,
    Jump,
    OverCount,
    OverLimit,
    Reject,
    Remember,
    Return,
    Rule,
    Statement,
    Vmap,
)


def own_rules(rules: Sequence[Rule], tail: Sequence[Rule], returning: "Returning") -> Sequence[Rule] | None:
    """The rules of a leaf in front of its tail; None where it does not end so, or may only be gone to.

    A rule that returns, or goes to a chain that may, means to return to where the dispatch came from, and must not meet
    the tail.
    """
    if not tail or len(rules) <= len(tail) or rules[-len(tail) :] != tail:
        return None
    own = rules[: -len(tail)]
    return None if any(map(returning.of_rule, own)) else own


@dataclass(slots=True)
class Returning:
    """Chains and maps from which a packet that was sent there by goto may return."""

    chains: Mapping[str, Chain]
    maps: Mapping[str, VerdictMap]
    _chains: dict[str, bool] = field(default_factory=dict)
    _maps: dict[str, bool] = field(default_factory=dict)

    def of_rule(self, rule: Rule) -> bool:
        """True if a packet that matches may return from the chain of the rule."""
        return any(map(self._of_statement, rule.statements))

    def forget(self, chains: Iterable[str], maps: Iterable[str]) -> None:
        """Forget what is known of chains and maps that are no more."""
        for name in chains:
            self._chains.pop(name, None)
        for name in maps:
            self._maps.pop(name, None)

    def _of_statement(self, statement: Statement) -> bool:
        match statement:
            case Return():
                return True
            case Goto(chain):
                return self._of_chain(chain)
            case Vmap(map=name):
                return self._of_map(name)
            case _:
                return False

    def _of_chain(self, name: str) -> bool:
        known = self._chains.get(name)
        if known is None:
            rules = self.chains[name].rules
            known = self._chains[name] = not _ends(rules) or any(map(self.of_rule, rules))
        return known

    def _of_map(self, name: str) -> bool:
        known = self._maps.get(name)
        if known is None:
            verdicts = (verdict for _, verdict in self.maps[name].elements)
            known = self._maps[name] = any(map(self._of_statement, verdicts))
        return known


def _ends(rules: Sequence[Rule]) -> bool:
    """True if no packet gets past the last rule."""
    return bool(rules) and not rules[-1].matches and _decides(rules[-1].statements)


def _decides(statements: Iterable[Statement]) -> bool:
    *before, last = statements
    conditional = any(isinstance(one, OverLimit | OverCount | Remember | Vmap | Jump) for one in before)
    return isinstance(last, Accept | Drop | Reject | Goto) and not conditional
