"""From a condition to the nftables tests of one family and cell.

`Tests` are choices, of each of which one alternative must hold; None means that no packet of the cell can match.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, product
from math import prod

from hostfw.compile.layout.cuts.cells import Cell
from hostfw.compile.program import Condition
from hostfw.compile.table_builder import TableBuilder
from hostfw.model.plan import ANY_SIDE, AddressSet, LocalNets, PlannedSide, PortMember, PortSet
from hostfw.model.prefixes import Cidrs, CidrSet
from hostfw.model.values import ICMP, ICMPV6, PORT_PROTOCOLS, Cidr, Family, Icmp, PortRange, host_cidr, of_family
from hostfw.nft.rules import Key, Match

Alternative = tuple[Match, ...]
Choice = tuple[Alternative, ...]


@dataclass(frozen=True, slots=True)
class Tests:
    """Tests of a condition that remain: one alternative of each choice must hold, in this order."""

    choices: tuple[Choice, ...] = ()

    @property
    def unconditional(self) -> bool:
        """True if every packet of the cell matches."""
        return not self.choices

    @property
    def count(self) -> int:
        """The number of rules that it takes to write them out."""
        return prod(len(choice) for choice in self.choices)

    def alternatives(self) -> list[Alternative]:
        """One conjunction of tests for each way to match."""
        return [tuple(chain.from_iterable(chosen)) for chosen in product(*self.choices)]


@dataclass(frozen=True, slots=True)
class _Side:
    """The keys of one side of a packet."""

    address: Key
    port: Key
    socket: Key
    on_link: Key


_SOURCE = _Side(Key.SADDR, Key.SPORT, Key.SOURCE_SOCKET, Key.SOURCE_ON_LINK)
_DESTINATION = _Side(Key.DADDR, Key.DPORT, Key.DESTINATION_SOCKET, Key.DESTINATION_ON_LINK)


def tests_of(condition: Condition, cell: Cell, builder: TableBuilder) -> Tests | None:
    """The tests of a condition in a cell, or None where it cannot match."""
    if builder.family not in condition.families:
        return None
    tests = _tests(condition, cell, builder, builder.costs.inline_cidrs)
    if tests is None or tests.count <= builder.costs.alternatives:
        return tests
    return _tests(condition, cell, builder, inline_cidrs=1)


def _tests(condition: Condition, cell: Cell, builder: TableBuilder, inline_cidrs: int) -> Tests | None:
    choices: list[Choice] = []
    if condition.invalid:
        choices.append(_must(Match(Key.CT_STATE, "invalid")))
    if condition.ipsec is not None:
        choices.append(_must(Match(Key.SECPATH, "exists" if condition.ipsec else "missing")))
    if condition.source.macs:
        choices.append(tuple((Match(Key.ETHER_SADDR, str(mac)),) for mac in condition.source.macs))
    known, source_known = _as_known(condition, cell)
    possible = (
        _protocol(condition, cell, builder.family, choices)
        and _icmp(condition, cell, builder.family, choices)
        and _ports(condition.source, _SOURCE, source_known, builder, choices)
        and _ports(condition.destination, _DESTINATION, known, builder, choices)
        and _addresses(condition.source, _SOURCE, cell.source, builder, choices, inline_cidrs)
        and _addresses(condition.destination, _DESTINATION, cell.destination, builder, choices, inline_cidrs)
    )
    return Tests(tuple(choices)) if possible else None


def _as_known(condition: Condition, cell: Cell) -> tuple[Cell, Cell]:
    """The cell as far as it is known to a condition's destination and source ports, which a protocol is named for."""
    if condition.source is ANY_SIDE and condition.destination is ANY_SIDE:
        return cell, cell
    known = cell
    if condition.protocol is not None and condition.protocol.number != cell.protocol:
        known = replace(cell, protocol=condition.protocol.number)
    return known, known if known.ports is None else replace(known, ports=None)


def _must(*matches: Match) -> Choice:
    """No choice at all: one alternative."""
    return (matches,)


def _protocol(condition: Condition, cell: Cell, family: Family, choices: list[Choice]) -> bool:
    wanted, unwanted = condition.protocol, condition.not_protocol
    if wanted is not None:
        if wanted.family not in (None, family) or wanted.number in cell.other_than:
            return False
        if cell.protocol is None:
            choices.append(_must(Match(Key.PROTOCOL, wanted.number)))
        elif cell.protocol != wanted.number:
            return False
    if unwanted is not None and unwanted.number not in cell.other_than:
        known = cell.protocol if cell.protocol is not None else (wanted.number if wanted else None)
        if known == unwanted.number:
            return False
        if known is None:
            choices.append(_must(Match(Key.PROTOCOL, unwanted.number, negated=True)))
    return True


