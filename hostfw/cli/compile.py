"""`hostfwctl compile`: the nft script of a configuration, for this host or for one that is known by its facts."""

from pathlib import Path

from hostfw.cli.configuration import read, refuse, warn
from hostfw.cli.console import Console, ExitCode
from hostfw.cli.options import Options
from hostfw.cli.problems import sources
from hostfw.engine.generation import Refused, build
from hostfw.host.files import read_paths
from hostfw.model.facts import HostFacts
from hostfw.model.positions import Position
from hostfw.model.problems import Problem
from hostfw.model.sources import Configuration
from hostfw.policy.facts_file import decode_facts


def run(options: Options, console: Console) -> ExitCode:
    """Print the whole script; nothing of it if the configuration is refused."""
    inspected = read(options)
    if not inspected.is_valid:
        return refuse(inspected.problems, inspected.configuration, console)
    if options.facts is None:
        from hostfw.cli.engine import observe

        facts = observe(options, inspected.settings)
    else:
        known, problems, configuration = read_facts(options.facts)
        if known is None:
            return refuse(problems, configuration, console)
        warn(problems, configuration, console)
        facts = known
    built = build(inspected, facts)
    if isinstance(built, Refused):
        return refuse(built.problems, inspected.configuration, console)
    warn(built.warnings, inspected.configuration, console)
    console.out.write(built.script)
    return ExitCode.DONE


def read_facts(path: Path) -> tuple[HostFacts | None, tuple[Problem, ...], Configuration]:
    """The facts of a file, what is wrong with it, and its text for those who say so."""
    configuration, problems = read_paths([path])
    found = sources(configuration)
    if not problems and len(found) != 1:
        problems = (Problem(Position(str(path), 1, 1), "is not one file", "a HostFacts document"),)
    if problems:
        return None, problems, configuration
    facts, problems = decode_facts(found[0])
    return facts, problems, configuration
