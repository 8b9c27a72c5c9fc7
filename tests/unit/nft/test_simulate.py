"""The simulation of a ruleset: what its parts say to a packet."""

import pytest

from hostfw.model.packets.packet import Packet
from hostfw.model.values import FAMILIES, TCP, Family
from hostfw.nft.objects import BaseChain, ElementType, Hook, Priority, Ruleset, Set, Table
from hostfw.nft.rules import Accept, Key, Match, Rule, SetRef
from hostfw.nft.simulate import simulate

PORTS = [
    ("all bits", 16, 443, 443, True),
    ("all bits, another port", 16, 443, 444, False),
    ("the first twelve", 12, 432, 443, True),
    ("the first twelve, another", 12, 432, 448, False),
]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("name", "length", "element", "port", "found"), PORTS, ids=[case[0] for case in PORTS])
def test_the_first_bits_of_a_port_are_looked_up_in_a_set(
    name: str, length: int, element: int, port: int, found: bool, family: Family
) -> None:
    """They are those of sixteen, whatever the family of the table."""
    rule = Rule((Match(Key.DPORT, SetRef("ports", length)),), (Accept(),))
    base = BaseChain(Hook.INPUT, Priority.FILTER, policy_drop=True, rules=(rule,))
    table = Table(family, sets=(Set("ports", ElementType.PORT, (element,)),), base_chains=(base,))
    packet = Packet(family, TCP.number, 1, 2, 40000, port, in_interface="eth0")

    assert simulate(Ruleset((table,)), packet).accepted is found, name
