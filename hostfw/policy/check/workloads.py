"""Checks of WorkloadEndpoints of a configuration, and of HostEndpoints that claim the interfaces of workloads."""

from collections.abc import Iterator

from hostfw.manifest.fields import quoted
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.problems import Problem
from hostfw.model.resources import WILDCARD, Resources
from hostfw.model.settings import Workloads
from hostfw.model.wording import listed, unlisted


def workload_problems(resources: Resources, settings: Workloads) -> Iterator[Problem]:
    """Errors: what would govern nothing, or would be in doubt, is not accepted."""
    for endpoint in resources.endpoints:
        name = endpoint.interface_name
        if name not in (None, WILDCARD) and settings.has(name):
            yield Problem(
                endpoint.metadata.position,
                f"HostEndpoint {quoted(endpoint.metadata.name)} names {name}, as does the setting workloads",
                "an interface that is no workload's",
                f"write a WorkloadEndpoint for {name}, or take it out of workloads.interfaces in hostfw.yaml",
            )
    named = f"one of {listed(settings.interfaces)}" if settings.interfaces else "workloads.interfaces in hostfw.yaml"
    first: dict[tuple[str, str], WorkloadEndpoint] = {}
    for workload in resources.workloads:
        name = workload.interface_name
        who = f"WorkloadEndpoint {quoted(workload.metadata.full_name)}"
        if not settings.has_interface(name) and not settings.bridges:
            yield Problem(
                workload.metadata.position,
                f"{who} is for {name}, which the setting workloads does not name",
                named,
                f"add {name} to workloads.interfaces in hostfw.yaml",
                more=unlisted(settings.interfaces),
            )
        other = first.setdefault((workload.node, name), workload)
        if other is not workload:
            yield Problem(
                workload.metadata.position,
                f"{who} is for {name}, as is {quoted(other.metadata.full_name)} at {other.metadata.position}",
                "one WorkloadEndpoint for an interface",
            )
