"""NftRules: rules in nft's own words. Nothing in them may reach beyond the one rule that it is.

What nft makes of a rule is asked of the kernel before it comes into force; here only that holds which no kernel says:
that a rule is one rule, of one line, in the chain that it is meant for, with no name of an object of ours in it.
"""

import re
from collections.abc import Iterator

from hostfw.manifest.fields import Reader, Shape, choice, described, fields, items, number, text
from hostfw.manifest.scalars.scalars import each, ip_version
from hostfw.manifest.yaml.nodes import Mapping, Node, Sequence
from hostfw.model.kinds.metadata import Metadata
from hostfw.model.kinds.nft_rules import NftHook, NftRule, NftRules
from hostfw.model.values import FAMILIES
from hostfw.model.wording import quoted

NFT_RULES_SHAPE = Shape("the spec of NftRules", frozenset(("hook", "order", "ipVersion", "rules")))

MOST_RULES = 1000
"""Rules of one resource; what needs more of them needs a set, and so a policy."""
LONGEST_RULE = 4000
"""Characters of a rule."""

HOOKS = {hook.value: hook for hook in NftHook}

_TOKEN = re.compile(r'"[^"]*"|@(?:ll|nh|th|ih),|[A-Za-z_][A-Za-z0-9_.-]*|[^\s]')
"""The parts of a rule: texts in quotes, the beginning of raw payload (`@th,16,16`), words, other characters."""
_OPENING = {"{": "}", "(": ")", "[": "]"}
_PLACES = frozenset(("position", "handle", "index"))
"""Words that nft reads in front of a rule as the place for it, in any chain."""
_LETTING_PASS = frozenset(("accept", "queue"))
"""Verdicts after which a packet does not meet the rest of the chain, or not if a program in user space says so."""
_VERDICTS = frozenset(("accept", "drop", "reject", "queue"))
_DECIDING_HOOKS = (NftHook.INPUT, NftHook.OUTPUT)
"""Hooks at which one chain decides, so that `accept` there means what it says."""

_REFUSED_WORDS = {
    "jump": ("it leads to another chain", "write the rules of that chain here, each with the conditions of the jump"),
    "goto": ("it leads to another chain", "write the rules of that chain here, each with the conditions of the goto"),
    "meter": ("it makes a set of its own", "a policy with limitPerSource, or a table of your own"),
    "include": ("a rule stands for itself", "write out what the file has"),
}
_REFUSED_CHARACTERS = {
    ";": ("it begins another command", "one rule an item"),
    "#": ("it begins a comment", 'a comment of YAML, or comment "..." at the end of the rule'),
    "$": ("a rule knows no variables", "write the value out"),
    "\\": ("a rule is one line", "the whole rule on one line"),
    "@": (
        "sets belong to hostfw, under names of its own",
        "the elements in { ... }, or a policy with a GlobalNetworkSet",
    ),
}


def decode_nft_rules(reader: Reader, metadata: Metadata, spec: Node) -> NftRules:
    """NftRules, as far as can be told without nft."""
    found = fields(reader, spec, NFT_RULES_SHAPE)
    for name, expected in (("hook", ", ".join(HOOKS)), ("rules", "a list of rules as nft writes them")):
        if name not in found:
            reader.report(spec, f"{name} is missing", expected)
    hook = choice(reader, found.get("hook"), "hook", HOOKS)
    family = ip_version(reader, found.get("ipVersion"))
    listed = items(reader, found.get("rules"), "rules", MOST_RULES)
    if isinstance(found.get("rules"), Sequence) and not listed:
        reader.report(found["rules"], "rules is empty", "at least one rule")
    rules = each(reader, listed, "rules", lambda reader, node, what: _rule(reader, node, what, hook))
    return NftRules(
        metadata,
        hook or NftHook.INPUT,
        number(reader, found.get("order"), "order"),
        FAMILIES if family is None else (family,),
        rules,
    )


def _rule(reader: Reader, node: Node, what: str, hook: NftHook | None) -> NftRule | None:
    if isinstance(node, Mapping):
        reader.report(node, f"{what} is {described(node)}", "a string", "a rule with a colon goes in quotes: '...'")
        return None
    found = text(reader, node, what)
    if found is None:
        return None
    written = found.strip(" ")
    wrong = _wrong_with(written, hook)
    if wrong is None:
        words = {word for word in _words(written) if word in _VERDICTS}
        return NftRule(written, reader.at(node), tuple(sorted(words)))
    message, expected, hint = wrong
    shown = f" {quoted(written)}" if written.isprintable() else ""
    reader.report(node, f"the rule{shown} {message}", expected, hint)
    return None


def _words(rule: str) -> Iterator[str]:
    return (token for token in _TOKEN.findall(rule) if not token.startswith('"'))


def _wrong_with(rule: str, hook: NftHook | None) -> tuple[str, str, str] | None:
    """The mistake in a rule, what is expected, and a hint; None for a rule that nft may be asked about."""
    expected = "one rule as nft writes it, such as: udp dport 9999 drop"
    if not rule:
        return "is empty", expected, ""
    if len(rule) > LONGEST_RULE:
        return f"has {len(rule)} characters", f"{LONGEST_RULE} at most", ""
    if not rule.isprintable():
        return "has a line break, or a character that nobody sees", "one rule on one line", "one rule an item"
    if rule.count('"') % 2:
        return 'has a quote (") without its end', expected, ""
    words = list(_words(rule))
    if not words:
        return "is only a text in quotes", expected, ""
    if words[0] in _PLACES:
        return "says where it goes", expected, "order says which of several NftRules comes first"
    return _wrong_word(words, hook) or _unbalanced(words)


def _wrong_word(words: list[str], hook: NftHook | None) -> tuple[str, str, str] | None:
    for word in words:
        refused = _REFUSED_WORDS.get(word) or _REFUSED_CHARACTERS.get(word)
        if refused is not None:
            return f"has {quoted(word)}: {refused[0]}", refused[1], ""
        if word in _LETTING_PASS and hook is not None and hook not in _DECIDING_HOOKS:
            why = f"at {hook} other chains and policies still decide, so it would not let anything through"
            return f"has {quoted(word)}: {why}", "rules that drop, or change packets", "a policy says what is allowed"
    return None


def _unbalanced(words: list[str]) -> tuple[str, str, str] | None:
    ends: list[str] = []
    for word in words:
        if word in _OPENING:
            ends.append(_OPENING[word])
        elif word in _OPENING.values() and (not ends or ends.pop() != word):
            return f"has {quoted(word)} without its begin", "brackets in pairs", ""
    return (f"lacks a {quoted(ends[-1])}", "brackets in pairs", "") if ends else None
