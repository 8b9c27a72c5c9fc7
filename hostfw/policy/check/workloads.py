"""Checks of WorkloadEndpoints of a configuration, and of HostEndpoints that claim the interfaces of workloads."""

from collections.abc import Iterable, Iterator

from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.problems import Problem
from hostfw.model.resources import ANY_NODE, WILDCARD, HostEndpoint, Resources
from hostfw.model.settings import Settings, Workloads
from hostfw.model.wording import listed, quoted, unlisted


def workload_problems(resources: Resources, settings: Settings, *, of_a_host: bool = True) -> Iterator[Problem]:
    """Errors: what would govern nothing, or would be in doubt, is not accepted.

    Endpoints of other hosts are there for their labels: the setting of this host says nothing about their interfaces.
    Where no setting names the node, and endpoints name several, `interface_problems` has to be asked once it is known.
    `of_a_host` is whether these are the settings of a host at all.
    """
    if of_a_host:
        node = settings.node.lower() if settings.node else _only_node(resources)
        own = (ANY_NODE, node)
        yield from interface_problems(
            (one for one in resources.endpoints if one.node in own),
            (one for one in resources.workloads if one.node in own),
            settings.workloads,
        )
    first: dict[tuple[str, str], WorkloadEndpoint] = {}
    for workload in resources.workloads:
        name = workload.interface_name
        other = first.setdefault((workload.node, name), workload)
        if other is not workload:
            yield Problem(
                workload.metadata.position,
                f"{_who(workload)} is for {name}, as is {quoted(other.metadata.full_name)} at "
                f"{other.metadata.position}",
                "one WorkloadEndpoint for an interface",
            )


def interface_problems(
    endpoints: Iterable[HostEndpoint], workloads: Iterable[WorkloadEndpoint], settings: Workloads
) -> Iterator[Problem]:
    """Errors of endpoints of one host that its setting contradicts."""
    for endpoint in endpoints:
        name = endpoint.interface_name
        if name not in (None, WILDCARD) and settings.has(name):
            yield Problem(
                endpoint.metadata.position,
                f"HostEndpoint {quoted(endpoint.metadata.name)} names {name}, as does the setting workloads",
                "an interface that is no workload's",
                f"write a WorkloadEndpoint for {name}, or take it out of workloads.interfaces in hostfw.yaml",
            )
    named = f"one of {listed(settings.interfaces)}" if settings.interfaces else "workloads.interfaces in hostfw.yaml"
    for workload in workloads:
        name = workload.interface_name
        if not settings.has_interface(name) and not settings.bridges:
            yield Problem(
                workload.metadata.position,
                f"{_who(workload)} is for {name}, which the setting workloads does not name",
                named,
                f"add {name} to workloads.interfaces in hostfw.yaml",
                more=unlisted(settings.interfaces),
            )


def _only_node(resources: Resources) -> str | None:
    """The node that endpoints name, if they name one alone."""
    nodes = {one.node for one in resources.every_endpoint} - {ANY_NODE}
    return nodes.pop() if len(nodes) == 1 else None


def _who(workload: WorkloadEndpoint) -> str:
    return f"WorkloadEndpoint {quoted(workload.metadata.full_name)}"
