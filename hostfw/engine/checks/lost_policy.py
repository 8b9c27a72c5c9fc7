"""A configuration that lost most of its content: a wrong checkout or an emptied directory must not remove policy.

What is accepted says how many policies and HostEndpoints of this host there were. A configuration without any of a
kind, or without more than half of them, is refused until a person accepts the loss. So is one whose
HostEndpoints govern no interface any more, or no way to everybody, whatever they are called.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from hostfw.build.cache import accepted_now, cached_governance
from hostfw.build.candidate import check_candidate
from hostfw.engine.checks.plan_before import Before
from hostfw.engine.outcomes import Failed
from hostfw.engine.reading.standing import standing
from hostfw.manifest.settings import decode_settings
from hostfw.model.host.facts import Interface
from hostfw.model.host.interface_names import WILDCARD_END, covers, fits
from hostfw.model.plan import Plan
from hostfw.model.resources import Resources
from hostfw.model.sources import Configuration
from hostfw.model.wording import counted, listed, unlisted
from hostfw.policy.expiry import in_time
from hostfw.policy.order import ENFORCED_KINDS
from hostfw.policy.unmanaged import bare_consequence, governed, lost_governance, ungoverned

FEW = 4
"""Of so few resources of a kind more than half may go without a question, but not all."""
MOST_NAMES = 5
"""Most resources that a message names."""

_CHECK = dict.fromkeys(("apply", "reload", ""), "check the directory and the node's name")
_CHECK_HISTORY = "`hostfwctl history` lists what each generation has"
_KINDS = {"policies": ENFORCED_KINDS, "endpoints": ("HostEndpoint",)}
_NOUNS = {"policies": ("policy", "policies"), "endpoints": ("HostEndpoint of this host", "HostEndpoints of this host")}


def refusal(before: Before, resources: Resources, plan: Plan, verb: str = "apply") -> Failed | None:
    """Say that a configuration lost most of what is accepted, or that its plan leaves bare what is governed.

    None if neither is so. `verb` is what a person typed, empty for a quick rule.
    """
    lost = _lost_resources(before, resources, plan, verb)
    bare = lost_interfaces(before, plan, verb) or _lost_workloads(before, plan, verb)
    if lost is not None and bare is not None:
        return replace(lost, message=f"{lost.message}; {bare.message}")
    return lost or bare


def script_refusal(verb: str) -> Failed:
    """The refusal of a generation of which the stored script alone is left: no plan says what it would lose."""
    return Failed(
        "the sources of this generation no longer build on this host, and its stored script alone does not show which "
        "interfaces it would leave without policy, nor which ssh connections it would cut",
        f"{_CHECK_HISTORY}; {_anyway(verb)}",
    )


def lost_interfaces(before: Before, plan: Plan, verb: str = "apply") -> Failed | None:
    """Say that no interface of the host, or none that leads to everybody, would be governed any more; None if not."""
    some, bare = governed(plan, before.facts), ungoverned(plan, before.facts)
    if not bare or (some and (_leads_out(some) or not _leads_out(bare))):
        # Whatever was governed before: there is no need to look.
        return None
    lost = lost_governance(before.in_force(), plan, before.facts)
    if not lost:
        return None
    them = "it" if len(lost) == 1 else "them"
    names = listed(interface.name for interface in lost)
    return Failed(
        f"this would leave {names} without a HostEndpoint: {bare_consequence(plan.settings, them)}",
        f"`hostfwctl interfaces` lists what HostEndpoints may name; {_anyway(verb)}",
        more=unlisted(interface.name for interface in lost),
    )


def _lost_workloads(before: Before, plan: Plan, verb: str) -> Failed | None:
    """Say that interfaces of workloads would be nobody's: whatever is behind them would be open."""
    here = [interface.name for interface in before.facts.interfaces]
    governing = plan.governing()
    bare = [name for name in here if governing(name) is None]
    known = before.in_force() if bare else None
    lost: list[str] = []
    if known is not None:
        governed_before = known.governing()
        lost = [name for name in bare if known.settings.workloads.has(name) and governed_before(name) is not None]
    lost += [pattern for pattern in _lost_patterns(before, plan) if not any(fits(pattern, name) for name in lost)]
    if not lost:
        return None
    them = "it" if len(lost) == 1 else "them"
    return Failed(
        f"the setting workloads would no longer name {listed(lost)}, nor would a HostEndpoint: no policy would apply "
        f"to them, and {bare_consequence(plan.settings, them)}",
        f"name {them} in workloads of hostfw.yaml; {_anyway(verb)}",
        more=unlisted(lost),
    )


