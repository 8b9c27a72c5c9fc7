"""What the verbs have in common: reading a configuration, and saying what is wrong with it."""

from collections.abc import Iterable
from functools import partial

from hostfw.cli.console import Console, ExitCode
from hostfw.cli.options import Options
from hostfw.cli.problems import report, tally
from hostfw.engine.inspection import Inspected, inspect
from hostfw.host.files import read_configuration, read_feeds, read_paths
from hostfw.model.problems import Problem, Severity
from hostfw.model.resources import Resources
from hostfw.model.sources import Configuration
from hostfw.model.words import counted


def read(options: Options) -> Inspected:
    """The configuration that a command line names, as far as it can be judged without a host."""
    configuration, problems = read_paths(options.files) if options.files else read_configuration(options.config_dir)
    return inspect(configuration, problems, partial(read_feeds, trusted=not options.files))


def refuse(problems: Iterable[Problem], configuration: Configuration, console: Console, outcome: str = "") -> ExitCode:
    """Say everything that is wrong, and what came of it."""
    found = tuple(problems)
    console.message(*report(found, configuration, colour=console.colour_err))
    console.complain(f"{tally(found)}; {outcome}" if outcome else tally(found))
    return ExitCode.INVALID


def warn(problems: Iterable[Problem], configuration: Configuration, console: Console) -> None:
    """Say what does not stand in the way."""
    warnings = [problem for problem in problems if problem.severity is Severity.WARNING]
    if console.verbosity >= 0:
        console.message(*report(warnings, configuration, colour=console.colour_err))


def contents(resources: Resources) -> str:
    """How many resources there are of each kind: policies and endpoints always, the others where there are any."""
    return ", ".join(
        counted(len(found), *nouns)
        for found, nouns, always in (
            (resources.policies, ("policy", "policies"), True),
            (resources.staged_policies, ("staged policy", "staged policies"), False),
            (resources.endpoints, ("endpoint",), True),
            (resources.network_sets, ("network set",), False),
            (resources.feeds, ("feed",), False),
            (resources.tiers, ("tier",), False),
            (resources.profiles, ("profile",), False),
            (resources.interface_groups, ("interface group",), False),
        )
        if found or always
    )
