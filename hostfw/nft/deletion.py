"""Deletions of objects of our tables, as data: sent to the kernel by netlink, and shown in nft's words."""

from enum import StrEnum
from typing import NamedTuple

from hostfw.model.values import TableFamily
from hostfw.nft.objects import TABLE


class DeletionKind(StrEnum):
    """The kinds of what is deleted; `RULES` are all the rules of a chain, `ELEMENTS` those of a set or map."""

    RULE = "rule"
    RULES = "rules"
    CHAIN = "chain"
    SET = "set"
    MAP = "map"
    ELEMENTS = "elements"
    COUNTER = "counter"
    TABLE = "table"
    FLOWTABLE = "flowtable"
    QUOTA = "quota"
    CT_HELPER = "ct helper"
    LIMIT = "limit"
    CONNLIMIT = "connlimit"
    TUNNEL = "tunnel"
    CT_TIMEOUT = "ct timeout"
    SECMARK = "secmark"
    CT_EXPECTATION = "ct expectation"
    SYNPROXY = "synproxy"


class Deletion(NamedTuple):
    """One object of ours that goes, by the name of itself, of rules by that of their chain, of a table by none.

    Elements go by the name of their set or map. A single rule is told by its handle as well, which no other rule of the
    table ever has.
    """

    family: TableFamily
    what: DeletionKind
    name: str = ""
    handle: int = 0

    def __str__(self) -> str:
        table = f"{self.family.nft} {TABLE}"
        match self.what:
            case DeletionKind.RULE:
                return f"delete rule {table} {self.name} handle {self.handle}"
            case DeletionKind.RULES:
                return f"flush chain {table} {self.name}"
            case DeletionKind.ELEMENTS:
                return f"flush set {table} {self.name}"
            case DeletionKind.TABLE:
                return f"delete table {table}"
            case _:
                return f"delete {self.what} {table} {self.name}"