def _icmp(condition: Condition, cell: Cell, family: Family, choices: list[Choice]) -> bool:
    number = (ICMP if family is Family.V4 else ICMPV6).number
    known = cell.protocol if condition.protocol is None else condition.protocol.number
    possible = known in (None, number) and number not in cell.other_than
    if condition.icmp is not None:
        if not possible:
            return False
        if known is None:
            choices.append(_must(Match(Key.PROTOCOL, number)))
        choices.append(_must(*_icmp_matches(condition.icmp)))
    if condition.not_icmp is not None and possible:
        choices.append(_other_icmp(condition.not_icmp, number, protocol_known=known is not None))
    return True


def _icmp_matches(icmp: Icmp) -> Alternative:
    matches = (Match(Key.ICMP_TYPE, icmp.type),)
    return matches if icmp.code is None else (*matches, Match(Key.ICMP_CODE, icmp.code))


def _other_icmp(icmp: Icmp, number: int, *, protocol_known: bool) -> Choice:
    """Not that type (and code): another protocol, or another type, or the type with another code."""
    another_protocol = () if protocol_known else ((Match(Key.PROTOCOL, number, negated=True),),)
    another_type = (Match(Key.ICMP_TYPE, icmp.type, negated=True),)
    if icmp.code is None:
        return (*another_protocol, another_type)
    another_code = (Match(Key.ICMP_TYPE, icmp.type), Match(Key.ICMP_CODE, icmp.code, negated=True))
    return (*another_protocol, another_type, another_code)


def _ports(side: PlannedSide, keys: _Side, cell: Cell, builder: TableBuilder, choices: list[Choice]) -> bool:
    if side is ANY_SIDE:
        return True
    if side.restricts_ports:
        choice = _port_choice(side, keys, cell, builder)
        if choice is None:
            return False
        if choice:
            choices.append(choice)
    if cell.ports is not None:
        if any(_covers(ports, cell.ports) for ports in side.not_ports):
            return False
    else:
        choices.extend(_must(match) for match in _negated_ports(side.not_ports, keys, builder))
    if _may_have_ports(cell):
        for port_set in side.not_port_sets:
            choices.extend(_must(match) for match in _socket_match(port_set, keys, builder, negated=True))
    return True


def _port_choice(side: PlannedSide, keys: _Side, cell: Cell, builder: TableBuilder) -> Choice | None:
    """The alternatives of a side's ports; none to choose (empty) where the cell holds already, None where it cannot."""
    alternatives: list[Alternative] = []
    ranges = side.ports or ()
    if cell.ports is not None:
        if any(_covers(ports, cell.ports) for ports in ranges):
            return ()
    elif len(ranges) > builder.costs.inline_ports:
        alternatives.append((Match(keys.port, builder.port_set(ranges)),))
    else:
        alternatives.extend((Match(keys.port, _port_value(ports)),) for ports in ranges)
    if _may_have_ports(cell):
        for port_set in side.port_sets:
            alternatives.extend(_socket_alternatives(port_set, keys, cell, builder))
    return tuple(alternatives) or None


def _socket_alternatives(port_set: PortSet, keys: _Side, cell: Cell, builder: TableBuilder) -> list[Alternative]:
    """The ways to match a named port: its members one by one while they are few, or a lookup."""
    members = port_set.of(builder.family)
    if len(members) > builder.costs.inline_sockets:
        return [(match,) for match in _socket_match(port_set, keys, builder, negated=False)]
    return [_one_socket(member, keys, cell) for member in members if _is_possible(member, keys, cell)]


def _is_possible(member: PortMember, keys: _Side, cell: Cell) -> bool:
    """True if a packet of the cell can be to (or from) a member of a named port."""
    if cell.protocol is not None and member.protocol != cell.protocol:
        return False
    of_other_cell = member.protocol in cell.other_than
    ports = cell.ports if keys is _DESTINATION else None
    return not of_other_cell and (ports is None or ports.first <= member.port <= ports.last)


def _one_socket(member: PortMember, keys: _Side, cell: Cell) -> Alternative:
    protocol = () if cell.protocol is not None else (Match(Key.PROTOCOL, member.protocol),)
    address = Match(keys.address, host_cidr(member.family, member.address))
    return (*protocol, address, Match(keys.port, member.port))


def _may_have_ports(cell: Cell) -> bool:
    if cell.protocol is not None:
        return cell.protocol in PORT_PROTOCOLS
    return not cell.other_than >= PORT_PROTOCOLS


def _negated_ports(ranges: tuple[PortRange, ...], keys: _Side, builder: TableBuilder) -> list[Match]:
    if len(ranges) > builder.costs.inline_ports:
        return [Match(keys.port, builder.port_set(ranges), negated=True)]
    return [Match(keys.port, _port_value(ports), negated=True) for ports in ranges]


