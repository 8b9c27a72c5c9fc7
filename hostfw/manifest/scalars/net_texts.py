"""Texts of prefixes and addresses, as people and other programs write them. Nothing of YAML is loaded for these."""

from hostfw.model.ranges import cidrs_of
from hostfw.model.values import Cidr, Family, address_text, host_cidr, mask_of, parse_address, parse_cidr

BLANKS = " \t"
_MAPPED_PREFIX = 0xFFFF
_MAPPED_LENGTH = 96
_MOST_OF_A_RANGE = 16
"""Prefixes of a range that fit into a hint."""


def range_cidrs(value: str) -> tuple[Cidr, ...]:
    """The fewest prefixes of the addresses from one to another (`192.0.2.7-192.0.2.9`), none if a text is not a range.

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
    packet has: it means the IPv4 address. A prefix in that form is nobody's log, and means nothing that is certain.
    """
    cidr = loose_cidr(word)
    if cidr is None or not says_mapped(word):
        return cidr
    return None if "/" in word else ipv4_of(cidr)


def form_hint(value: str) -> str:
    """A hint for a text that means addresses in a form which is not taken; empty for any other text.

    An address with the interface that it was seen on (`fe80::1%eth0`), one in brackets, a prefix of mapped ones, and a
    range.
    """
    if value.startswith("[") and loose_cidr(value[1:].partition("]")[0]) is not None:
        return f"write {value[1:].partition(']')[0]}, without brackets"
    within = tuple(map(as_carried, range_cidrs(value)))
    if within:
        return f"write {', '.join(map(str, within))}" if len(within) <= _MOST_OF_A_RANGE else "write it as prefixes"
    bare, percent, zone = value.partition("%")
    meant = bare + "".join(zone.partition("/")[1:])
    if percent and loose_cidr(meant) is not None:
        return f"write {meant}, without the interface"
    address, slash, length = value.partition("/")
    if slash and says_mapped(address) and loose_cidr(value) is not None:
        mapped = loose_cidr(address)
        bits = int(length) - _MAPPED_LENGTH if int(length) >= _MAPPED_LENGTH else int(length)
        if mapped is not None and bits <= Family.V4.bits:
            plain = address_text(Family.V4, ipv4_of(mapped).address)
            return f"no packet carries it; write {parse_cidr(f'{plain}/{bits}')}"
    return ""


def says_mapped(text: str) -> bool:
    """True if the address of a text is one of IPv4 in IPv6's clothes, whatever length stands behind it."""
    found = loose_cidr(text.partition("/")[0])
    return found is not None and is_mapped(found)


def is_mapped(cidr: Cidr) -> bool:
    """True if a prefix is of IPv4 addresses in IPv6's clothes (::ffff:0:0/96), which no packet carries."""
    return cidr.family is Family.V6 and cidr.length >= _MAPPED_LENGTH and cidr.address >> 32 == _MAPPED_PREFIX


def as_carried(cidr: Cidr) -> Cidr:
    """The prefix as packets carry it: that of IPv4, where it is in IPv6's clothes."""
    return ipv4_of(cidr) if is_mapped(cidr) else cidr


def ipv4_of(mapped: Cidr) -> Cidr:
    """The IPv4 prefix that a mapped one means."""
    return Cidr(Family.V4, mapped.address & mask_of(Family.V4, 32), mapped.length - _MAPPED_LENGTH)
