"""Layouts that random policies rarely draw: each is asked about packets on both sides of its edge."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from hostfw.compile.incremental.memo import CompileCache
from hostfw.compile.layout.costs import DEFAULT_COSTS, CostModel
from hostfw.compile.layout.cuts.cells import Cell
from hostfw.compile.layout.nft_rules.log_limits import LOG_RECORDS
from hostfw.compile.layout.rule_list import RuleList
from hostfw.compile.program import Segment
from hostfw.compile.ruleset import compile_plan
from hostfw.model.packets.packet import Packet
from hostfw.model.plan import (
    AddressSet,
    Binding,
    Plan,
    PlannedDirection,
    PlannedEndpoint,
    PlannedPolicy,
    PlannedRule,
    PlannedSide,
    PlannedTier,
    PortMember,
    PortSet,
    RuleIdentity,
)
from hostfw.model.settings import Settings
from hostfw.model.values import FAMILIES, ICMP, TCP, UDP, Action, Cidr, Direction, Family, Icmp, PortRange, parse_cidr
from hostfw.nft.objects import Chain, ElementType, Ruleset
from hostfw.nft.rules import Goto, Jump, Key, Rule, SetRef
from hostfw.nft.simulate import simulate

LOOKUPS = CostModel(
    linear_rules=0,
    linear_interfaces=0,
    linear_ports=0,
    expanded_ports=4,
    inline_cidrs=0,
    inline_ports=0,
    inline_sockets=0,
    copies=1000,
)
RANKS = replace(LOOKUPS, copies=0, rules_a_lookup=0, crowd=1)
EVERY_MODEL = pytest.mark.parametrize("costs", [DEFAULT_COSTS, LOOKUPS, RANKS], ids=["default", "lookups", "ranks"])

HERE = 0xC000020A
PEER = 0x0A000105
HTTP = PortSet("http", (PortMember(Family.V4, HERE, TCP.number, 8080), PortMember(Family.V4, HERE, UDP.number, 8081)))


def _rule(action: Action, index: int, **criteria: object) -> PlannedRule:
    identity = RuleIdentity("GlobalNetworkPolicy", "default", "p", Direction.INGRESS, f"{index:012x}", 0, index)
    return replace(PlannedRule(identity, action, FAMILIES), **criteria)  # type: ignore[arg-type]


def _plan(*rules: PlannedRule) -> Plan:
    policy = PlannedPolicy("GlobalNetworkPolicy", "p", "default", None, rules)
    ingress = PlannedDirection((PlannedTier("default", Action.DENY, (policy,)),))
    return Plan(
        "host",
        Settings(),
        (PlannedEndpoint("eth0", ingress, PlannedDirection()),),
        (Binding("eth0", "eth0", "named"),),
    )


def _packet(port: int, protocol: int = TCP.number, source: int = PEER, source_port: int = 40000) -> Packet:
    return Packet(Family.V4, protocol, source, HERE, source_port, port, in_interface="eth0")


def _allowed(ruleset: Ruleset, *ports: int, protocol: int = TCP.number) -> list[int]:
    return [port for port in ports if simulate(ruleset, _packet(port, protocol)).accepted]


def _ports(*ranges: int | tuple[int, int]) -> tuple[PortRange, ...]:
    return tuple(PortRange(*r) if isinstance(r, tuple) else PortRange(r, r) for r in ranges)


def _cidr(text: str) -> Cidr:
    cidr = parse_cidr(text)
    assert cidr is not None
    return cidr


@EVERY_MODEL
def test_numbers_and_names_of_ports_are_alternatives(costs: CostModel) -> None:
    """A rule with both matches at the numbers for any address, and at the names where their members are."""
    side = PlannedSide(ports=_ports(80, (443, 444)), port_sets=(HTTP,))
    ruleset = compile_plan(_plan(_rule(Action.ALLOW, 0, protocol=TCP, destination=side)), costs)

    assert _allowed(ruleset, 79, 80, 81, 443, 444, 445, 8080, 8081) == [80, 443, 444, 8080]


@EVERY_MODEL
def test_a_named_port_brings_its_own_protocol(costs: CostModel) -> None:
    """Without a protocol in the rule each member matches with its own, and nothing else does."""
    ruleset = compile_plan(_plan(_rule(Action.ALLOW, 0, destination=PlannedSide(port_sets=(HTTP,)))), costs)

    assert _allowed(ruleset, 8080, 8081) == [8080]
    assert _allowed(ruleset, 8080, 8081, protocol=UDP.number) == [8081]


@EVERY_MODEL
def test_a_negated_named_port_lets_other_protocols_match(costs: CostModel) -> None:
    """Protocols without ports are not in the set: ICMP and GRE match, the members do not."""
    rule = _rule(Action.ALLOW, 0, destination=PlannedSide(not_port_sets=(HTTP,)))
    ruleset = compile_plan(_plan(rule), costs)
    ping = Packet(Family.V4, 1, PEER, HERE, icmp_type=8, icmp_code=0, in_interface="eth0")
    gre = Packet(Family.V4, 47, PEER, HERE, in_interface="eth0")

    assert _allowed(ruleset, 8079, 8080, 8081) == [8079, 8081]
    assert simulate(ruleset, ping).accepted
    assert simulate(ruleset, gre).accepted


@EVERY_MODEL
def test_a_log_with_several_alternatives_logs_once(costs: CostModel) -> None:
    """A packet that is in both nets of a Log rule is logged and counted once, and the next rule decides."""
    nets = AddressSet("all()", (_cidr("10.0.0.0/8"),))
    side = PlannedSide(nets=(_cidr("10.0.1.0/24"), _cidr("192.0.2.0/24")), address_set=nets, ports=_ports(40000, 40001))
    log = _rule(Action.LOG, 0, protocol=TCP, source=side)
    ruleset = compile_plan(_plan(log, _rule(Action.ALLOW, 1)), costs)

    outcome = simulate(ruleset, _packet(80))

    assert outcome.accepted
    assert outcome.prefixes == ("hostfw:LI|rule|default|p|0",)
    assert outcome.counters == ("gnp/default/p/in/000000000000", LOG_RECORDS, "gnp/default/p/in/000000000001")


def test_ports_of_many_rules_become_one_lookup() -> None:
    """A thousand policies for a thousand ports are one map; a packet meets the rules of its own port alone."""
    rules = [
        _rule(Action.ALLOW, port, protocol=TCP, destination=PlannedSide(ports=_ports(port)))
        for port in range(2000, 3000)
    ]
    table = compile_plan(_plan(*rules)).tables[0]

    longest = max(len(chain.rules) for chain in table.chains)

    assert [len(m.elements) for m in table.maps] == [1000]
    assert longest < DEFAULT_COSTS.linear_rules


def test_wide_ranges_stay_ranges() -> None:
    """Thirty ranges of a thousand ports are an interval map, not thirty thousand elements, and their edges hold."""
    sides = [PlannedSide(ports=_ports((10_000 + 1500 * n, 10_999 + 1500 * n))) for n in range(30)]
    ruleset = compile_plan(
        _plan(
            *(
                _rule(Action.ALLOW if n % 2 else Action.DENY, n, protocol=TCP, destination=side)
                for n, side in enumerate(sides)
            )
        )
    )

    assert _allowed(ruleset, 11_499, 11_500, 12_499, 12_500, 13_000, 14_500) == [11_500, 12_499, 14_500]
    assert [m.interval for m in ruleset.tables[0].maps] == [True]


def test_prefixes_of_a_selector_are_hashed_by_length() -> None:
    """Fourteen prefixes of two lengths are two sets of fixed size, which the table shares between rules."""
    nets = AddressSet("role == 'x'", tuple(sorted(_cidr(f"10.{n}.0.0/{16 + n % 2}") for n in range(14))))
    side = PlannedSide(address_set=nets)
    ruleset = compile_plan(_plan(_rule(Action.DENY, 0, protocol=TCP, source=side), _rule(Action.ALLOW, 1, source=side)))

    hashed = [s for s in ruleset.tables[0].sets if s.dynamic is None]
    assert [len(s.elements) for s in hashed] == [7, 7]
    assert [s.comment for s in hashed] == ["role == 'x'"] * 2
    assert simulate(ruleset, _packet(80, UDP.number, source=0x0A010001)).accepted
    assert not simulate(ruleset, _packet(80, UDP.number, source=0x0A018001)).accepted


def test_a_rule_whose_selector_matches_nothing_matches_no_packet() -> None:
    """It is left out rather than unrestricted; negated, it restricts nothing."""
    nothing = AddressSet("role == 'x'", ())
    never = _rule(Action.ALLOW, 0, source=PlannedSide(address_set=nothing))
    always = _rule(Action.ALLOW, 1, source=PlannedSide(not_address_set=nothing))

    assert not simulate(compile_plan(_plan(never)), _packet(80)).accepted
    assert simulate(compile_plan(_plan(never, always)), _packet(80)).accepted


def _from(rules: list[PlannedRule], costs: CostModel, *sources: int) -> list[bool]:
    ruleset = compile_plan(_plan(*rules), costs)
    return [simulate(ruleset, _packet(443, source=source)).accepted for source in sources]


@EVERY_MODEL
def test_the_first_of_nested_prefixes_in_order_decides(costs: CostModel) -> None:
    """A wide Allow in front wins over a narrow Deny behind it, a narrow one in front makes a hole."""
    nets = ("10.0.1.0/24", "10.0.0.0/8", "10.0.1.4/30", "10.2.0.0/16")
    actions = (Action.DENY, Action.ALLOW, Action.DENY, Action.DENY)
    sides = [PlannedSide(nets=(_cidr(text),)) for text in nets]
    rules = [_rule(a, n, protocol=TCP, source=side) for n, (a, side) in enumerate(zip(actions, sides, strict=True))]
    others = [PlannedSide(nets=(_cidr(f"172.16.{n}.0/24"),)) for n in range(30)]
    rules += [_rule(Action.ALLOW, 10 + n, protocol=TCP, source=side) for n, side in enumerate(others)]

    assert _from(rules, costs, 0x0A000105, 0x0A000205, 0x0A020101, 0xAC100501, 0xAC200001) == [
        False, True, True, True, False,
    ]  # fmt: skip


@EVERY_MODEL
def test_negated_prefixes_hold_in_every_region(costs: CostModel) -> None:
    """An exception inside an allowed prefix is an exception, also where it is named by nobody else."""
    side = PlannedSide(nets=(_cidr("10.0.0.0/8"),), not_nets=(_cidr("10.0.1.0/24"),))
    rules = [_rule(Action.ALLOW, 0, protocol=TCP, source=side)]
    others = [PlannedSide(nets=(_cidr(f"172.16.{n}.0/24"),)) for n in range(30)]
    rules += [_rule(Action.DENY, 10 + n, protocol=TCP, source=other) for n, other in enumerate(others)]

    assert _from(rules, costs, 0x0A000005, 0x0A000105, 0x0A000205) == [True, False, True]


def test_sources_of_many_rules_become_one_lookup_a_length() -> None:
    """A thousand policies for one port and a thousand networks are a map of each prefix length, not a list."""
    rules = [
        _rule(
            Action.ALLOW if number % 3 else Action.DENY,
            number,
            protocol=TCP,
            source=PlannedSide(nets=(_cidr(f"10.{number // 200}.{number % 200}.0/{24 if number % 2 else 32}"),)),
            destination=PlannedSide(ports=_ports(443)),
        )
        for number in range(1000)
    ]
    table = compile_plan(_plan(*rules)).tables[0]

    assert [len(m.elements) for m in table.maps] == [500, 500]
    assert max(len(chain.rules) for chain in table.chains) < DEFAULT_COSTS.linear_rules


def test_an_address_that_is_denied_everything_is_laid_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for each port that other rules name; and it is denied at each of them, though a later rule allows it."""
    laid_out: list[Cell] = []
    rules_of = RuleList.rules

    def counted(self: RuleList, segments: Sequence[Segment], cell: Cell) -> list[Rule]:
        laid_out.append(cell)
        return rules_of(self, segments, cell)

    monkeypatch.setattr(RuleList, "rules", counted)
    denied = [_rule(Action.DENY, n, source=_net(f"192.0.2.{n}/32")) for n in range(200)]
    ports = [_rule(Action.ALLOW, 200 + n, protocol=TCP, destination=_port(1000 + n)) for n in range(50)]
    inside = _rule(Action.ALLOW, 300, source=_net("192.0.2.7/32"))
    ruleset = compile_plan(_plan(*denied, *ports, inside))

    assert len(laid_out) < 200
    sources = (0xC0000207, 0xC00002C7, 0xC00002C8)
    for port in (999, 1000, 1049):
        passed = [simulate(ruleset, _packet(port, source=source)).accepted for source in sources]
        assert passed == [False, False, port != 999], port


