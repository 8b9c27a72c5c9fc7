"""Prefixes and addresses: strict in rules, loose in network sets, bare in expectedIPs."""

from hostfw.manifest.fields import Reader, quoted, text
from hostfw.manifest.yaml.nodes import Node, Scalar
from hostfw.model.ranges import cidrs_of
from hostfw.model.values import Cidr, Family, host_cidr, mask_of, parse_address, parse_cidr


def strict_net(reader: Reader, node: Node, what: str) -> Cidr | None:
    """A prefix as rules have it: with a length, and no bit set beyond it."""
    value = text(reader, node, f"an item of {what}")
    if value is None:
        return None
    cidr = parse_cidr(value)
    if cidr is None:
        bare = parse_address(value)
        hint = f"write {host_cidr(*bare)}" if bare else zone_hint(value)
        message = f"{what} has {quoted(value)}, an address without a length" if bare else f"{what} has {quoted(value)}"
        reader.report(node, message, "a prefix such as 10.0.0.0/8 or fd00::/8", hint)
        return None
    return _without_host_bits(reader, node, what, cidr)


def net_or_address(reader: Reader, node: Node, what: str) -> Cidr | None:
    """A prefix without a bit beyond its length, or a bare address."""
    cidr = _loose_net(reader, node, what)
    if cidr is None:
        return None
    if "/" in _written(node):
        return _without_host_bits(reader, node, what, cidr)
    return unless_mapped(reader, node, what, cidr)


def set_nets(reader: Reader, node: Node, what: str) -> tuple[Cidr, ...]:
    """A prefix, address or range as network sets have it: bits beyond the length are masked off."""
    in_range = range_cidrs(node.text) if isinstance(node, Scalar) and node.text[:1] != "-" else ()
    if in_range:
        mapped = next((cidr for cidr in (in_range[0], in_range[-1]) if is_mapped(cidr)), None)
        return in_range if mapped is None or unless_mapped(reader, node, what, mapped) else ()
    cidr = _loose_net(reader, node, what)
    checked = cidr if cidr is None else unless_mapped(reader, node, what, cidr)
    return () if checked is None else (checked,)


def address(reader: Reader, node: Node, what: str) -> Cidr | None:
    """A bare address that packets can carry, as a host prefix."""
    cidr = any_address(reader, node, what)
    return None if cidr is None else unless_mapped(reader, node, what, cidr)


def any_address(reader: Reader, node: Node, what: str) -> Cidr | None:
    """A bare address as an interface may have it, as a host prefix."""
    value = text(reader, node, f"an item of {what}")
    if value is None:
        return None
    parsed = parse_address(value)
    if parsed is None:
        hint = "leave out the length" if parse_cidr(value) else zone_hint(value)
        reader.report(node, f"{what} has {quoted(value)}", "an address such as 10.0.0.1 or fd00::1", hint)
        return None
    return host_cidr(*parsed)


def range_cidrs(value: str) -> tuple[Cidr, ...]:
    """The fewest prefixes of the addresses from one to another (`192.0.2.7-192.0.2.9`), none if a text is no range.

    Blanks around the dash mean nothing. Both ends are of one family, and the first comes first.
    """
    first_text, dash, last_text = value.partition("-")
    first, last = parse_address(first_text.rstrip(BLANKS)), parse_address(last_text.lstrip(BLANKS))
    if not dash or first is None or last is None or first[0] is not last[0] or first > last:
        return ()
    return tuple(cidrs_of((first[1], last[1] + 1), first[0]))


BLANKS = " \t"


def loose_cidr(value: str) -> Cidr | None:
    """The prefix that a text stands for, host bits masked, a bare address as a host prefix; None if it is neither."""
    if "/" in value:
        return parse_cidr(value)
    parsed = parse_address(value)
    return host_cidr(*parsed) if parsed else None


def given_cidr(word: str) -> Cidr | None:
    """The prefix or address that a word of a command line means, which may come from the log of another program.

    A program with one socket for both IP versions logs an IPv4 address as an IPv6 one (::ffff:192.0.2.7), which no
    packet has: it means the IPv4 address.
    """
    cidr = loose_cidr(word)
    return ipv4_of(cidr) if cidr is not None and is_mapped(cidr) else cidr


def zone_hint(value: str) -> str:
    """A hint for an address with the interface that it was seen on (`fe80::1%eth0`), empty for any other text."""
    bare, percent, zone = value.partition("%")
    meant = bare + "".join(zone.partition("/")[1:])
    return f"write {meant}, without the interface" if percent and loose_cidr(meant) is not None else ""


def _loose_net(reader: Reader, node: Node, what: str) -> Cidr | None:
    value = text(reader, node, f"an item of {what}")
    if value is None:
        return None
    cidr = loose_cidr(value)
    if cidr is None:
        expected = "a prefix or an address, such as 10.0.0.0/8 or fd00::1"
        reader.report(node, f"{what} has {quoted(value)}", expected, zone_hint(value))
    return cidr


def _without_host_bits(reader: Reader, node: Node, what: str, cidr: Cidr) -> Cidr | None:
    value = _written(node)
    written = parse_address(value.partition("/")[0])
    if written is not None and written[1] != cidr.address:
        hint = f"write {cidr}, or {host_cidr(*written)} for the one address"
        reader.report(node, f"{what} has {quoted(value)}, with bits set beyond its length", "a masked prefix", hint)
        return None
    return unless_mapped(reader, node, what, cidr)


def _written(node: Node) -> str:
    return node.text if isinstance(node, Scalar) else ""


_MAPPED_PREFIX = 0xFFFF
_MAPPED_LENGTH = 96


def is_mapped(cidr: Cidr) -> bool:
    """True if a prefix is of IPv4 addresses in IPv6's clothes (::ffff:0:0/96), which no packet carries."""
    return cidr.family is Family.V6 and cidr.length >= _MAPPED_LENGTH and cidr.address >> 32 == _MAPPED_PREFIX


def ipv4_of(mapped: Cidr) -> Cidr:
    """The IPv4 prefix that a mapped one means."""
    return Cidr(Family.V4, mapped.address & mask_of(Family.V4, 32), mapped.length - _MAPPED_LENGTH)


def unless_mapped(reader: Reader, node: Node, what: str, cidr: Cidr) -> Cidr | None:
    """The prefix, unless it is of IPv4 addresses in IPv6's clothes, which is a problem."""
    if not is_mapped(cidr):
        return cidr
    reader.report(node, f"{what} has {cidr}, which no packet carries", "an IPv4 prefix", f"write {ipv4_of(cidr)}")
    return None
