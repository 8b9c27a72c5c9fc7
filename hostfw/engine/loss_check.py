"""A configuration that lost most of itself: a wrong checkout or an emptied directory must not take policy away.

What is accepted says how many policies and HostEndpoints of this host there were. A configuration without any of a
kind, or without more than half of them, is refused until a person says that the loss is meant.
"""

from collections.abc import Iterable, Iterator

from hostfw.build.cache import accepted_now
from hostfw.build.candidate import inspect
from hostfw.build.generation import Generation
from hostfw.engine.deploy import Writer, counts
from hostfw.engine.outcomes import Failed
from hostfw.model.resources import Resources
from hostfw.model.text import counted

FEW = 4
"""Of so few resources of a kind more than half may go without a question, but not all."""
MOST_NAMES = 5
"""How many of the resources that would go are named in a message."""

_NOUNS = {"policies": ("policy", "policies"), "endpoints": ("HostEndpoint of this host", "HostEndpoints of this host")}


def refusal(writer: Writer, built: Generation) -> Failed | None:
    """Say that a generation has lost most of what is accepted; None if it has not, or nothing is accepted."""
    accepted, _ = accepted_now(writer.directories.state, writer.memory)
    if accepted is None:
        return None
    before, after = dict(accepted.counts), dict(counts(built))
    lost = [kind for kind in _NOUNS if _is_lost(before.get(kind, 0), after[kind])]
    if not lost:
        return None
    tallies = (_tally(kind, before[kind], after[kind]) for kind in lost)
    accepted_resources = inspect(accepted.configuration).resources
    names = tuple(missing(accepted_resources, built.inspected.resources))
    return Failed(
        f"this would lose {' and '.join(tallies)}: {named(names)}",
        "check the directory and the node's name; to do it anyway: hostfwctl apply --accept-loss",
    )


def missing(before: Resources, after: Resources) -> Iterator[str]:
    """Name the resources of one configuration that another does not have, as kind/name, in the order of the first."""
    kept = {_key(type(resource).__name__, resource.metadata.name) for resource in after.all()}
    for resource in before.all():
        key = _key(type(resource).__name__, resource.metadata.name)
        if key not in kept:
            yield key


def named(names: Iterable[str]) -> str:
    """The first names of a list, and how many more there are."""
    first = tuple(names)
    more = f" and {len(first) - MOST_NAMES} more" if len(first) > MOST_NAMES else ""
    return f"{', '.join(first[:MOST_NAMES]) or 'their resources do not apply to this host any more'}{more}"


def _is_lost(before: int, after: int) -> bool:
    return before > 0 and (after == 0 or (before > FEW and after * 2 < before))


def _tally(kind: str, before: int, after: int) -> str:
    nouns = _NOUNS[kind]
    if before == 1:
        return f"the only {nouns[0]}"
    return f"all {counted(before, *nouns)}" if after == 0 else f"{before - after} of {counted(before, *nouns)}"


def _key(kind: str, name: str) -> str:
    return f"{kind}/{name}"
