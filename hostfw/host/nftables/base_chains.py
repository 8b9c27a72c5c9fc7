"""The base chains of other programs: where they hook in, and whether anything behind them denies packets.

Read by raw netlink: libnftables 1.0.6 dies of what a newer nft wrote, and lists every element. Rules are looked at for
their verdicts alone, and elements never.
"""

import errno
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic

from hostfw.host.errors import HostError
from hostfw.host.netlink.messages import (
    NETLINK_NETFILTER,
    NFGENMSG,
    NetlinkError,
    NetlinkSocket,
    attribute_list,
    attributes,
    text,
    text_of,
    u32_of,
)
from hostfw.host.nftables import nf_tables
from hostfw.nft.block import BLOCK_TABLE
from hostfw.nft.objects import TABLE

_FAMILIES = {1: "inet", 2: "ip", 5: "netdev", 7: "bridge", 10: "ip6"}
"""NFPROTO_*; of the others (arp) no packet of ours is any."""
_HOOKS = ("prerouting", "input", "forward", "output", "postrouting", "ingress")
"""NF_INET_*, by number."""
_NETDEV_HOOKS = ("ingress", "egress")
_PATIENCE_S = 5.0

_CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_TYPE = 1, 3, 4, 5, 7
_HOOK_NUMBER, _HOOK_PRIORITY = 1, 2
_RULE_CHAIN, _RULE_EXPRESSIONS = 2, 4
_SET_TABLE, _SET_USERDATA = 1, 13
_EXPR_NAME, _EXPR_DATA = 1, 2
_IMMEDIATE_DATA, _DATA_VERDICT, _VERDICT_CODE, _VERDICT_CHAIN = 2, 2, 1, 2
_LOOKUP_DREG, _TARGET_NAME, _TARGET_INFO = 3, 1, 3
_META_DESTINATION, _META_KEY, _META_SOURCE, _META_MARK = 1, 2, 3, 3
_BITWISE_SOURCE, _BITWISE_DESTINATION = 1, 2
_DESTINATIONS = {b"meta": 1, b"bitwise": 2, b"immediate": 1, b"payload": 1, b"ct": 1, b"lookup": 3, b"numgen": 1}
_DESTINATIONS |= {b"hash": 2, b"socket": 2, b"fib": 1, b"rt": 1, b"exthdr": 1}
"""The attribute of the register that an expression writes to."""
_ALL_BITS = 0xFFFFFFFF
_MARK_INFO, _CONNMARK_INFO, _RESTORE = struct.Struct("=II"), struct.Struct("=IIIB"), 2
"""struct xt_mark_tginfo2 (mark, mask) and xt_connmark_tginfo1 (ctmark, ctmask, nfmask, mode)."""
_NF_DROP = 0
_JUMP, _GOTO = 0xFFFFFFFD, 0xFFFFFFFC
_DENYING_TARGETS = frozenset((b"REJECT", b"NFQUEUE", b"SYNPROXY", b"TARPIT"))
"""Targets of xtables that may deny a packet."""
_DENYING = frozenset((b"reject", b"queue", b"synproxy"))


@dataclass(frozen=True, slots=True)
class OtherChain:
    """A chain of another program; `base` where it hooks in. `denies` is whether a rule of its own may deny a packet.

    `leads_to` are the chains that it jumps to; None where a verdict map may lead to any of the table. `sets_mark` is
    whether a rule of its own sets all bits of the packet's mark, whatever they were.
    """

    name: str
    base: nf_tables.BaseHook | None
    denies: bool = False
    leads_to: tuple[str, ...] | None = ()
    sets_mark: bool = False


@dataclass(frozen=True, slots=True)
class OtherTable:
    """A table of another program that hooks in somewhere."""

    family: str
    name: str
    chains: tuple[OtherChain, ...]

    def __str__(self) -> str:
        return f"{self.family} {self.name}"


def read_others() -> tuple[OtherTable, ...]:
    """The tables of others that have base chains, with all of their chains. Raises HostError."""
    deadline = monotonic() + _PATIENCE_S
    while monotonic() < deadline:
        try:
            with NetlinkSocket(NETLINK_NETFILTER) as sock:
                return tuple(_read(sock))
        except NetlinkError as error:
            # A table that goes away between two questions is no table any more.
            if error.errno != errno.ENOENT:
                raise
    raise HostError("the tables of other programs kept changing while they were read")


def read_noted_sets() -> tuple[str, ...]:
    """The tables of others with sets that carry notes of whatever nft wrote them. Raises HostError."""
    with NetlinkSocket(NETLINK_NETFILTER) as sock:
        messages = sock.dump(nf_tables.GETSET, NFGENMSG.pack(0, 0, 0), "reading the sets of other programs")
    found = {_title(message, _SET_TABLE) for message in messages if _SET_USERDATA in attributes(message, 4)}
    return tuple(sorted(title for title in found if title and not _is_ours(title)))


def _read(sock: NetlinkSocket) -> Iterator[OtherTable]:
    what = "reading the chains of other programs"
    by_table: dict[str, list[bytes]] = {}
    for message in sock.dump(nf_tables.GETCHAIN, NFGENMSG.pack(0, 0, 0), what):
        title = _title(message, _CHAIN_TABLE)
        if title and not _is_ours(title):
            by_table.setdefault(title, []).append(message)
    for title, messages in sorted(by_table.items()):
        if any(_CHAIN_HOOK in attributes(message, 4) for message in messages):
            family, _, name = title.partition(" ")
            number = messages[0][0]
            request = NFGENMSG.pack(number, 0, 0) + text(nf_tables.TABLE_NAME, name)
            rules = _rules(sock.dump(nf_tables.GETRULE, request, what))
            yield OtherTable(family, name, tuple(_chain(message, rules) for message in messages))


