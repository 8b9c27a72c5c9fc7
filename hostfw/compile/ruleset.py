"""The whole ruleset of a Plan: both tables and the base chains of their hooks.

A base chain holds little more than established-first and one way on, into chains that are named after their content
and never edited. A generation takes over by the flip of that one rule: a packet samples the kernel's generation once
as it enters a base chain, so it meets the old structure or the new one and never a mixture.

    hook         priority       ours
    prerouting   raw    -300    sources of workloads, only where interfaces are theirs; then untracked policy
                                (doNotTrack), only where there is any
                 (conntrack -200)
    prerouting   mangle -150    the reverse path filter, then preDNAT policy, only where there is any
                 (destination NAT of others -100)
    input        filter    0    normal ingress policy
    forward      raw    -300    normal ingress policy of published ports, only where there is applyOnForward policy
    forward      mangle -150    applyOnForward policy: ingress of the way in, only where there is any
    forward      filter    0    applyOnForward policy: egress of the way out; where there is no such policy in either
                                direction, normal ingress policy of published ports
    output       raw    -300    untracked policy, only where there is any
                 (conntrack -200, destination NAT of others -100)
    output       filter    0    normal egress policy
    postrouting  mangle -150    questions to multicast are noted (multicastAnswers), then normal egress policy of what
                                destination NAT has sent elsewhere

No verdict hangs on a mark of the packet, which any other program may set or clear. That untracked policy allowed a
packet is found out anew at the later hooks, since nothing translates what is not tracked. That preDNAT policy did is
noted in a set of our own by the id of the connection, which no packet carries, and found out anew where there is none.

NftRules of a hook stand first in its chain at filter, in prerouting and postrouting at mangle, before what is
established: what changes packets changes all of them.

A published port is told by what the kernel says of the connection: new, with its destination translated, and addressed
to this host. Of the last the routing is asked about the original destination, as whoever translated it did. For that
lookup alone the packet gets its old address, and it has the new one again before any verdict.

Docker, libvirt and firewalld stand at filter too, Tailscale and iptables-nft at their own; an accept of ours ends
only our chain, and a drop of any of them still counts.
"""

from itertools import chain

from hostfw.compile.bridge_table import bridge_table
from hostfw.compile.dispatch import Dispatch
from hostfw.compile.incremental.memo import CompileCache
from hostfw.compile.incremental.objects_in_use import ForgottenObjectError
from hostfw.compile.layout.costs import DEFAULT_COSTS, CostModel
from hostfw.compile.layout.nft_rules.log_limits import LOG_RECORDS, SUPPRESSED
from hostfw.compile.multicast_answers import questions
from hostfw.compile.table_builder import TableBuilder
from hostfw.model.plan import Plan
from hostfw.model.settings import DenyAction, PublishedPorts, Unmanaged
from hostfw.model.values import FAMILIES, ICMP, Direction, Family
from hostfw.nft.objects import Dynamic, ElementType, Hook, Priority, Ruleset, Table
from hostfw.nft.rules import Accept, Forget, Goto, Jump, Key, Match, Readdress, Remember, Rule, SetRef, Verbatim

_NOT_TRACKED = Match(Key.CT_STATE, "untracked")
_WITHOUT_CONNECTION = Match(Key.CT_STATE, "invalid,untracked")
_TRANSLATED = Match(Key.CT_STATUS, "dnat")
_NEW = Match(Key.CT_STATE, "new")

ALLOWED_ROOM = Dynamic(65_536, 5)
"""Most connections between preDNAT policy and the next hook, and the seconds that each is kept.

An element goes as soon as it is looked up; what is left is what others drop in between. Without room a connection is
not noted, and normal policy decides.
"""
ALLOWED = f"allowed-before.{ALLOWED_ROOM.size}-{ALLOWED_ROOM.timeout_s}s"
"""The set of the connections that preDNAT policy has allowed."""

_ICMP_REDIRECT = 5
"""The type of an ICMP redirect (RFC 792); that of IPv6 is no error message and never related."""