def _leaves(ruleset: Ruleset, purpose: str) -> list[Chain]:
    return [chain for chain in ruleset.tables[0].chains if chain.name.startswith(purpose)]


def test_a_leaf_does_not_repeat_what_follows_the_dispatch() -> None:
    """It has its own rules and comes back; the end of the tier is there once for all ports."""
    rules = [_rule(Action.ALLOW, n, protocol=TCP, source=_NETS, destination=_port(1000 + n)) for n in range(100)]
    ruleset = compile_plan(_plan(*rules))

    (ports,) = ruleset.tables[0].maps
    assert {type(verdict) for _, verdict in ports.elements} == {Jump}
    leaves = _leaves(ruleset, "in/tcp/1")
    assert len(leaves) == 100
    assert {len(leaf.rules) for leaf in leaves} == {2}, "one for each net"
    assert _allowed(ruleset, 999, 1000, 1099, 1100) == [1000, 1099]
    assert not simulate(ruleset, _packet(1000, source=0x0B000001)).accepted


def test_a_leaf_of_addresses_comes_back_to_the_region_around_it() -> None:
    """Its own rules, then those of the wider prefix, which has a map of its own behind."""
    wide = _rule(Action.ALLOW, 999, protocol=TCP, source=_net("10.0.0.0/8"))
    nets = [replace(_net(f"10.0.{n}.0/24"), ports=_ports(5000 + n % 2)) for n in range(100)]
    narrow = [_rule(Action.DENY, n, protocol=TCP, source=side) for n, side in enumerate(nets)]
    ruleset = compile_plan(_plan(*narrow, wide))

    narrower = [_packet(443, source=0x0A000501, source_port=port) for port in (40000, 5000, 5001)]
    assert [simulate(ruleset, packet).accepted for packet in narrower] == [True, True, False]
    assert simulate(ruleset, _packet(443, source=0x0A010001)).accepted
    assert not simulate(ruleset, _packet(443, source=0x0B000001)).accepted
    elements = [verdict for m in ruleset.tables[0].maps for _, verdict in m.elements]
    assert Jump in {type(verdict) for verdict in elements}


