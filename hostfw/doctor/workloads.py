"""Findings about workloads: files that do not count, interfaces that nobody knows, and engines that nobody reads."""

from collections.abc import Iterator, Sequence

from hostfw.build.candidate import Candidate
from hostfw.doctor.findings import Check, Finding, Weight
from hostfw.host.systemd.surroundings import Unit
from hostfw.model.host.facts import HostFacts
from hostfw.model.plan import Plan
from hostfw.model.settings import UNIDENTIFIED
from hostfw.model.wording import listed, unlisted
from hostfw.policy.built_in import DEFAULT_ALLOW_PROFILE
from hostfw.policy.resolve.bridges import bridged_problems
from hostfw.policy.resolve.workloads import running

_ENGINES = {
    "docker": ("Docker", ("docker.service",)),
    "podman": ("Podman", ("podman.socket", "podman.service")),
    "libvirt": ("libvirt", ("libvirtd.service", "virtqemud.service", "virtlxcd.service")),
    "incus": ("Incus", ("incus.service",)),
}
"""Engines by the readers that know them: their names, and the units of which one runs."""


def _reader(name: str) -> str:
    return f"hostfw-workloads@{name}.service"


ENGINE_UNITS = tuple(unit for name, (_, units) in _ENGINES.items() for unit in (*units, _reader(name)))
"""The units of engines and of the readers that know them."""


def workload_findings(
    candidate: Candidate, plan: Plan | None, facts: HostFacts | None, units: Sequence[Unit] = ()
) -> Iterator[Finding]:
    """Findings under the configuration in force; none on a host without the setting and without files."""
    if plan is None or facts is None:
        return
    yield from _unread_engines(candidate, plan, facts, units)
    profiles = {profile.metadata.name for profile in (*candidate.resources.profiles, DEFAULT_ALLOW_PROFILE)}
    _, problems = running(candidate.resources, facts, plan.node, plan.settings.workloads, profiles)
    for problem in problems:
        yield Finding(Check.WORKLOADS, f"{problem.position}: {problem.message}", problem.hint or problem.expected)
    for problem in bridged_problems(plan.settings.workloads, facts):
        yield Finding(Check.WORKLOADS, problem.message, problem.hint)
    governing = plan.governing()
    yield from _bridges(plan)
    workloads = plan.settings.workloads
    known = {workload.port for _, workload in plan.bridged}
    unknown = [
        one.name
        for one in facts.interfaces
        if (one.master is None and not workloads.has_bridge(one.name) and governing(one.name) == UNIDENTIFIED)
        or (workloads.has_bridge(one.master) and one.name not in known)
    ]
    if unknown:
        yield Finding(
            Check.WORKLOADS,
            f"no WorkloadEndpoint names {listed(unknown)}: everything from there, and to there, is denied",
            "write a WorkloadEndpoint below /etc/hostfw, or to /run/hostfw/workloads",
            Weight.NOTE,
            unlisted(unknown),
        )


def _unread_engines(candidate: Candidate, plan: Plan, facts: HostFacts, units: Sequence[Unit]) -> Iterator[Finding]:
    """Engines that run on a host with policy for workloads, while nobody says what they run."""
    workloads, resources = plan.settings.workloads, candidate.resources
    of_namespaces = (resources.network_policies, resources.kubernetes_policies, resources.cluster_policies)
    if not (workloads.bridges or workloads.interfaces or any(of_namespaces)):
        return
    running = {unit.name for unit in units if unit.active in ("active", "activating", "reloading")}
    named = {workload.orchestrator for workload in (*facts.workloads, *resources.workloads)}
    for reader, (name, engine_units) in _ENGINES.items():
        if running.intersection(engine_units) and _reader(reader) not in running and reader not in named:
            yield Finding(
                Check.WORKLOADS,
                f"{name} runs, and {_reader(reader)} does not: policy selects nothing of what {name} runs",
                f"`systemctl enable --now hostfw-workloads@{reader}`, or a hook of your own that names it",
                Weight.NOTE,
            )


def _bridges(plan: Plan) -> Iterator[Finding]:
    """The flags of bridges, by which other programs' rules see more as well."""
    met = [bridge.name for bridge in plan.bridges if bridge.filtered]
    if met:
        yield Finding(
            Check.WORKLOADS,
            f"what is between ports of {listed(met)} meets the IPv4 and IPv6 rules of every program: for policy, "
            "nf_call_iptables and nf_call_ip6tables are set there",
            "`nft list ruleset` shows those of others; a drop in any of them counts",
            Weight.NOTE,
            unlisted(met),
        )
    missed = [bridge.name for bridge in plan.bridges if not bridge.filtered]
    if missed:
        yield Finding(
            Check.WORKLOADS,
            f"what is between ports of {listed(missed)} meets no policy: nf_call_iptables or nf_call_ip6tables is not "
            "set there any more",
            "`hostfwctl reload` sets them",
            more=unlisted(missed),
        )
