"""`hostfwctl compile`: the nft script of a configuration, for this host or for one that is known by its facts."""

from argparse import ArgumentParser

from hostfw.build.generation import build
from hostfw.build.refused import Refused
from hostfw.cli.command_line.arguments import add_facts, add_files
from hostfw.cli.command_line.options import Options
from hostfw.cli.input.configuration import refuse, warn
from hostfw.cli.input.facts import governance_of, observed_for
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.help_page import Page
from hostfw.nft.object_text import render

USAGE = "[-f PATH...] [--facts FILE]"
HELP = Page(
    """\
Print the whole nft script that enforces a configuration on this host, or with
--facts on the host that they were taken from. The same configuration and facts give
the same bytes on every machine. With --facts neither root nor the host is needed.

The script can be loaded with `nft -f` over any earlier generation; counters live on.""",
    """\
hostfwctl compile | less
hostfwctl compile -f staging/ > candidate.nft
ssh web1 hostfwctl interfaces -o json > web1.json
hostfwctl compile -f staging/ --facts web1.json""",
    """\
0  compiled
1  this host could not be observed
3  the configuration or the facts are invalid""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    add_files(parser)
    add_facts(parser, "the host to compile for")


def run(options: Options, console: Console) -> ExitCode:
    """Print the whole script; nothing of it if the configuration is refused."""
    observed = observed_for(options, console)
    if isinstance(observed, ExitCode):
        return observed
    candidate, facts = observed
    built = build(candidate, facts, governance=governance_of(options, candidate, facts))
    if isinstance(built, Refused):
        return refuse(built.problems, candidate.configuration, console)
    warn(built.warnings, candidate.configuration, console)
    console.out.write(render(built.ruleset))
    return ExitCode.DONE
