"""The pure stages in a row: from what was read and observed to a generation that could be put into force."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import NamedTuple

from hostfw.build.candidate import Candidate
from hostfw.build.refused import Refused
from hostfw.compile.incremental.memo import CompileCache
from hostfw.compile.ruleset import compile_plan
from hostfw.compile.table_builder import DigestCollisionError
from hostfw.model.host.facts import HostFacts
from hostfw.model.host.governance import NOTHING_GOVERNED, Governance
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.plan import Plan
from hostfw.model.positions import Position
from hostfw.model.problems import Problem, errors, in_order
from hostfw.nft.object_text import CommandCache, render
from hostfw.nft.objects import Ruleset
from hostfw.policy.expiry import in_time, lasting
from hostfw.policy.resolve.external import opened_by
from hostfw.policy.resolve.plan import ResolveCache, resolve
from hostfw.policy.unmanaged import ungoverned_problems

BOOT_ELEMENTS = 250_000
"""Most elements of big sets that the boot loads itself: 2 s with nft 1.0.6; a million take up to 17 s and 2 GB."""


@dataclass(frozen=True, slots=True)
class Generation:
    """Everything about one generation, ready to be put into force.

    `script` is loaded by the next boot: it is complete except for big sets beyond `BOOT_ELEMENTS`, of which it has the
    digests, and for the workloads that run now, which nobody knows by then: their interfaces are closed. Where there
    are any it is made when it is asked for first: packets need not wait for it. `id` is the digest of the whole,
    workloads included. `governance` is the record that it was resolved with. `lasting` is there
    where something is allowed for the sake of a resource that expires: what is left without that.
    """

    id: str
    candidate: Candidate
    facts: HostFacts
    plan: Plan
    ruleset: Ruleset
    boot: "ScriptOnDemand"
    warnings: tuple[Problem, ...]
    governance: Governance = NOTHING_GOVERNED
    lasting: "Lasting | None" = None

    @property
    def script(self) -> str:
        """The script that the next boot loads."""
        return self.boot.text

    @property
    def governed_interfaces(self) -> int:
        """The number of interfaces that have a HostEndpoint, their own or the wildcard."""
        bound = {b.interface for b in self.plan.bindings if b.present and b.port_of is None}
        if self.plan.wildcard is None:
            return len(bound)
        return len(bound | {interface.name for interface in self.facts.interfaces if interface.name != LOOPBACK})


class ScriptOnDemand:
    """A script that is made once, when it is asked for; equal to another of the same text."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[[], str] | str) -> None:
        """Of a text that is there, or that `make` gives."""
        self._make = make

    @property
    def text(self) -> str:
        """The script."""
        if not isinstance(self._make, str):
            self._make = self._make()
        return self._make

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ScriptOnDemand) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


@dataclass(frozen=True, slots=True)
class Lasting:
    """A generation without anything that is allowed for the sake of a resource which expires, and until when it is.

    The boot loads its script in the place of the other where the clock says a later moment, or one that cannot be.
    """

    plan: Plan
    script: str
    until: datetime


def other_name(generation: Generation) -> str | None:
    """The name that the host has now, where it is not that of the node whose HostEndpoints govern it; None if it is.

    A name that a setting gives, or that no HostEndpoint names, says nothing about the host's own.
    """
    plan, host = generation.plan, generation.facts.node.lower()
    if plan.settings.node is not None or host in ("", plan.node):
        return None
    return host if any(endpoint.node == plan.node for endpoint in generation.candidate.resources.endpoints) else None


class BootScript(NamedTuple):
    """The script without the workloads that run now, and the plan that it is of, with the caches of its own."""

    plan: Plan
    script: str
    caches: "GenerationCache"


@dataclass(slots=True)
class GenerationCache:
    """Results of the last build, so that the next costs only what changed."""

    generation: Generation | None = None
    resolve: ResolveCache = field(default_factory=ResolveCache)
    compile: CompileCache = field(default_factory=CompileCache)
    commands: CommandCache = field(default_factory=CommandCache)
    lasting: "GenerationCache | None" = None
    boot: "BootScript | None" = None


