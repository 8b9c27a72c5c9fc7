"""The cost model: when a list of rules becomes a lookup.

Measured on kernel 6.18 for a new connection: a linear compare costs 3 to 35 ns, a lookup in a map or hash set 40 to
100 ns however many elements it holds, an interval lookup 113 ns and more. A choice of the model changes what a
packet costs and how the ruleset reads, never a verdict.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CostModel:
    """The numbers, inclusive, up to which something stays a list of compares.

    `linear_rules`: nft rules of a program before it is cut into cells, and of a cell before it is cut again.
    `linear_interfaces`: interfaces in a dispatch. `linear_ports`: runs of destination ports in a dispatch.
    `linear_prefixes`: prefixes of one side that a dispatch by address must tell apart to be worth its lookups.
    `expanded_ports`: ports of one run that become elements of a hash map rather than a range.

    `inline_cidrs`, `inline_ports`, `inline_sockets`: members of a list that are alternatives of a rule before the list
    is a set. Sets cost a transaction time that grows with the square of their number, so short lists are not worth
    one. `alternatives`: in how many ways in all a rule may match before its lists of addresses are sets after all.

    `rules_a_lookup`: compares that a lookup is worth where rules are found by lookups. `crowd`: rules behind one key
    of a port or an address before they are found by both. `shortened`: compares behind one key of a map, of about 12 ns
    each, that are worth a lookup less. `compares_a_lookup`: those of a whole map that are. `lookups`: maps of a list
    before those of a shorter prefix are written out in those of a longer one, which may take `widened` times as many
    elements again, and no more than `written_out`: beyond that they cost more time to load than a lookup is worth.
    `elements`: the budget of keys of one list of rules, of which each has its share, at least
    `keys_a_rule`; a rule that asks for more is found by another of its criteria, or tried.

    `shared_rules`: rules at the end of programs of several endpoints before they are laid out once for all of them.

    What bounds a cut: `dispatched_prefixes`, the prefixes of one list beyond which it stays a set; `prefix_lengths`,
    each of which is a lookup; `copies`, the rules of a cell on average, since a rule is repeated in each that it
    reaches into.
    """

    linear_rules: int = 24
    linear_interfaces: int = 3
    linear_ports: int = 6
    expanded_ports: int = 64
    inline_cidrs: int = 12
    inline_ports: int = 12
    inline_sockets: int = 12
    alternatives: int = 48
    linear_prefixes: int = 12
    dispatched_prefixes: int = 64
    prefix_lengths: int = 8
    copies: int = 8
    rules_a_lookup: int = 8
    crowd: int = 6
    shortened: int = 8
    compares_a_lookup: int = 4
    lookups: int = 5
    widened: int = 4
    written_out: int = 50_000
    elements: int = 1_000_000
    keys_a_rule: int = 64
    shared_rules: int = 48


DEFAULT_COSTS = CostModel()
