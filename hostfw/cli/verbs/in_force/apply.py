"""`hostfwctl apply`: put a configuration into force, and say what that took."""

from argparse import ArgumentParser
from dataclasses import replace
from functools import partial
from time import monotonic

from hostfw.build.candidate import CandidateCache
from hostfw.build.refused import Refused
from hostfw.cli.command_line.arguments import add_accept_lockout, add_accept_loss, add_files, add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.engine import open_engine
from hostfw.cli.input.added_files import edit, left_out, not_undone, written
from hostfw.cli.input.configuration import read_named, refuse, warn
from hostfw.cli.outcomes import complain_of, extent, failure, saved
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document, document, json_text, problem_item
from hostfw.cli.output.durations import duration_s, duration_text
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.progress import progress
from hostfw.cli.output.reports.exposure_change import items, tell
from hostfw.control.client import ask
from hostfw.control.handlers import handle
from hostfw.control.messages import Apply, Files, InForceNow, Reply
from hostfw.engine.apply.asked import Asked
from hostfw.engine.checks.exposure import services_of
from hostfw.engine.outcomes import Failed
from hostfw.host.lock import files_lock
from hostfw.host.store.atomic_files import WriteError
from hostfw.host.store.configuration.files import read_configuration
from hostfw.host.store.generations.trial import Trial
from hostfw.host.store.shown_warnings import not_yet_shown, remember_shown
from hostfw.model.host.baseline import Baseline
from hostfw.model.problems import errors
from hostfw.model.sources import Configuration
from hostfw.model.time.moments import moment_text
from hostfw.model.wording import counted

