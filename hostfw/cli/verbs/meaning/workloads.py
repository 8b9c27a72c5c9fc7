"""`hostfwctl workloads`: the containers and machines of this host, and what decides about them."""

from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass

from hostfw.cli.command_line.arguments import add_each_file, add_facts, add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.input.facts import PlannedHost, planned
from hostfw.cli.kinds import pairs, shortened
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import Document, document_text
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.tables import Column, Gives
from hostfw.model.api_versions import HOSTFW_V1
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.plan import PlannedEndpoint
from hostfw.model.settings import UNIDENTIFIED
from hostfw.model.values import Direction, address_text

_NONE = "-"
_COLUMNS = (
    Column("NAME", rank=1, least=20),
    Column("INTERFACE", rank=3, least=15),
    Column("ADDRESSES", rank=6, least=16, gives=Gives.LINES),
    Column("POLICIES", rank=5, least=20, gives=Gives.LINES),
    Column("STATE", rank=4, least=12),
)
_WIDE_COLUMNS = tuple(map(Column, ("ORCHESTRATOR", "PROFILES", "LABELS", "FILE")))

USAGE = "[-f PATH...] [--facts FILE] [-o table|wide|yaml|json|name]"
HELP = Page(
    """\
List the workloads of the configuration and those that run now, with their
interfaces and addresses, the policies that select them, and their state. Below
stand the interfaces of workloads that no WorkloadEndpoint names.

    governed      its policies decide about every packet of the interface
    absent        they will, once the interface is there
    denied        its name or interface is another one's as well, or a profile
                  of it is unknown: everything is denied on the interface
    ungoverned    the setting workloads does not name the interface
    elsewhere     it runs on another host
    unidentified  no WorkloadEndpoint names the interface: all is denied there

`hostfwctl describe workload shop/web` says more of one.""",
    """\
hostfwctl workloads
hostfwctl workloads -o wide
hostfwctl workloads -o json""",
    """\
0  listed, even if there are none
1  this host could not be observed
3  the configuration or the facts are invalid""",
)


@dataclass(frozen=True, slots=True)
class _Row:
    """A workload, or an interface of one that nobody names."""

    name: str
    interface: str
    state: str
    policies: tuple[str, ...] = ()
    endpoint: WorkloadEndpoint | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its addresses and prefixes."""
        nets = () if self.endpoint is None else self.endpoint.networks
        return tuple(address_text(c.family, c.address) if c.is_host else str(c) for c in nets)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    add_each_file(parser)
    add_facts(parser, "the host whose workloads they are")
    add_output(parser.add_argument, Output.TABLE, Output.WIDE, Output.YAML, Output.JSON, Output.NAME)


def run(options: Options, console: Console) -> ExitCode:
    """Print the workloads of a host."""
    host = planned(options, console)
    if isinstance(host, ExitCode):
        return host
    rows = (*_workloads(host), *_unidentified(host))
    match options.output:
        case Output.NAME:
            console.data(*(row.name for row in rows if row.endpoint is not None))
        case Output.YAML | Output.JSON:
            console.data(document_text(_document(rows), options.output))
        case _ if not rows:
            console.say("there is no workload")
        case _:
            wide = options.output is Output.WIDE
            columns = (*_COLUMNS, *_WIDE_COLUMNS) if wide else _COLUMNS
            whole = console.verbosity > 0
            console.table(columns, (_cells(row, wide=wide, whole=whole) for row in rows), "-o wide", wide=wide)
    return ExitCode.DONE


def _workloads(host: PlannedHost) -> Iterator[_Row]:
    planned_here = {one.name: one for one in host.plan.endpoints if one.workload is not None}
    governing = {binding.endpoint for binding in host.plan.bindings if binding.present}
    governing |= {endpoint.name for endpoint, _ in host.plan.bridged}
    ports = {interface.name: interface.master for interface in host.facts.interfaces}
    workloads = host.plan.settings.workloads
    for one in host.candidate.resources.workloads:
        name = one.metadata.full_name
        own = planned_here.get(name)
        if not one.is_of(host.plan.node):
            yield _Row(name, one.interface_name, "elsewhere", endpoint=one)
        elif own is not None:
            state = "governed" if name in governing else "absent"
            yield _Row(name, one.interface_name, state, _policies(own), one)
        else:
            behind = one.interface_name
            named = workloads.has_interface(behind) or workloads.has_bridge(ports.get(behind))
            yield _Row(name, one.interface_name, "denied" if named else "ungoverned", endpoint=one)


def _unidentified(host: PlannedHost) -> Iterator[_Row]:
    governing, workloads = host.plan.governing(), host.plan.settings.workloads
    claimed = {one.interface_name for one in host.candidate.resources.workloads if one.is_of(host.plan.node)}
    for interface in host.facts.interfaces:
        is_free = interface.master is None and interface.name not in claimed
        is_bridge = workloads.has_bridge(interface.name)
        unknown_port = workloads.has_bridge(interface.master) and interface.name not in claimed
        if unknown_port or (is_free and not is_bridge and governing(interface.name) == UNIDENTIFIED):
            yield _Row(_NONE, interface.name, "unidentified")


def _policies(endpoint: PlannedEndpoint) -> tuple[str, ...]:
    """The policies that decide about a workload, tier by tier, and then its profiles; each once."""
    names = (
        policy.name
        for direction in Direction
        for policy in (
            *(one for tier in endpoint.direction(direction).tiers for one in tier.policies if not one.staged),
            *endpoint.direction(direction).profiles,
        )
    )
    return tuple(dict.fromkeys(names))


def _cells(row: _Row, *, wide: bool, whole: bool) -> tuple[str, ...]:
    cells = (
        row.name,
        row.interface,
        shortened(row.addresses, whole=wide or whole),
        shortened(row.policies, whole=wide or whole),
        row.state,
    )
    one = row.endpoint
    if not wide:
        return cells
    if one is None:
        return (*cells, *(_NONE,) * len(_WIDE_COLUMNS))
    more = one.orchestrator or _NONE, ", ".join(one.profiles) or _NONE, pairs(one.metadata.labels)
    return (*cells, *more, one.metadata.position.file_line)


def _document(rows: tuple[_Row, ...]) -> Document:
    return {"apiVersion": HOSTFW_V1, "kind": "Workloads", "items": [_item(row) for row in rows]}


def _item(row: _Row) -> Document:
    item: Document = {"interface": row.interface, "state": row.state}
    if row.endpoint is None:
        return item
    metadata = row.endpoint.metadata
    return {
        "namespace": metadata.namespace,
        "name": metadata.name,
        **item,
        "ipNetworks": list(row.addresses),
        "policies": list(row.policies),
        "profiles": list(row.endpoint.profiles),
        "orchestrator": row.endpoint.orchestrator,
        "labels": dict(metadata.labels),
        "path": metadata.position.path,
        "line": metadata.position.line,
    }
