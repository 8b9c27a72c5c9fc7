"""Prefixes and addresses: strict in rules, loose in network sets, bare in expectedIPs."""

from hostfw.manifest.fields import Reader, text
from hostfw.manifest.scalars.net_texts import (
    as_carried,
    form_hint,
    ipv4_of,
    is_mapped,
    loose_cidr,
    range_cidrs,
    says_mapped,
)
from hostfw.manifest.yaml.nodes import Node, Scalar
from hostfw.model.values import Cidr, host_cidr, parse_address, parse_cidr
from hostfw.model.wording import quoted


def strict_net(reader: Reader, node: Node, what: str) -> Cidr | None:
    """A prefix as rules have it: with a length, and no bit set beyond it."""
    value = text(reader, node, f"an item of {what}")
    if value is None:
        return None
    cidr = parse_cidr(value)
    if cidr is None:
        bare = parse_address(value)
        hint = f"write {as_carried(host_cidr(*bare))}" if bare else form_hint(value)
        message = f"{what} has {quoted(value)}, an address without a length" if bare else f"{what} has {quoted(value)}"
        reader.report(node, message, "a prefix such as 10.0.0.0/8 or fd00::/8", hint)
        return None
    return None if is_mistaken(reader, node, what, cidr) else _without_host_bits(reader, node, what, cidr)


def masked_net(reader: Reader, node: Node, what: str) -> Cidr | None:
    """A prefix of which bits beyond its length are masked off, as Kubernetes has it."""
    value = text(reader, node, what)
    cidr = None if value is None else parse_cidr(value)
    if value is not None and cidr is None:
        reader.report(node, f"{what} is {quoted(value)}", "a prefix such as 10.0.0.0/8 or fd00::/8", form_hint(value))
    if cidr is None or is_mistaken(reader, node, what, cidr):
        return None
    return unless_mapped(reader, node, what, cidr)


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
        if not is_mapped(in_range[0]) and not is_mapped(in_range[-1]):
            return in_range
        written = _written(node)
        message = f"{what} has {quoted(written)}, which no packet carries"
        reader.report(node, message, "an IPv4 range", form_hint(written))
        return ()
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
        hint = "leave out the length" if parse_cidr(value) else form_hint(value)
        reader.report(node, f"{what} has {quoted(value)}", "an address such as 10.0.0.1 or fd00::1", hint)
        return None
    return host_cidr(*parsed)


def own_address(reader: Reader, node: Node, what: str) -> Cidr | None:
    """An address that an interface may have; a warning about one that none can have, or lo alone."""
    return _of_a_host(reader, node, what, address(reader, node, what))


def own_network(reader: Reader, node: Node, what: str) -> Cidr | None:
    """An address, or a prefix of addresses that an interface may have."""
    return _of_a_host(reader, node, what, net_or_address(reader, node, what))


def not_of_loopback(reader: Reader, node: Node, what: str) -> Cidr | None:
    """An address that another interface than lo may have."""
    cidr = own_address(reader, node, what)
    if cidr is not None and any(_is_within(cidr, one) for one in _LOOPBACK_NETS):
        hint = "write an address of the interface, or interfaceName: lo if that is what is meant"
        reader.warn(node, f"{what} has {_written(node)}, which only lo has", hint)
    return cidr


def _of_a_host(reader: Reader, node: Node, what: str, cidr: Cidr | None) -> Cidr | None:
    why = "" if cidr is None else next((why for within, why in _OF_NO_HOST if _is_within(cidr, within)), "")
    if why:
        reader.warn(node, f"{what} has {_written(node)}, {why}", "write an address of the interface")
    return cidr


_OF_NO_HOST = tuple(
    (cidr, why)
    for texts, why in (
        (("0.0.0.0/8", "::/128"), "which no interface has"),
        (("224.0.0.0/4", "ff00::/8"), "a multicast address, which no interface has"),
        (("255.255.255.255/32",), "a broadcast address, which no interface has"),
    )
    for text_ in texts
    if (cidr := parse_cidr(text_)) is not None
)
_LOOPBACK_NETS = tuple(cidr for text_ in ("127.0.0.0/8", "::1/128") if (cidr := parse_cidr(text_)) is not None)


def _is_within(cidr: Cidr, other: Cidr) -> bool:
    return cidr.family is other.family and cidr.length >= other.length and other.contains(cidr.address)


def _loose_net(reader: Reader, node: Node, what: str) -> Cidr | None:
    value = text(reader, node, f"an item of {what}")
    if value is None:
        return None
    cidr = loose_cidr(value)
    if cidr is None:
        expected = "a prefix or an address, such as 10.0.0.0/8 or fd00::1"
        reader.report(node, f"{what} has {quoted(value)}", expected, form_hint(value))
    elif is_mistaken(reader, node, what, cidr):
        return None
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


def is_mistaken(reader: Reader, node: Node, what: str, cidr: Cidr) -> bool:
    """True if a prefix begins with an IPv4 address in IPv6's clothes and has a length that was meant for IPv4.

    That is a problem: as a prefix of IPv6 it is none of what it says, and may hold half the world.
    """
    value = _written(node)
    if not says_mapped(value) or is_mapped(cidr):
        return False
    hint = form_hint(value) or "an IPv4 prefix has at most 32 bits"
    reader.report(node, f"{what} has {quoted(value)}, which no packet carries", "an IPv4 prefix", hint)
    return True


def unless_mapped(reader: Reader, node: Node, what: str, cidr: Cidr) -> Cidr | None:
    """The prefix, unless it is of IPv4 addresses in IPv6's clothes, which is a problem."""
    if not is_mapped(cidr):
        return cidr
    reader.report(node, f"{what} has {cidr}, which no packet carries", "an IPv4 prefix", f"write {ipv4_of(cidr)}")
    return None
