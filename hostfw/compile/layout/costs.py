"""The cost model: when a list of rules becomes a lookup.

Measured on kernel 6.18 for a new connection: a linear compare costs 3 to 35 ns, a lookup in a map or hash set 40 to
100 ns however many elements it holds, an interval lookup 113 ns and more. A choice of the model changes what a
packet costs and how the ruleset reads, never a verdict.
"""

from dataclasses import dataclass, replace

_LEAST_COPIES = 2
"""Copies of a rule that any cut may make: with fewer none would be made at all."""


@dataclass(frozen=True, slots=True)
class CostModel:
    """The numbers, inclusive, up to which something stays a list of compares.

    `linear_rules`: nft rules of a program before it is cut into cells, and of a cell before it is cut again.
    `linear_interfaces`: interfaces in a dispatch. `linear_ports`: runs of destination ports in a dispatch.
    `linear_prefixes`: prefixes of one side that a dispatch by address must tell apart to be worth its lookups.
    `expanded_ports`: ports of one run that become elements of a hash map rather than a range.
    `dispatched_together`: interfaces, or places behind bridges, in one map of a dispatch. More are told apart by the
    beginnings of their names or addresses first, so that one that comes or goes changes one map of so many.

    `inline_cidrs`, `inline_ports`, `inline_sockets`: members of a list that are alternatives of a rule before the list
    is a set. Sets cost a transaction time that grows with the square of their number, so short lists are not worth
    one. `alternatives`: in how many ways in all a rule may match before its lists of addresses are sets after all.

    `rules_a_lookup`: compares that a lookup is worth where rules are found by lookups. `crowd`: rules behind one key
    of a port or an address before they are found by both. `shortened`: compares behind one key of a map, of about 12 ns
    each, that are worth a lookup less, and `shortened_inline` those that nf_tables evaluates inline, of 5 ns.
    `compares_a_lookup`: compares of a whole map that are. `lookups`: maps of a list before those of a shorter prefix
    are written out in those of a longer one, which may take `widened` times as many elements again. `whole_map`: the
    elements of a map that is one; more are in parts of at most `part_of_map`, of which a change writes one anew.

    `shared_rules`: rules at the end of programs of several endpoints before they are laid out once for all of them.

    Budgets of the whole ruleset, whatever endpoints, directions and lists it has: `elements`, the keys by which rules
    are looked up (100 bytes of the kernel's memory each); `written_out`, those that save a lookup alone, each of which
    takes time to load, and at most `written_out_a_rule` for each rule, so that elements grow as rules do; `repeated`,
    the rules that are repeated in cells (250 bytes each, and as much time to compile as a rule). `rules` share them
    evenly, so what one list is does not hang on the others but by their number; that is told in powers of two, so that
    a rule more seldom changes all shares. A rule that asks for more keys than its share, and more than `keys_a_rule`,
    is found by another of its criteria, or tried.

    What bounds a cut: `dispatched_prefixes`, the prefixes of one list beyond which it stays a set; `prefix_lengths`,
    each of which is a lookup; `copies`, the rules of a cell on average, since a rule is repeated in each that it
    reaches into, as far as the budget is for.
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
    shortened_inline: int = 16
    compares_a_lookup: int = 4
    lookups: int = 2
    widened: int = 8
    whole_map: int = 4096
    part_of_map: int = 512
    keys_a_rule: int = 16
    shared_rules: int = 48
    dispatched_together: int = 128
    elements: int = 2_000_000
    written_out: int = 50_000
    written_out_a_rule: int = 12
    repeated: int = 2_000_000
    rules: int = 1

    @property
    def keys_of_rule(self) -> int:
        """The most keys of one rule."""
        return max(self.keys_a_rule, self.elements // self.rules)

    @property
    def copies_of_rule(self) -> int:
        """The most copies of a rule on average over a cell that is cut."""
        return min(self.copies, max(_LEAST_COPIES, self.repeated // self.rules))

    def room_of(self, rules: int) -> int:
        """The elements that so many rules may be written out in besides their own keys."""
        return min(self.written_out * rules // self.rules, self.written_out_a_rule * rules)

    def shared_by(self, rules: int) -> "CostModel":
        """The model for a ruleset of so many policy rules."""
        return replace(self, rules=1 << max(rules - 1, 0).bit_length())


DEFAULT_COSTS = CostModel()