def _lost_patterns(before: Before, plan: Plan) -> Iterator[str]:
    """The interfaces of workloads that were accepted and would be nobody's if they came, as the setting names them."""
    accepted, _ = accepted_now(before.directories.state, before.cache)
    text = None if accepted is None else accepted.configuration.settings
    if text is None or plan.wildcard is not None:
        return
    governing = plan.governing()
    for pattern in decode_settings(text)[0].workloads.patterns:
        is_one = not pattern.endswith(WILDCARD_END)
        wider = any(covers(other, pattern) for other in plan.settings.workloads.patterns)
        if not wider and (not is_one or governing(pattern) is None):
            yield pattern


def _lost_resources(before: Before, resources: Resources, plan: Plan, verb: str) -> Failed | None:
    accepted, _ = accepted_now(before.directories.state, before.cache)
    if accepted is None:
        return None
    had = dict(accepted.counts)
    expired = [one.kind for one in plan.expired]
    has = {
        "policies": len(resources.enforced) - sum(map(expired.count, ENFORCED_KINDS)),
        "endpoints": len(plan.host_endpoints),
    }
    lost = [kind for kind in _NOUNS if _is_lost(had.get(kind, 0), has[kind])]
    if not lost:
        return None
    accepted_resources, ended = _unexpired(before, accepted.configuration)
    # What has expired meanwhile is not lost.
    had |= {kind: had.get(kind, 0) - sum(map(ended.count, _KINDS[kind])) for kind in _NOUNS}
    lost = [kind for kind in lost if _is_lost(had[kind], has[kind])]
    if not lost:
        return None
    tallies = (_tally(kind, had[kind], has[kind]) for kind in lost)
    kinds = tuple(f"{name}/" for kind in lost for name in _KINDS[kind])
    names = tuple(name for name in missing(accepted_resources, resources) if name.startswith(kinds))
    return Failed(
        f"this would lose {' and '.join(tallies)}: {named(names) if names else _left(resources, plan.node)}",
        f"{_CHECK.get(verb, _CHECK_HISTORY)}; {_anyway(verb)}",
        more=names[MOST_NAMES:],
    )


def _unexpired(before: Before, configuration: Configuration) -> tuple[Resources, list[str]]:
    """The accepted resources that still count, and the kinds of those that counted when they were accepted.

    Those that had expired by then are not among the accepted counts.
    """
    resources = check_candidate(configuration).resources
    record = standing(before.directories, before.host, cached_governance(before.cache))
    timely = in_time(resources, before.facts.now, record)
    return timely.resources, [one.kind for one in timely.expired if one not in record.expired]


def _anyway(verb: str) -> str:
    """The option that has it done. The command is not written out: its other options, as --confirm-within, would go."""
    return f"to do it anyway, add --accept-loss{f' to `hostfwctl {verb}`' if verb else ''}"


def _leads_out(interfaces: Iterable[Interface]) -> bool:
    return any(interface.default_route for interface in interfaces)


def missing(before: Resources, after: Resources) -> Iterator[str]:
    """Name the resources of one configuration that another does not have, as kind/name, in the order of the first."""
    kept = {_key(type(resource).__name__, resource.metadata.full_name) for resource in after.all()}
    for resource in before.all():
        key = _key(type(resource).__name__, resource.metadata.full_name)
        if key not in kept:
            yield key


def named(names: Iterable[str]) -> str:
    """The first names of a list, and how many more there are."""
    first = tuple(names)
    more = f" and {len(first) - MOST_NAMES} more" if len(first) > MOST_NAMES else ""
    return f"{', '.join(first[:MOST_NAMES])}{more}"


def _left(resources: Resources, node: str) -> str:
    """The reason why what is still there does not count on this host."""
    nodes = sorted({endpoint.node for endpoint in resources.endpoints if not endpoint.is_of(node)})
    if not nodes:
        return "those that are left do not apply to this host"
    return f"those that are left are of {'node' if len(nodes) == 1 else 'nodes'} {named(nodes)}, and this is {node}"


def _is_lost(before: int, after: int) -> bool:
    return before > 0 and (after == 0 or (before > FEW and after * 2 < before))


def _tally(kind: str, before: int, after: int) -> str:
    nouns = _NOUNS[kind]
    if before == 1:
        return f"the only {nouns[0]}"
    return f"all {counted(before, *nouns)}" if after == 0 else f"{before - after} of {counted(before, *nouns)}"


def _key(kind: str, name: str) -> str:
    return f"{kind}/{name}"
