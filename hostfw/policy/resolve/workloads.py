"""Workloads of this host: which WorkloadEndpoint is behind which interface.

They come from the configuration and, as facts, from the files about what runs now. An interface is a workload's only
where the setting `workloads` names it, and where exactly one WorkloadEndpoint claims it: what is in doubt stays
unidentified, and so denied.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.guests import GovernedBridge
from hostfw.model.host.interface_names import is_safe_name
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.plan import Binding
from hostfw.model.positions import NOWHERE
from hostfw.model.problems import Problem, Severity
from hostfw.model.resources import Resources
from hostfw.model.settings import Workloads
from hostfw.model.values import Cidr, address_text
from hostfw.model.wording import listed, unlisted
from hostfw.policy.resolve.bindings import Bindings

KIND_OF_BRIDGES = "bridge"
"""IFLA_INFO_KIND of a bridge."""


def running(
    resources: Resources, facts: HostFacts, node: str, settings: Workloads, profiles: Collection[str]
) -> tuple[tuple[WorkloadEndpoint, ...], tuple[Problem, ...]]:
    """The workloads of a node that are behind an interface of their own, sorted by name, and why others are not.

    All problems are warnings: those that the configuration alone gives rise to are errors before.
    """
    problems = [replace(problem, severity=Severity.WARNING) for problem in facts.workload_problems]
    here = [one for one in (*resources.workloads, *facts.workloads) if one.is_of(node)]
    by_name: defaultdict[str, list[WorkloadEndpoint]] = defaultdict(list)
    by_interface: defaultdict[str, list[WorkloadEndpoint]] = defaultdict(list)
    for one in here:
        by_name[one.metadata.full_name].append(one)
        by_interface[one.interface_name].append(one)
    bridges = _bridges(facts, settings)
    taken: dict[object, str] = {interface.mac: interface.name for interface in facts.interfaces if interface.bridge}
    taken |= {own: interface.name for interface in facts.interfaces for own in interface.addresses}
    present = {interface.name for interface in facts.interfaces}
    by_place: defaultdict[tuple[str, object], list[WorkloadEndpoint]] = defaultdict(list)
    for one in here:
        for place in _places(one, bridges.get(one.interface_name)):
            by_place[place].append(one)
    good: list[WorkloadEndpoint] = []
    for one in here:
        bridge = bridges.get(one.interface_name)
        if bridge is None and settings.bridges and one.interface_name not in present:
            # It may be behind a port once that is there. Until then there is nothing that it could send on.
            continue
        trouble = (
            (_not_named(one, settings) if bridge is None else _unlike_a_port(one, bridge, taken))
            or _shared(one, by_name[one.metadata.full_name], "name")
            or _shared(one, by_interface[one.interface_name], "interface")
            or _in_two_places(one, bridge, by_place)
            or _unknown_profile(one, profiles)
        )
        if trouble is None:
            good.append(one)
        else:
            problems.append(trouble)
    problems += _same_addresses(good, facts)
    return tuple(sorted(good, key=lambda one: one.metadata.full_name)), tuple(problems)


def _bridges(facts: HostFacts, settings: Workloads) -> dict[str, str]:
    """The ports of bridges that the setting names, each with its bridge."""
    return {
        interface.name: interface.master
        for interface in facts.interfaces
        if interface.master is not None and settings.has_bridge(interface.master)
    }


def _places(one: WorkloadEndpoint, bridge: str | None) -> Iterator[tuple[str, object]]:
    """All that tells a workload behind a bridge from the others there, each with the bridge."""
    if bridge is not None:
        yield from ((bridge, network) for network in one.networks)
        if one.mac is not None:
            yield bridge, one.mac


def _unlike_a_port(one: WorkloadEndpoint, bridge: str, taken: Mapping[object, str]) -> Problem | None:
    """The reason why a workload behind a bridge is not known by its address there, or would be somebody else.

    `taken` are the Ethernet addresses of bridges and the addresses of the host, each with its interface.
    """
    who = f'WorkloadEndpoint "{one.metadata.full_name}"'
    denied = f"everything is denied on {one.interface_name}"
    if not is_safe_name(one.interface_name):
        return _warning(one, f"nftables cannot match {one.interface_name}: {denied}", "a port of another name")
    if one.mac is None:
        message = f"{who} has no mac, and {one.interface_name} is a port of the bridge {bridge}: {denied}"
        return _warning(one, message, "mac, the Ethernet address of the workload")
    wide = [str(network) for network in one.networks if not network.is_host]
    if wide:
        message = f"{who} has {listed(wide)}, and {one.interface_name} is a port of the bridge {bridge}: {denied}"
        return _warning(one, message, "single addresses in ipNetworks", unlisted(wide))
    if taken.get(str(one.mac)) == bridge:
        return _warning(one, f"{who} has {one.mac}, as has the bridge {bridge}: {denied}", "a mac of its own")
    for network in one.networks:
        if network in taken:
            address = address_text(network.family, network.address)
            message = f"{who} has {address}, as has this host on {taken[network]}: {denied}"
            return _warning(one, message, "addresses of its own")
    return None


def _in_two_places(
    one: WorkloadEndpoint, bridge: str | None, by_place: Mapping[tuple[str, object], Sequence[WorkloadEndpoint]]
) -> Problem | None:
    """Two workloads behind one bridge with one address: nobody can tell which of them sends."""
    for place in _places(one, bridge):
        others = [other.metadata.full_name for other in by_place[place] if other is not one]
        if others:
            what = str(place[1]).removesuffix("/32").removesuffix("/128")
            return _warning(
                one,
                f'WorkloadEndpoint "{one.metadata.full_name}" has {what}, as has {listed(others)} behind the same '
                f"bridge {bridge}: everything is denied on {one.interface_name}",
                "addresses of its own for each",
                unlisted(others),
            )
    return None


def governed_bridges(settings: Workloads, facts: HostFacts) -> tuple[GovernedBridge, ...]:
    """The bridges of the host whose ports are workloads, sorted by name."""
    found = (
        GovernedBridge(interface.name, interface.bridge is not None and interface.bridge.is_filtered)
        for interface in facts.interfaces
        if interface.kind == KIND_OF_BRIDGES and settings.has_bridge(interface.name)
    )
    return tuple(sorted(found, key=lambda bridge: bridge.name))


def other_ports(settings: Workloads, facts: HostFacts) -> tuple[str, ...]:
    """The ports of bridges that no workload is behind, sorted; none where no bridge has any."""
    if not settings.bridges:
        return ()
    bridges = {interface.name for interface in facts.interfaces if interface.kind == KIND_OF_BRIDGES}
    found = (
        interface.name
        for interface in facts.interfaces
        if interface.master in bridges and not settings.has_bridge(interface.master) and is_safe_name(interface.name)
    )
    return tuple(sorted(found))


def with_workloads(bound: Bindings, workloads: Sequence[WorkloadEndpoint], facts: HostFacts) -> Bindings:
    """Bindings, and those of workloads with an interface of their own, which no HostEndpoint has."""
    masters = {interface.name: interface.master for interface in facts.interfaces}
    bridged = _bridges(facts, bound.workloads)
    of_workloads = (
        Binding(
            one.interface_name,
            one.metadata.full_name,
            f"WorkloadEndpoint {one.metadata.full_name}",
            present=one.interface_name in masters,
            port_of=masters.get(one.interface_name),
        )
        for one in workloads
        if one.interface_name not in bridged
    )
    bindings = sorted((*bound.bindings, *of_workloads), key=lambda binding: binding.interface)
    return replace(bound, bindings=tuple(bindings))


def bridged_problems(settings: Workloads, facts: HostFacts) -> Iterator[Problem]:
    """Interfaces of workloads that are ports of something: their packets come in on that, where nobody knows them.

    And what keeps a bridge of workloads from working as it does now.
    """
    kinds = {interface.name: interface.kind for interface in facts.interfaces}
    for interface in facts.interfaces:
        if settings.has_bridge(interface.name) and interface.kind == KIND_OF_BRIDGES:
            yield from _bridge_problems(interface, facts)
        elif settings.has_bridge(interface.name) and interface.name != LOOPBACK:
            yield Problem(
                NOWHERE,
                f"{interface.name}, which workloads.bridges names, is no bridge: everything is denied there",
                expected="the name of a bridge",
                hint="name it in workloads.interfaces, if a workload is behind it",
                severity=Severity.WARNING,
            )
        if settings.has_bridge(interface.master) and kinds.get(interface.master or "") == KIND_OF_BRIDGES:
            continue
        if interface.master is not None and settings.has_interface(interface.name):
            kind = next((one.kind for one in facts.interfaces if one.name == interface.master), "") or "interface"
            yield Problem(
                NOWHERE,
                f"{interface.name}, which the setting workloads names, is a port of the {kind} {interface.master}: its "
                "packets come in there, and no workload policy applies to them",
                expected="an interface of its own for each workload",
                hint=f"take it out of {interface.master}, or write a HostEndpoint for {interface.master}",
                severity=Severity.WARNING,
            )


def _bridge_problems(bridge: Interface, facts: HostFacts) -> Iterator[Problem]:
    if not facts.bridge_netfilter:
        yield Problem(
            NOWHERE,
            f"packets between the ports of {bridge.name} would meet no policy: this kernel runs without br_netfilter",
            expected="the kernel module br_netfilter",
            hint="`modprobe br_netfilter`, and name it in /etc/modules-load.d; loading it sets the sysctl "
            "net.bridge.bridge-nf-call-iptables for all bridges, which may be set to 0 again",
            severity=Severity.ERROR,
        )
    if bridge.bridge is not None and bridge.bridge.vlan_filtering:
        yield Problem(
            NOWHERE,
            f"the bridge {bridge.name} filters VLANs, so packets between its ports are tagged: all of them are denied",
            expected="a bridge without vlan_filtering",
            hint=f"`ip link set {bridge.name} type bridge vlan_filtering 0`",
            severity=Severity.WARNING,
        )
    for port in facts.interfaces:
        if port.master == bridge.name and not port.kind:
            yield Problem(
                NOWHERE,
                f"{port.name}, a port of {bridge.name}, leads out of this host: everything is denied there",
                expected="a bridge whose ports are workloads alone",
                hint=f"take {port.name} out of {bridge.name}, and route between them",
                severity=Severity.WARNING,
            )


def _not_named(one: WorkloadEndpoint, settings: Workloads) -> Problem | None:
    if settings.has_interface(one.interface_name):
        if one.networks:
            return None
        message = f'WorkloadEndpoint "{one.metadata.full_name}" has no ipNetworks: everything is denied on '
        return _warning(one, f"{message}{one.interface_name}", "its addresses, unless it is behind a port of a bridge")
    named = listed(settings.patterns)
    return _warning(
        one,
        f'WorkloadEndpoint "{one.metadata.full_name}" is for {one.interface_name}, which the setting workloads does '
        "not name: it governs nothing",
        f"one of {named}" if named else "workloads.interfaces in hostfw.yaml",
        unlisted(settings.patterns),
    )


def _shared(one: WorkloadEndpoint, all_of_them: Sequence[WorkloadEndpoint], what: str) -> Problem | None:
    others = [str(other.metadata.position) for other in all_of_them if other is not one]
    if not others:
        return None
    return _warning(
        one,
        f'WorkloadEndpoint "{one.metadata.full_name}" is not the only one with its {what}: none of them governs '
        f"{one.interface_name}, where everything is denied",
        f"the {what} once, and not in {listed(others)} as well",
        unlisted(others),
    )


def _unknown_profile(one: WorkloadEndpoint, profiles: Collection[str]) -> Problem | None:
    unknown = [name for name in one.profiles if name not in profiles]
    if not unknown:
        return None
    return _warning(
        one,
        f'WorkloadEndpoint "{one.metadata.full_name}" lists the profile {listed(unknown)}, which is unknown: '
        f"everything is denied on {one.interface_name}",
        f"one of {listed(profiles)}",
        unlisted(profiles),
    )


def _same_addresses(workloads: Iterable[WorkloadEndpoint], facts: HostFacts) -> Iterator[Problem]:
    """Addresses that a workload may send from although another or the host has them: it would be taken for that."""
    every = [(network, one) for one in workloads for network in one.networks]
    around: list[tuple[Cidr, WorkloadEndpoint]] = []
    told: set[tuple[str, str]] = set()
    for network, one in sorted(every, key=lambda pair: (pair[0], pair[1].metadata.full_name)):
        while around and not _covers(around[-1][0], network):
            around.pop()
        names = (around[-1][1].metadata.full_name, one.metadata.full_name) if around else None
        if around and names is not None and around[-1][1] is not one and names not in told:
            told.add(names)
            wider = around[-1][0]
            both = f"both have {network}" if wider == network else f"have {wider} and {network}"
            yield _warning(
                one,
                f'WorkloadEndpoints "{names[0]}" and "{names[1]}" {both}: each may send as the other, and rules that '
                "select one of them match both",
                "addresses of its own for each",
            )
        around.append((network, one))
    for interface in facts.interfaces:
        for own in interface.addresses:
            for network, one in every:
                # A network has the host's address on its own interface, as its router.
                if one.interface_name != interface.name and _covers(network, own):
                    yield _warning(
                        one,
                        f'WorkloadEndpoint "{one.metadata.full_name}" has {network}, and this host has '
                        f"{address_text(own.family, own.address)} on {interface.name}: it may send as the host",
                        "addresses of its own",
                    )


def _covers(wider: Cidr, cidr: Cidr) -> bool:
    return wider.family is cidr.family and wider.length <= cidr.length and wider.contains(cidr.address)


def _warning(one: WorkloadEndpoint, message: str, expected: str, more: tuple[str, ...] = ()) -> Problem:
    return Problem(one.metadata.position, message, expected, severity=Severity.WARNING, more=more)
