"""`hostfwctl interfaces`: which HostEndpoint governs which interface, and the facts that `compile --facts` takes."""

from argparse import ArgumentParser
from collections.abc import Iterator

from hostfw.build.candidate import Candidate
from hostfw.build.generation import Generation, build
from hostfw.build.refused import Refused
from hostfw.cli.command_line.arguments import add_files, add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.engine import observe, open_engine
from hostfw.cli.input.configuration import read, refuse, warn
from hostfw.cli.kinds import shortened
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import document_text
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.tables import Column, Gives
from hostfw.explain.governing import NOBODY, Governed, governing_endpoint
from hostfw.manifest.files.facts_file import facts_document
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.plan import Plan
from hostfw.model.settings import UNIDENTIFIED
from hostfw.model.values import address_text
from hostfw.policy.resolve.interface_groups import in_group

_NONE = NOBODY
_COLUMNS = (
    Column("NAME"),
    Column("INDEX", rank=9, right=True, optional=True),
    Column("KIND", rank=8, optional=True),
    Column("GROUPS", rank=7, least=12, gives=Gives.LINES, optional=True),
    Column("ADDRESSES", rank=6, least=20, gives=Gives.LINES),
    Column("ENDPOINT", rank=4, least=16),
    Column("WHY", gives=Gives.BELOW),
)
_WIDE_COLUMNS = tuple(map(Column, ("STATE", "ALTNAMES", "LINKGROUP", "MASTER", "DEFAULTROUTE")))


USAGE = "[-f PATH...] [-o table|wide|yaml|json|name]"
HELP = Page(
    """\
List the interfaces of this host with their InterfaceGroups and addresses, the
HostEndpoint that governs each under the configuration, and the field of it that does.

With -o json or yaml the facts of the host are printed instead, a document of kind
HostFacts (hostfw.io/v1): all that `compile --facts` needs to know of a host.""",
    """\
hostfwctl interfaces
hostfwctl interfaces -o wide
hostfwctl interfaces -o json > facts.json""",
    """\
0  listed
1  this host could not be observed
3  the configuration is invalid; interfaces are listed without their HostEndpoints""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    add_files(parser)
    add_output(parser.add_argument, Output.TABLE, Output.WIDE, Output.YAML, Output.JSON, Output.NAME)


def run(options: Options, console: Console) -> ExitCode:
    """Print interfaces for people, their names for scripts, or the facts for `compile`."""
    candidate = read(options)
    facts = observe(options, candidate.settings)
    if options.output in (Output.JSON, Output.YAML):
        console.data(document_text(facts_document(facts), options.output))
        return ExitCode.DONE
    if options.output is Output.NAME:
        console.data(*(interface.name for interface in facts.interfaces))
        return ExitCode.DONE
    built = build(candidate, facts, governance=open_engine(options).governance(candidate, facts))
    plan = None if isinstance(built, Refused) else built.plan
    wide = options.output is Output.WIDE
    columns = (*_COLUMNS, *_WIDE_COLUMNS) if wide else _COLUMNS
    console.table(columns, _rows(facts, candidate, plan, wide=wide), "-o wide", wide=wide)
    match built:
        case Refused():
            return refuse(built.problems, candidate.configuration, console)
        case Generation():
            warn(built.warnings, candidate.configuration, console)
            return ExitCode.DONE


def _rows(facts: HostFacts, candidate: Candidate, plan: Plan | None, *, wide: bool) -> Iterator[tuple[str, ...]]:
    """A row for each interface of the host, then one for each that a HostEndpoint names and the host lacks."""
    for interface in facts.interfaces:
        groups = (g.metadata.name for g in candidate.resources.interface_groups if in_group(g, interface, facts))
        addresses = [address_text(a.family, a.address) for a in interface.addresses]
        governed = _governed(interface, plan) if plan else Governed("?", "the configuration is invalid")
        row = (
            interface.name,
            str(interface.index),
            interface.kind or _NONE,
            ", ".join(groups) or _NONE,
            ", ".join(addresses) or _NONE if wide else shortened(addresses),
            *governed,
        )
        yield (*row, *_wide_cells(interface, facts)) if wide else row
    absent = [binding for binding in plan.bindings if not binding.present] if plan else []
    for binding in absent:
        row = (binding.interface, *(_NONE,) * 4, binding.endpoint, f"{binding.reason}; not there")
        yield (*row, *(_NONE,) * len(_WIDE_COLUMNS)) if wide else row


def _governed(interface: Interface, plan: Plan) -> Governed:
    """The HostEndpoint that governs packets on an interface: none where it is a port, whatever names it."""
    if plan.settings.workloads.has_bridge(interface.master):
        name = next((one.name for one, workload in plan.bridged if workload.port == interface.name), UNIDENTIFIED)
        return Governed(name, f"a port of {interface.master}, behind which workloads are")
    if any(binding.interface == interface.name and binding.port_of is not None for binding in plan.bindings):
        return Governed(NOBODY, f"a port of {interface.master}: policy applies there")
    return governing_endpoint(interface.name, plan)


def _wide_cells(interface: Interface, facts: HostFacts) -> tuple[str, ...]:
    names = {number: name for name, number in facts.link_groups}
    return (
        "up" if interface.up else "down",
        ", ".join(interface.altnames) or _NONE,
        names.get(interface.link_group, str(interface.link_group)),
        interface.master or _NONE,
        "yes" if interface.default_route else "no",
    )
