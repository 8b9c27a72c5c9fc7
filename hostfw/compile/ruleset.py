"""The whole ruleset of a Plan: both tables and the base chains of their hooks.

A base chain holds little more than established-first and one way on, into chains that are named after their content
and never edited. A generation takes over by the flip of that one rule: a packet samples the kernel's generation once
as it enters a base chain, so it meets the old structure or the new one and never a mixture.

    hook         priority       ours
    prerouting   raw    -300    untracked policy (doNotTrack), only where there is any
                 (conntrack -200)
    prerouting   mangle -150    preDNAT policy, only where there is any
                 (destination NAT of others -100)
    input        filter    0    normal ingress policy
    forward      filter    0    applyOnForward policy: ingress of the way in, then egress of the way out
    output       raw    -300    untracked policy, only where there is any
                 (conntrack -200, destination NAT of others -100)
    output       filter    0    normal egress policy
    postrouting  mangle -150    normal egress policy of what destination NAT has sent elsewhere

Docker, libvirt and firewalld stand at filter too, Tailscale and iptables-nft at their own; an accept of ours ends
only our chain, and a drop of any of them still counts.
"""

from hostfw.compile.builder import TableBuilder
from hostfw.compile.costs import DEFAULT_COSTS, CostModel
from hostfw.compile.dispatch import Dispatch
from hostfw.compile.memory import Compiled
from hostfw.model.plan import Plan
from hostfw.model.settings import DenyAction, PacketMarks, Unmanaged
from hostfw.model.values import FAMILIES, ICMP, Direction, Family
from hostfw.nft.objects import Accept, Goto, Hook, Jump, Key, Match, Priority, Rule, Ruleset, SetMark, Table

_ICMP_REDIRECT = 5
"""The type of an ICMP redirect (RFC 792); that of IPv6 is no error message and never related."""


def _follows(family: Family) -> list[Rule]:
    """What is part of a known connection, or an error about one, and so met policy when it began.

    An ICMP redirect counts as related as well, but changes where the host sends a connection's packets to: it meets
    policy.
    """
    if family is Family.V6:
        return [Rule((Match(Key.CT_STATE, "established,related"),), (Accept(),))]
    related = Match(Key.CT_STATE, "related")
    return [
        Rule((Match(Key.CT_STATE, "established"),), (Accept(),)),
        Rule((related, Match(Key.PROTOCOL, ICMP.number, negated=True)), (Accept(),)),
        Rule((related, Match(Key.ICMP_TYPE, _ICMP_REDIRECT, negated=True)), (Accept(),)),
    ]


def compile_plan(plan: Plan, costs: CostModel = DEFAULT_COSTS, memory: Compiled | None = None) -> Ruleset:
    """The ruleset that enforces a plan; the same plan gives the same ruleset, name for name, with a memory or without.

    With a memory of the plan of before it takes as long as what differs.
    """
    known = Compiled() if memory is None else memory
    known.begin(costs)
    try:
        ruleset = Ruleset(
            tuple(_table(plan, TableBuilder(family, costs, known.stores[family]), known) for family in FAMILIES)
        )
    except BaseException:
        # Half a plan is nothing to go on from.
        known.forget()
        raise
    known.end()
    return ruleset


def _table(plan: Plan, builder: TableBuilder, memory: Compiled) -> Table:
    rejects = plan.settings.deny_action is DenyAction.REJECT
    dispatch = Dispatch(plan, builder, memory, reject=rejects)
    accepted_before = _accepted_before(dispatch, builder, plan.settings.marks)
    _input(dispatch, builder, accepted_before)
    _forward(dispatch, builder, accepted_before)
    _output(dispatch, builder, accepted_before, plan)
    if _polices_output(plan):
        # The kernel lets no chain of postrouting reject.
        that_drops = Dispatch(plan, builder, memory, reject=False) if rejects else dispatch
        _postrouting(that_drops, builder, plan.settings.marks)
    return builder.table()


