"""`hostfwctl diff`: what a configuration would change of the accepted one, and of the ruleset."""

from argparse import ArgumentParser
from collections.abc import Sequence

from hostfw.build.candidate import Candidate, check_candidate
from hostfw.build.feed_shrink import keep_accepted_feeds
from hostfw.build.generation import Generation
from hostfw.build.refused import Refused
from hostfw.cli.command_line.arguments import add_files, add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.engine import open_engine
from hostfw.cli.input.active_plan import plan_now
from hostfw.cli.input.added_files import would_leave
from hostfw.cli.input.configuration import read, refuse, warn
from hostfw.cli.input.facts import PlannedHere, planned_here
from hostfw.cli.outcomes import complain_of, load_accepted_of
from hostfw.cli.output.console import DIFFERS, TROUBLE, Console, ExitCode, Style, painted
from hostfw.cli.output.documents import document, document_text
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.reports.differences import Difference, Refusal, Sign, comparison, differences
from hostfw.cli.output.reports.exposure_change import changes_between
from hostfw.cli.output.reports.exposure_change import lines as exposure_lines
from hostfw.cli.output.terminal import cell_width, printable, wrapped
from hostfw.engine.outcomes import UNRECORDED, Failed
from hostfw.host.errors import HostError
from hostfw.host.store.atomic_files import is_read_only
from hostfw.host.store.generations.active import has_begun
from hostfw.model.host.services import ExposureChange
from hostfw.model.wording import counted

_INDENT = "    "
_STYLES = {Sign.NEW: Style.GOOD, Sign.CHANGED: Style.WARNING, Sign.GONE: Style.REMOVED}
_LINE_STYLES = {"+": Style.GOOD, "-": Style.REMOVED, "@": Style.FAINT}


