"""`hostfwctl exposure`: who can reach each service of this host and each published port."""

from argparse import ArgumentParser
from collections.abc import Iterable, Iterator

from hostfw.cli.command_line.arguments import add_files, add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.input.active_plan import plan_now
from hostfw.cli.outcomes import this_host
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document, document, document_text
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.nft_rules import warn_of_nft_rules
from hostfw.cli.output.tables import Column, Gives
from hostfw.exposure.services import Entry, Subject, exposure
from hostfw.exposure.sources import Part
from hostfw.exposure.wording import decision_text, entries_as_lines, sources_text, subject_text, target_text
from hostfw.model.host.facts import HostFacts
from hostfw.model.host.services import HostServices, PublishedPort, Service
from hostfw.model.packets.explanation import StepVerdict
from hostfw.model.plan import Plan
from hostfw.model.ranges import cidrs_of
from hostfw.model.values import PROTOCOLS, Family, address_text
from hostfw.model.wording import unmet_by

_COLUMNS = (
    Column("SERVICE", rank=2, least=20, gives=Gives.LINES),
    Column("LISTENS ON", rank=4, least=20, gives=Gives.LINES),
    Column("INTERFACES", rank=3, least=15, gives=Gives.LINES),
    Column("REACHABLE FROM", gives=Gives.BELOW),
    Column("BY", gives=Gives.BELOW),
)
_NONE = "-"


USAGE = "[-f PATH...] [-o table|json|yaml]"
HELP = Page(
    """\
List every TCP and UDP port that a program of this host listens on, with its systemd
unit or process, and every port that a table of another program publishes (DNAT, such
as that of Docker). For each interface: the sources whose new connections the policy
in force lets through, and the rule or other decision, with its file and line.

What another program denies is not looked at. A UDP socket at a port that the kernel
gives to clients (net.ipv4.ip_local_port_range) is left out. With -f the question is
who could reach them under another configuration; `diff` shows the difference.

With -v long lists of prefixes are printed whole. With -o json or yaml this is a
document of kind ExposureList (hostfw.io/v1), with every prefix.""",
    """\
hostfwctl exposure
hostfwctl exposure -f staging/
hostfwctl exposure -o json | jq -r '.items[].service'""",
    """\
0  listed
1  failed, or the active generation is not on record
3  the configuration is invalid
4  not permitted""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    add_files(parser)
    add_output(parser.add_argument, Output.TABLE, Output.JSON, Output.YAML)


def run(options: Options, console: Console) -> ExitCode:
    """Print who reaches what now, or under the configuration that is named."""
    known = _plan(options, console)
    if isinstance(known, ExitCode):
        return known
    plan, facts, unmet = known
    if plan is not None:
        warn_of_nft_rules(plan, console)
    services = this_host().services()
    entries = exposure(plan, facts, services, unmet)
    if options.output is Output.TABLE:
        console.table(_COLUMNS, _rows(services, entries, whole=console.verbosity > 0))
    else:
        console.data(document_text(document("ExposureList", _content(services, entries)), options.output))
    return ExitCode.DONE


def _plan(options: Options, console: Console) -> tuple[Plan | None, HostFacts, tuple[Family, ...]] | ExitCode:
    """The plan to ask, None where no rules are in force, the facts of this host, and the IP version without rules."""
    if options.files:
        return _candidate(options, console)
    now = plan_now(options, counted=False)
    if now is None:
        console.warn("no rules of hostfw are in force: everybody reaches everything that no other program denies")
        return None, this_host(options).facts(None), ()
    for family in now.unmet:
        console.warn(f"{unmet_by(family)}: over it everybody reaches everything that no other program denies")
    return now


def _candidate(options: Options, console: Console) -> tuple[Plan, HostFacts, tuple[Family, ...]] | ExitCode:
    # What is in force was checked when it was accepted: the checks are not loaded for it.
    from hostfw.cli.input.facts import planned

    host = planned(options, console)
    return host if isinstance(host, ExitCode) else (host.plan, host.facts, ())


# ------------------------------------------------------------------------------------------------------- for people


def _rows(services: HostServices, entries: Iterable[Entry], *, whole: bool) -> Iterator[tuple[str, ...]]:
    known = tuple(entries)
    seen = {entry.subject for entry in known}
    for line in entries_as_lines(known, whole=whole):
        yield (
            subject_text(line.subject),
            ", ".join(line.addresses) or _listens_on(line.subject),
            ", ".join(line.interfaces),
            sources_text(line.sources, whole=whole),
            line.by,
        )
    subjects: tuple[Subject, ...] = (*services.services, *services.published)
    for subject in subjects:
        if subject not in seen:
            yield subject_text(subject), _listens_on(subject), _NONE, *_unreached(subject, services)


def _unreached(subject: Subject, services: HostServices) -> tuple[str, str]:
    """The last two cells of what is on no interface."""
    if isinstance(subject, PublishedPort):
        return "not told", "every port of the address" if not subject.port else "there is no route to its target"
    if any(
        port.certain and port.protocol == subject.protocol and port.port == subject.port for port in services.published
    ):
        return "this host only", "what comes from others goes to the published port"
    return "this host only", "a loopback address"


def _listens_on(subject: Subject) -> str:
    if isinstance(subject, PublishedPort):
        return "any address" if subject.address is None else address_text(subject.family, subject.address)
    texts = dict.fromkeys(
        ("*" if bound.address is None else address_text(bound.family, bound.address))
        + (f"%{bound.interface}" if bound.interface else "")
        for bound in subject.bound
    )
    return ", ".join(texts)


# ----------------------------------------------------------------------------------------------------- for programs


def _content(services: HostServices, entries: Iterable[Entry]) -> Document:
    by_subject: dict[Subject, list[Entry]] = {}
    by_subject |= {service: [] for service in services.services}
    by_subject |= {port: [] for port in services.published}
    for entry in entries:
        by_subject[entry.subject].append(entry)
    return {"items": [_item(subject, found) for subject, found in by_subject.items()]}


def _item(subject: Subject, entries: Iterable[Entry]) -> Document:
    published = subject if isinstance(subject, PublishedPort) else None
    service = subject if isinstance(subject, Service) else None
    names = (p.name.lower() for p in PROTOCOLS.values() if p.number == subject.protocol)
    return {
        "service": subject_text(subject),
        "protocol": next(names, str(subject.protocol)),
        "port": subject.port or None,
        "process": (service.process if service else "") or None,
        "unit": (service.unit if service else "") or None,
        "target": target_text(published) if published else None,
        "table": published.table if published else None,
        "certain": published.certain if published else True,
        "reached": [_reached(entry) for entry in entries],
    }


def _reached(entry: Entry) -> Document:
    return {
        "interface": entry.interface,
        "address": address_text(entry.family, entry.address),
        "ipVersion": int(entry.family),
        "decisions": [
            {
                "allowed": decision.step.verdict is StepVerdict.ALLOW,
                "by": decision_text(decision.step),
                "path": decision.step.position.path or None,
                "line": decision.step.position.line or None,
                **_sources(decision.sources, entry.family),
            }
            for decision in entry.reach.decisions
        ],
    }


def _sources(part: Part, family: Family) -> Document:
    """The sources of a decision: prefixes, less or limited to what large sets hold."""
    return {
        "sources": [str(cidr) for cidr in cidrs_of(part.ranges, family)],
        "within": sorted(large.selector for large in part.inside),
        "except": sorted(large.selector for large in part.outside),
    }
