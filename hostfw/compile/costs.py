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
    """

    linear_rules: int = 24
    linear_interfaces: int = 3
    linear_ports: int = 6
    expanded_ports: int = 64
    inline_cidrs: int = 4
    inline_ports: int = 4


DEFAULT_COSTS = CostModel()
