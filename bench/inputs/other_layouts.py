"""The same policies in other layouts, which the sweep of mixtures measures beside that of hostfw.

A list, as rich rules of firewalld are; a chain for each policy, as Felix of Calico has them; by hand: one lookup for
each kind of key that leads to a verdict at once, which is the least that lookups can cost, since it knows no order
between them; and one lookup that knows each of the packets.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from socket import AF_INET, AF_INET6, inet_ntop

from bench.inputs.mixtures import INTERFACE
from hostfw.compile.layout.costs import CostModel
from hostfw.model.packets.packet import Packet
from hostfw.model.values import Family
from hostfw.nft.object_text import render
from hostfw.nft.objects import Chain, Hook, Priority, Ruleset, Table
from hostfw.nft.rule_text import rule_text
from hostfw.nft.rules import Accept, Goto, Key, Note, Return, Rule

AS_LIST = CostModel(10_000_000, 100, 100, 64, inline_cidrs=12, inline_ports=100, shared_rules=10_000_000)
"""Rules one after the other; the members of a selector are a set, as Calico and firewalld have them."""
_PASSED, _ALLOWED = 0x20000, 0x10000
_STRIDE = 5
"""The policies behind which Felix has a return (`returnStride`)."""
_GROUP = 5
"""Rules in a row that are policies; fewer are those around them, as for failsafe ports."""
PolicyHook = tuple[Family, Hook, Priority]
"""The family of packets, and the hook where they meet policy."""


def entry_of(ruleset: Ruleset, way: PolicyHook) -> tuple[Table, str]:
    """The table of a family, and the chain of the program of the interface for what comes in, or is forwarded."""
    family, *hook = way
    table = next(table for table in ruleset.tables if table.family is family)
    chains = {chain.name: chain for chain in table.chains}
    base = next(base for base in table.base_chains if [base.hook, base.priority] == hook)
    (to_root,) = (one for one in base.rules[-1].statements if isinstance(one, Goto))
    for rule in chains[to_root.chain].rules:
        if any(match.key is Key.IIFNAME and match.value == INTERFACE for match in rule.matches):
            (to_program,) = (one for one in rule.statements if isinstance(one, Goto))
            return table, to_program.chain
    raise LookupError(INTERFACE)


def _hooked(table: Table, entry: str, more: str = "") -> str:
    hook = "type filter hook prerouting priority -300; policy accept;"
    body = render(Ruleset((replace(table, base_chains=()),)))
    return "\n".join(
        (
            body,
            more,
            f"add chain {table.family.nft} hostfw bench {{ {hook} }}",
            f"add rule {table.family.nft} hostfw bench jump {entry}",
            "",
        )
    )


def as_compiled(ruleset: Ruleset, way: PolicyHook) -> str:
    """The rules as they were compiled."""
    table, entry = entry_of(ruleset, way)
    return _hooked(table, entry)


def without_order(ruleset: Ruleset) -> Ruleset:
    """The same lookups, where what is found decides at once."""

    def changed(rule: Rule) -> Rule:
        if not any(isinstance(one, Note) and one.number for one in rule.statements):
            return rule
        return Rule(tuple(match for match in rule.matches if match.key is not Key.SCRATCH), (Accept(),))

    tables = (
        replace(table, chains=tuple(Chain(one.name, tuple(map(changed, one.rules))) for one in table.chains))
        for table in ruleset.tables
    )
    return Ruleset(tuple(tables))


def policy_chains(listed: Ruleset, way: PolicyHook) -> str:
    """A list as Felix lays policies out for nftables: a chain for each, with marks for what it decided.

    It is what `endpoints.go` and `policy.go` of felix/rules in Calico 3.30 write for one group of policies, the
    cheapest form that they have: a test of the marks before each jump but the first of five, a return behind these
    five, and in the chain of a policy one rule that sets the mark of its action. What costs more with Calico is left
    out: each of its rules tests for the protocol again, and a denial is two rules.
    """
    table, entry = entry_of(listed, way)
    text, chains = [], []
    for chain in table.chains:
        parts = [(any_of, list(those)) for any_of, those in groupby(chain.rules, lambda rule: bool(rule.matches))]
        has_policies = any(tests and len(those) >= _GROUP for tests, those in parts)
        if chain.name.startswith("log/") or not has_policies:
            chains.append(chain)
            continue
        chains.append(Chain(chain.name, ()))
        for number, (tests, those) in enumerate(parts):
            if not tests or len(those) < _GROUP:
                text += [_added(table, chain.name, rule_text(rule, table.family)) for rule in those]
                continue
            group = f"group-{number}.{chain.name[-12:]}"
            chains.append(Chain(group, ()))
            text.append(_added(table, chain.name, f"meta mark set meta mark & {~_PASSED & 0xFFFFFFFF:#010x}"))
            text.append(_added(table, chain.name, f"jump {group}"))
            text.append(_added(table, chain.name, f"meta mark & {_ALLOWED:#010x} != 0 accept"))
            text.append(_added(table, chain.name, f"meta mark & {_PASSED:#010x} != 0 return"))
            for place, rule in enumerate(those):
                policy = f"policy-{number}-{place}.{chain.name[-12:]}"
                chains.append(Chain(policy, ()))
                text.append(_added(table, policy, _of_policy(rule, table)))
                if place and place % _STRIDE == 0:
                    text.append(_added(table, group, f"meta mark & {_ALLOWED | _PASSED:#010x} != 0 return"))
                undecided = f"meta mark & {_ALLOWED | _PASSED:#010x} == 0 " if place % _STRIDE else ""
                text.append(_added(table, group, f"{undecided}jump {policy}"))
    return _hooked(replace(table, chains=tuple(sorted(chains, key=lambda one: one.name))), entry, "\n".join(text))


def _of_policy(rule: Rule, table: Table) -> str:
    """The rule of a policy: it notes what it decides in the mark, and drops without a record."""
    *before, last = rule.statements
    match last:
        case Accept():
            decided = f"meta mark set meta mark | {_ALLOWED:#010x}"
        case Return():
            decided = f"meta mark set meta mark | {_PASSED:#010x}"
        case Goto():
            decided = "counter drop"
        case _:
            return rule_text(rule, table.family)
    tested = rule_text(Rule(rule.matches, tuple(before)), table.family)
    return f"{tested} {decided}"


def _added(table: Table, chain: str, rule: str) -> str:
    return f"add rule {table.family.nft} hostfw {chain} {rule}"


def one_lookup(asked: Sequence[Packet], family: Family) -> str:
    """One hash lookup over the same packets, which grows with their number by misses of the cache alone."""
    width = family.bits // 8
    keys = sorted({(one.source.to_bytes(width, "big"), one.destination_port or 0) for one in asked})
    kind = AF_INET if family is Family.V4 else AF_INET6
    elements = ", ".join(f"{inet_ntop(kind, address)} . {port} : accept" for address, port in keys)
    address = "ipv4_addr" if family is Family.V4 else "ipv6_addr"
    return (
        f"table {family.nft} hostfw {{\n map asked {{ type {address} . inet_service : verdict; size {len(keys)}; "
        f"elements = {{ {elements} }} }}\n chain bench {{ type filter hook prerouting priority -300; policy accept; "
        f"{family.nft} saddr . th dport vmap @asked\n }}\n}}\n"
    )