def test_a_leaf_that_returns_is_gone_to_with_all_its_rules() -> None:
    """A Pass returns to the list of tiers, past what follows the dispatch."""
    rules = [_rule(Action.ALLOW, n, protocol=TCP, source=_NETS, destination=_port(1000 + n)) for n in range(100)]
    passing = _rule(Action.PASS, 100, protocol=TCP, source=_NETS, destination=_port(1050))
    last = _rule(Action.DENY, 101, protocol=TCP)
    first = PlannedPolicy("GlobalNetworkPolicy", "p", "default", None, (passing, *rules, last))
    allows = PlannedPolicy("GlobalNetworkPolicy", "q", "after", None, (_rule(Action.ALLOW, 200, protocol=TCP),))
    tiers = PlannedTier("default", Action.DENY, (first,)), PlannedTier("after", Action.DENY, (allows,))
    plan = _plan()
    endpoint = PlannedEndpoint("eth0", PlannedDirection(tiers), PlannedDirection())

    ruleset = compile_plan(replace(plan, endpoints=(endpoint,)))

    assert _allowed(ruleset, 1050) == [1050]
    assert simulate(ruleset, _packet(1050, source=0x0A000105)).accepted, "the next tier allows it"
    assert not simulate(ruleset, _packet(2000)).accepted


