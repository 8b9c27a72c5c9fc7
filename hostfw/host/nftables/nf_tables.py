"""nf_tables messages, decoded: the chains, rules, sets and counters of a table as the kernel shows them.

Numbers and layouts are those of <linux/netfilter/nf_tables.h>, where no value has ever changed its meaning, and for
comments those of libnftnl's udata.h.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

from hostfw.host.netlink.messages import attribute, attribute_list, attributes, nested, text_of, u32_of, u64_of
from hostfw.model.values import BRIDGE, Family, TableFamily
from hostfw.nft.declarations import DYNAMIC, INTERVAL, MAP, TIMEOUT, Declaration
from hostfw.nft.deletion import DeletionKind

SUBSYSTEM = 10 << 8
"""NFNL_SUBSYS_NFTABLES, where a message type has it."""
NEWTABLE = SUBSYSTEM | 0
GETTABLE = SUBSYSTEM | 1
NEWCHAIN = SUBSYSTEM | 3
GETCHAIN = SUBSYSTEM | 4
GETRULE = SUBSYSTEM | 7
GETSET = SUBSYSTEM | 10
NEWSET = SUBSYSTEM | 9
DELSET = SUBSYSTEM | 11
NEWSETELEM = SUBSYSTEM | 12
GETSETELEM = SUBSYSTEM | 13
DELSETELEM = SUBSYSTEM | 14
GETGEN = SUBSYSTEM | 16
GETOBJ = SUBSYSTEM | 19
GETFLOWTABLE = SUBSYSTEM | 23

FIRST_SEQUENCE = 0x68660001
"""The sequence number that our own batches begin with ("hf"): the kernel tells listeners that of the first request."""
OWN_SEQUENCES = range(FIRST_SEQUENCE, FIRST_SEQUENCE + 2)
"""Those by which a listener knows our own batches, whatever process, thread or PID namespace they come from."""

NFPROTO: dict[TableFamily, int] = {Family.V4: 2, Family.V6: 10, BRIDGE: 7}
"""The address family of a table, as messages have it."""

TABLE_NAME = 1
"""NFTA_TABLE_NAME, and the table's attribute of chains, rules, sets and objects alike."""
RULE_CHAIN = 2
OBJ_TYPE = 3
OBJECT_COUNTER = 1
OBJECT_TYPES = {
    1: DeletionKind.COUNTER,
    2: DeletionKind.QUOTA,
    3: DeletionKind.CT_HELPER,
    4: DeletionKind.LIMIT,
    5: DeletionKind.CONNLIMIT,
    6: DeletionKind.TUNNEL,
    7: DeletionKind.CT_TIMEOUT,
    8: DeletionKind.SECMARK,
    9: DeletionKind.CT_EXPECTATION,
    10: DeletionKind.SYNPROXY,
}
"""NFT_OBJECT_*: the kinds of stateful objects by number."""
TABLE_FLAGS, _TABLE_USERDATA, _TABLE_OWNER = 2, 6, 7
DORMANT = 0x1
"""NFT_TABLE_F_DORMANT: no base chain of the table is attached anywhere."""
OWNED, PERSISTENT = 0x2, 0x4
"""NFT_TABLE_F_OWNER: one socket alone may change the table, and it goes with that; NFT_TABLE_F_PERSIST: it stays."""
GEN_ID = 1

CHAIN_HANDLE, CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_USE, _CHAIN_TYPE, _CHAIN_USERDATA = 2, 3, 4, 5, 6, 7, 12
_HOOK_NUMBER, _HOOK_PRIORITY = 1, 2
_RULE_HANDLE, _RULE_EXPRESSIONS, _RULE_USERDATA = 3, 4, 7
_EXPR_NAME, _EXPR_DATA = 1, 2
_IMMEDIATE_DATA, _DATA_VERDICT, _VERDICT_CODE, _VERDICT_CHAIN = 2, 2, 1, 2
_LOOKUP_SET = 1
SET_NAME, _SET_FLAGS, _SET_KEY_TYPE, _SET_KEY_LEN, _SET_DESC, _SET_HANDLE = 2, 3, 4, 5, 9, 16
_SET_DATA_TYPE, _SET_TIMEOUT, _SET_USERDATA, _SET_COUNT = 6, 11, 13, 20
_SET_POLICY, _SET_GC_INTERVAL, _SET_EXPR, _SET_EXPRESSIONS = 8, 12, 17, 18
_DESC_SIZE, _DESC_CONCAT = 1, 2
OBJ_NAME, _OBJ_DATA = 2, 4
_FLOWTABLE_NAME = 2
_COUNTER_BYTES, _COUNTER_PACKETS = 1, 2

