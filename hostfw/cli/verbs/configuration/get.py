"""`hostfwctl get`: the resources of a configuration, in tables like calicoctl's or as manifests."""

from argparse import ArgumentParser
from collections.abc import Sequence

from hostfw.cli.command_line.argument_parser import closest
from hostfw.cli.command_line.arguments import add_each_file, add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.input.configuration import read, refuse
from hostfw.cli.kinds import KIND_NAMES, Kind, cells, find_kind
from hostfw.cli.other_words.calico import kind_hint
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document, document_text
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.tables import Column, Gives
from hostfw.host.time.clock import now
from hostfw.model.kinds.metadata import REASON, TICKET
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.resources import Resource
from hostfw.model.time.moments import moment_text

_NOTES = {REASON: "REASON", TICKET: "TICKET"}
_NAME = Column("NAME", rank=1, least=24)
_COLUMNS = {
    column.heading: column
    for column in (
        Column("TIER", rank=4, least=10),
        Column("ORDER", right=True),
        Column("SELECTOR", rank=5, least=20, gives=Gives.END),
        Column("POD-SELECTOR", rank=5, least=20, gives=Gives.END),
        Column("SUBJECT", rank=5, least=20, gives=Gives.END),
        Column("NODE", rank=4, least=16),
        Column("INTERFACE", rank=5, least=15),
        Column("NETS", rank=5, least=20, gives=Gives.LINES),
        Column("PATH", rank=5, least=20, gives=Gives.START),
        Column("ELEMENTS", right=True),
        Column("LABELS", rank=5, least=20, gives=Gives.END),
        Column("MATCH", rank=5, least=20, gives=Gives.LINES),
    )
}
"""The ways in which columns of a kind shrink; those that are not listed are short."""

USAGE = "KIND [NAME] [-f PATH]... [-o table|wide|yaml|json|name]"
HELP = Page(
    """\
List the resources of one kind, with the columns of calicoctl. KIND is one of

    globalnetworkpolicy         gnp      globalnetworkset   gns
    stagedglobalnetworkpolicy   sgnp     networkset         netset
    networkpolicy               np       namespace          ns
    stagednetworkpolicy         snp      interfacegroup     ig
    kubernetesnetworkpolicy     knp      profile
    clusternetworkpolicy        cnp      tier
    hostendpoint                hep      feed
    workloadendpoint            wep

or its plural. With -o yaml or json one resource is printed as a manifest that can be
read again, several as a list of them (GlobalNetworkPolicyList and so on).""",
    """\
hostfwctl get gnp
hostfwctl get gnp web -o yaml
hostfwctl get hep -o wide
hostfwctl get gns -f staging/ -o name""",
    """\
0  listed, even if there are none
1  there is no resource of that name
2  there is no such kind
3  the configuration is invalid; what could be read is listed""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    parser.add_argument("kind", metavar="KIND", help="a kind or its short name, see below")
    parser.add_argument("name", metavar="NAME", nargs="?", help="one resource (default: all of the kind)")
    add_each_file(parser)
    add_output(parser.add_argument, Output.TABLE, Output.WIDE, Output.YAML, Output.JSON, Output.NAME)


def run(options: Options, console: Console) -> ExitCode:
    """Print one resource or all of a kind; what could not be read is said and not left out in silence."""
    word, slash, rest = options.kind.partition("/")
    name = options.name or rest if slash else options.name
    kind = find_kind(word)
    if kind is None:
        console.complain(f'unknown kind "{word}"', kind_hint(word, KIND_NAMES))
        return ExitCode.USAGE

    candidate = read(options)
    found = kind.of(candidate.resources)
    if kind.name == WorkloadEndpoint.__name__ and not options.files:
        found = (*found, *_running(options, console))
    chosen = [r for r in found if name in (None, r.metadata.full_name)]
    _show(kind, chosen, options.output, console, alone=name is not None)
    if not candidate.is_valid:
        return refuse(candidate.problems, candidate.configuration, console)
    if name is not None and not chosen:
        console.complain(f'there is no {kind.name} "{name}"', closest(name, (r.metadata.full_name for r in found)))
        return ExitCode.FAILED
    if not chosen:
        console.say(f"there is no {kind.name}")
    return ExitCode.DONE


def _running(options: Options, console: Console) -> Sequence[Resource]:
    """The workloads that run now, what is wrong with files being said."""
    from hostfw.host.workloads.reader import WorkloadReader

    running = WorkloadReader(options.run_dir).read()
    for problem in running.problems:
        console.warn(str(problem))
    return running.workloads


def _show(kind: Kind, resources: Sequence[Resource], output: Output, console: Console, *, alone: bool) -> None:
    match output:
        case Output.NAME:
            console.data(*(f"{kind.name.lower()}/{r.metadata.full_name}" for r in resources))
        case Output.YAML | Output.JSON:
            if resources or not alone:
                console.data(document_text(_document(kind, resources, alone=alone), output))
        case _:
            if resources:
                _print_table(kind, resources, console, wide=output is Output.WIDE)


def _document(kind: Kind, resources: Sequence[Resource], *, alone: bool) -> Document:
    """The manifest of the resource that was named, or a list; each can be read back."""
    from hostfw.manifest.decode import RESOURCE_KINDS
    from hostfw.manifest.encode import manifest

    manifests = [manifest(r) for r in resources]
    if alone:
        return manifests[0]
    written = RESOURCE_KINDS[kind.name].written or kind.name
    return {"apiVersion": kind.api_version, "kind": f"{written}List", "items": manifests}


def _print_table(kind: Kind, resources: Sequence[Resource], console: Console, *, wide: bool) -> None:
    timed = any(resource.metadata.expires is not None for resource in resources)
    ending = ("EXPIRES",) if timed else ()
    noted = tuple(key for key in _NOTES if any(resource.metadata.annotation(key) for resource in resources))
    notes = tuple(_NOTES[key] for key in noted)
    headings = (*kind.headings, *ending, *notes, *((*kind.wide_headings, "FILE") if wide else ()))
    rows = []
    for resource in resources:
        narrow, more = cells(resource, whole=console.verbosity > 0)
        expiry = (_expiry(resource),) if timed else ()
        behind = (*more, resource.metadata.position.file_line) if wide else ()
        why = (" ".join(resource.metadata.annotation(key).split()) or "-" for key in noted)
        rows.append((resource.metadata.full_name, *narrow, *expiry, *why, *behind))
    columns = (_NAME, *(_COLUMNS.get(heading, Column(heading)) for heading in headings))
    console.table(columns, rows, "-o wide", wide=wide)


def _expiry(resource: Resource) -> str:
    at = resource.metadata.expires
    return "-" if at is None else f"{'expired ' if at <= now() else ''}{moment_text(at)}"
