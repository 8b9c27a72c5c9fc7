"""nft text of rules, in the forms that nf_tables evaluates fastest, and of elements."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from socket import AF_INET, AF_INET6, inet_ntop

from hostfw.model.alike import alike_ends
from hostfw.model.host.interface_names import is_safe_name
from hostfw.model.values import Cidr, Family, PortRange, TableFamily, address_text, ip_version, mask_of
from hostfw.nft.objects import Element, ElementType, KeyType, VerdictMap
from hostfw.nft.rules import (
    SCRATCH_SHIFT,
    Accept,
    Beginning,
    Below,
    CounterRef,
    Drop,
    Forget,
    Goto,
    Jump,
    Key,
    Log,
    Match,
    MatchValue,
    Note,
    Notrack,
    OverCount,
    OverLimit,
    Readdress,
    Reject,
    Remember,
    Return,
    Rule,
    SetRef,
    Statement,
    Verbatim,
    Verdict,
    Vmap,
)

_BETWEEN = ", "
"""Between elements; no text of one has it in it."""


def rule_text(rule: Rule, family: TableFamily) -> str:
    """A rule on one line, as `add rule` takes it."""
    exact = _merged_by_nft(rule.matches) if len(rule.matches) > 1 else ()
    words = [_range_of_one(m, family) if m in exact else _match_text(m, family) for m in rule.matches]
    words.extend(statement_text(s, family) for s in rule.statements)
    if rule.comment:
        words.append(f'comment "{rule.comment}"')
    return " ".join(words)


_NEIGHBOURS = {Key.DPORT: Key.SPORT, Key.ICMP_CODE: Key.ICMP_TYPE}
"""Fields of a header that follow right after another."""


def _merged_by_nft(matches: tuple[Match, ...]) -> tuple[Match, ...]:
    """Tests that nft would wrongly make one of with another.

    nft 1.0.6 merges `th sport != 1 th dport != 2`, even with other tests between, into one comparison of both ports,
    which holds as soon as one of them differs. Ranges are never merged. 1.1.3 merges equalities alone.
    """
    negated = [match for match in matches if match.negated and _is_one(match.value)]
    if len(negated) < 2:
        return ()
    keys = {match.key for match in negated}
    return tuple(match for match in negated if _NEIGHBOURS.get(match.key) in keys)


def _is_one(value: MatchValue) -> bool:
    return isinstance(value, int) or (isinstance(value, PortRange) and value.first == value.last)


def _range_of_one(match: Match, family: TableFamily) -> str:
    one = match.value.first if isinstance(match.value, PortRange) else match.value
    return f"{_key_text(match.key, family)} != {one}-{one}"


def _match_text(match: Match, family: TableFamily) -> str:
    operator = "!= " if match.negated else ""
    match match.value:
        case SetRef(name, length):
            return f"{_lookup_key_text(match.key, length, family)} {operator}@{name}"
        case Cidr() as cidr:
            return f"{_key_text(match.key, family)} {_cidr_text(cidr, operator)}"
        case PortRange() as ports:
            return f"{_key_text(match.key, family)} {operator}{range_text(ports)}"
        case str() as text if match.key in (Key.IIFNAME, Key.OIFNAME):
            return f"{match.key} {operator}{interface_text(text)}"
        case str() as text:
            return f"{_key_text(match.key, family)} {operator}{text}"
        case Beginning(beginning):
            return f'{match.key} {operator}{interface_text(beginning)[:-1]}*"'
        case Below(limit):
            return f"{_key_text(match.key, family)} < {mark_text(limit)}"
        case int() as number if match.key is Key.SCRATCH:
            return f"{_key_text(match.key, family)} {operator}{mark_text(number)}"
        case int() as number:
            text = _PROTOCOL_NAMES.get(number, str(number)) if match.key is Key.PROTOCOL else str(number)
            return f"{_key_text(match.key, family)} {operator}{text}"


_PROTOCOL_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp", 136: "udplite"}

_OCTETS_OF_A_SLOW_PAYLOAD = 3


def _cidr_text(cidr: Cidr, operator: str) -> str:
    """A prefix in the form that the kernel tests fastest.

    An IPv4 prefix of 24 bits would be a three byte payload, which nf_tables evaluates out
    of line; as a masked compare of four bytes it is inline (31 against 3.6 ns on kernel 6.18).
    """
    if cidr.family is Family.V4 and cidr.length == 8 * _OCTETS_OF_A_SLOW_PAYLOAD:
        mask = address_text(cidr.family, cidr.mask)
        return f"& {mask} {operator or '== '}{address_text(cidr.family, cidr.address)}"
    text = address_text(cidr.family, cidr.address) if cidr.is_host else str(cidr)
    return f"{operator}{text}"


def mark_text(number: int) -> str:
    """A number of the upper half of a mark, as the whole mark has it."""
    return f"{number << SCRATCH_SHIFT:#010x}"


_SCRATCH = 0xFFFF << SCRATCH_SHIFT
_PORT_BITS = 16
_PORTS = frozenset((Key.SPORT, Key.DPORT, Key.ORIGINAL_DPORT))


_ON_LINK = frozenset((Key.SOURCE_ON_LINK, Key.DESTINATION_ON_LINK))


def _vmap_key_text(statement: Vmap, family: TableFamily) -> str:
    if isinstance(statement.key, tuple):
        return " . ".join(_lookup_key_text(field.key, field.length, family) for field in statement.key)
    if statement.mask is not None:
        return _masked_key_text(statement.key, statement.mask, family)
    return _lookup_key_text(statement.key, statement.length, family)


def _masked_key_text(key: Key, mask: int, family: TableFamily) -> str:
    if key is Key.SCRATCH:
        return f"{key} & {mark_text(mask)}"
    text = str(mask) if key in _PORTS else address_text(ip_version(family), mask)
    return f"{_key_text(key, family)} & {text}"


def _lookup_key_text(key: Key, length: int | None, family: TableFamily) -> str:
    text = _key_text(key, family)
    if key in _PORTS:
        bits = _PORT_BITS if length is None else length
        return text if bits == _PORT_BITS else f"{text} & {(1 << _PORT_BITS) - (1 << _PORT_BITS - bits)}"
    if length is None or length == family.bits:
        return text
    mask = f" & {address_text(ip_version(family), mask_of(ip_version(family), length))}"
    if key in _ON_LINK:
        return f"{text}{mask}"
    address, *others = text.split(" . ")
    return " . ".join((f"{address}{mask}", *others))


def _key_text(key: Key, family: TableFamily) -> str:
    ip = family.nft
    icmp = "icmp" if family is Family.V4 else "icmpv6"
    match key:
        case Key.SADDR | Key.DADDR:
            return f"{ip} {key}"
        case Key.HOP_LIMIT:
            return "ip ttl" if family is Family.V4 else "ip6 hoplimit"
        case Key.SPORT | Key.DPORT:
            return f"th {key}"
        case Key.PROTOCOL:
            return "ip protocol" if family is Family.V4 else "meta l4proto"
        case Key.SOURCE_SOCKET:
            return f"{ip} saddr . meta l4proto . th sport"
        case Key.DESTINATION_SOCKET:
            return f"{ip} daddr . meta l4proto . th dport"
        case Key.SOURCE_TO_PORT:
            return f"{ip} saddr . meta l4proto . th dport"
        case Key.DESTINATION_FROM_PORT:
            return f"{ip} daddr . meta l4proto . th sport"
        case Key.SOURCE_ON_LINK:
            return f"iifname . {ip} saddr"
        case Key.DESTINATION_ON_LINK:
            return f"oifname . {ip} daddr"
        case Key.QUESTION:
            return f"oifname . {ip} saddr . th sport"
        case Key.ANSWER:
            return f"iifname . {ip} daddr . th dport"
        case Key.ORIGINAL_DADDR:
            return f"ct original {ip} daddr"
        case Key.ORIGINAL_SOCKET:
            return f"ct original {ip} daddr . meta l4proto . ct original proto-dst"
        case Key.ICMP_TYPE:
            return f"{icmp} type"
        case Key.ICMP_CODE:
            return f"{icmp} code"
        case Key.ETHER_SADDR | Key.SECPATH | Key.ROUTE_BACK | Key.ROUTE_BACK_BY_IIF:
            return key.value
        case Key.ETHER_DADDR | Key.ETHER_TYPE | Key.IP_SADDR | Key.IP6_SADDR | Key.UDP_SPORT | Key.UDP_DPORT:
            return key.value
        case Key.ARP_HTYPE | Key.ARP_PTYPE | Key.ARP_HLEN | Key.ARP_PLEN | Key.ARP_SADDR_ETHER | Key.ARP_SADDR_IP:
            return key.value
        case Key.ND_TARGET:
            return key.value
        case Key.IIFNAME | Key.OIFNAME | Key.CT_STATE | Key.CT_STATUS | Key.NFPROTO | Key.TCP_SYN:
            return key.value
        case Key.SCRATCH:
            return f"{key} & {_SCRATCH:#010x}"
        case Key.DADDR_TYPE | Key.USER | Key.IIF | Key.OIF | Key.CT_ID | Key.ORIGINAL_DPORT:
            return key.value


def interface_text(name: str) -> str:
    """The name of an interface, in quotes. Raises ValueError for one that would mean another, or several."""
    if not is_safe_name(name):
        raise ValueError(f"nftables cannot match the interface {name!r}")
    return f'"{name}"'


def range_text(ports: PortRange) -> str:
    """A port, or the first and the last of several."""
    return str(ports.first) if ports.first == ports.last else f"{ports.first}-{ports.last}"


def statement_text(statement: Statement, family: TableFamily) -> str:
    """A statement, a verdict among them, as rules and verdict maps take it."""
    match statement:
        case CounterRef(name):
            return f'counter name "{name}"'
        case OverLimit(name, key, length, rate, burst, per):
            limit = f"limit rate over {rate}/{per} burst {burst} packets"
            return f"update @{name} {{ {_lookup_key_text(key, length, family)} {limit} }}"
        case OverCount(name, key, length, connections):
            return f"add @{name} {{ {_lookup_key_text(key, length, family)} ct count over {connections} }}"
        case Remember(name, key, length):
            return f"update @{name} {{ {_lookup_key_text(key, length, family)} }}"
        case Log(prefix, group, snaplen):
            return f'log prefix "{prefix}" group {group} snaplen {snaplen}'
        case Vmap():
            return f"{_vmap_key_text(statement, family)} vmap @{statement.map}"
        case Note(number):
            noted = f" | {mark_text(number)}" if number else ""
            return f"meta mark set meta mark & {~_SCRATCH & 0xFFFFFFFF:#010x}{noted}"
        case Notrack():
            return "notrack"
        case Forget(name, key):
            return f"delete @{name} {{ {_key_text(key, family)} }}"
        case Readdress(original):
            side = "original" if original else "reply"
            end = "daddr" if original else "saddr"
            return f"{family.nft} daddr set ct {side} {family.nft} {end}"
        case Reject(tcp_reset):
            icmp = "icmp" if family is Family.V4 else "icmpv6"
            return f"reject with {'tcp reset' if tcp_reset else f'{icmp} type admin-prohibited'}"
        case Verbatim(text):
            return text
        case Jump(chain):
            return f"jump {chain}"
        case Goto(chain):
            return f"goto {chain}"
        case Accept():
            return "accept"
        case Drop():
            return "drop"
        case Return():
            return "return"


def keys_text(keys: Sequence[Element], element_type: KeyType, family: TableFamily) -> Iterable[str]:
    """The keys of a map; those that there are by the hundred thousand without a call for each."""
    if isinstance(element_type, tuple):
        fields = [key if isinstance(key, tuple) else () for key in keys]
        columns = zip(*fields, strict=True)
        return map(" . ".join, zip(*map(partial(keys_text, family=family), columns, element_type), strict=True))
    if element_type is ElementType.ADDRESS:
        width, kind = (4, AF_INET) if family is Family.V4 else (16, AF_INET6)
        return [inet_ntop(kind, key.to_bytes(width, "big")) for key in keys if isinstance(key, int)]
    if element_type is ElementType.NETWORK:
        width, kind = (4, AF_INET) if family is Family.V4 else (16, AF_INET6)
        places = [key for key in keys if isinstance(key, tuple)]
        before = {interface: f"{interface_text(str(interface))} . " for interface in {one[0] for one in places}}
        return [before[one[0]] + inet_ntop(kind, int(one[1]).to_bytes(width, "big")) for one in places]
    if element_type is ElementType.IFNAME:
        return [f'"{key}"' for key in keys]
    return [
        str(key)
        if isinstance(key, int) and element_type is ElementType.PORT
        else element_text(key, element_type, family)
        for key in keys
    ]


def element_text(element: Element, element_type: KeyType, family: TableFamily) -> str:
    """An element of a set, or the key of one of a map."""
    if isinstance(element_type, tuple):
        fields: tuple[int | str, ...] = element if isinstance(element, tuple) else ()
        return " . ".join(element_text(one, of, family) for one, of in zip(fields, element_type, strict=True))
    match element:
        case PortRange():
            return range_text(element)
        case (str() as interface, int() as address):
            return f"{interface_text(interface)} . {address_text(ip_version(family), address)}"
        case (address, protocol, port):
            return f"{address_text(ip_version(family), address)} . {protocol} . {port}"
        case str():
            return f'"{element}"'
        case int() if element_type is ElementType.ADDRESS:
            return address_text(ip_version(family), element)
        case int() if element_type is ElementType.MARK:
            return mark_text(element)
        case _:
            return str(element)


def elements_text(contents: VerdictMap, family: TableFamily, before: VerdictMap | None = None) -> str:
    """The text of a map's elements; those that another map of this type has too are written as they are there."""
    elements = contents.elements
    texts = before.text.split(_BETWEEN) if before is not None and before.text else []
    if before is None or len(texts) != len(before.elements):
        return _BETWEEN.join(_element_texts(elements, contents.type, family, {}))
    first, last = alike_ends(before.elements, elements)
    end = len(texts) - last
    known = dict(
        zip([(key, id(verdict)) for key, verdict in before.elements[first:end]], texts[first:end], strict=True)
    )
    others = _element_texts(elements[first : len(elements) - last], contents.type, family, known)
    return _BETWEEN.join((*texts[:first], *others, *texts[end:]))


def _element_texts(
    elements: Sequence[tuple[Element, Verdict]],
    kind: KeyType,
    family: TableFamily,
    known: Mapping[tuple[Element, int], str],
) -> Iterator[str]:
    """The text of each element, which is `known` where the very verdict had it with the key before."""
    texts = [known.get((key, id(verdict))) for key, verdict in elements] if known else [None] * len(elements)
    new = [element for element, text in zip(elements, texts, strict=True) if text is None]
    # Many elements share a verdict.
    verdicts = {id(verdict): verdict for _, verdict in new}
    ways = {which: statement_text(verdict, family) for which, verdict in verdicts.items()}
    keys = keys_text([key for key, _ in new], kind, family)
    written = (f"{key} : {ways[id(verdict)]}" for key, (_, verdict) in zip(keys, new, strict=True))
    return (next(written) if text is None else text for text in texts)