_JUMPS = (0xFFFFFFFD, 0xFFFFFFFC)
"""NFT_JUMP and NFT_GOTO."""
_FINAL = (0, 1, 0xFFFFFFFC, 0xFFFFFFFB)
"""NF_DROP, NF_ACCEPT, NFT_GOTO and NFT_RETURN: a base chain goes on behind none of them."""
_FLAG_ANONYMOUS, _FLAG_MAP, _FLAG_OBJECT = 0x1, 0x8, 0x40
SET_FLAGS_OF_CONTENT = INTERVAL | MAP
"""The flags that a set or map may have whose name says what it holds."""
_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
_POLICIES = ("drop", "accept")
_UDATA_COMMENT, _UDATA_SET_COMMENT = 0, 7

_STATEFUL: dict[bytes, frozenset[int]] = {
    b"counter": frozenset(),
    b"last": frozenset(),
    b"quota": frozenset((1, 2)),
}
"""Expressions whose dump changes with traffic, and those of their attributes that do not (of a quota, bytes and flags).

A limit's dump is its rate and burst, never its tokens (nft_limit.c).
"""


@dataclass(frozen=True, slots=True)
class BaseHook:
    """The hook of a base chain, and its policy for packets that it leaves undecided."""

    type: str
    hook: str
    priority: int
    policy: str


class KernelRule(NamedTuple):
    """A rule of a base chain: what it jumps or goes to, in order, the sets it looks up, and its comment.

    `final` is whether no packet gets past it: it is a verdict and no more.
    """

    handle: int
    targets: tuple[str, ...]
    lookups: tuple[str, ...]
    comment: str
    final: bool = False


@dataclass(frozen=True, slots=True)
class KernelChain:
    """A chain. `use` counts its rules and what refers to it; `base` is None for a regular chain.

    `rules` is their number and `digest` of their expressions and comments, without anything that traffic changes, so
    that changes by another program show; both are None where rules were not read. `base_rules` are those of a base
    chain, of which `rules` and `digest` are those that packets meet, up to the first final one; no packet meets those
    behind it, which are `hidden`. No chain of ours has a `comment`, which is said when a chain is made and never again.
    """

    name: str
    handle: int
    use: int
    base: BaseHook | None = None
    rules: int | None = None
    digest: str | None = None
    base_rules: tuple[KernelRule, ...] = ()
    comment: str = ""

    @property
    def hidden(self) -> int:
        """The number of rules behind the final one of a base chain."""
        return max(len(self.base_rules) - (self.rules or 0), 0)


@dataclass(frozen=True, slots=True)
class KernelSet:
    """A set or a map. `flags` are NFT_SET_*; `key_type` is nft's own number of the datatype, `key_bytes` its length.

    `size` is the bound on its elements, None without one; `timeout_ms` is 0 where they stay. `count` is how many
    it has, None where the kernel does not tell (before 6.17), and `more` as in `Declaration`.
    """

    name: str
    handle: int
    flags: int
    key_type: int
    key_bytes: int
    size: int | None
    data_type: int = 0
    timeout_ms: int = 0
    comment: str = ""
    count: int | None = field(default=None, compare=False)
    more: str = ""

    @property
    def declaration(self) -> Declaration:
        """Everything but its elements: what most often can only be changed by making it again."""
        key = self.key_type, self.key_bytes
        return Declaration(self.flags, *key, self.data_type, self.size, self.timeout_ms, self.comment, self.more)

    @property
    def is_dynamic(self) -> bool:
        """True if rules fill it, or other programs: no generation says what it holds."""
        return bool(self.flags & (DYNAMIC | TIMEOUT))

    @property
    def is_map(self) -> bool:
        """True if its elements carry data, a verdict or an object."""
        return bool(self.flags & (_FLAG_MAP | _FLAG_OBJECT))

    @property
    def is_anonymous(self) -> bool:
        """True if it is part of a rule, with a name that the kernel chose."""
        return bool(self.flags & _FLAG_ANONYMOUS)


class KernelObject(NamedTuple):
    """Something of a kind that hostfw never makes: a flowtable, or a stateful object other than a counter."""

    kind: DeletionKind
    name: str


