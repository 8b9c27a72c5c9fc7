"""Workloads of this host: which WorkloadEndpoint is behind which interface.

They come from the configuration and, as facts, from the files about what runs now. An interface is a workload's only
where the setting `workloads` names it, and where exactly one WorkloadEndpoint claims it: what is in doubt stays
unidentified, and so denied.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

from hostfw.model.host.facts import HostFacts
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.plan import Binding
from hostfw.model.positions import NOWHERE
from hostfw.model.problems import Problem, Severity
from hostfw.model.resources import Resources
from hostfw.model.settings import Workloads
from hostfw.model.values import Cidr, address_text
from hostfw.model.wording import listed, unlisted
from hostfw.policy.resolve.bindings import Bindings


def running(
    resources: Resources, facts: HostFacts, node: str, settings: Workloads, profiles: Collection[str]
) -> tuple[tuple[WorkloadEndpoint, ...], tuple[Problem, ...]]:
    """The workloads of a node that are behind an interface of their own, sorted by name, and why others are not.

    All problems are warnings: those that the configuration alone gives rise to are errors before.
    """
    problems = [replace(problem, severity=Severity.WARNING) for problem in facts.workload_problems]
    here = [one for one in (*resources.workloads, *facts.workloads) if one.is_of(node)]
    by_name: defaultdict[str, list[WorkloadEndpoint]] = defaultdict(list)
    by_interface: defaultdict[str, list[WorkloadEndpoint]] = defaultdict(list)
    for one in here:
        by_name[one.metadata.full_name].append(one)
        by_interface[one.interface_name].append(one)
    good: list[WorkloadEndpoint] = []
    for one in here:
        trouble = (
            _not_named(one, settings)
            or _shared(one, by_name[one.metadata.full_name], "name")
            or _shared(one, by_interface[one.interface_name], "interface")
            or _unknown_profile(one, profiles)
        )
        if trouble is None:
            good.append(one)
        else:
            problems.append(trouble)
    problems += _same_addresses(good, facts)
    return tuple(sorted(good, key=lambda one: one.metadata.full_name)), tuple(problems)


def with_workloads(bound: Bindings, workloads: Sequence[WorkloadEndpoint], facts: HostFacts) -> Bindings:
    """Bindings, and those of workloads, which no HostEndpoint has."""
    masters = {interface.name: interface.master for interface in facts.interfaces}
    of_workloads = (
        Binding(
            one.interface_name,
            one.metadata.full_name,
            f"WorkloadEndpoint {one.metadata.full_name}",
            present=one.interface_name in masters,
            port_of=masters.get(one.interface_name),
        )
        for one in workloads
    )
    bindings = sorted((*bound.bindings, *of_workloads), key=lambda binding: binding.interface)
    return replace(bound, bindings=tuple(bindings))


def bridged_problems(settings: Workloads, facts: HostFacts) -> Iterator[Problem]:
    """Interfaces of workloads that are ports of something: their packets come in on that, where nobody knows them."""
    for interface in facts.interfaces:
        if interface.master is not None and settings.has(interface.name):
            kind = next((one.kind for one in facts.interfaces if one.name == interface.master), "") or "interface"
            yield Problem(
                NOWHERE,
                f"{interface.name}, which the setting workloads names, is a port of the {kind} {interface.master}: its "
                "packets come in there, and no workload policy applies to them",
                expected="an interface of its own for each workload",
                hint=f"take it out of {interface.master}, or write a HostEndpoint for {interface.master}",
                severity=Severity.WARNING,
            )


def _not_named(one: WorkloadEndpoint, settings: Workloads) -> Problem | None:
    if settings.has(one.interface_name):
        return None
    named = listed(settings.interfaces)
    return _warning(
        one,
        f'WorkloadEndpoint "{one.metadata.full_name}" is for {one.interface_name}, which the setting workloads does '
        "not name: it governs nothing",
        f"one of {named}" if named else "workloads.interfaces in hostfw.yaml",
        unlisted(settings.interfaces),
    )


def _shared(one: WorkloadEndpoint, all_of_them: Sequence[WorkloadEndpoint], what: str) -> Problem | None:
    others = [str(other.metadata.position) for other in all_of_them if other is not one]
    if not others:
        return None
    return _warning(
        one,
        f'WorkloadEndpoint "{one.metadata.full_name}" is not the only one with its {what}: none of them governs '
        f"{one.interface_name}, where everything is denied",
        f"the {what} once, and not in {listed(others)} as well",
        unlisted(others),
    )


def _unknown_profile(one: WorkloadEndpoint, profiles: Collection[str]) -> Problem | None:
    unknown = [name for name in one.profiles if name not in profiles]
    if not unknown:
        return None
    return _warning(
        one,
        f'WorkloadEndpoint "{one.metadata.full_name}" lists the profile {listed(unknown)}, which is unknown: '
        f"everything is denied on {one.interface_name}",
        f"one of {listed(profiles)}",
        unlisted(profiles),
    )


def _same_addresses(workloads: Iterable[WorkloadEndpoint], facts: HostFacts) -> Iterator[Problem]:
    """Addresses that a workload may send from although another or the host has them: it would be taken for that."""
    every = [(network, one) for one in workloads for network in one.networks]
    around: list[tuple[Cidr, WorkloadEndpoint]] = []
    told: set[tuple[str, str]] = set()
    for network, one in sorted(every, key=lambda pair: (pair[0], pair[1].metadata.full_name)):
        while around and not _covers(around[-1][0], network):
            around.pop()
        names = (around[-1][1].metadata.full_name, one.metadata.full_name) if around else None
        if around and names is not None and around[-1][1] is not one and names not in told:
            told.add(names)
            wider = around[-1][0]
            both = f"both have {network}" if wider == network else f"have {wider} and {network}"
            yield _warning(
                one,
                f'WorkloadEndpoints "{names[0]}" and "{names[1]}" {both}: each may send as the other, and rules that '
                "select one of them match both",
                "addresses of its own for each",
            )
        around.append((network, one))
    for interface in facts.interfaces:
        for own in interface.addresses:
            for network, one in every:
                # A network has the host's address on its own interface, as its router.
                if one.interface_name != interface.name and _covers(network, own):
                    yield _warning(
                        one,
                        f'WorkloadEndpoint "{one.metadata.full_name}" has {network}, and this host has '
                        f"{address_text(own.family, own.address)} on {interface.name}: it may send as the host",
                        "addresses of its own",
                    )


def _covers(wider: Cidr, cidr: Cidr) -> bool:
    return wider.family is cidr.family and wider.length <= cidr.length and wider.contains(cidr.address)


def _warning(one: WorkloadEndpoint, message: str, expected: str, more: tuple[str, ...] = ()) -> Problem:
    return Problem(one.metadata.position, message, expected, severity=Severity.WARNING, more=more)