USAGE = "[-f PATH...] [--nft] [-o text|json|yaml]"
HELP = Page(
    """\
Compare a configuration with the accepted one, which is in force: the resources that
are new (+), changed (~, with the difference of their manifests) and gone (-). What
does not change the meaning, such as comments or the file a resource is in, does not count.
As root it also tells what another program has changed of the ruleset in force.

Then it lists the services of this host (see `exposure`) and the forwarding that
`apply` would close or open, as far as you have the permission to look at that. It
also says why `apply` would refuse the change: connections that this host depends on
and would lose, or a loss of most policies.

With --nft also print what `apply` would send to nftables now: a script that prepares
what is new, one that switches to it, and one that sweeps what is no longer used.

With -o json or yaml this is a document of kind Comparison (hostfw.io/v1).""",
    """\
hostfwctl diff
hostfwctl diff -f staging/ --nft
hostfwctl diff -f staging/ -o json | jq -r '.refusals[].message'""",
    """\
0  no difference
1  there are differences
2  the comparison failed, or the command line is wrong
3  the configuration is invalid
4  not permitted""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    add_files(parser)
    parser.add_argument("--nft", action="store_true", help="also show what would be sent to nftables")
    add_output(parser.add_argument, Output.TEXT, Output.JSON, Output.YAML)


def run(options: Options, console: Console) -> ExitCode:
    """Print the differences, and with `--nft` the scripts of the change."""
    candidate = read(options)
    if not candidate.is_valid:
        return refuse(candidate.problems, candidate.configuration, console)
    accepted = load_accepted_of(options)
    if accepted is not None:
        # As `apply` does, which leaves such files out.
        kept = keep_accepted_feeds(candidate, options.state_dir)
        warn(set(kept.problems) - set(candidate.problems), candidate.configuration, console)
        candidate = kept
    found = tuple(differences(check_candidate(accepted.configuration) if accepted else None, candidate))
    here = planned_here(options, candidate)
    exposure = _exposure(here, options) if found else ()
    is_text = options.output is Output.TEXT
    if is_text:
        for difference in found:
            _print(difference, console)
        for line in exposure_lines(exposure, whole=console.verbosity > 0):
            console.data(*console.filled(line))
    script = ""
    if options.nft:
        built = _script(options, candidate, console)
        if isinstance(built, ExitCode):
            return built
        script = built
        if is_text:
            console.out.write(script)
    elif here is not None:
        warn(here.problems, candidate.configuration, console)
    drift = open_engine(options).drift()
    unknown: Failed | None = None
    if isinstance(drift, Failed):
        # Files are compared without the right to read the kernel.
        unknown, drift = None if drift.not_permitted else drift, ()
    leaving = would_leave(options, candidate.configuration)
    refusals = _refusals(candidate, here, options, differs=bool(found)) if here is not None and not leaving else ()
    if is_text:
        _say_drift(console, drift, options)
        _say(console, found, script, leaving, refusals)
    else:
        content = comparison(found, exposure, refusals, drift, script if options.nft else None)
        console.data(document_text(document("Comparison", content), options.output))
    if found or script or drift:
        if unknown is not None:
            console.warn(f"the rules in force were not compared: {unknown.message}")
        return DIFFERS
    if unknown is not None:
        return _trouble(unknown, console)
    if is_text:
        console.say("no difference")
    return ExitCode.DONE


def _script(options: Options, candidate: Candidate, console: Console) -> str | ExitCode:
    """The script that `apply` would send now, empty where nothing would change."""
    engine = open_engine(options)
    generation = engine.generation(candidate)
    match generation:
        case Refused():
            return refuse(generation.problems, candidate.configuration, console)
        case Failed():
            return _trouble(generation, console)
        case Generation():
            warn(generation.warnings, candidate.configuration, console)
    change = engine.change(generation)
    return _trouble(change, console) if isinstance(change, Failed) else str(change)


def _refusals(candidate: Candidate, here: PlannedHere, options: Options, *, differs: bool) -> tuple[Refusal, ...]:
    """The refusals of `apply` of the candidate, as far as the host may be looked at."""
    engine = open_engine(options)
    try:
        lockout = engine.lockout(here.plan, here.facts) if differs else None
    except (HostError, PermissionError):
        lockout = None
    found = (("loss", engine.loss(candidate, here.plan, here.facts)), ("lockout", lockout))
    return tuple(Refusal(kind, failed) for kind, failed in found if failed is not None)


def _say_drift(console: Console, drift: tuple[str, ...], options: Options) -> None:
    """Say how the rules in force differ from what was written."""
    if drift:
        more = f", and {len(drift) - 1} more" if len(drift) > 1 else ""
        whose = "changed by another program"
        if has_begun(options.run_dir):
            whose = "a change by hostfw did not end"
        elif is_read_only(options.run_dir):
            whose = UNRECORDED
        console.say(f"{whose}: {drift[0]}{more}; `hostfwctl reload` puts it right")
        for one in drift[1:]:
            console.detail(f"  and {one}")


def _say(
    console: Console,
    found: tuple[Difference, ...],
    script: str,
    leaving: Sequence[str],
    refusals: tuple[Refusal, ...],
) -> None:
    """Say what goes with the differences."""
    if found or script:
        console.say(_tally(found))
    if leaving:
        console.warn(
            f"`apply` of these files alone is refused, as {counted(len(leaving), 'resource')} would go out of force; "
            "--add adds the files, --replace uses only them"
        )
        for one in leaving:
            console.detail(f"  {one}")
    for refusal in refusals:
        console.warn(f"`apply` is refused, as {refusal.failed.message}; {refusal.failed.hint}")
        for one in refusal.failed.more:
            console.detail(f"  and {one}")


def _trouble(reason: Failed, console: Console) -> ExitCode:
    """Say why there is no answer: 1 is the answer that there are differences."""
    status = complain_of(reason, console)
    return TROUBLE if status is ExitCode.FAILED else status


def _exposure(candidate: PlannedHere | None, options: Options) -> tuple[ExposureChange, ...]:
    """The changes of exposure by the candidate; none where they cannot be determined."""
    if candidate is None:
        return ()
    try:
        now = plan_now(options)
        return changes_between(None if now is None else now[0], candidate.plan, options)
    except (HostError, PermissionError):
        return ()


def _print(difference: Difference, console: Console) -> None:
    first, *more = console.filled(f"{difference.sign} {difference.what}")
    style, on = _STYLES[difference.sign], console.colour_out
    place = painted(printable(difference.place), Style.FAINT, on=on)
    room = None if console.width_out is None else console.width_out - len(_INDENT)
    is_beside = not more and (room is None or cell_width(f"{first}   {printable(difference.place)}") <= room)
    console.data(painted(first, style, on=on) + (f"   {place}" if place and is_beside else ""))
    console.data(*(painted(line, style, on=on) for line in more))
    if place and not is_beside:
        console.data(*(painted(line, Style.FAINT, on=on) for line in console.filled(difference.place, _INDENT)))
    for line in difference.lines:
        line_style = _LINE_STYLES.get(line[:1])
        for part in wrapped(printable(line), room, f"{line[:1]}   "):
            console.data(f"{_INDENT}{painted(part, line_style, on=on) if line_style else part}")


def _tally(found: tuple[Difference, ...]) -> str:
    names = ((Sign.NEW, "new"), (Sign.CHANGED, "changed"), (Sign.GONE, "gone"))
    counts = [(sum(d.sign is sign for d in found), word) for sign, word in names]
    return ", ".join(f"{count} {word}" for count, word in counts if count) or "the ruleset alone differs"