class KernelCounter(NamedTuple):
    """A named counter and its values."""

    name: str
    packets: int
    bytes: int


def chains_of(messages: Iterable[bytes], table: str) -> list[KernelChain]:
    """The chains of a table, without their rules, from a dump of every table's chains."""
    mine = table.encode() + b"\0"
    fields = (attributes(message, 4) for message in messages)
    return [_chain(chain) for chain in fields if chain.get(TABLE_NAME) == mine]


def with_rules(chains: Iterable[KernelChain], messages: Iterable[bytes]) -> Iterator[KernelChain]:
    """The chains with what the messages of all their rules tell of them."""
    by_chain: dict[bytes, list[dict[int, bytes]]] = {}
    for message in messages:
        rule = attributes(message, 4)
        by_chain.setdefault(rule[RULE_CHAIN], []).append(rule)
    for chain in chains:
        rules = by_chain.get(chain.name.encode() + b"\0", [])
        base_rules = tuple(map(_rule, rules)) if chain.base else ()
        met = next((number for number, rule in enumerate(base_rules, 1) if rule.final), len(rules))
        known = (chain.name, chain.handle, chain.use, chain.base)
        yield KernelChain(*known, met, _digest(rules[:met]), base_rules, chain.comment)


def set_of(message: bytes) -> KernelSet:
    """A set or map, without its elements."""
    fields = attributes(message, 4)
    described = attributes(fields.get(_SET_DESC, b""))
    size = described.get(_DESC_SIZE)
    return KernelSet(
        text_of(fields[SET_NAME]),
        _handle(fields[_SET_HANDLE]),
        u32_of(fields.get(_SET_FLAGS, bytes(4))),
        u32_of(fields[_SET_KEY_TYPE]),
        u32_of(fields[_SET_KEY_LEN]),
        u32_of(size) if size else None,
        u32_of(fields.get(_SET_DATA_TYPE, bytes(4))),
        u64_of(fields.get(_SET_TIMEOUT, bytes(8))),
        _comment(fields.get(_SET_USERDATA, b""), _UDATA_SET_COMMENT),
        u32_of(fields[_SET_COUNT]) if _SET_COUNT in fields else None,
        ", ".join(_more(fields, described)),
    )


def _more(fields: dict[int, bytes], described: dict[int, bytes]) -> Iterator[str]:
    """Features that no set or map of ours is declared with."""
    if _SET_GC_INTERVAL in fields:
        yield f"gc-interval {u32_of(fields[_SET_GC_INTERVAL])} ms"
    if _SET_EXPR in fields or _SET_EXPRESSIONS in fields:
        yield "a statement for its elements"
    if _SET_POLICY in fields:
        yield f"policy {u32_of(fields[_SET_POLICY])}"
    if _DESC_CONCAT in described:
        yield "fields of a concatenation"


def counter_of(message: bytes) -> KernelCounter:
    """A named counter with its values, summed over all CPUs."""
    return _counter(attributes(message, 4))


def _counter(fields: dict[int, bytes]) -> KernelCounter:
    data = attributes(fields[_OBJ_DATA])
    return KernelCounter(text_of(fields[OBJ_NAME]), u64_of(data[_COUNTER_PACKETS]), u64_of(data[_COUNTER_BYTES]))


def objects_of(messages: Iterable[bytes]) -> tuple[tuple[KernelCounter, ...], tuple[KernelObject, ...]]:
    """The named counters and the other stateful objects, without those of a kind that is newer than this."""
    counters: list[KernelCounter] = []
    others: list[KernelObject] = []
    for message in messages:
        fields = attributes(message, 4)
        number = u32_of(fields[OBJ_TYPE])
        if number == OBJECT_COUNTER:
            counters.append(_counter(fields))
        elif (kind := OBJECT_TYPES.get(number)) is not None:
            others.append(KernelObject(kind, text_of(fields[OBJ_NAME])))
    return tuple(counters), tuple(others)


def flowtables_of(messages: Iterable[bytes], table: str) -> Iterator[KernelObject]:
    """The flowtables of a table."""
    for message in messages:
        fields = attributes(message, 4)
        if text_of(fields[TABLE_NAME]) == table:
            yield KernelObject(DeletionKind.FLOWTABLE, text_of(fields[_FLOWTABLE_NAME]))


