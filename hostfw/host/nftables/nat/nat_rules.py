"""Destination NAT by other programs' nftables rules: their dnat and redirect statements.

Rules are read by raw netlink, expression by expression (<linux/netfilter/nf_tables.h>), with the matches and targets
that iptables-nft keeps from xtables. A condition that is not understood leaves a translation uncertain.
"""

import struct
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from hostfw.host.netlink.messages import attribute_list, attributes, text_of, u32_of
from hostfw.model.values import Family, PortRange

_EXPR_NAME, _EXPR_DATA = 1, 2
_DATA_VALUE, _DATA_VERDICT = 1, 2
_VERDICT_CODE, _VERDICT_CHAIN = 1, 2
_ACCEPT, _JUMP, _GOTO, _RETURN = 1, 0xFFFFFFFD, 0xFFFFFFFC, 0xFFFFFFFB
_EQUAL, _NOT_EQUAL = 0, 1
_META_IIF, _META_IIFNAME, _META_NFPROTO, _META_L4PROTO = 4, 6, 15, 16
_NETWORK, _TRANSPORT = 1, 2
_FIB_ADDRTYPE, _FIB_DADDR, _RTN_LOCAL = 3, 2, 2
_DNAT = 1
_NFPROTO = {2: Family.V4, 10: Family.V6}
_MAP_ADDRESS, _MAP_PORT = 1, 2
"""Flags of struct nf_nat_range: addresses, ports."""
_HARMLESS = frozenset((b"counter", b"log", b"limit", b"last", b"quota", b"objref", b"connlimit"))
"""Expressions that leave it open whether a rule holds for the first packets of a connection, or always hold."""
_DEEPEST = 16
_FIRST_PORT, _LAST_PORT = 0, 65_535
_NAME_BYTES = 16

Elements = Callable[[str], Mapping[bytes, bytes] | None]
"""Gives the elements of a set by name, with their data where it is a map; None where they are ranges or too many."""
NameOf = Callable[[int], str]
"""Gives the name of an interface by its index."""


@dataclass(frozen=True, slots=True)
class Translation:
    """A rule that gives packets another destination; None and empty where it has no condition, or keeps what there is.

    `ports` None is every port. `to_address` None is this host itself, as of a redirect. `not_loopback` leaves out the
    addresses of loopback.
    """

    families: tuple[Family, ...]
    protocols: tuple[int, ...] | None = None
    ports: tuple[PortRange, ...] | None = None
    address: int | None = None
    interfaces: tuple[str, ...] = ()
    not_interfaces: tuple[str, ...] = ()
    to_address: int | None = None
    to_port: int | None = None
    certain: bool = True
    not_loopback: bool = False

    @property
    def is_impossible(self) -> bool:
        """True if no packet meets all of the conditions."""
        return not self.families or self.ports == () or self.protocols == ()


class Walk:
    """A walk through the rules of a table, by chain."""

    def __init__(self, rules: Mapping[str, list[bytes]], elements: Elements, interface_name: NameOf) -> None:
        self._rules = rules
        self._elements = elements
        self._interface_name = interface_name

    def chain(self, name: str, known: Translation, depth: int = 0) -> Iterator[Translation]:
        """The translations in a chain and those that it leads to, in order, of packets of which something is known."""
        if depth > _DEEPEST:
            return
        for expressions in self._rules.get(name, ()):
            rule = _Rule(known, self._elements, self._interface_name)
            rule.read(expressions)
            found = rule.found
            if found.is_impossible:
                continue
            yield from rule.translated()
            for target, condition in rule.leads_to:
                yield from self.chain(target, condition, depth + 1)
            if rule.ends:
                if found == known and not rule.doubted:
                    return
                only_by_interface = replace(found, interfaces=known.interfaces) == known and not known.interfaces
                known = (
                    replace(known, not_interfaces=(*known.not_interfaces, *found.interfaces))
                    if only_by_interface
                    else replace(known, certain=False)
                )