def _follows(family: Family) -> list[Rule]:
    """Rules for packets of a known connection, or errors about one, which met policy when it began.

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


def compile_plan(plan: Plan, costs: CostModel = DEFAULT_COSTS, cache: CompileCache | None = None) -> Ruleset:
    """The ruleset that enforces a plan; the same plan gives the same ruleset, name for name, with a cache or without.

    With the cache of an earlier plan it takes as long as what differs.
    """
    known = CompileCache() if cache is None else cache
    shared = costs.shared_by(_number_of_rules(plan))
    try:
        return _compiled(plan, shared, known)
    except ForgottenObjectError:
        return _compiled(plan, shared, known)


def _compiled(plan: Plan, costs: CostModel, cache: CompileCache) -> Ruleset:
    cache.begin(costs, plan.settings)
    try:
        tables = [_table(plan, TableBuilder(family, costs, cache.objects[family]), cache) for family in FAMILIES]
        of_bridges = bridge_table(plan, costs)
        ruleset = Ruleset((*tables, *([of_bridges] if of_bridges is not None else ())))
    except BaseException:
        # Half a plan is nothing to go on from.
        cache.forget()
        raise
    cache.end()
    return ruleset


def _number_of_rules(plan: Plan) -> int:
    """The rules of a plan; a policy that several endpoints have counts once in each direction."""
    ways = [way for endpoint in plan.endpoints for way in (endpoint.ingress, endpoint.egress)]
    tiers = [
        tier for way in ways for tier in (*way.tiers, *way.forward_tiers, *way.untracked_tiers, *way.pre_dnat_tiers)
    ]
    policies = chain((policy for tier in tiers for policy in tier.policies), *(way.profiles for way in ways))
    return sum({id(policy.rules): len(policy.rules) for policy in policies}.values())


def _table(plan: Plan, builder: TableBuilder, cache: CompileCache) -> Table:
    rejects = plan.settings.deny_action is DenyAction.REJECT
    dispatch = Dispatch(plan, builder, cache, reject=rejects)
    # Whatever of it is made anew and what is remembered.
    builder.counters((LOG_RECORDS, *SUPPRESSED))
    own = {hook: _nft_rules(plan, builder, hook) for hook in Hook}
    allowed_before = _prerouting(dispatch, builder, own[Hook.PREROUTING])
    published = dispatch.published() if plan.settings.published_ports is PublishedPorts.POLICY else []
    _input(dispatch, builder, allowed_before, published, own[Hook.INPUT])
    _forward(dispatch, builder, allowed_before, published, own[Hook.FORWARD])
    _output(dispatch, builder, plan, own[Hook.OUTPUT])
    asking = [*own[Hook.POSTROUTING], *questions(plan, builder)]
    if _polices_output(plan):
        # The kernel lets no chain of postrouting reject.
        that_drops = Dispatch(plan, builder, cache, reject=False) if rejects else dispatch
        _postrouting(that_drops, builder, asking)
    elif asking:
        builder.base_chain(Hook.POSTROUTING, asking, Priority.MANGLE)
    return builder.table()


def _nft_rules(plan: Plan, builder: TableBuilder, hook: Hook) -> list[Rule]:
    """The rule by which packets meet the NftRules of a hook; none without any."""
    found = [one for one in plan.nft_rules if one.hook.value == hook.value and builder.family in one.families]
    written = ((one.metadata.name, [Rule((), (Verbatim(rule.text),)) for rule in one.rules]) for one in found)
    return [Rule((), (Jump(builder.nft_rules(name, rules)),)) for name, rules in written]


def _prerouting(dispatch: Dispatch, builder: TableBuilder, own: list[Rule]) -> list[Rule]:
    """The hooks before the routing of what comes in, and the rules that let pass behind it what they allowed."""
    untracked = _untracked(dispatch, builder, Hook.PREROUTING, Direction.INGRESS)
    allowed = builder.dynamic_set(ALLOWED, ElementType.CT_ID, ALLOWED_ROOM)
    # What has no connection, or no room in the set, is allowed here and no further.
    note = Rule((), (Remember(allowed, Key.CT_ID, None),))
    pass_on = builder.chain("pre-dnat/allowed", (note, Rule((), (Accept(),))))
    rules = dispatch.pre_dnat((Goto(pass_on),))
    filtered = dispatch.reverse_path()
    path_back = [Rule((_NEW,), (Jump(builder.chain("reverse-path", filtered)),))] if filtered else []
    if not rules:
        if own or path_back:
            builder.base_chain(Hook.PREROUTING, [*own, *path_back], Priority.MANGLE)
        return untracked
    onward = Rule((), (Goto(builder.chain("pre-dnat", rules)),))
    follows = _follows(builder.family)
    builder.base_chain(Hook.PREROUTING, [*own, *follows, *untracked, *path_back, onward], Priority.MANGLE)
    again = builder.chain("pre-dnat/again", dispatch.pre_dnat((Accept(),), again=True))
    noted = Rule((Match(Key.CT_ID, SetRef(allowed)),), (Forget(allowed, Key.CT_ID), Accept()))
    return [*untracked, Rule((_WITHOUT_CONNECTION,), (Jump(again),)), noted]


def _untracked(dispatch: Dispatch, builder: TableBuilder, hook: Hook, direction: Direction) -> list[Rule]:
    """The hook before connection tracking, and the rule by which what it allowed passes the hooks behind it."""
    rules = dispatch.untracked(direction)
    sources = dispatch.sources() if hook is Hook.PREROUTING else []
    own = [Rule((), (Jump(builder.chain("sources", sources)),))] if sources else []
    if not rules:
        if own:
            builder.base_chain(hook, own, Priority.RAW)
        return []
    purpose = f"untracked-{direction.short}"
    builder.base_chain(hook, [*own, Rule((), (Goto(builder.chain(purpose, rules)),))], Priority.RAW)
    again = builder.chain(f"{purpose}/again", dispatch.untracked(direction, again=True))
    return [Rule((_NOT_TRACKED,), (Jump(again),))]


def _input(
    dispatch: Dispatch, builder: TableBuilder, allowed_before: list[Rule], published: list[Rule], own: list[Rule]
) -> None:
    root = builder.chain(Hook.INPUT, dispatch.local(Direction.INGRESS))
    to_published = _to_published(builder, published, ())
    builder.base_chain(
        Hook.INPUT,
        [*own, *_follows(builder.family), *allowed_before, *to_published, Rule((), (Goto(root),))],
        policy_drop=True,
    )


def _to_published(builder: TableBuilder, published: list[Rule], allowed_before: tuple[Rule, ...]) -> list[Rule]:
    """The rule by which the first packet of a connection to a published port meets ingress policy; none without any.

    Packets that are not translated, or not new, or were not addressed to this host come back.
    """
    if not published:
        return []
    judged = builder.chain("published", published)
    ours = builder.chain(
        "published/ours",
        (
            *allowed_before,
            Rule((), (Readdress(original=True),)),
            Rule((Match(Key.DADDR_TYPE, "local"),), (Readdress(original=False), Goto(judged))),
            Rule((), (Readdress(original=False),)),
        ),
    )
    return [Rule((_TRANSLATED, _NEW), (Jump(ours),))]


def _forward(
    dispatch: Dispatch, builder: TableBuilder, allowed_before: list[Rule], published: list[Rule], own: list[Rule]
) -> None:
    """Each direction has a base chain, and so have published ports, so that what one allows still meets the others.

    What was allowed before skips the ingress of the way in, not the egress of the way out.
    """
    ways_in, ways_out = dispatch.forward(Direction.INGRESS), dispatch.forward(Direction.EGRESS)
    # The last that asks whether a connection was allowed before forgets it.
    noted = [rule for rule in allowed_before if rule.matches[0].key is Key.CT_ID]
    kept = [Rule(rule.matches, (Accept(),)) for rule in noted]
    to_published = _to_published(builder, published, tuple(kept if ways_in else noted))
    if not ways_in and not ways_out:
        builder.base_chain(Hook.FORWARD, [*own, *to_published])
        return
    if to_published:
        builder.base_chain(Hook.FORWARD, to_published, Priority.RAW)
    if ways_in:
        onward = Rule((), (Goto(builder.chain("forward-in", ways_in)),))
        builder.base_chain(Hook.FORWARD, [*_follows(builder.family), *allowed_before, onward], Priority.MANGLE)
    onward = Rule((), (Goto(builder.chain("forward-out", ways_out)),))
    builder.base_chain(Hook.FORWARD, [*own, *_follows(builder.family), onward] if ways_out else own)


def _output(dispatch: Dispatch, builder: TableBuilder, plan: Plan, own: list[Rule]) -> None:
    """The output hook; packets that destination NAT rerouted are decided in postrouting, where the route is known."""
    untracked = _untracked(dispatch, builder, Hook.OUTPUT, Direction.EGRESS)
    translated = [Rule((_TRANSLATED,), (Accept(),))] if _polices_output(plan) else []
    root = builder.chain(Hook.OUTPUT, dispatch.local(Direction.EGRESS))
    builder.base_chain(
        Hook.OUTPUT,
        [*own, *_follows(builder.family), *untracked, *translated, Rule((), (Goto(root),))],
        policy_drop=True,
    )


def _postrouting(dispatch: Dispatch, builder: TableBuilder, asking: list[Rule]) -> None:
    """The egress policy of what output let through for its translation alone.

    What the host itself sends came in by no interface (since Linux 5.7 the hook knows that of what is forwarded).
    """
    root = builder.chain(Hook.OUTPUT, dispatch.local(Direction.EGRESS))
    translated = Rule((Match(Key.IIF, 0), _TRANSLATED), (Goto(root),))
    builder.base_chain(Hook.POSTROUTING, [*asking, *_follows(builder.family), translated], Priority.MANGLE)


def _polices_output(plan: Plan) -> bool:
    """True if output can deny anything."""
    governs = bool(plan.endpoints) or bool(plan.settings.workloads.patterns)
    return governs or plan.settings.unmanaged_interfaces.egress is Unmanaged.DENY
