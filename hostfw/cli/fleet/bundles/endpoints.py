"""The endpoints of a host that takes bundles whose endpoints are separate: those that its rules ask for, or all.

A host takes the smallest selection that has all that its rules ask for: the one for the labels of its HostEndpoints,
or the one for every policy, which a host with workloads needs since their labels are not known before they run. What
neither has, such as the selectors of a policy of the host's own, makes it take all endpoints, and say so.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from hostfw.build.candidate import check_candidate
from hostfw.bundle.manifest import MOST_MANIFEST_BYTES, EndpointFile, SeparateEndpoints
from hostfw.bundle.selections import NodeEndpoints, others_text, own_text, page_of, read_page, read_selection
from hostfw.cli.fleet.bundles.composed import composed
from hostfw.cli.fleet.bundles.fetched import Verified
from hostfw.engine.engine import Engine
from hostfw.engine.reading.standing import standing
from hostfw.model.problems import Problem
from hostfw.policy.need import lacking

OWN_FILE, OTHERS_FILE = "endpoints-own.yaml", "endpoints-others.yaml"
"""The files of a bundle on a host that has separate endpoints."""

FetchFile = Callable[[EndpointFile], bytes]
"""Gets a file, whose digest is right. Raises HostError and BundleError."""


class Completed(NamedTuple):
    """A bundle with the endpoints that a host takes: all files, and the digests of the files that they came from.

    `all_endpoints` is whether it has those of all hosts, and `why`, in a sentence, unless nobody wonders.
    """

    files: dict[str, bytes]
    digests: tuple[str, ...] = ()
    all_endpoints: bool = False
    why: str = ""


def complete(engine: Engine, bundle: Verified, fetch_file: FetchFile, *, every: bool) -> Completed:
    """A bundle with the endpoints that this host needs, or `every` one. Raises HostError and BundleError."""
    files, separate = dict(bundle.files), bundle.manifest.endpoints
    if separate is None:
        return Completed(files)
    why, pages = "", list[str]()
    if not every:
        names = _names(engine, files)
        pages = [separate.pages[page_of(name, len(separate.pages))] for name in names]
        found = next(_entries(names, pages, fetch_file), None)
        if found is not None:
            chosen = _chosen(engine, files, separate, *found, fetch_file)
            if isinstance(chosen, Completed):
                return chosen._replace(digests=(*pages, *chosen.digests))
            why = f"{chosen.position}: {chosen.message}"
        else:
            why = f"the bundle has no endpoint of {' or '.join(names)}"
    everything = read_selection(fetch_file(separate.whole))
    files[OTHERS_FILE] = others_text(everything, {})
    return Completed(files, (*pages, separate.whole.sha256), all_endpoints=True, why=why)


def _chosen(
    engine: Engine,
    files: dict[str, bytes],
    separate: SeparateEndpoints,
    node: str,
    entry: NodeEndpoints,
    fetch_file: FetchFile,
) -> Completed | Problem:
    """The bundle with the smallest selection that is enough, or the reason why none is."""
    found = _with(engine, files, node, entry, entry.selection, fetch_file)
    return found if isinstance(found, Completed) else _with(engine, files, node, entry, separate.policies, fetch_file)


def _with(
    engine: Engine, files: dict[str, bytes], node: str, entry: NodeEndpoints, file: EndpointFile, fetch_file: FetchFile
) -> Completed | Problem:
    """The bundle with a selection, or the first rule of this host that asks for more."""
    selection = read_selection(fetch_file(file))
    if selection.words is None:
        whole = {**files, OTHERS_FILE: others_text(selection, {})}
        return Completed(whole, (file.sha256,), all_endpoints=True)
    some = {**files, OWN_FILE: own_text(entry.own, selection.words), OTHERS_FILE: others_text(selection, entry.own)}
    candidate = check_candidate(composed(engine.directories, some).configuration, warnings=False)
    problem = lacking(candidate.resources, node, candidate.settings.workloads)
    return Completed(some, (file.sha256,)) if problem is None else problem


def _entries(names: list[str], pages: list[str], fetch_file: FetchFile) -> Iterator[tuple[str, NodeEndpoints]]:
    """Each name that the bundle knows with the entry for it."""
    for name, page in zip(names, pages, strict=True):
        entry = read_page(fetch_file(EndpointFile(page, MOST_MANIFEST_BYTES)), name)
        if entry is not None:
            yield name, entry


def _names(engine: Engine, files: dict[str, bytes]) -> list[str]:
    """The names that this host may have among HostEndpoints, as an apply finds them: the first that is there counts."""
    settings = check_candidate(composed(engine.directories, files).configuration, warnings=False).settings
    if settings.node:
        return [settings.node.lower()]
    recorded = standing(engine.directories, engine.host).node.lower()
    return list(dict.fromkeys(filter(None, (engine.host.host_name().lower(), recorded))))