def table_flags_of(message: bytes) -> int:
    """The flags of a table, NFT_TABLE_F_*."""
    return u32_of(attributes(message, 4).get(TABLE_FLAGS, bytes(4)))


def table_comment_of(message: bytes) -> str:
    """The comment of a table, which none of ours has; like that of a chain it is said when it is made."""
    return _comment(attributes(message, 4).get(_TABLE_USERDATA, b""))


def table_owner_of(message: bytes) -> int:
    """The netlink port that alone may change a table, mostly the id of the process that has it; 0 for any."""
    return u32_of(attributes(message, 4).get(_TABLE_OWNER, bytes(4)))


def generation_of(message: bytes) -> int:
    """The generation id of a network namespace's rulesets."""
    return u32_of(attributes(message, 4)[GEN_ID])


def _chain(fields: dict[int, bytes]) -> KernelChain:
    hook = fields.get(_CHAIN_HOOK)
    return KernelChain(
        text_of(fields[CHAIN_NAME]),
        _handle(fields[CHAIN_HANDLE]),
        u32_of(fields.get(_CHAIN_USE, bytes(4))),
        _base_hook(fields, attributes(hook)) if hook else None,
        comment=_comment(fields.get(_CHAIN_USERDATA, b"")),
    )


def _base_hook(fields: dict[int, bytes], hook: dict[int, bytes]) -> BaseHook:
    number = u32_of(hook[_HOOK_NUMBER])
    priority = int.from_bytes(hook[_HOOK_PRIORITY], "big", signed=True)
    return BaseHook(
        text_of(fields.get(_CHAIN_TYPE, b"")),
        _HOOKS[number] if number < len(_HOOKS) else str(number),
        priority,
        _POLICIES[u32_of(fields.get(_CHAIN_POLICY, bytes(4)))],
    )


def _rule(fields: dict[int, bytes]) -> KernelRule:
    targets: list[str] = []
    lookups: list[str] = []
    final = False
    for number, (name, data) in enumerate(_expressions(fields.get(_RULE_EXPRESSIONS, b""))):
        match name:
            case b"immediate":
                verdict = attributes(attributes(attributes(data).get(_IMMEDIATE_DATA, b"")).get(_DATA_VERDICT, b""))
                code = u32_of(verdict[_VERDICT_CODE]) if verdict else None
                final = number == 0 and code in _FINAL
                if code in _JUMPS:
                    targets.append(text_of(verdict[_VERDICT_CHAIN]))
            case b"lookup":
                lookups.append(text_of(attributes(data)[_LOOKUP_SET]))
            case _:
                pass
    return KernelRule(
        _handle(fields[_RULE_HANDLE]),
        tuple(targets),
        tuple(lookups),
        _comment(fields.get(_RULE_USERDATA, b"")),
        final,
    )


def _expressions(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    for _, element in attribute_list(data):
        fields = attributes(element)
        yield fields[_EXPR_NAME].rstrip(b"\0"), fields.get(_EXPR_DATA, b"")


def _digest(rules: Iterable[dict[int, bytes]]) -> str:
    digest = sha256()
    for rule in rules:
        for part in (_lasting(rule.get(_RULE_EXPRESSIONS, b"")), rule.get(_RULE_USERDATA, b"")):
            digest.update(len(part).to_bytes(4, "big"))
            digest.update(part)
    return digest.hexdigest()[:16]


def _lasting(expressions: bytes) -> bytes:
    """The expressions of a rule without anything that traffic changes."""
    if not any(name + b"\0" in expressions for name in _STATEFUL):
        return expressions
    parts: list[bytes] = []
    for name, data in _expressions(expressions):
        kept = _STATEFUL.get(name)
        fields = (field for field in attribute_list(data) if kept is None or field[0] in kept)
        parts += (attribute(_EXPR_NAME, name), nested(_EXPR_DATA, *(attribute(kind, value) for kind, value in fields)))
    return b"".join(parts)


def _comment(userdata: bytes, wanted: int = _UDATA_COMMENT) -> str:
    """The comment among libnftnl's user data: type and length in a byte each, then the NUL-terminated text."""
    offset = 0
    while offset + 2 <= len(userdata):
        kind, length = userdata[offset], userdata[offset + 1]
        if kind == wanted:
            return text_of(userdata[offset + 2 : offset + 2 + length])
        offset += 2 + length
    return ""


def _handle(payload: bytes) -> int:
    return u64_of(payload)
