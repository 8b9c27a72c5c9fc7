"""Why a packet gets its verdict: every step that was taken, and the one that decided."""

from dataclasses import dataclass
from enum import StrEnum

from hostfw.model.decisions import Reason
from hostfw.model.packet import Packet
from hostfw.model.plan import RuleIdentity
from hostfw.model.positions import NOWHERE, Position
from hostfw.model.settings import FailsafePort
from hostfw.model.values import Action, Direction


class Verdict(StrEnum):
    """What a step says: the packet is let through, it is not, or the next step has the word."""

    ALLOW = "allow"
    DENY = "deny"
    NEXT = "next"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a packet met at an interface.

    A policy rule (`reason` is `RULE`) carries its identity, action and position; `missed` names the first criterion
    that did not hold, in the words of the manifest, and is empty for a rule that matched. `policy` names a profile
    where `tier` is empty. `endpoint` is None on an unmanaged interface.
    """

    verdict: Verdict
    reason: Reason
    interface: str
    direction: Direction
    endpoint: str | None = None
    tier: str = ""
    policy: str = ""
    rule: RuleIdentity | None = None
    action: Action | None = None
    position: Position = NOWHERE
    missed: str = ""
    failsafe: FailsafePort | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """The verdict on a packet. `steps` are in the order in which they were taken and hold `decided_by`.

    Forwarded traffic meets two endpoints, and both must let it through: where they do, the last rule that allowed
    it is the one that decided.
    """

    packet: Packet
    steps: tuple[Step, ...]
    decided_by: Step

    @property
    def allowed(self) -> bool:
        """Whether the packet passes."""
        return self.decided_by.verdict is Verdict.ALLOW

    @property
    def logged_by(self) -> tuple[Step, ...]:
        """The Log rules that the packet matched on its way."""
        return tuple(step for step in self.steps if step.action is Action.LOG and not step.missed)
