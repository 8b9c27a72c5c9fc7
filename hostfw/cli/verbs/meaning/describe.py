"""`hostfwctl describe`: what a resource means on this host."""

from argparse import ArgumentParser
from collections.abc import Iterable, Mapping
from dataclasses import replace

from hostfw.cli.command_line.argument_parser import closest
from hostfw.cli.command_line.arguments import add_each_file, add_facts, add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.describe.description import Description, description_document, print_description
from hostfw.cli.describe.endpoint import describe_endpoint
from hostfw.cli.describe.layout import layout_of
from hostfw.cli.describe.policy import (
    describe_feed,
    describe_group,
    describe_namespace,
    describe_network_policy,
    describe_network_set,
    describe_nft_rules,
    describe_policy,
    describe_profile,
    describe_staged_policy,
    describe_tier,
)
from hostfw.cli.describe.workload import describe_workload
from hostfw.cli.input.facts import PlannedHost, planned
from hostfw.cli.kinds import KIND_NAMES, KINDS, Kind, find_kind
from hostfw.cli.other_words.calico import kind_hint
from hostfw.cli.other_words.hints import POLICIES
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import document_text
from hostfw.cli.output.expiry_text import notes_of
from hostfw.cli.output.help_page import Page
from hostfw.host.time.clock import now
from hostfw.model.kinds.interface_groups import InterfaceGroup
from hostfw.model.kinds.namespaces import Namespace
from hostfw.model.kinds.nft_rules import NftRules
from hostfw.model.kinds.sets import Feed, GlobalNetworkSet, NetworkSet
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.resources import (
    ClusterNetworkPolicy,
    GlobalNetworkPolicy,
    HostEndpoint,
    KubernetesNetworkPolicy,
    NetworkPolicy,
    Profile,
    Resource,
    StagedGlobalNetworkPolicy,
    StagedNetworkPolicy,
    Tier,
)
from hostfw.nft.worst_packet import TYPICAL
from hostfw.policy.built_in import BUILT_IN_TIERS, DEFAULT_ALLOW_PROFILE

USAGE = "KIND NAME [--layout] [-f PATH]... [--facts FILE] [-o text|json|yaml]"
HELP = Page(
    """\
Show what a resource comes to on this host. KIND is one of those of `get`. Of

    hostendpoint         the interfaces and why, the labels that selectors see,
                         and in order all that a packet may meet in a direction
    workloadendpoint     the same of a workload, by its namespace and name
    globalnetworkpolicy  the HostEndpoints that it selects, its place in the
                         order, and its rules with the addresses that their
                         selectors stand for
    networkpolicy        the same of a policy of a namespace, by the name of
                         that and its own: shop/web
    kubernetesnetworkpolicy  the same of one of Kubernetes
    clusternetworkpolicy the same of one of all namespaces
    globalnetworkset     the rules that its addresses are in
    networkset           the same, by the labels of its namespace as well
    namespace            its labels, and the sets that belong to it
    feed                 the rules that its addresses are in
    tier                 its place in the order, and its policies
    profile              the HostEndpoints that list it, its labels and rules
    interfacegroup       its interfaces, and the HostEndpoints that name it

--layout says of a hostendpoint or workload what the worst packet costs at most at each
interface: the lookups and the rules that it is compared with, about how long
that takes, and which lists of rules are tried one after the other. To root the times
are of this host: it sends packets through rules in a network namespace of its own,
which takes half a second.

With -o json or yaml this is a document of kind Description (hostfw.io/v1).""",
    """\
hostfwctl describe hep uplink
hostfwctl describe hep uplink --layout
hostfwctl describe gnp web -f staging/
hostfwctl describe gns offices -o json""",
    """\
0  described
1  there is no resource of that name, or this host could not be observed
2  there is no such kind
3  the configuration or the facts are invalid""",
)

