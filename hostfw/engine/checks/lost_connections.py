"""The lockout check: connections that a host depends on and would lose by a plan.

It runs the packets of the baseline through `explain` of the candidate, the reference semantics of policy. Established
connections pass every change, so the check is about the next one: can the same peer connect again?
"""

from dataclasses import dataclass, replace

from hostfw.engine.outcomes import Failed
from hostfw.explain.verdict import explain
from hostfw.lockout.flows import Flow, FlowKind, flows
from hostfw.model.host.baseline import Baseline
from hostfw.model.host.facts import HostFacts
from hostfw.model.packets.decisions import PolicyClass, Reason
from hostfw.model.packets.explanation import Step, StepVerdict
from hostfw.model.packets.packet import ConntrackState, Packet, Path
from hostfw.model.plan import Plan
from hostfw.model.settings import LockoutCheck, PublishedPorts
from hostfw.model.values import ICMPV6, TCP, Family, address_text

ACCEPT = "to do it anyway, add --accept-lockout"


@dataclass(frozen=True, slots=True)
class Loss:
    """A connection that a host depends on and a plan does not allow.

    `what` names it, `decided_by` is the rule or other decision that denies it, with its file and line, `explain` the
    command that shows the whole evaluation, and `hint` the way to keep it.
    """

    kind: FlowKind
    what: str
    decided_by: str
    explain: str
    hint: str

    def __str__(self) -> str:
        return f"{self.what} would be lost: {self.decided_by}"


