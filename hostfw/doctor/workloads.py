"""Findings about workloads: files that do not count, and interfaces that nobody knows or that are ports of a bridge."""

from collections.abc import Iterator

from hostfw.build.candidate import Candidate
from hostfw.doctor.findings import Check, Finding, Weight
from hostfw.model.host.facts import HostFacts
from hostfw.model.plan import Plan
from hostfw.model.settings import UNIDENTIFIED
from hostfw.model.wording import listed, unlisted
from hostfw.policy.built_in import DEFAULT_ALLOW_PROFILE
from hostfw.policy.resolve.workloads import bridged_problems, running


def workload_findings(candidate: Candidate, plan: Plan | None, facts: HostFacts | None) -> Iterator[Finding]:
    """Findings under the configuration in force; none on a host without the setting and without files."""
    if plan is None or facts is None:
        return
    profiles = {profile.metadata.name for profile in (*candidate.resources.profiles, DEFAULT_ALLOW_PROFILE)}
    _, problems = running(candidate.resources, facts, plan.node, plan.settings.workloads, profiles)
    for problem in problems:
        yield Finding(Check.WORKLOADS, f"{problem.position}: {problem.message}", problem.hint or problem.expected)
    for problem in bridged_problems(plan.settings.workloads, facts):
        yield Finding(Check.WORKLOADS, problem.message, problem.hint)
    governing = plan.governing()
    unknown = [one.name for one in facts.interfaces if one.master is None and governing(one.name) == UNIDENTIFIED]
    if unknown:
        yield Finding(
            Check.WORKLOADS,
            f"no WorkloadEndpoint names {listed(unknown)}: everything from there, and to there, is denied",
            "write a WorkloadEndpoint below /etc/hostfw, or to /run/hostfw/workloads",
            Weight.NOTE,
            unlisted(unknown),
        )
