"""`hostfwctl validate`: everything that is wrong with a configuration, without looking at the host."""

from hostfw.cli.configuration import contents, read
from hostfw.cli.console import Console, ExitCode
from hostfw.cli.documents import json_text, problem_list
from hostfw.cli.options import Options, Output
from hostfw.cli.problems import report, tally
from hostfw.model.words import counted


def run(options: Options, console: Console) -> ExitCode:
    """Print the problems as data, since they are what was asked for, and their number as a message."""
    inspected = read(options)
    problems, configuration = inspected.problems, inspected.configuration
    if options.annotate:
        from hostfw.cli.annotate import annotated

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
