"""Rules in nft's own words, beside policy: for what policy has no word for."""

from dataclasses import dataclass
from enum import StrEnum

from hostfw.model.kinds.metadata import Metadata
from hostfw.model.positions import NOWHERE, Position
from hostfw.model.values import FAMILIES, Family


class NftHook(StrEnum):
    """The netfilter hook at which rules stand, by nft's name."""

    PREROUTING = "prerouting"
    INPUT = "input"
    FORWARD = "forward"
    OUTPUT = "output"
    POSTROUTING = "postrouting"


@dataclass(frozen=True, slots=True)
class NftRule:
    """One rule as nft(8) writes it, without the chain that it is added to.

    `verdicts` are the words in it that decide packets, such as `drop`, each once and sorted.
    """

    text: str
    position: Position = NOWHERE
    verdicts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NftRules:
    """Rules of nft that packets meet at a hook before any policy, in the order of `order` and then name.

    They are of the tables of `families`. Nobody but the kernel knows what they match.
    """

    metadata: Metadata
    hook: NftHook = NftHook.INPUT
    order: float | None = None
    families: tuple[Family, ...] = FAMILIES
    rules: tuple[NftRule, ...] = ()

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The words of all rules that decide packets, each once and sorted."""
        return tuple(sorted({word for rule in self.rules for word in rule.verdicts}))
