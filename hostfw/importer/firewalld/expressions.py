"""Parts of rules of firewalld as expressions of nftables, as its backend writes them."""

from ipaddress import ip_network

from hostfw.importer.firewalld.xml import Element
from hostfw.importer.nft.text import Json

IPSET = "ipset:"
REJECT: Json = {"reject": {"type": "icmpx", "expr": "admin-prohibited"}}
ACCEPT: Json = {"accept": None}
DROP: Json = {"drop": None}
_PORTED = frozenset({"tcp", "udp", "sctp", "dccp"})


def match(left: Json, right: Json, op: str = "==") -> Json:
    """A comparison."""
    return {"match": {"op": op, "left": left, "right": right}}


def meta(key: str) -> Json:
    """A fact about a packet that is in no header."""
    return {"meta": {"key": key}}


def unknown(what: str) -> Json:
    """A part that no policy can say, named."""
    return match({what: None}, None)


def interface(key: str, name: str) -> Json:
    """The interface of a zone; a plus sign at the end stands for whatever follows."""
    return match(meta(key), f"{name[:-1]}*" if name.endswith("+") else name)


def address(side: str, text: str, *, negated: bool = False) -> Json:
    """An address, a network, a hardware address or an ipset at one side of a packet."""
    op = "!=" if negated else "=="
    if text.startswith(IPSET):
        # Which keys the set has is known where the set is: see ipset_match.
        return {IPSET: {"name": text.removeprefix(IPSET), "side": side, "op": op}}
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return match({"payload": {"protocol": "ether", "field": side}}, text, op)
    protocol = "ip" if network.version == 4 else "ip6"
    right: Json = str(network.network_address)
    if network.prefixlen < network.max_prefixlen:
        right = {"prefix": {"addr": right, "len": network.prefixlen}}
    return match({"payload": {"protocol": protocol, "field": side}}, right, op)


def ports(element: Element, field: str = "dport") -> list[Json]:
    """The port of an element, or its protocol alone where it has none."""
    protocol, text = element.get("protocol"), element.get("port")
    if not text:
        return [match(meta("l4proto"), protocol)]
    first, dash, last = text.partition("-")
    if protocol not in _PORTED or not first.isdecimal() or (dash and not last.isdecimal()):
        return [unknown(f"port {text} of {protocol}, by number")]
    right: Json = {"range": [int(first), int(last)]} if dash else int(first)
    return [match({"payload": {"protocol": protocol, "field": field}}, right)]


def protocol_named(name: str) -> Json:
    """A protocol by its name or number."""
    return match(meta("l4proto"), int(name) if name.isdecimal() else name)
