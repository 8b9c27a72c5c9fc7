"""The parts that verbs share around the engine: its directories, the accepted generation, and the words for a failure.

The engine itself is not loaded here, since verbs that only look at the host do without it.
"""

from collections.abc import Sequence

from hostfw.cli.command_line.options import Options
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document
from hostfw.cli.output.terminal import printable
from hostfw.engine.context import Directories, Host
from hostfw.engine.outcomes import Failed
from hostfw.host.errors import HostError
from hostfw.host.store.generations.generations import Accepted, load_accepted
from hostfw.model.wording import counted


def directories_of(options: Options) -> Directories:
    """The directories of a command line."""
    return Directories(options.config_dir, options.state_dir, options.run_dir)


def this_host(options: Options | None = None) -> Host:
    """The effects on the host and network namespace that we are in, with its workloads for the facts of it."""
    return Host() if options is None else Host().below(options.run_dir)


def load_accepted_of(options: Options, *, with_scripts: bool = True) -> Accepted | None:
    """The accepted generation, or None where there is none yet.

    Raises PermissionError for one who may not know, and HostError if what is there cannot be read.
    """
    try:
        next(options.state_dir.iterdir(), None)
    except FileNotFoundError:
        return None
    accepted, problems = load_accepted(options.state_dir, with_scripts=with_scripts)
    if accepted is None and problems:
        raise HostError(str(problems[0]), problems[0].hint)
    return accepted


def extent(policies: int, endpoints: int, interfaces: int) -> str:
    """The numbers of policies, endpoints and interfaces, in words."""
    policies_text = counted(policies, "policy", "policies")
    return f"{policies_text}, {counted(endpoints, 'endpoint')} on {counted(interfaces, 'interface')}"


def complain_of(failed: Failed, console: Console, *, in_force: bool = False) -> ExitCode:
    """Say what failed, and with `in_force` the rules that are enforced now."""
    outcome = f"; {failed.in_force}" if in_force and failed.in_force else ""
    console.complain(f"{failed.message}{outcome}", failed.hint or ("run it as root" if failed.not_permitted else ""))
    for one in failed.more:
        console.detail(f"  and {printable(one)}")
    return ExitCode.UNAVAILABLE if failed.not_permitted else ExitCode.FAILED


def saved(unsaved: Sequence[str], console: Console) -> ExitCode:
    """Say what was done and could not be written down: a script must not take it for done, since a reboot undoes it."""
    for one in unsaved:
        console.complain(one)
    return ExitCode.FAILED if unsaved else ExitCode.DONE


def failure(failed: Failed) -> Document:
    """The document of a failed result, whatever the verb: the reason, the next step, and what is enforced now."""
    return {"result": "failed", "message": failed.message, "hint": failed.hint, "inForce": failed.in_force}
