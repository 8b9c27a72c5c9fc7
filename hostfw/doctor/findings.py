"""Findings of `doctor`: things that are wrong with a host and its firewall."""

from dataclasses import dataclass
from enum import StrEnum


class Check(StrEnum):
    """The subject of a check. Programs tell findings apart by it."""

    IN_FORCE = "in-force"
    DRIFT = "drift"
    BLOCK = "block"
    PENDING = "pending-confirmation"
    CONFIGURATION = "configuration"
    NODE = "node"
    INTERFACES = "interfaces"
    ENDPOINT = "endpoint"
    PUBLISHED = "published-port"
    SERVICE = "service"
    BRIDGE = "bridge"
    GOVERNANCE = "governance"
    WORKLOADS = "workloads"
    LOCKOUT = "lockout"
    FAILSAFE = "failsafe"
    FEED = "feed"
    OTHER_TABLE = "other-table"
    IPTABLES = "iptables"
    OTHER_SERVICE = "other-service"
    OWN_SERVICE = "own-service"
    VERSION = "version"
    NEWER_NFT = "newer-nft"
    PERMISSIONS = "permissions"
    STATE = "state"
    LAYOUT = "layout"
    LOG = "log"
    CONNTRACK = "conntrack"


class Weight(StrEnum):
    """The severity: a problem should be fixed, and a note may be intended."""

    PROBLEM = "problem"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing in one sentence, and the next step; `more` is what the sentence only counts."""

    check: Check
    message: str
    next: str = ""
    weight: Weight = Weight.PROBLEM
    more: tuple[str, ...] = ()