def build(
    candidate: Candidate,
    facts: HostFacts,
    cache: GenerationCache | None = None,
    governance: Governance = NOTHING_GOVERNED,
) -> Generation | Refused:
    """The generation of a configuration on a host, or every reason why there is none.

    `governance` is what the host was accepted to govern, which no change of its facts takes away. With a cache, the
    very configuration of the last time on a host that is the same gives the very generation.
    """
    if not candidate.is_valid:
        return Refused(candidate.problems)
    last = cache.generation if cache is not None else None
    if (
        cache is not None
        and last is not None
        and last.candidate is candidate
        and last.facts == facts
        and (last.governance == governance or _differ_in_moments(last, governance))
        and _ends_alike(last.plan, candidate, facts, governance)
    ):
        if last.governance != governance:
            last = cache.generation = replace(last, governance=governance)
        return last
    resolving = cache.resolve if cache else None
    plan, found = resolve(candidate.resources, candidate.settings, facts, resolving, governance)
    problems = in_order((*candidate.problems, *found, *ungoverned_problems(plan, facts)))
    if errors(problems):
        return Refused(problems)
    try:
        ruleset = compile_plan(plan, cache=cache.compile if cache else None)
    except DigestCollisionError as error:
        if cache is not None:
            # What was laid out so far has the name for the wrong one, perhaps.
            cache.compile = CompileCache()
        return Refused(in_order((*problems, _collision(error))))
    script = _opened_by(plan) + render(ruleset, cache.commands if cache else None, BOOT_ELEMENTS)
    making = partial(_boot_script, candidate, facts, cache, governance) if facts.workloads else script
    boot = ScriptOnDemand(making)
    known = (script_id(script), candidate, facts, plan, ruleset, boot, problems, governance)
    generation = Generation(*known, _lasting(candidate, plan, facts, cache, governance))
    if cache is not None:
        cache.generation = generation
    return generation


def _boot_script(candidate: Candidate, facts: HostFacts, cache: GenerationCache | None, governance: Governance) -> str:
    """The script without the workloads that run now, made with caches of its own.

    Where it cannot be made, the failsafes are in force at the next boot until the service runs.
    """
    known = cache.boot if cache is not None else None
    caches = GenerationCache() if known is None else known.caches
    empty = replace(facts, workloads=(), workload_problems=())
    plan, _ = resolve(candidate.resources, candidate.settings, empty, caches.resolve, governance)
    if known is not None and known.plan == plan:
        return known.script
    try:
        ruleset = compile_plan(plan, cache=caches.compile)
        script = _opened_by(plan) + render(ruleset, caches.commands, BOOT_ELEMENTS)
    except DigestCollisionError:
        script = ""
    if cache is not None:
        cache.boot = BootScript(plan, script, caches)
    return script


def _differ_in_moments(last: Generation, governance: Governance) -> bool:
    """True if a record differs from that of a generation by the moment of its apply, and nothing there expires."""
    expires = last.plan.expired or last.plan.next_expiry or governance.expired or last.governance.expired
    return not expires and replace(last.governance, applied=governance.applied) == governance


def _ends_alike(plan: Plan, candidate: Candidate, facts: HostFacts, governance: Governance) -> bool:
    """True if what does not count now is that of a plan, for the same reason: what waits has another next moment."""
    timely = in_time(candidate.resources, facts.now, governance)
    return (timely.expired, timely.next_expiry) == (plan.expired, plan.next_expiry)


def _lasting(
    candidate: Candidate, plan: Plan, facts: HostFacts, cache: GenerationCache | None, governance: Governance
) -> Lasting | None:
    """The rest of a plan once everything that expires is over, None where nothing that expires allows anything.

    It is made with caches of its own, so that neither makes the other anew.
    """
    if plan.next_expiry is None:
        if cache is not None:
            cache.lasting = None
        return None
    live = in_time(candidate.resources, facts.now, governance).resources
    left = lasting(live)
    if left is live:
        return None
    caches = GenerationCache()
    if cache is not None:
        caches = cache.lasting = cache.lasting or caches
    timeless = replace(facts, now=None, workloads=(), workload_problems=())
    left_plan, _ = resolve(left, candidate.settings, timeless, caches.resolve, governance)
    try:
        ruleset = compile_plan(left_plan, cache=caches.compile)
    except DigestCollisionError:
        # Nobody meets this by accident; the boot has the failsafes then.
        return Lasting(left_plan, "", plan.next_expiry)
    script = _opened_by(left_plan) + render(ruleset, caches.commands, BOOT_ELEMENTS)
    return Lasting(left_plan, script, plan.next_expiry)


def _opened_by(plan: Plan) -> str:
    """A line for the boot: into these external sets no member comes back by a clock that is wrong."""
    names = sorted(opened_by(plan)) if plan.external else ()
    return f"# Something is allowed by external sets: {' '.join(names)}\n" if names else ""


def _collision(error: DigestCollisionError) -> Problem:
    return Problem(
        Position("", 0, 0),
        f"two parts of the ruleset come to the one name {error}, which is made of a digest",
        "a name for each",
        "change a rule of either: nobody meets this by accident",
    )


def script_id(script: str) -> str:
    """The id of the generation that a script enforces."""
    return sha256(script.encode()).hexdigest()[:12]