USAGE = "[--add | --replace] [-f PATH...] [OPTION...]"
HELP = Page(
    """\
Compile a configuration for this host and put it into force, at one moment for every
packet. Counters, established connections and the tables of other programs stay as
they are. An invalid configuration, or one that the kernel refuses, changes nothing.

The configuration becomes the accepted one: it is enforced again after a reboot. With
--confirm-within it is accepted only once `hostfwctl confirm` is run. Otherwise it is
rolled back when the time is over, even if hostfwctl is killed, and a reboot in the
meantime brings back what was accepted. Until then `reload` and `apply` are refused;
`apply --confirm-within` replaces the change that waits. A change that does not touch the ruleset
is accepted at once.

A configuration that would block connections that this host depends on, such as your own
ssh connection (the next one like it), is refused with what would be lost and why, unless
it is lost already; to do it anyway, add --accept-lockout. lockoutCheck in
hostfw.yaml turns that into a warning, or off.

The services of this host (see `exposure`) and the forwarding between interfaces that the
change closes or opens are listed, each with the rule that decides. It is a warning if
somebody is connected to a service that closes, or if packets came in to it so far.

A Feed whose file lost more than its maxShrink of what was accepted keeps the accepted
content, and a warning says so; to accept the loss, add --accept-shrink.

A configuration without any policy or HostEndpoint of this host, where there were some,
or without more than half of them, is refused, and so is one whose HostEndpoints govern
no interface, or no default route, where they did: --accept-loss applies it.

Files of -f that lack resources which are in force are refused as well. --add copies the
files into the configuration directory, where a resource takes the place of the one of
its kind and name, and applies all that is there; what is refused is taken out again.
--replace uses only these files. A directory of -f is all there is by itself.

With -o json the outcome is a document of kind ApplyResult (hostfw.io/v1): result is
applied, unchanged, refused (with problems) or failed (with message and hint),
confirmBy until when it must be confirmed, and saved whether it outlives a reboot.""",
    """\
hostfwctl apply
hostfwctl apply --confirm-within 90s
hostfwctl apply -f staging/
hostfwctl apply -o json | jq -r .result""",
    """\
0  in force, whether or not anything had to change
1  failed; what was in force still is, unless the message says otherwise. Or in force, and
   not saved, as on a full disk: the message says what a reboot leads to
3  the configuration is invalid
4  not permitted""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    add_files(parser)
    parser.add_argument(
        "--confirm-within",
        dest="confirm_within_s",
        type=duration_s,
        metavar="TIME",
        help="roll back unless confirmed within TIME, such as 90s, 5m or 1h",
    )
    parser.add_argument(
        "--accept-shrink",
        action="store_true",
        help="accept Feeds whose files lost more than their maxShrink",
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--add", action="store_true", help="copy the files of -f into the configuration directory, and apply all of it"
    )
    how.add_argument("--replace", action="store_true", help="use the files of -f as the whole configuration")
    add_accept_loss(parser)
    add_accept_lockout(parser)
    add_output(parser.add_argument, Output.TEXT, Output.JSON)


def run(options: Options, console: Console) -> ExitCode:
    """Apply, and report to a person on stderr or to a program on stdout."""
    started_s = monotonic()
    files = None
    with progress(console) as doing:
        if options.files:
            doing("reading the configuration")
            files = Files(*read_named(options))
        doing("putting it into force")
        if files is None or options.replace:
            reply = ask_for(options, files, console)
        elif options.add:
            with files_lock(options.run_dir):
                reply, files = _add(options, files, console)
        else:
            reply = left_out(options, files) or ask_for(options, files, console)
    return report(reply, files, options, console, round((monotonic() - started_s) * 1000))


def report(reply: Reply, files: Files | None, options: Options, console: Console, took_ms: int) -> ExitCode:
    """Say what came of an apply; `files` are what problems point into, None for the configuration directory."""
    if options.output is Output.JSON:
        console.data(json_text(document("ApplyResult", _result(reply, took_ms))))
    match reply:
        case InForceNow():
            problems = reply.problems if options.verb == "apply" else not_yet_shown(options.run_dir, reply.problems)
            if problems:
                warn(problems, _configuration(options, files), console)
            remember_shown(options.run_dir, reply.problems)
            for warning in reply.warnings:
                console.warn(warning)
            tell(reply.exposure, console)
            console.detail(reply.sent.rstrip("\n"))
            console.say(_sentence(reply, took_ms))
            if reply.trial is not None:
                console.say(_condition(reply.trial, options.confirm_within_s or 0))
            return saved(reply.unsaved, console)
        case Refused(problems):
            return refuse(problems, _configuration(options, files), console, "nothing was changed")
        case Failed():
            return complain_of(reply, console, in_force=True)
        case _:
            raise AssertionError(f"{type(reply).__name__} does not answer an apply")


def ask_for(options: Options, files: Files | None, console: Console, cache: CandidateCache | None = None) -> Reply:
    """Ask for the configuration directory, or files, to be put into force; `cache` is of the caller's own checks."""
    engine = open_engine(options)
    request = _request(options, files, engine.host.baseline(), verbose=console.verbosity > 0)
    request = replace(request, services=services_of(engine.host))
    return ask(engine, request, handle_here=partial(handle, cache=cache))


def _add(options: Options, files: Files, console: Console) -> tuple[Reply, Files | None]:
    """Write files into the configuration directory and apply all of it; what is refused is taken out again."""
    if errors(files.problems):
        return Refused(files.problems), files
    added = edit(options, files.configuration)
    if isinstance(added, Failed | Refused):
        own = read_configuration(options.config_dir)[0].resources
        return added, replace(
            files, configuration=replace(files.configuration, resources=(*own, *files.configuration.resources))
        )
    if not added.candidate.is_valid:
        return Refused(added.candidate.problems), Files(added.candidate.configuration)
    try:
        with written(added.changed) as undo:
            reply = ask_for(options, None, console)
            if isinstance(reply, Refused | Failed):
                not_undone(undo.all(), console)
    except WriteError as error:
        return Failed(str(error), "nothing was written"), files
    if not isinstance(reply, Refused | Failed):
        for source in added.changed:
            console.say(f"{source.path} was written")
    return reply, None


def _request(options: Options, files: Files | None, baseline: Baseline, *, verbose: bool) -> Apply:
    return Apply(
        files,
        options.confirm_within_s,
        accept_shrink=options.accept_shrink,
        accept_lockout=options.accept_lockout,
        accept_loss=options.accept_loss,
        baseline=baseline,
        verbose=verbose,
        asked=Asked(options.verb) if options.verb in set(Asked) else Asked.QUICK,
    )


def _configuration(options: Options, files: Files | None) -> Configuration:
    """The texts that problems point into."""
    return files.configuration if files is not None else read_configuration(options.config_dir)[0]


def _sentence(now: InForceNow, took_ms: int) -> str:
    """The summary of what is in force now, and of the time that it took."""
    state = f"generation {now.generation} in force: {extent(now.policies, now.endpoints, now.interfaces)}"
    if now.unchanged:
        return f"no change: {state}"
    return f"{state}; {counted(now.chains_new, 'chain')} new, {now.chains_swept} swept, {took_ms} ms"


def _condition(trial: Trial, within_s: int) -> str:
    """Until when it is in force, and what keeps it so."""
    return (
        f"rolled back in {duration_text(within_s)}, at {moment_text(trial.deadline)}, "
        "unless `hostfwctl confirm` is run in a new ssh connection before"
    )


def _result(reply: Reply, took_ms: int) -> Document:
    """An ApplyResult: `result` says which of the other fields there are."""
    match reply:
        case InForceNow():
            return {
                "result": "unchanged" if reply.unchanged else "applied",
                "generation": reply.generation,
                "node": reply.node,
                "policies": reply.policies,
                "endpoints": reply.endpoints,
                "interfaces": reply.interfaces,
                "chainsNew": reply.chains_new,
                "chainsSwept": reply.chains_swept,
                "milliseconds": took_ms,
                "problems": [problem_item(problem) for problem in reply.problems],
                "warnings": [*reply.warnings, *reply.unsaved],
                "saved": not reply.unsaved,
                "exposure": items(reply.exposure),
                "confirmBy": reply.trial.deadline.isoformat() if reply.trial is not None else None,
            }
        case Refused(problems):
            return {"result": "refused", "problems": [problem_item(problem) for problem in problems]}
        case Failed():
            return failure(reply)
        case _:
            return {}