def _port_value(ports: PortRange) -> int | PortRange:
    return ports.first if ports.first == ports.last else ports


def _covers(ports: PortRange, run: PortRange) -> bool:
    return ports.first <= run.first and run.last <= ports.last


def _socket_match(port_set: PortSet, keys: _Side, builder: TableBuilder, *, negated: bool) -> list[Match]:
    """The test of a named port; without a member in this family there is nothing that could match."""
    members = port_set.of(builder.family)
    if not members:
        return []
    sockets = tuple((m.address, m.protocol, m.port) for m in members)
    return [Match(keys.socket, builder.socket_set(sockets, f"named port {port_set.name}"), negated)]


def _addresses(
    side: PlannedSide,
    keys: _Side,
    region: Cidr | None,
    builder: TableBuilder,
    choices: list[Choice],
    inline_cidrs: int,
) -> bool:
    if side is ANY_SIDE:
        return True
    if side.local is not None and not _local(side.local, keys, region, builder, choices, inline_cidrs):
        return False
    if side.not_local is not None:
        choices.extend(_must(Match(keys.on_link, one, negated=True)) for one in builder.network_sets(side.not_local))
    for cidrs, selected in lists_of(side.nets, side.address_set, builder.family):
        within = is_within(cidrs, region, builder)
        external = _external_matches(selected, keys, builder, negated=False)
        if within is False and not external:
            return False
        if within is not True:
            listed = (
                _address_matches(cidrs, selected, keys, builder, inline_cidrs, negated=False) if within is None else []
            )
            choices.append(tuple((m,) for m in (*listed, *external)))
    for cidrs, selected in lists_of(side.not_nets, side.not_address_set, builder.family):
        within = is_within(cidrs, region, builder)
        if within is True:
            return False
        if within is None:
            choices.extend(
                _must(m) for m in _address_matches(cidrs, selected, keys, builder, inline_cidrs, negated=True)
            )
        choices.extend(_must(m) for m in _external_matches(selected, keys, builder, negated=True))
    return True


def _local(
    local: LocalNets, keys: _Side, region: Cidr | None, builder: TableBuilder, choices: list[Choice], inline_cidrs: int
) -> bool:
    """The test of a list of prefixes that has the networks of the interface as well; False if no packet passes it."""
    cidrs = tuple(cidr for cidr in local.nets if cidr.family is builder.family)
    if is_within(cidrs, region, builder) is True:
        return True
    # No region ends where these prefixes do, so a packet of one that they do not cover may still be in them.
    listed = _address_matches(cidrs, None, keys, builder, inline_cidrs, negated=False) if cidrs else []
    on_link = [Match(keys.on_link, one) for one in builder.network_sets(local.links)]
    if listed or on_link:
        choices.append(tuple((one,) for one in (*listed, *on_link)))
    return bool(listed or on_link)


def lists_of(
    nets: tuple[Cidr, ...] | None, selected: AddressSet | None, family: Family
) -> Iterator[tuple[Cidrs, AddressSet | None]]:
    """The lists of prefixes of one family, one of each must hold the address, each with what it was selected as."""
    if nets is not None:
        yield of_family(nets, family), None
    if selected is not None:
        yield selected.of(family), selected


def is_within(cidrs: Cidrs, region: Cidr | None, builder: TableBuilder) -> bool | None:
    """True if a list holds every address of the region, False if none, None if a packet must be tested."""
    if not cidrs:
        return False
    # What covers everything covers all else, so it is alone: never in what is packed, since that is many.
    if isinstance(cidrs, CidrSet):
        return None
    if cidrs[0].length == 0:
        return True
    if region is None or len(cidrs) > builder.costs.dispatched_prefixes:
        return None
    return any(cidr.length <= region.length and cidr.contains(region.address) for cidr in cidrs)


def _address_matches(
    cidrs: Cidrs, selected: AddressSet | None, keys: _Side, builder: TableBuilder, inline_cidrs: int, *, negated: bool
) -> list[Match]:
    inline = not isinstance(cidrs, CidrSet) and len(cidrs) <= inline_cidrs
    selector, from_feed = ("", False) if selected is None else (selected.selector, selected.from_feed)
    values = cidrs if inline else builder.address_sets(cidrs, selector, from_feed=from_feed)
    return [Match(keys.address, value, negated) for value in values]


def _external_matches(selected: AddressSet | None, keys: _Side, builder: TableBuilder, *, negated: bool) -> list[Match]:
    """Tests of the sets that other programs fill, whose members no layout may count on."""
    external = () if selected is None else selected.external
    return [Match(keys.address, found, negated) for one in external for found in builder.external_sets(one)]
