"""`hostfwctl validate`: everything that is wrong with a configuration, and what this host makes of it.

The configuration directory is for this host, so the warnings of `apply` are told as well: HostEndpoints of another
node, of ports of a bridge or of what is not there, interfaces without one. Files of `-f` may be for any host: of them
the text is judged, and with facts everything that they make of it.
"""

from collections.abc import Sequence

from hostfw.build.candidate import Inspected
from hostfw.cli.configuration import contents, read
from hostfw.cli.options import Options, Output
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import json_text, problem_list
from hostfw.cli.output.problems import report, tally
from hostfw.model.problems import Problem, in_order
from hostfw.model.text import counted


def run(options: Options, console: Console) -> ExitCode:
    """Print the problems as data, since they are what was asked for, and their number as a message."""
    inspected = read(options)
    problems, configuration = inspected.problems, inspected.configuration
    if inspected.is_valid:
        found = _on_the_host(options, inspected, console)
        if isinstance(found, ExitCode):
            return found
        problems = in_order((*problems, *found))
    if options.annotate:
        from hostfw.cli.output.annotate import annotated

        console.data(*annotated(problems, configuration))
    elif options.output is Output.JSON:
        console.data(json_text(problem_list(problems)))
    else:
        console.data(*report(problems, configuration, colour=console.colour_out))
    if inspected.is_valid:
        warnings = f"; {counted(len(problems), 'warning')}" if problems else ""
        console.say(f"ok: {contents(inspected.resources)}{warnings}")
        return ExitCode.DONE
    console.say(tally(problems))
    return ExitCode.INVALID


def _on_the_host(options: Options, inspected: Inspected, console: Console) -> Sequence[Problem] | ExitCode:
    """What the facts of `--facts`, or of this host, make of a configuration; nothing where they cannot be had."""
    if options.files and options.facts is None:
        return ()
    # Not for nothing: it reads links, routes and addresses.
    from hostfw.cli.facts import facts_of, host_problems, planned_here

    if options.facts is not None:
        facts = facts_of(options, inspected.settings, console)
        return facts if isinstance(facts, ExitCode) else host_problems(inspected, facts)
    here = planned_here(options, inspected)
    return here.problems if here is not None else ()
