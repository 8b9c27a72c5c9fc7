"""The host that a verb is about, this one or one that is known by its facts, and what a configuration means on it."""

from dataclasses import dataclass
from pathlib import Path

from hostfw.cli.configuration import read, refuse, warn
from hostfw.cli.console import Console, ExitCode
from hostfw.cli.options import Options
from hostfw.cli.problems import manifests
from hostfw.engine.inspection import Inspected
from hostfw.host.files import read_paths
from hostfw.model.facts import HostFacts
from hostfw.model.plan import Plan
from hostfw.model.positions import Position
from hostfw.model.problems import Problem
from hostfw.model.settings import Settings
from hostfw.model.sources import Configuration
from hostfw.policy.facts_file import decode_facts
from hostfw.policy.resolve import resolve


@dataclass(frozen=True, slots=True)
class Planned:
    """A configuration, a host, and what the one means on the other."""

    inspected: Inspected
    facts: HostFacts
    plan: Plan


def planned(options: Options, console: Console) -> Planned | ExitCode:
    """The Plan of a command line's configuration on its host; what stands in the way is said.

    Of the warnings those are said that the host gives rise to; `validate` has the others.
    """
    inspected = read(options)
    if not inspected.is_valid:
        return refuse(inspected.problems, inspected.configuration, console)
    facts = facts_of(options, inspected.settings, console)
    if isinstance(facts, ExitCode):
        return facts
    plan, problems = resolve(inspected.resources, inspected.settings, facts)
    warn(problems, inspected.configuration, console)
    return Planned(inspected, facts, plan)


def facts_of(options: Options, settings: Settings, console: Console) -> HostFacts | ExitCode:
    """The facts that `--facts` names, or those of this host; what is wrong with a file is said."""
    if options.facts is None:
        from hostfw.cli.engine import observe

        return observe(options, settings)
    facts, problems, configuration = _read(options.facts)
    if facts is None:
        return refuse(problems, configuration, console)
    warn(problems, configuration, console)
    return facts


def _read(path: Path) -> tuple[HostFacts | None, tuple[Problem, ...], Configuration]:
    """The facts of a file, what is wrong with it, and its text for those who say so."""
    configuration, problems = read_paths([path])
    found = manifests(configuration)
    if not problems and len(found) != 1:
        problems = (Problem(Position(str(path), 1, 1), "is not one file", "a HostFacts document"),)
    if problems:
        return None, problems, configuration
    facts, problems = decode_facts(found[0])
    return facts, problems, configuration