def test_a_memory_knows_which_protocols_have_cells_of_their_own() -> None:
    """When the last rule of ICMP goes, the regions of all other protocols begin to meet it."""
    but_echo = [_rule(Action.ALLOW, n, source=_net(f"10.{n}.0.0/16"), not_icmp=Icmp(8, None)) for n in range(60)]
    of_icmp = _rule(Action.ALLOW, 60, protocol=ICMP, source=_net("192.0.2.0/24"))
    echo = Packet(Family.V4, ICMP.number, PEER, HERE, icmp_type=8, icmp_code=0, in_interface="eth0")
    cache = CompileCache()

    for rules in ((*but_echo, of_icmp), but_echo):
        ruleset = compile_plan(_plan(*rules), cache=cache)
        assert ruleset == compile_plan(_plan(*rules))
        assert not simulate(ruleset, echo).accepted


def _port(number: int) -> PlannedSide:
    return PlannedSide(ports=_ports(number))


def _net(text: str) -> PlannedSide:
    return PlannedSide(nets=(_cidr(text),))


_NETS = PlannedSide(nets=(_cidr("10.0.0.0/16"), _cidr("10.2.0.0/16")))


@pytest.mark.parametrize(("number", "matched"), [(2, ["links/e0", "links/e1"]), (25, ["links"])])
def test_interfaces_are_known_by_their_index_where_no_name_matches(number: int, matched: list[str]) -> None:
    """Each HostEndpoint by a set of its own, up to so many; all by one set that closes them beyond."""
    endpoints = tuple(
        replace(_plan(_rule(Action.ALLOW, index, protocol=TCP)).endpoints[0], name=f"e{index}")
        for index in range(number)
    )
    bindings = tuple(Binding(f"eth{index}", f"e{index}", "named") for index in range(number))
    table = compile_plan(Plan("host", Settings(), endpoints, bindings)).tables[0]
    chains = [chain for chain in table.chains if chain.name.startswith(("input.", "output."))]

    assert [s.name for s in table.sets if s.type is ElementType.IFINDEX] == matched
    assert len(chains) == 2
    for chain, key in zip(chains, (Key.IIF, Key.OIF), strict=True):
        rules = [rule for rule in chain.rules if any(match.key is key for match in rule.matches)]
        assert [match.value for rule in rules for match in rule.matches] == [SetRef(name) for name in matched]
        # Behind every name, and before what is said of all other interfaces.
        assert chain.rules[-1 - len(rules) : -1] == tuple(rules)
        closing = {verdict.chain for rule in rules for verdict in rule.statements if isinstance(verdict, Goto)}
        assert all(("/renamed" in name) == (number > 24) for name in closing)