def _title(message: bytes, table: int) -> str:
    """The family and name of the table that an object is in; nothing for a family that no packet of ours is of."""
    family = _FAMILIES.get(message[0])
    return f"{family} {text_of(attributes(message, 4)[table])}" if family else ""


def _is_ours(title: str) -> bool:
    return title in (f"ip {TABLE}", f"ip6 {TABLE}", f"inet {BLOCK_TABLE}")


def _rules(messages: Iterable[bytes]) -> dict[str, list[bytes]]:
    """The expressions of each rule, by chain."""
    found: dict[str, list[bytes]] = {}
    for message in messages:
        fields = attributes(message, 4)
        found.setdefault(text_of(fields[_RULE_CHAIN]), []).append(fields.get(_RULE_EXPRESSIONS, b""))
    return found


def _chain(message: bytes, rules: Mapping[str, list[bytes]]) -> OtherChain:
    fields = attributes(message, 4)
    name = text_of(fields[_CHAIN_NAME])
    base = _base(message[0], fields)
    denies = base is not None and base.policy == "drop"
    targets: list[str] = []
    mapped = False
    sets_mark = False
    for expressions in rules.get(name, ()):
        sets_mark |= _sets_mark(expressions)
        for kind, data in _expressions(expressions):
            match kind:
                case b"immediate":
                    code, chain = _verdict(data)
                    denies |= code == _NF_DROP
                    targets += [chain] if code in (_JUMP, _GOTO) else []
                case b"target":
                    # iptables-nft keeps the targets of xtables that nftables has no word for.
                    denies |= attributes(data).get(_TARGET_NAME, b"").rstrip(b"\0") in _DENYING_TARGETS
                case b"lookup":
                    mapped |= _LOOKUP_DREG in attributes(data) and u32_of(attributes(data)[_LOOKUP_DREG]) == 0
                case _:
                    denies |= kind in _DENYING
    return OtherChain(name, base, denies, None if mapped else tuple(dict.fromkeys(targets)), sets_mark)


def _sets_mark(expressions: bytes) -> bool:
    """True if a rule sets the mark to something that it did not make of the mark itself, bit by bit."""
    of_mark: set[int] = set()
    for kind, data in _expressions(expressions):
        fields = attributes(data)
        match kind:
            case b"meta" if _META_SOURCE in fields:
                if u32_of(fields[_META_KEY]) == _META_MARK and u32_of(fields[_META_SOURCE]) not in of_mark:
                    return True
            case b"meta" if u32_of(fields[_META_KEY]) == _META_MARK:
                of_mark.add(u32_of(fields[_META_DESTINATION]))
            case b"bitwise" if u32_of(fields[_BITWISE_SOURCE]) in of_mark:
                of_mark.add(u32_of(fields[_BITWISE_DESTINATION]))
            case b"target":
                if _sets_mark_by_target(fields):
                    return True
            case _ if kind in _DESTINATIONS and _DESTINATIONS[kind] in fields:
                of_mark.discard(u32_of(fields[_DESTINATIONS[kind]]))
            case _:
                pass
    return False


def _sets_mark_by_target(fields: Mapping[int, bytes]) -> bool:
    """True if a target of xtables sets all bits of the mark (xt_mark.h, xt_connmark.h)."""
    name, info = fields.get(_TARGET_NAME, b"").rstrip(b"\0"), fields.get(_TARGET_INFO, b"")
    if name == b"MARK" and len(info) >= _MARK_INFO.size:
        _, mask = _MARK_INFO.unpack_from(info)
        return bool(mask == _ALL_BITS)
    if name == b"CONNMARK" and len(info) >= _CONNMARK_INFO.size:
        _, _, mask, mode = _CONNMARK_INFO.unpack_from(info)
        return bool(mode == _RESTORE and mask == _ALL_BITS)
    return False


def _base(family: int, fields: Mapping[int, bytes]) -> nf_tables.BaseHook | None:
    if _CHAIN_HOOK not in fields:
        return None
    hook = attributes(fields[_CHAIN_HOOK])
    number = u32_of(hook[_HOOK_NUMBER])
    names = _NETDEV_HOOKS if _FAMILIES[family] == "netdev" else _HOOKS
    return nf_tables.BaseHook(
        text_of(fields.get(_CHAIN_TYPE, b"")),
        names[number] if number < len(names) else str(number),
        int.from_bytes(hook[_HOOK_PRIORITY], "big", signed=True),
        "drop" if u32_of(fields.get(_CHAIN_POLICY, b"\0\0\0\1")) == _NF_DROP else "accept",
    )


def _verdict(data: bytes) -> tuple[int | None, str]:
    verdict = attributes(attributes(attributes(data).get(_IMMEDIATE_DATA, b"")).get(_DATA_VERDICT, b""))
    if not verdict:
        return None, ""
    return u32_of(verdict[_VERDICT_CODE]), text_of(verdict.get(_VERDICT_CHAIN, b""))


def _expressions(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    for _, element in attribute_list(data):
        fields = attributes(element)
        yield fields[_EXPR_NAME].rstrip(b"\0"), fields.get(_EXPR_DATA, b"")