class _Rule:
    """One rule: the conditions that it adds to what is known, where it leads, and what it translates to."""

    def __init__(self, known: Translation, elements: Elements, interface_name: NameOf) -> None:
        self.found = known
        self.leads_to: list[tuple[str, Translation]] = []
        self.ends = False
        self.doubted = False
        """True once the rule has a condition that is not understood: it may or may not hold."""
        self._targets: list[Translation] = []
        self._elements = elements
        self._interface_name = interface_name
        self._fields: dict[int, str] = {}
        self._values: dict[int, bytes] = {}
        self._by_key: dict[int, tuple[_Key | None, Mapping[bytes, bytes]]] = {}

    def translated(self) -> Iterator[Translation]:
        """The translations that the rule itself makes, conditions that came behind included."""
        yield from (target for target in self._targets if not target.is_impossible)

    def read(self, expressions: bytes) -> None:
        """Read the expressions of the rule, in order."""
        for _, element in attribute_list(expressions):
            fields = attributes(element)
            kind, data = fields[_EXPR_NAME].rstrip(b"\0"), attributes(fields.get(_EXPR_DATA, b""))
            match kind:
                case b"meta" if 1 in data:
                    self._fields[_register(data[1])] = _META.get(u32_of(data[2]), "")
                case b"payload":
                    self._payload(data)
                case b"fib" if 1 in data:
                    local = u32_of(data[2]) == _FIB_ADDRTYPE and u32_of(data[3]) == _FIB_DADDR
                    self._fields[_register(data[1])] = "type" if local else ""
                case b"cmp":
                    self._compare(self._field(data[1]), u32_of(data[2]), _value(data[3]))
                case b"range":
                    self._range(self._field(data[1]), u32_of(data[2]), _value(data[3]), _value(data[4]))
                case b"lookup":
                    self._lookup(data)
                case b"immediate":
                    self._immediate(data)
                case b"nat":
                    self._nat(data)
                case b"redir":
                    self._redirect(_register(data[1]) if 1 in data else None)
                case b"match":
                    self._match(text_of(data[1]), data.get(3, b""))
                case b"target":
                    self._target(text_of(data[1]), u32_of(data[2]) if 2 in data else 0, data.get(3, b""))
                case _ if kind not in _HARMLESS:
                    self._doubt()
                case _:
                    pass

    def _field(self, register: bytes) -> str:
        return self._fields.get(_register(register), "")

    def _doubt(self) -> None:
        self.doubted = True
        self.found = replace(self.found, certain=False)

    def _nothing(self) -> None:
        self.found = replace(self.found, families=())

    def _payload(self, data: Mapping[int, bytes]) -> None:
        if 1 not in data:
            self._doubt()
            return
        base, offset, length = (u32_of(data[number]) for number in (2, 3, 4))
        name = ""
        if base == _TRANSPORT and (offset, length) == (2, 2):
            name = "dport"
        elif base == _NETWORK:
            name = _NETWORK_FIELDS.get((offset, length), "")
        self._fields[_register(data[1])] = name

    def _compare(self, field: str, operator: int, value: bytes) -> None:
        if field == "dport":
            port = int.from_bytes(value, "big")
            bounds = {0: (port, port), 2: (0, port - 1), 3: (0, port), 4: (port + 1, _LAST_PORT), 5: (port, _LAST_PORT)}
            self._limit_ports((PortRange(*bounds[operator]),)) if operator in bounds else self._doubt()
        elif operator not in (_EQUAL, _NOT_EQUAL):
            self._doubt()
        else:
            self._is(field, (value,), equal=operator == _EQUAL)

    def _is(self, field: str, values: tuple[bytes, ...], *, equal: bool) -> None:
        """A field has one of some values, or with `equal` False none of them."""
        match field:
            # iptables-nft compares no further than the end of a name; without its end it is the beginning of names.
            case "iifname" if all(len(value) == _NAME_BYTES or value.endswith(b"\0") for value in values):
                self._on(tuple(map(text_of, values)), equal=equal)
            case "ifindex":
                self._on(tuple(self._interface_name(_native(value)) for value in values), equal=equal)
            case "nfproto":
                these = {_NFPROTO.get(value[0]) for value in values}
                left = tuple(family for family in self.found.families if (family in these) is equal)
                self.found = replace(self.found, families=left)
            case "l4proto" if equal:
                protocols = tuple(value[0] for value in values)
                before = self.found.protocols
                kept = protocols if before is None else tuple(p for p in before if p in protocols)
                self.found = replace(self.found, protocols=kept)
            case "dport" if equal:
                self._limit_ports(tuple(PortRange(port, port) for port in sorted(map(_number, values))))
            case "daddr4" | "daddr6" if equal and len(values) == 1:
                family = Family.V4 if field == "daddr4" else Family.V6
                same = self.found.address in (None, _number(values[0]))
                families = tuple(f for f in self.found.families if f is family and same)
                self.found = replace(self.found, address=_number(values[0]), families=families)
            case "daddr4/8" | "daddr6" if not equal and values in (_LOOPBACK_V4, _LOOPBACK_V6):
                self.found = replace(self.found, not_loopback=True)
            case "type" if len(values) == 1:
                if (_native(values[0]) == _RTN_LOCAL) is not equal:
                    self._nothing()
            case _:
                self._doubt()

    def _on(self, names: tuple[str, ...], *, equal: bool) -> None:
        found = self.found
        if not equal:
            self.found = replace(found, not_interfaces=(*found.not_interfaces, *names))
        elif found.interfaces and not set(names) & set(found.interfaces):
            self._nothing()
        else:
            kept = tuple(name for name in names if not found.interfaces or name in found.interfaces)
            self.found = replace(found, interfaces=kept)

    def _range(self, field: str, operator: int, first: bytes, last: bytes) -> None:
        if field == "dport" and operator == _EQUAL:
            self._limit_ports((PortRange(_number(first), _number(last)),))
        else:
            self._doubt()

    def _limit_ports(self, ranges: tuple[PortRange, ...]) -> None:
        before = self.found.ports or (PortRange(_FIRST_PORT, _LAST_PORT),)
        met = ((max(a.first, b.first), min(a.last, b.last)) for a in before for b in ranges)
        self.found = replace(self.found, ports=tuple(PortRange(*pair) for pair in met if pair[0] <= pair[1]))

    def _lookup(self, data: Mapping[int, bytes]) -> None:
        elements = self._elements(text_of(data[1]))
        key_of = self._key(_register(data[2]), elements)
        if 3 in data and u32_of(data[3]) == 0:
            for key, target in (elements or {}).items():
                code, chain = _verdict(target)
                if code in (_JUMP, _GOTO):
                    self.leads_to.append((chain, self._found_at(key_of, key)))
        elif elements is None or (5 in data and u32_of(data[5])):
            self._doubt()
        elif 3 in data:
            self._by_key[_register(data[3])] = (key_of, elements)
        elif key_of is not None and len(key_of) == 1:
            self._is(self._field(data[2]), tuple(elements), equal=True)
        elif len(elements) == 1:
            self.found = self._found_at(key_of, *elements)
        else:
            # Of several fields together only one combination is told by a translation.
            self._doubt()

    def _key(self, register: int, elements: Mapping[bytes, bytes] | None) -> "_Key | None":
        """The fields that the keys of a set consist of, from a register on; None where one is not understood."""
        length = len(next(iter(elements or ()), b""))
        fields: list[tuple[str, slice]] = []
        at = 0
        while at < length:
            name = self._fields.get(register + at // _WORD, "")
            size = _KEY_FIELDS.get(name)
            if size is None:
                return None
            fields.append((name, slice(at, at + size)))
            at += size + -size % _WORD
        return tuple(fields)

    def _found_at(self, fields: "_Key | None", key: bytes) -> Translation:
        """The translation so far, of packets whose fields are those of a key."""
        before = self.found
        if fields is None:
            return replace(before, certain=False)
        for name, part in fields:
            self._is(name, (key[part],), equal=True)
        found, self.found = self.found, before
        return found

    def _immediate(self, data: Mapping[int, bytes]) -> None:
        code, chain = _verdict(data[2])
        if code is None:
            self._values[_register(data[1])] = _value(data[2])
        elif code in (_JUMP, _GOTO):
            self.leads_to.append((chain, self.found))
        else:
            self.ends = code in (_ACCEPT, _RETURN)

    def _nat(self, data: Mapping[int, bytes]) -> None:
        if u32_of(data[1]) != _DNAT:
            return
        family = _NFPROTO.get(u32_of(data[2])) if 2 in data else None
        self.found = replace(self.found, families=tuple(f for f in self.found.families if f is family))
        register, port = (_register(data[number]) if number in data else None for number in (3, 5))
        address = self._values.get(register or 0, b"")
        if register in self._by_key:
            self._translate_by_map(register, 4 if family is Family.V4 else 16)
        elif port in self._by_key:
            self._translate_by_map(port, address=address)
        else:
            self._translate(address, None if port is None else self._values.get(port))

    def _redirect(self, port: int | None) -> None:
        if port in self._by_key:
            self._translate_by_map(port)
        else:
            self._translate(None, None if port is None else self._values.get(port))

    def _translate_by_map(self, register: int, width: int = 0, address: bytes = b"") -> None:
        """The elements of a map: an address of this width or none, and perhaps a port behind it."""
        (fields, elements), before = self._by_key[register], self.found
        for key, target in elements.items():
            value = _value(target)
            self.found = self._found_at(fields, key)
            self._translate(address or value[:width], value[width : width + 2] or None)
            self.found = before

    def _translate(self, address: bytes | None, port: bytes | None) -> None:
        to_port = None if not port else _number(port[:2])
        to_address = None if not address else _number(address)
        self._targets.append(replace(self.found, to_address=to_address, to_port=to_port))

    def _match(self, name: str, info: bytes) -> None:
        """A match of xtables: their layouts are those of <linux/netfilter/xt_*.h>."""
        match name:
            case "tcp" | "udp" if len(info) >= 8:
                number = 6 if name == "tcp" else 17
                inverted = info[11:12] if name == "tcp" else info[8:9]
                first, last = struct.unpack_from("=HH", info, 4)
                sources = struct.unpack_from("=HH", info)
                self._is("l4proto", (bytes((number,)),), equal=True)
                self._limit_ports((PortRange(first, last),))
                if sources != (_FIRST_PORT, _LAST_PORT) or (inverted and inverted[0]):
                    self._doubt()
            case "addrtype" if len(info) >= 8:
                source, destination, flags = struct.unpack_from("=HHI", info)
                if source or flags or not destination & 1 << _RTN_LOCAL:
                    self._doubt()
            case "comment":
                pass
            case _:
                self._doubt()

    def _target(self, name: str, revision: int, info: bytes) -> None:
        """A target of xtables: struct nf_nat_range, or in the first revision for IPv4 its compatible form."""
        if name not in ("DNAT", "REDIRECT"):
            return
        if revision == 0 and self.found.families == (Family.V4,):
            flags, address = struct.unpack_from("=I", info, 4)[0], info[8:12]
            port = info[16:18]
        else:
            flags, width = struct.unpack_from("=I", info)[0], 4 if self.found.families == (Family.V4,) else 16
            address, port = info[4 : 4 + width], info[36:38]
        given = address if name == "DNAT" and flags & _MAP_ADDRESS else None
        self._translate(given, port if flags & _MAP_PORT else None)


_META = {_META_IIF: "ifindex", _META_IIFNAME: "iifname", _META_NFPROTO: "nfproto", _META_L4PROTO: "l4proto"}
_LOOPBACK_V4, _LOOPBACK_V6 = (b"\x7f",), (bytes(15) + b"\1",)
"""The first byte of 127.0.0.0/8, and ::1."""
_NETWORK_FIELDS = {(16, 4): "daddr4", (16, 1): "daddr4/8", (24, 16): "daddr6", (9, 1): "l4proto", (6, 1): "l4proto"}
"""Fields of the network headers, by offset and length."""


_KEY_FIELDS = {"dport": 2, "l4proto": 1, "daddr4": 4, "daddr6": 16}
"""The fields that keys of maps consist of, with the bytes of each; each begins a register of its own."""
_Key = tuple[tuple[str, slice], ...]
_WORD = 4


def _register(data: bytes) -> int:
    """The number of a register, of those of 4 bytes, which are the parts of those of 16 bytes."""
    number = u32_of(data)
    return number * _WORD + _WORD if number <= _WORD else number


def _value(data: bytes) -> bytes:
    return attributes(data).get(_DATA_VALUE, b"")


def _verdict(data: bytes) -> tuple[int | None, str]:
    verdict = attributes(attributes(data).get(_DATA_VERDICT, b""))
    if _VERDICT_CODE not in verdict:
        return None, ""
    return u32_of(verdict[_VERDICT_CODE]), text_of(verdict.get(_VERDICT_CHAIN, b""))


def _number(value: bytes) -> int:
    return int.from_bytes(value, "big")


def _native(value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder)
