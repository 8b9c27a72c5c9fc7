"""Costs of rules on this host, measured with packets: in a network namespace that nothing else is in."""

import sys

from hostfw.host.nftables.packet_costs import measured_prices
from hostfw.nft.worst_packet import TYPICAL
from lab.namespace import namespace, run


def test_what_a_rule_and_a_lookup_cost_is_measured() -> None:
    """A lookup costs more than a rule that does not match, and both less than a microsecond."""
    prices = measured_prices()

    assert prices.measured, TYPICAL
    assert 1 <= prices.rule_ns < prices.lookup_ns < 1000


def test_the_host_is_left_alone() -> None:
    """No table of the measurement is there afterwards where it was asked for."""
    code = "from hostfw.host.nftables.packet_costs import measured_prices; print(measured_prices().measured)"
    with namespace("costs") as node:
        told = run(node, (sys.executable, "-c", code)).stdout
        tables = run(node, ("nft", "list", "tables")).stdout

    assert (told, tables) == ("True\n", "")
