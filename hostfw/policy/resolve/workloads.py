"""Workloads of this host: which WorkloadEndpoint is behind which interface.

They come from the configuration and, as facts, from the files about what runs now. An interface is a workload's only
where the setting `workloads` names it, and where exactly one WorkloadEndpoint claims it: what is in doubt stays
unidentified, and so denied.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import NamedTuple

from hostfw.model.host.facts import HostFacts
from hostfw.model.host.interface_names import is_safe_name
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.plan import Binding
from hostfw.model.problems import Problem, Severity
from hostfw.model.resources import Resources
from hostfw.model.settings import Workloads
from hostfw.model.values import Cidr, Family, address_text
from hostfw.model.wording import listed, unlisted
from hostfw.policy.resolve.bindings import Bindings
from hostfw.policy.resolve.bridges import ports_of_bridges


class Claim(NamedTuple):
    """A claim of a workload to an interface, which is a port of `bridge` if that is one of workloads, and how it fares.

    `places` are all that tells it from others there, and `held` what nobody but the workload may have there.
    """

    one: WorkloadEndpoint
    bridge: str | None
    name: str
    places: tuple[tuple[str, object], ...]
    held: frozenset[object]
    is_sound: bool


@dataclass(slots=True, eq=False)
class Claims:
    """The claims of the last plan: a workload that is the very same is not looked at again, but among the others."""

    rests_on: Workloads | None = None
    known: dict[int, Claim] = field(default_factory=dict)

    def of(self, here: Sequence[WorkloadEndpoint], bridges: Mapping[str, str], settings: Workloads) -> list[Claim]:
        """The claims of workloads to the interfaces of this host."""
        before = self.known if self.rests_on == settings else {}
        now: dict[int, Claim] = {}
        for one in here:
            bridge, known = bridges.get(one.interface_name), before.get(id(one))
            now[id(one)] = known if known is not None and known.bridge == bridge else _claim(one, bridge, settings)
        self.rests_on, self.known = settings, now
        return [now[id(one)] for one in here]


def running(
    resources: Resources,
    facts: HostFacts,
    node: str,
    settings: Workloads,
    profiles: Collection[str],
    known: Claims | None = None,
) -> tuple[tuple[WorkloadEndpoint, ...], tuple[Problem, ...]]:
    """The workloads of a node that are behind an interface of their own, sorted by name, and why others are not.

    All problems are warnings: those that the configuration alone gives rise to are errors before. `known` are the
    claims of the last plan.
    """
    problems = [replace(problem, severity=Severity.WARNING) for problem in facts.workload_problems]
    here = [one for one in (*resources.workloads, *facts.workloads) if one.is_of(node)]
    bridges = ports_of_bridges(facts, settings)
    claims = (Claims() if known is None else known).of(here, bridges, settings)
    taken: dict[object, str] = {interface.mac: interface.name for interface in facts.interfaces if interface.bridge}
    taken |= {own: interface.name for interface in facts.interfaces for own in interface.addresses}
    present = {interface.name for interface in facts.interfaces}
    names, interfaces = Counter([c.name for c in claims]), Counter([one.interface_name for one in here])
    places = Counter(chain.from_iterable([c.places for c in claims]))
    twice = {place for place, count in places.items() if count > 1}
    rivals = _Rivals(here, bridges)
    good: list[WorkloadEndpoint] = []
    for one, bridge, name, its_places, held, is_sound in claims:
        if bridge is None and settings.bridges and one.interface_name not in present:
            # It may be behind a port once that is there. Until then there is nothing that it could send on.
            continue
        if (
            is_sound
            and names[name] == 1
            and interfaces[one.interface_name] == 1
            and twice.isdisjoint(its_places)
            and taken.keys().isdisjoint(held)
            and (not one.profiles or all(profile in profiles for profile in one.profiles))
        ):
            # Nothing that could be in doubt, which is so for nearly all of a thousand.
            good.append(one)
            continue
        by_name, by_interface, by_place = rivals.found
        trouble = (
            (_not_named(one, settings) if bridge is None else _unlike_a_port(one, bridge, taken))
            or _shared(one, by_name[name], "name")
            or _shared(one, by_interface[one.interface_name], "interface")
            or _in_two_places(one, bridge, by_place)
            or _unknown_profile(one, profiles)
        )
        if trouble is None:
            good.append(one)
        else:
            problems.append(trouble)
    if not _have_nothing_in_common(good, taken):
        problems += _same_addresses(good, facts)
    return tuple(sorted(good, key=lambda one: one.metadata.full_name)), tuple(problems)


def _claim(one: WorkloadEndpoint, bridge: str | None, settings: Workloads) -> Claim:
    places = tuple(_places(one, bridge))
    held = frozenset((*one.networks, str(one.mac))) if bridge is not None else frozenset()
    trouble = _not_named(one, settings) if bridge is None else _unlike_a_port(one, bridge, {})
    return Claim(one, bridge, one.metadata.full_name, places, held, trouble is None)


class _Rivals:
    """Workloads by their names, interfaces and places, for those of which something is in doubt."""

    def __init__(self, here: Sequence[WorkloadEndpoint], bridges: Mapping[str, str]) -> None:
        self._here = here
        self._bridges = bridges

    @cached_property
    def found(
        self,
    ) -> tuple[
        Mapping[str, list[WorkloadEndpoint]],
        Mapping[str, list[WorkloadEndpoint]],
        Mapping[tuple[str, object], list[WorkloadEndpoint]],
    ]:
        by_name: defaultdict[str, list[WorkloadEndpoint]] = defaultdict(list)
        by_interface: defaultdict[str, list[WorkloadEndpoint]] = defaultdict(list)
        by_place: defaultdict[tuple[str, object], list[WorkloadEndpoint]] = defaultdict(list)
        for one in self._here:
            by_name[one.metadata.full_name].append(one)
            by_interface[one.interface_name].append(one)
            for place in _places(one, self._bridges.get(one.interface_name)):
                by_place[place].append(one)
        return by_name, by_interface, by_place


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


def with_workloads(bound: Bindings, workloads: Sequence[WorkloadEndpoint], facts: HostFacts) -> Bindings:
    """Bindings, and those of workloads with an interface of their own, which no HostEndpoint has."""
    masters = {interface.name: interface.master for interface in facts.interfaces}
    bridged = ports_of_bridges(facts, bound.workloads)
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


def _have_nothing_in_common(workloads: Iterable[WorkloadEndpoint], taken: Mapping[object, str]) -> bool:
    """True if all have single addresses, which nobody else has, so that none of them covers another."""
    every = [network for one in workloads for network in one.networks]
    different = set(every)
    bits = {family: family.bits for family in Family}
    are_single = all(length == bits[family] for family, _, length in every)
    return are_single and len(different) == len(every) and taken.keys().isdisjoint(different)


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