_BUILT_IN: Mapping[str, tuple[Resource, ...]] = {
    "Tier": tuple(BUILT_IN_TIERS.values()),
    "Profile": (DEFAULT_ALLOW_PROFILE,),
}


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    parser.add_argument("kind", metavar="KIND", help="a kind or its short name, as of `get`")
    parser.add_argument("name", metavar="NAME", help="the resource")
    parser.add_argument("--layout", action="store_true", help="say what the worst packet costs (hep, wep)")
    add_each_file(parser)
    add_facts(parser, "the host that it is described on")
    add_output(parser.add_argument, Output.TEXT, Output.JSON, Output.YAML)


def run(options: Options, console: Console) -> ExitCode:
    """Print the description of one resource."""
    kind = find_kind(options.kind)
    if kind is None:
        console.complain(f'unknown kind "{options.kind}"', kind_hint(options.kind, KIND_NAMES))
        return ExitCode.USAGE
    if options.layout and kind.name not in (HostEndpoint.__name__, WorkloadEndpoint.__name__):
        console.complain(f"--layout is of a HostEndpoint or WorkloadEndpoint, not of a {kind.name}")
        return ExitCode.USAGE
    host = planned(options, console)
    if isinstance(host, ExitCode):
        return host
    known = {r.metadata.full_name: r for r in (*_BUILT_IN.get(kind.name, ()), *kind.of(host.candidate.resources))}
    resource = known.get(options.name or "")
    if resource is None:
        console.complain(f'there is no {kind.name} "{options.name}"', _other(options.name or "", kind, known, host))
        return ExitCode.FAILED
    described = _with_notes(describe(resource, host), resource, host)
    if options.layout:
        prices = TYPICAL if host.host is None else host.host.packet_prices()
        layout = layout_of(resource.metadata.full_name, host.plan, prices)
        described = replace(described, properties=(*described.properties, *layout))
    if options.output is Output.TEXT:
        print_description(described, console)
    else:
        console.data(document_text(description_document(described), options.output))
    return ExitCode.DONE


def _other(name: str, kind: Kind, known: Iterable[str], host: PlannedHost) -> str:
    """The hint for a name that a kind has not: one like it, a resource of another kind, or all of this kind."""
    names = tuple(known)
    near = closest(name, names)
    if near:
        return near
    for other in KINDS:
        for resource in other.of(host.candidate.resources):
            if other is not kind and name in (resource.metadata.name, resource.metadata.full_name):
                return f"`hostfwctl describe {other.names[0]} {resource.metadata.full_name}`"
    return f"`hostfwctl get {kind.names[0]}` lists them" if names else f"none is written; {POLICIES}"


def _with_notes(description: Description, resource: Resource, host: PlannedHost) -> Description:
    """A description with the notes of the resource before everything else."""
    found = notes_of(type(resource).__name__, resource.metadata, host.plan.expired, host.facts.now or now())
    notes = tuple((name, (text,)) for name, text in found)
    return replace(description, properties=(*notes, *description.properties))


def describe(resource: Resource, host: PlannedHost) -> Description:
    """Describe the meaning of a resource on a host."""
    match resource:
        case GlobalNetworkPolicy():
            return describe_policy(resource, host)
        case NetworkPolicy() | KubernetesNetworkPolicy() | ClusterNetworkPolicy():
            return describe_network_policy(resource, host)
        case StagedGlobalNetworkPolicy() | StagedNetworkPolicy():
            return describe_staged_policy(resource, host)
        case HostEndpoint():
            return describe_endpoint(resource, host)
        case WorkloadEndpoint():
            return describe_workload(resource, host)
        case GlobalNetworkSet() | NetworkSet():
            return describe_network_set(resource, host)
        case Namespace():
            return describe_namespace(resource, host)
        case Feed():
            return describe_feed(resource, host)
        case Tier():
            return describe_tier(resource, host)
        case Profile():
            return describe_profile(resource, host)
        case InterfaceGroup():
            return describe_group(resource, host)
        case NftRules():
            return describe_nft_rules(resource)
