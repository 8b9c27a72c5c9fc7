"""Governed interfaces by their index, so that a new name takes none of them out from under its policy.

Rules match names, and a rename is heard of only afterwards. Until rules are compiled for the new name, the index says
which HostEndpoint governs the interface. An index is a fact of this boot and no part of a generation: it stands in a
set that no script fills, and that a boot begins with empty.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from hostfw.build.generation import Generation
from hostfw.compile.object_names import governed_links
from hostfw.engine.kernel.writer import Writer
from hostfw.engine.outcomes import Failed
from hostfw.host.netlink.messages import NetlinkError
from hostfw.host.store.generations import active
from hostfw.model.host.loopback import LOOPBACK
from hostfw.model.values import TableFamily
from hostfw.nft.declarations import SetName
from hostfw.nft.objects import ElementType, Set

Links = Mapping[SetName, tuple[int, ...]]
"""The indices that each set of ours holds."""

Port = tuple[int, int]
"""The indices of an interface and of its master."""


def note_links(generation: Generation, writer: Writer, *, is_known: bool) -> tuple[int, tuple[str, ...]]:
    """Let the sets hold the interfaces that a generation in force governs now; gives the commits, and what failed.

    Only what differs is written, in one transaction. With `is_known` nobody but us has touched our tables since the
    last time; otherwise the kernel is asked what they hold.
    """
    cache, run_dir = writer.cache, writer.directories.run
    wanted = {(family, one.name): one for family, one in _sets(generation)}
    held: Links | None = cache.links if cache is not None and is_known else None
    if held is None and wanted:
        with suppress(NetlinkError):
            held = writer.host.read_links(wanted)
    indices = _indices(generation)
    links = {(family, name): tuple(sorted(indices[name])) for family, name in wanted}
    differ = [
        (family, replace(one, elements=links[family, name]))
        for (family, name), one in wanted.items()
        if held is None or held.get((family, name), ()) != links[family, name]
    ]
    is_noted = cache is not None and cache.links == links and not differ
    if not is_noted:
        active.forget_links(run_dir)
    try:
        if differ:
            writer.nftables.reload_sets(differ)
    except NetlinkError as error:
        if cache is not None:
            cache.links = None
        said = "an interface that is renamed is without its policy until the service has followed"
        return 0, (f"{error.message}: {said}",)
    if not is_noted and links:
        active.note_links(run_dir, links)
    if cache is not None:
        cache.links = links
    return 1 if differ else 0, ()


def governed_masters(generation: Generation, ports: Iterable[Port]) -> Mapping[str, frozenset[int]]:
    """The masters of governed interfaces that were no ports when rules were compiled, by the names of the sets."""
    free = {interface.index for interface in generation.facts.interfaces if interface.master is None}
    masters = [(port, master) for port, master in ports if port in free]
    found = {
        name: frozenset(master for port, master in masters if port in links)
        for name, links in (_indices(generation).items() if masters else ())
    }
    return {name: links for name, links in found.items() if links}


def note_masters(
    generation: Generation,
    ports: Iterable[Port],
    writer: Writer,
) -> Failed | None:
    """Add the masters of governed interfaces to the sets that these are in; None if it is done. Raises HostError.

    A rule for the master's own name comes first, and the record of what is kept says the same once it is looked at.
    """
    masters, cache, run_dir = governed_masters(generation, ports), writer.cache, writer.directories.run
    if cache is None or cache.links is None:
        return None
    links = {
        (family, one.name): (one, tuple(sorted({*cache.links.get((family, one.name), ()), *masters[one.name]})))
        for family, one in _sets(generation)
        if one.name in masters
    }
    grown = {key: entry for key, entry in links.items() if entry[1] != cache.links.get(key, ())}
    if not grown:
        return None
    active.forget_links(run_dir)
    contents = [(family, replace(one, elements=held)) for (family, _), (one, held) in grown.items()]
    writer.host.reload_sets_directly(contents)
    cache.links.update({key: held for key, (_, held) in grown.items()})
    active.note_links(run_dir, cache.links)
    return None


def _sets(generation: Generation) -> Iterator[tuple[TableFamily, Set]]:
    for table in generation.ruleset.tables:
        yield from ((table.family, one) for one in table.sets if one.type is ElementType.IFINDEX)


def _indices(generation: Generation) -> Mapping[str, set[int]]:
    """The interfaces of each HostEndpoint, and of all, by the names of their sets. A wildcard needs no name."""
    indices = {interface.name: interface.index for interface in generation.facts.interfaces}
    found: defaultdict[str, set[int]] = defaultdict(set)
    for binding in generation.plan.bindings:
        index = indices.get(binding.interface, 0)
        if index and binding.interface != LOOPBACK:
            found[governed_links(binding.endpoint)].add(index)
            found[governed_links()].add(index)
    return found
