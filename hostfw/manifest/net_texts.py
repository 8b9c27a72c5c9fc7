"""Texts of prefixes and addresses, as people and other programs write them. Nothing of YAML is loaded for these."""

from hostfw.model.ranges import cidrs_of
from hostfw.model.values import Cidr, Family, host_cidr, mask_of, parse_address, parse_cidr

BLANKS = " \t"
_MAPPED_PREFIX = 0xFFFF
_MAPPED_LENGTH = 96


def range_cidrs(value: str) -> tuple[Cidr, ...]:
    """The fewest prefixes of the addresses from one to another (`192.0.2.7-192.0.2.9`), none if a text is no range.

    Blanks around the dash mean nothing. Both ends are of one family, and the first comes first.
    """
    first_text, dash, last_text = value.partition("-")
    first, last = parse_address(first_text.rstrip(BLANKS)), parse_address(last_text.lstrip(BLANKS))
    if not dash or first is None or last is None or first[0] is not last[0] or first > last:
        return ()
    return tuple(cidrs_of((first[1], last[1] + 1), first[0]))


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


def is_mapped(cidr: Cidr) -> bool:
    """True if a prefix is of IPv4 addresses in IPv6's clothes (::ffff:0:0/96), which no packet carries."""
    return cidr.family is Family.V6 and cidr.length >= _MAPPED_LENGTH and cidr.address >> 32 == _MAPPED_PREFIX


def ipv4_of(mapped: Cidr) -> Cidr:
    """The IPv4 prefix that a mapped one means."""
    return Cidr(Family.V4, mapped.address & mask_of(Family.V4, 32), mapped.length - _MAPPED_LENGTH)
