"""The cost model: when a list of rules becomes a lookup.

Measured on kernel 6.18 for a new connection: a linear compare costs 3 to 35 ns, a lookup in a map or hash set 40 to
100 ns however many elements it holds, an interval lookup 113 ns and more. A choice of the model changes what a
packet costs and how the ruleset reads, never a verdict.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CostModel:
    """How many of a thing stay a list of compares, inclusive.

    `linear_rules`: nft rules of a program before it is cut into cells. `linear_interfaces`: interfaces in a dispatch.
    `linear_ports`: runs of destination ports in a dispatch. `expanded_ports`: ports of one run that become elements of
    a hash map rather than a range. `inline_cidrs`, `inline_ports`: alternatives of one rule before they are a set.
    `linear_prefixes`: prefixes of one side that the rules of a cell name before they are dispatched by address.

    What bounds a dispatch by address: `dispatched_prefixes`, the prefixes of one list beyond which it stays a set;
    `prefix_lengths`, each of which is a lookup; `copies`, how often the rules of the cell may be repeated in all.
    """

    linear_rules: int = 24
    linear_interfaces: int = 3
    linear_ports: int = 6
    expanded_ports: int = 64
    inline_cidrs: int = 4
    inline_ports: int = 4
    linear_prefixes: int = 12
    dispatched_prefixes: int = 64
    prefix_lengths: int = 8
    copies: int = 8


DEFAULT_COSTS = CostModel()
