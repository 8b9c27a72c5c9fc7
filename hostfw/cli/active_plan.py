"""The active plan, which attributes packets to rules."""

from dataclasses import dataclass

from hostfw.build.candidate import stored_content
from hostfw.cli.engine import open_engine
from hostfw.cli.options import Options
from hostfw.cli.outcomes import load_accepted_of
from hostfw.engine.checks.plan_before import stored_active
from hostfw.engine.context import Directories
from hostfw.engine.reading.standing import standing
from hostfw.host.store.active import load_active
from hostfw.host.store.generations import accepted_number
from hostfw.model.plan import Plan
from hostfw.model.resources import Resources
from hostfw.policy.resolve.plan import resolve


@dataclass(frozen=True, slots=True)
class ActivePlan:
    """The generation in force on this host, its plan at this moment, and the resources that it was made of."""

    generation: str
    plan: Plan
    resources: Resources


def active_plan(options: Options) -> ActivePlan | None:
    """The plan of the generation in force, or None if its sources are not on record. Raises HostError.

    After a boot nothing is on record but the accepted generation, which the boot put into force.
    """
    load_accepted_of(options)
    stored = stored_active(Directories(options.config_dir, options.state_dir, options.run_dir))
    if stored is None:
        return None
    resources, settings = stored_content(stored.configuration)
    engine = open_engine(options)
    governance = standing(engine.directories, engine.host)
    plan, _ = resolve(resources, settings, engine.observe(settings), governance=governance)
    return ActivePlan(stored.id, plan, resources)


def mark_of(options: Options) -> tuple[str | None, int | None]:
    """A mark that changes whenever `active_plan` may; sources may change although the script stays the same."""
    return _recorded(options), accepted_number(options.state_dir)


def _recorded(options: Options) -> str | None:
    """The id of the generation that was put into this network namespace, as far as it is on record."""
    record, _ = load_active(options.run_dir)
    return record.id if record else None
