"""The log prefix codec: what an NFLOG record says of the rule that logged it.

A prefix is at most 127 bytes (nft's limit, `NF_LOG_PREFIXLEN` - 1) and reads

    hostfw:DI|rule|default|allow-web|2

action (`D`eny, `L`og; in lower case, and `a`llow and `p`ass as well, what a staged policy would have done) and
direction (`I`ngress, `E`gress), then reason, tier, policy and rule index, as far as they
apply. A name that is too long keeps its head and ends in `~` and a digest. No resource name may hold a `~` or a `|`,
so a shortened name cannot be spoofed by a real one.
"""

from dataclasses import dataclass
from hashlib import sha256

from hostfw.model.packets.decisions import OF_LIMITS, Reason
from hostfw.model.values import Action, Direction

MAX_PREFIX_BYTES = 127
SHORTENED = "~"
"""A character that marks a shortened name and is in no resource name."""
_MARK = "hostfw:"
_TIER_BYTES = 24
_POLICY_BYTES = 56
_DIGEST_CHARACTERS = 12
_INDEX_DIGITS = 9

_ACTIONS = {"A": Action.ALLOW, "D": Action.DENY, "L": Action.LOG, "P": Action.PASS}
_DIRECTIONS = {"I": Direction.INGRESS, "E": Direction.EGRESS}
_LETTERS = {value: letter for letter, value in (*_ACTIONS.items(), *_DIRECTIONS.items())}


@dataclass(frozen=True, slots=True)
class LogTag:
    """The content of a log prefix: the rule, and what it did.

    `tier` and `policy` are empty where the reason has none; decoded ones that hold a `~` are shortened (see
    `stands_for`). `index` is the rule's place in its list, from 0, or None.
    """

    action: Action
    direction: Direction
    reason: Reason
    tier: str = ""
    policy: str = ""
    index: int | None = None
    staged: bool = False

    def __str__(self) -> str:
        if self.reason is Reason.RULE:
            staged = f" (staged {self.action})" if self.staged else ""
            return f"{self._rule}{staged}"
        if self.reason in OF_LIMITS:
            staged = ", staged" if self.staged else ""
            return f"{self._rule} ({self.reason}{staged})"
        return f"{self.reason}{f' {self.tier}' if self.tier else ''} ({self.direction})"

    @property
    def _rule(self) -> str:
        return f"{self.tier or 'profile'}/{self.policy} {self.direction}[{self.index}]"


def encode(tag: LogTag) -> str:
    """The log prefix of a tag."""
    action = _LETTERS[tag.action]
    head = f"{_MARK}{action.lower() if tag.staged else action}{_LETTERS[tag.direction]}"
    index = "" if tag.index is None else str(tag.index)
    fields = (head, tag.reason.value, *names_as_decoded(tag.tier, tag.policy), index)
    return "|".join(fields).rstrip("|")


def decode(prefix: str) -> LogTag | None:
    """The tag of a log prefix, or None for a prefix that is not hostfw's."""
    if len(prefix) > MAX_PREFIX_BYTES:
        return None
    head, *rest = prefix.split("|")
    letters = head.removeprefix(_MARK)
    if head == letters or len(letters) != len("DI") or len(rest) > len(("reason", "tier", "policy", "index")):
        return None
    reason, tier, policy, index = (*rest, "", "", "", "")[:4]
    action, direction = _ACTIONS.get(letters[0].upper()), _DIRECTIONS.get(letters[1])
    known_index = index == "" or (index.isascii() and index.isdigit() and len(index) <= _INDEX_DIGITS)
    if action is None or direction is None or reason not in set(Reason) or not known_index:
        return None
    return LogTag(action, direction, Reason(reason), tier, policy, int(index) if index else None, letters[0].islower())


def names_as_decoded(tier: str, policy: str) -> tuple[str, str]:
    """The names of a tier and a policy as they come out of a prefix, shortened where they have to be."""
    return shorten(tier, _TIER_BYTES), shorten(policy, _POLICY_BYTES)


def stands_for(decoded: str, name: str) -> bool:
    """True if a decoded name field stands for this tier or policy, shortened or not."""
    return decoded in (name, shorten(name, _TIER_BYTES), shorten(name, _POLICY_BYTES))


def shorten(name: str, limit: int, mark: str = SHORTENED) -> str:
    """The name itself if it fits `limit` characters, or its head, a mark and a digest that tells it from others."""
    if len(name) <= limit:
        return name
    digest = sha256(name.encode()).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{name[: limit - len(mark) - len(digest)]}{mark}{digest}"
