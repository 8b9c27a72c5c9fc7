"""`hostfwctl diff`: what a configuration would change of the accepted one, and of the ruleset."""

from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from difflib import unified_diff
from enum import StrEnum

from hostfw.build.candidate import Candidate, check_candidate
from hostfw.build.generation import Generation
from hostfw.build.refused import Refused
from hostfw.cli.active_plan import plan_now
from hostfw.cli.added_files import would_leave
from hostfw.cli.arguments import add_files
from hostfw.cli.configuration import read, refuse, warn
from hostfw.cli.engine import open_engine
from hostfw.cli.facts import PlannedHere, planned_here
from hostfw.cli.options import Options
from hostfw.cli.outcomes import complain_of, load_accepted_of
from hostfw.cli.output.console import DIFFERS, TROUBLE, Console, ExitCode, Style, painted
from hostfw.cli.output.documents import yaml_text
from hostfw.cli.output.exposure_change import changes_between
from hostfw.cli.output.exposure_change import lines as exposure_lines
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.terminal import cell_width, printable, wrapped
from hostfw.engine.outcomes import Failed
from hostfw.host.errors import HostError
from hostfw.manifest.encode import manifest
from hostfw.manifest.feed_file import content_line
from hostfw.model.host.services import ExposureChange
from hostfw.model.kinds.sets import Feed
from hostfw.model.resources import Resource, Resources
from hostfw.model.settings import FailsafePort, PacketMarks, Settings
from hostfw.model.wording import counted

_SETTINGS = "Settings"
_SETTING_NAMES = {"marks": "packet_marks"}
_CONTEXT_LINES = 3
_INDENT = "    "


class Sign(StrEnum):
    """Kinds of differences from the accepted configuration."""

    NEW = "+"
    CHANGED = "~"
    GONE = "-"


_STYLES = {Sign.NEW: Style.GOOD, Sign.CHANGED: Style.WARNING, Sign.GONE: Style.REMOVED}
_LINE_STYLES = {"+": Style.GOOD, "-": Style.REMOVED, "@": Style.FAINT}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is new, changed or gone, and the difference of its text where it is changed."""

    sign: Sign
    what: str
    place: str = ""
    lines: tuple[str, ...] = ()


USAGE = "[-f PATH...] [--nft]"
HELP = Page(
    """\
Compare a configuration with the accepted one, which is in force: the resources that
are new (+), changed (~, with the difference of their manifests) and gone (-). What
does not change the meaning, such as comments or the file a resource is in, does not count.
As root it also tells what another program has changed of the ruleset in force.

Then what `apply` would close and open of the services of this host (see `exposure`),
as far as that may be looked at.

With --nft also print what `apply` would send to nftables now: a script that prepares
what is new, one that switches to it, and one that sweeps what is no longer used.""",
    """\
hostfwctl diff
hostfwctl diff -f staging/ --nft""",
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


def run(options: Options, console: Console) -> ExitCode:
    """Print the differences, and with `--nft` the scripts of the change."""
    candidate = read(options)
    if not candidate.is_valid:
        return refuse(candidate.problems, candidate.configuration, console)
    accepted = load_accepted_of(options)
    found = tuple(differences(check_candidate(accepted.configuration) if accepted else None, candidate))
    for difference in found:
        _print(difference, console)
    here = planned_here(options, candidate)
    for line in exposure_lines(_exposure(here, options) if found else (), whole=console.verbosity > 0):
        console.data(*console.filled(line))
    script = ""
    if options.nft:
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
        if isinstance(change, Failed):
            return _trouble(change, console)
        script = str(change)
        console.out.write(script)
    elif here is not None:
        warn(here.problems, candidate.configuration, console)
    drift = open_engine(options).drift()
    if isinstance(drift, Failed):
        # Files are compared without the right to read the kernel.
        drift = ()
    if drift:
        more = f", and {len(drift) - 1} more" if len(drift) > 1 else ""
        console.say(f"changed by another program: {drift[0]}{more}; `hostfwctl reload` puts it right")
        for one in drift[1:]:
            console.detail(f"  and {one}")
    if found or script:
        console.say(_tally(found))
    leaving = would_leave(options, candidate.configuration)
    if leaving:
        console.warn(
            f"`apply` of these files alone is refused, as {counted(len(leaving), 'resource')} would go out of force; "
            "--add adds the files, --replace uses only them"
        )
        for one in leaving:
            console.detail(f"  {one}")
    lost = open_engine(options).loss(candidate, here.plan, here.facts) if here is not None and not leaving else None
    if lost is not None:
        console.warn(f"`apply` is refused, as {lost.message}; {lost.hint}")
        for one in lost.more:
            console.detail(f"  and {one}")
    if found or script or drift:
        return DIFFERS
    console.say("no difference")
    return ExitCode.DONE


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


def differences(accepted: Candidate | None, candidate: Candidate) -> Iterator[Difference]:
    """The differences of a candidate from the accepted configuration: settings, then resources by kind and name."""
    old_settings = accepted.settings if accepted else Settings()
    if old_settings != candidate.settings:
        source = candidate.configuration.settings
        lines = _unified(list(settings_lines(old_settings)), list(settings_lines(candidate.settings)))
        yield Difference(Sign.CHANGED, _SETTINGS, source.path if source else "", lines)
    old = _by_kind_and_name(accepted.resources if accepted else Resources())
    new = _by_kind_and_name(candidate.resources)
    for key in [*new, *(key for key in old if key not in new)]:
        kind, name = key
        before, after = old.get(key), new.get(key)
        if before is None and after is not None:
            yield Difference(Sign.NEW, f"{kind}/{name}", after.metadata.position.file_line)
        elif after is None and before is not None:
            yield Difference(Sign.GONE, f"{kind}/{name}", before.metadata.position.file_line)
        elif before is not None and after is not None:
            lines = _unified(_manifest_lines(before), _manifest_lines(after))
            if lines:
                yield Difference(Sign.CHANGED, f"{kind}/{name}", after.metadata.position.file_line, lines)


def settings_lines(settings: object, path: str = "") -> Iterator[str]:
    """Every setting on a line of its own, under the name that it has in `hostfw.yaml`."""
    if not is_dataclass(settings) or isinstance(settings, FailsafePort | PacketMarks):
        values = settings if isinstance(settings, tuple) else (settings,)
        texts = (str(value).lower() if isinstance(value, bool) else str(value) for value in values)
        yield f"{path}: {', '.join(texts) or 'none'}" if settings is not None else f"{path}: of the host"
        return
    for field in fields(settings):
        head, *rest = _SETTING_NAMES.get(field.name, field.name).split("_")
        name = head + "".join(word.capitalize() for word in rest)
        yield from settings_lines(getattr(settings, field.name), f"{path}.{name}" if path else name)


def _by_kind_and_name(resources: Resources) -> dict[tuple[str, str], Resource]:
    return {(type(resource).__name__, resource.metadata.full_name): resource for resource in resources.all()}


def _manifest_lines(resource: Resource) -> list[str]:
    lines = yaml_text(manifest(resource)).splitlines()
    return [*lines, content_line(resource)] if isinstance(resource, Feed) else lines


def _unified(before: list[str], after: list[str]) -> tuple[str, ...]:
    """The hunks of a unified diff, without the two lines that would name files."""
    return tuple(unified_diff(before, after, n=_CONTEXT_LINES, lineterm=""))[2:]


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
