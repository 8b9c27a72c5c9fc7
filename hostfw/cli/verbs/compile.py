"""`hostfwctl compile`: the nft script of a configuration, for this host or for one that is known by its facts."""

from hostfw.build.generation import Refused, build
from hostfw.cli.configuration import read, refuse, warn
from hostfw.cli.facts import facts_of, governance_of
from hostfw.cli.options import Options
from hostfw.cli.output.console import Console, ExitCode
from hostfw.nft.object_text import render


def run(options: Options, console: Console) -> ExitCode:
    """Print the whole script; nothing of it if the configuration is refused."""
    inspected = read(options)
    if not inspected.is_valid:
        return refuse(inspected.problems, inspected.configuration, console)
    facts = facts_of(options, inspected.settings, console)
    if isinstance(facts, ExitCode):
        return facts
    built = build(inspected, facts, governance=governance_of(options, inspected, facts))
    if isinstance(built, Refused):
        return refuse(built.problems, inspected.configuration, console)
    warn(built.warnings, inspected.configuration, console)
    console.out.write(render(built.ruleset))
    return ExitCode.DONE
