"""The active plan, which attributes packets to rules."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from hostfw.build.stored import stored_content
from hostfw.cli.command_line.options import Options
from hostfw.cli.outcomes import directories_of, load_accepted_of, this_host
from hostfw.engine.reading.deadline import has_expired
from hostfw.engine.reading.in_force import read_in_force
from hostfw.engine.reading.standing import standing
from hostfw.engine.reading.stored_active import stored_active
from hostfw.host.store.generations.active import load_active
from hostfw.host.store.generations.generations import accepted_number
from hostfw.model.host.facts import HostFacts
from hostfw.model.plan import BASE_PROTECTION, Plan
from hostfw.model.resources import Resources
from hostfw.model.values import FAMILIES, Family
from hostfw.policy.resolve.plan import resolve

if TYPE_CHECKING:
    from hostfw.engine.engine import Engine


@dataclass(frozen=True, slots=True)
class ActivePlan:
    """The generation in force on this host, its plan at this moment, and the resources that it was made of."""

    generation: str
    plan: Plan
    resources: Resources
    facts: HostFacts


def active_plan(options: Options, *, counted: bool = True) -> ActivePlan | None:
    """The plan of the generation in force, or None if its sources are not on record. Raises HostError.

    After a boot nothing is on record but the accepted generation, which the boot put into force. `counted` is as in
    `resolve`.
    """
    accepted = load_accepted_of(options, with_scripts=False)
    directories, host = directories_of(options), this_host(options)
    stored = stored_active(directories, accepted)
    if stored is None:
        return None
    resources, settings = stored_content(stored.configuration, directories.state)
    facts = host.facts(settings.node)
    plan, _ = resolve(resources, settings, facts, governance=standing(directories, host), counted=counted)
    return ActivePlan(stored.id, plan, resources, facts)


class PlanNow(NamedTuple):
    """The plan of what is in force, the host that it is for, and the IP version whose packets meet none of it."""

    plan: Plan
    facts: HostFacts
    unmet: tuple[Family, ...] = ()


def plan_now(options: Options, *, counted: bool = True) -> PlanNow | None:
    """The plan of what is in force, and the host that it is for; None where no rules are.

    What has to be rolled back or has expired by now is first taken out of force, as by `status`. `counted` is as in
    `resolve`. Raises HostError and PermissionError.
    """
    directories, host = directories_of(options), this_host(options)
    if has_expired(directories, host):
        _engine(options).end_expired()
    families = read_in_force(directories, host, lambda: _engine(options).expire())
    if not families:
        return None
    unmet = tuple(family for family in FAMILIES if family not in families)
    found = active_plan(options, counted=counted)
    return (
        PlanNow(found.plan, found.facts, unmet)
        if found is not None
        else PlanNow(BASE_PROTECTION, host.facts(None), unmet)
    )


def _engine(options: Options) -> "Engine":
    # With the compiler, 0.1 s: only for what has to be changed.
    from hostfw.cli.engine import open_engine

    return open_engine(options)


def mark_of(options: Options) -> tuple[str | None, int | None]:
    """A mark that changes whenever `active_plan` may; sources may change although the script stays the same."""
    return _recorded(options), accepted_number(options.state_dir)


def _recorded(options: Options) -> str | None:
    """The id of the generation that was put into this network namespace, as far as it is on record."""
    record, _ = load_active(options.run_dir)
    return record.id if record else None
