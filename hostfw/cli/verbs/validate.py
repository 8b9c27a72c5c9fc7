"""`hostfwctl validate`: everything that is wrong with a configuration, as far as its text shows.

Of this host it looks at one thing, and only for the configuration directory itself: addresses and default routes that
count for nothing because a neighbour said them. With facts it tells everything that they make of the configuration.
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
from hostfw.policy.resolve.interface_groups import asks_of_addresses


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
    """What the facts of `--facts` make of a configuration; without them, what a neighbour keeps from counting here."""
    resources, settings = inspected.resources, inspected.settings
    if options.facts is not None:
        from hostfw.cli.facts import facts_of
        from hostfw.policy.resolve.plan import resolve

        facts = facts_of(options, settings, console)
        return facts if isinstance(facts, ExitCode) else resolve(resources, settings, facts)[1]
    if options.files or not asks_of_addresses(resources, settings):
        return ()
    from hostfw.cli.engine import observe
    from hostfw.host.errors import HostError
    from hostfw.policy.resolve.plan import neighbour_problems

    try:
        return neighbour_problems(resources, settings, observe(options, settings))
    except HostError:
        return ()