def _accepted_before(dispatch: Dispatch, builder: TableBuilder, marks: PacketMarks) -> list[Rule]:
    """The hooks before the filters, and the rule by which these know what was allowed there.

    A mark that came with the packet, out of a tunnel or from a program, means nothing: it is taken off first.
    """
    untracked_in, untracked_out = dispatch.untracked(Direction.INGRESS), dispatch.untracked(Direction.EGRESS)
    pre_dnat = dispatch.pre_dnat()
    if not (untracked_in or untracked_out or pre_dnat):
        return []
    accepted = Match(Key.MARK, marks.accepted)
    unmarked = Rule((accepted,), (SetMark(marks.accepted, clear=True),))
    for hook, direction, rules in (
        (Hook.PREROUTING, Direction.INGRESS, untracked_in),
        (Hook.OUTPUT, Direction.EGRESS, untracked_out),
    ):
        onward = [Rule((), (Goto(builder.chain(f"untracked-{direction.short}", rules)),))] if rules else []
        builder.base_chain(hook, [unmarked, *onward], Priority.RAW)
    accept_marked = Rule((accepted,), (Accept(),))
    if pre_dnat:
        onward = [Rule((), (Goto(builder.chain("pre-dnat", pre_dnat)),))]
        builder.base_chain(Hook.PREROUTING, [*_follows(builder.family), accept_marked, *onward], Priority.MANGLE)
    return [accept_marked]


def _input(dispatch: Dispatch, builder: TableBuilder, accepted_before: list[Rule]) -> None:
    root = builder.chain(Hook.INPUT, dispatch.local(Direction.INGRESS))
    rules = [*_follows(builder.family), *accepted_before, Rule((), (Goto(root),))]
    builder.base_chain(Hook.INPUT, rules, policy_drop=True)


def _forward(dispatch: Dispatch, builder: TableBuilder, accepted_before: list[Rule]) -> None:
    """What was allowed before skips the ingress of the way in, not the egress of the way out."""
    not_accepted = tuple(Match(match.key, match.value, negated=True) for r in accepted_before for match in r.matches)
    rules = [
        Rule(tests, (Jump(builder.chain(f"forward-{direction.short}", found)),))
        for direction, tests in ((Direction.INGRESS, not_accepted), (Direction.EGRESS, ()))
        if (found := dispatch.forward(direction))
    ]
    builder.base_chain(Hook.FORWARD, [*_follows(builder.family), *rules] if rules else [])


def _output(dispatch: Dispatch, builder: TableBuilder, accepted_before: list[Rule], plan: Plan) -> None:
    """What destination NAT has sent elsewhere has a new route, which is known in postrouting alone."""
    marked = (SetMark(plan.settings.marks.translated), Accept())
    translated = [Rule((Match(Key.CT_STATUS, "dnat"),), marked)] if _polices_output(plan) else []
    root = builder.chain(Hook.OUTPUT, dispatch.local(Direction.EGRESS))
    rules = [*_follows(builder.family), *accepted_before, *translated, Rule((), (Goto(root),))]
    builder.base_chain(Hook.OUTPUT, rules, policy_drop=True)


def _postrouting(dispatch: Dispatch, builder: TableBuilder, marks: PacketMarks) -> None:
    """The egress policy of what output let through for its translation alone.

    The mark says so, together with the translation of a new flow: a VPN's or another program's own mark may hold our
    bit as well, and what carries it has met its policy in output, or is forwarded.
    """
    root = builder.chain(Hook.OUTPUT, dispatch.local(Direction.EGRESS))
    rules = [Rule((), (SetMark(marks.translated, clear=True),)), Rule((), (Goto(root),))]
    onward = builder.chain(Hook.POSTROUTING, rules)
    translated = (Match(Key.MARK, marks.translated), Match(Key.CT_STATE, "new"), Match(Key.CT_STATUS, "dnat"))
    builder.base_chain(Hook.POSTROUTING, [Rule(translated, (Goto(onward),))], Priority.MANGLE)


def _polices_output(plan: Plan) -> bool:
    """Whether output can deny anything."""
    return bool(plan.endpoints) or plan.settings.unmanaged_interfaces.egress is Unmanaged.DENY