@dataclass(frozen=True, slots=True)
class Lockout:
    """The result of the check: `refused` stands in the way of the plan, `warned` does not.

    `ending` are warnings about what is allowed for a time alone.
    """

    refused: tuple[Loss, ...] = ()
    warned: tuple[Loss, ...] = ()
    ending: tuple[str, ...] = ()

    @property
    def refusal(self) -> Failed | None:
        """The refusal of the plan, with its reasons and the next step; None if it may come into force."""
        if not self.refused:
            return None
        more = len(self.refused) - 1
        rest = f" (and {more} more; -v lists them)" if more else ""
        return Failed(
            f"this would cut the host off: {self.refused[0]}{rest}",
            f"{self.refused[0].hint}; {ACCEPT}",
            more=tuple(map(str, self.refused[1:])),
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings, one sentence each."""
        return (*(f"{loss}; {loss.hint}" for loss in self.warned), *self.ending)


def losses(plan: Plan, facts: HostFacts, baseline: Baseline) -> tuple[Loss, ...]:
    """Connections of the baseline that a plan blocks, the most important first."""
    found = ((flow, _decision_against(plan, flow)) for flow in flows(baseline, facts, plan))
    return tuple(_loss(plan, flow, *decision) for flow, decision in found if decision is not None)


def check_lockout(
    candidate: Plan, present: Plan | None, facts: HostFacts, baseline: Baseline, *, accepted: bool = False
) -> Lockout:
    """Check the plan of a candidate against the plan that it replaces, None for none.

    Only what the change cuts is refused: what is lost already is worth a warning, and so is everything with
    `lockoutCheck: warn` or if the loss is `accepted`.
    """
    how = candidate.settings.lockout_check
    if how is LockoutCheck.IGNORE:
        return Lockout()
    found = losses(candidate, facts, baseline)
    if how is LockoutCheck.WARN or accepted or not found:
        return Lockout(warned=found)
    before = set[str]() if present is None else {loss.what for loss in losses(present, facts, baseline)}
    return Lockout(
        refused=tuple(loss for loss in found if loss.what not in before),
        warned=tuple(loss for loss in found if loss.what in before),
    )


def _decision_against(plan: Plan, flow: Flow) -> tuple[Packet, Step] | None:
    """The packet of a flow that does not pass, and the step that says so; None if the flow lives."""
    first: tuple[Packet, Step] | None = None
    for packet in flow.packets:
        denied = _first_denied(plan, packet, answered=flow.answered)
        if (denied is None) is flow.any_of:
            # One packet settles it: one that passes where one is enough, one that does not where all must.
            return denied
        first = first or denied
    return first


def _first_denied(plan: Plan, packet: Packet, *, answered: bool) -> tuple[Packet, Step] | None:
    there = explain(plan, packet)
    untracked = there.decided_by.policy_class is PolicyClass.UNTRACKED
    # What is not tracked is not translated either, and never comes to the port that somebody listens on.
    if not there.allowed or (untracked and packet.original is not None):
        return packet, there.decided_by
    if not answered:
        return None
    # Without connection tracking nothing is established by it, and its answer begins out of the blue.
    reply = _reply(packet, ConntrackState.INVALID if untracked else ConntrackState.ESTABLISHED)
    back = explain(plan, reply)
    return None if back.allowed else (reply, back.decided_by)


def _reply(packet: Packet, state: ConntrackState) -> Packet:
    return replace(
        packet,
        source=packet.destination,
        destination=packet.source,
        source_port=packet.destination_port,
        destination_port=packet.source_port,
        in_interface=packet.out_interface,
        out_interface=packet.in_interface,
        state=state,
        original=None,
        mac=None,
        ipsec=False,
    )


def _loss(plan: Plan, flow: Flow, packet: Packet, step: Step) -> Loss:
    # Published ports are judged by the port that the peer knows, where a HostEndpoint judges them at all.
    ours = (
        step.endpoint is not None
        and plan.endpoint(step.endpoint).workload is None
        and plan.settings.published_ports is not PublishedPorts.THEIRS
    )
    judged = packet.as_published if ours else packet
    return Loss(
        flow.kind, flow.what, decided_by(plan, step), _command(packet.untranslated), _hint(flow.kind, judged, step)
    )


def decided_by(plan: Plan, step: Step) -> str:
    """Describe the decision that denies a packet: the rule with its file and line, or the reason."""
    if step.rule is not None:
        name = f"{step.tier}/{step.policy}" if step.tier else f"profile {step.policy}"
        allows = step.verdict is StepVerdict.ALLOW
        does = "keeps it from being tracked, and so from being translated," if allows else "denies it"
        return f"rule {step.rule.index} ({step.action}) of {name} {does} ({step.position.file_line})"
    if step.endpoint is None:
        if step.reason is Reason.UNMANAGED:
            key = f"unmanagedInterfaces.{step.direction}"
            return f"no HostEndpoint governs {step.interface}, and {key} is deny"
        return f"{step.reason} on {step.interface}, which no HostEndpoint governs"
    endpoint = plan.endpoint(step.endpoint)
    known = endpoint.workload is None or endpoint.workload.identified
    governs = f"{endpoint.title} ({endpoint.position.file_line})" if known else f"{endpoint.title} on {step.interface}"
    match step.reason:
        case Reason.END_OF_TIER:
            return f"no {step.direction} rule in tier {step.tier} allows it, whose end denies it for {governs}"
        case Reason.NO_PROFILE_MATCH:
            return f"no {step.direction} rule allows it for {governs}"
        case Reason.NO_POLICY:
            return f"no policy for {step.direction} selects {governs}, which closes it"
        case _:
            return f"{step.reason} denies it for {governs}"


def _command(packet: Packet) -> str:
    """The question that `hostfwctl explain` answers the same way."""
    brackets = packet.family is Family.V6 and packet.has_ports
    destination = address_text(packet.family, packet.destination)
    ends = [address_text(packet.family, packet.source), f"[{destination}]" if brackets else destination]
    if packet.has_ports:
        ends[1] += f":{packet.destination_port}/{'tcp' if packet.protocol == TCP.number else 'udp'}"
    words = ["hostfwctl explain", *ends]
    words += [f"--in {packet.in_interface}"] if packet.in_interface else []
    words += [f"--out {packet.out_interface}"] if packet.out_interface else []
    words += [f"--icmp {packet.icmp_type}"] if packet.protocol == ICMPV6.number else []
    words += [f"--sport {packet.source_port}"] if packet.has_ports else []
    words += [f"--state {packet.state}"] if packet.state is not ConntrackState.NEW else []
    words += ["--ipsec"] if packet.ipsec else []
    words += [f"--mac {packet.mac}"] if packet.mac is not None else []
    return " ".join(words)


def _hint(kind: FlowKind, packet: Packet, step: Step) -> str:
    """A hint on how to keep it: by an earlier rule, a setting, a failsafe, or a new rule."""
    if step.verdict is StepVerdict.ALLOW:
        return "take it out of the doNotTrack policy, and allow it in one that tracks it"
    if step.before_failsafes:
        side = "inbound" if packet.path is Path.LOCAL_IN else "outbound"
        return f"leave this address out of it, or name it with net in failsafe.{side} of hostfw.yaml"
    if step.policy_class is PolicyClass.UNTRACKED:
        return "allow it in the doNotTrack policy, or make its Deny rule narrower"
    if packet.state is ConntrackState.INVALID:
        return "let a doNotTrack policy allow the answers too (types: [Ingress, Egress]), or track what they answer"
    if kind is FlowKind.GATEWAY or packet.protocol == ICMPV6.number:
        return "say neighbourDiscovery: accept in hostfw.yaml, or allow the ICMPv6 types 133 to 136"
    protocol = "tcp" if packet.protocol == TCP.number else "udp"
    inbound = packet.path is Path.LOCAL_IN
    side, way = ("ingress", "inbound") if inbound else ("egress", "outbound")
    return f"allow {protocol} port {packet.destination_port} in an {side} rule, or in failsafe.{way} of hostfw.yaml"
