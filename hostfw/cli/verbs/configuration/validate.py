"""`hostfwctl validate`: everything that is wrong with a configuration, and what this host makes of it.

The configuration directory is for this host, so the warnings of `apply` are told as well: HostEndpoints of another
node, of ports of a bridge or of what is not there, interfaces without one. Files of `-f` may be for any host: of them
the text is judged, and with facts everything that they make of it.
"""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hostfw.cli.command_line.arguments import add_files, add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.input.configuration import contents, read
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.help_page import Page

if TYPE_CHECKING:
    # Its page of help is asked for as well as its work, which loads these.
    from hostfw.build.candidate import Candidate
    from hostfw.model.problems import Problem

USAGE = "[-f PATH...] [-o text|json | --annotate]"
HELP = Page(
    """\
Read a configuration and print everything that is wrong with it, each problem as

    PATH:LINE:COLUMN: MESSAGE

with the line of the file and a caret, what was expected, and what to do. Warnings do
not stop `apply`. It needs no root. With --facts it says as well what the configuration
means on a host. Without -f and --facts it looks at one thing on this host: addresses
and default routes by which no HostEndpoint finds its interface, because DHCP or a
router advertisement supplied them.

With -o json the problems are a document of kind ProblemList (hostfw.io/v1), whose
items have path, line, column, severity (error or warning), message, expected and
hint; it is printed for a valid configuration too.""",
    """\
hostfwctl validate                        what is in /etc/hostfw
hostfwctl validate -f staging/            a directory that is to replace it
git show HEAD:web.yaml | hostfwctl validate -f -
hostfwctl validate -f web.yaml --annotate""",
    """\
0  valid, perhaps with warnings
3  invalid""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    add_files(parser)
    parser.add_argument(
        "--facts",
        type=Path,
        metavar="FILE",
        help="check it for the host described by `hostfwctl interfaces -o json` (default: without a host)",
    )
    how = parser.add_mutually_exclusive_group()
    add_output(how.add_argument, Output.TEXT, Output.JSON)
    how.add_argument("--annotate", action="store_true", help="print the files themselves, with the problems in place")


def run(options: Options, console: Console) -> ExitCode:
    """Print the problems as data, since they are what was asked for, and their number as a message."""
    from hostfw.cli.output.problems import report, tally
    from hostfw.model.problems import in_order
    from hostfw.model.wording import counted

    candidate = read(options)
    problems, configuration = candidate.problems, candidate.configuration
    if candidate.is_valid:
        found = _on_the_host(options, candidate, console)
        if isinstance(found, ExitCode):
            return found
        problems = in_order((*problems, *found))
    if options.annotate:
        from hostfw.cli.output.annotate import annotated

        console.data(*annotated(problems, configuration))
    elif options.output is Output.JSON:
        from hostfw.cli.output.documents import json_text, problem_list

        console.data(json_text(problem_list(problems)))
    else:
        whole = console.verbosity > 0
        console.data(*report(problems, configuration, colour=console.colour_out, width=console.width_out, whole=whole))
    if candidate.is_valid:
        warnings = f"; {counted(len(problems), 'warning')}" if problems else ""
        console.say(f"ok: {contents(candidate.resources)}{warnings}")
        return ExitCode.DONE
    console.say(tally(problems))
    return ExitCode.INVALID


def _on_the_host(options: Options, candidate: "Candidate", console: Console) -> "Sequence[Problem] | ExitCode":
    """Problems of a configuration with the facts of `--facts`, or of this host; none where there are no facts."""
    if options.files and options.facts is None:
        return ()
    # Not for nothing: it reads links, routes and addresses.
    from hostfw.cli.input.facts import facts_of, host_problems, planned_here
    from hostfw.host.workloads.reader import FOLDER as WORKLOADS_FOLDER

    if options.facts is not None:
        facts = facts_of(options, candidate.settings, console)
        return facts if isinstance(facts, ExitCode) else host_problems(candidate, facts)
    here = planned_here(options, candidate)
    # Who may not see the workloads that run asks about the files, which needs no root.
    unseen = str(options.run_dir / WORKLOADS_FOLDER)
    return [problem for problem in here.problems if problem.position.path != unseen] if here is not None else ()
