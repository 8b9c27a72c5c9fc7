"""The explanation of a packet's verdict: every step that was taken, and the one that decided."""

from dataclasses import dataclass
from enum import StrEnum

from hostfw.model.kinds.source_limit import SourceLimit
from hostfw.model.packets.decisions import PolicyClass, Reason
from hostfw.model.packets.packet import Packet
from hostfw.model.plan import RuleIdentity
from hostfw.model.positions import NOWHERE, Position
from hostfw.model.settings import FailsafePort
from hostfw.model.values import Action, Direction


class StepVerdict(StrEnum):
    """The result of a step: the packet is allowed, it is denied, or evaluation goes on."""

    ALLOW = "allow"
    DENY = "deny"
    NEXT = "next"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a packet met at an interface.

    A policy rule (`reason` is `RULE`) carries its identity, action and position; `missed` names the first criterion
    that did not hold, in the words of the manifest, and is empty for a rule that matched. `policy` names a profile
    where `tier` is empty. `endpoint` is None on an unmanaged interface.

    `policy_class` says where the packet was. In `UNTRACKED` and `PRE_DNAT` a failsafe and neighbour discovery exempt it
    from the policies of that class alone, so their verdict is `NEXT`; `reply` is of a failsafe that exempts an answer.

    A rule of a `staged` policy has the verdict `NEXT` whatever its action would decide. `before_failsafes` is of a rule
    that was met before the failsafe ports that are open to everybody. An `unrecorded` denial is only counted. `limit`
    is what an Allow lets in of each source; beyond it the step denies, with a reason of its own.
    """

    verdict: StepVerdict
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
    policy_class: PolicyClass = PolicyClass.NORMAL
    reply: bool = False
    staged: bool = False
    before_failsafes: bool = False
    unrecorded: bool = False
    limit: SourceLimit | None = None

    @property
    def matched(self) -> bool:
        """True if a policy rule held; true of every other step."""
        return not self.missed


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
        """True if the packet passes."""
        return self.decided_by.verdict is StepVerdict.ALLOW

    @property
    def logged_by(self) -> tuple[Step, ...]:
        """The Log rules that the packet matched on its way, those of staged policies left out."""
        return tuple(s for s in self.steps if s.action is Action.LOG and s.matched and not s.staged)

    @property
    def staged(self) -> tuple[Step, ...]:
        """The decisions of staged policies, each by the first rule that matched and is no Log."""
        return tuple(s for s in self.steps if s.staged and s.matched and s.action is not Action.LOG)
