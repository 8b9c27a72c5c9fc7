"""Changes of the exposure of this host's services, in the words of the verbs that make or show them."""

from collections.abc import Iterable

from hostfw.cli.command_line.options import Options
from hostfw.cli.engine import open_engine
from hostfw.cli.outcomes import this_host
from hostfw.cli.output.console import Console
from hostfw.cli.output.documents import Document
from hostfw.engine.checks.exposure import exposure_changes, services_of
from hostfw.host.errors import HostError
from hostfw.model.host.services import ExposureChange
from hostfw.model.plan import Plan
from hostfw.model.settings import Settings
from hostfw.model.wording import counted

_SHOWN = 20
"""Most changes that are listed without -v."""


def changes_between(before: Plan | None, after: Plan | None, options: Options) -> tuple[ExposureChange, ...]:
    """The changes of exposure from one plan to another; none where they cannot be determined."""
    services = services_of(this_host())
    if services is None:
        return ()
    engine = open_engine(options)
    try:
        facts = engine.observe(after.settings if after is not None else Settings())
    except HostError:
        return ()
    return exposure_changes(before, after, facts, services, engine.host.read_packets, engine.host.forwards)


def lines(changes: Iterable[ExposureChange], *, whole: bool) -> tuple[str, ...]:
    """The changes for people, what somebody uses first; without `whole` the first few of many."""
    found = sorted(changes, key=lambda change: not change.answered)
    shown = found if whole else found[:_SHOWN]
    more = len(found) - len(shown)
    rest = (f"and {counted(more, 'more change', 'more changes')} of services; -v lists them",) if more else ()
    return (*(change.in_full if whole else str(change) for change in shown), *rest)


def tell(changes: Iterable[ExposureChange], console: Console) -> None:
    """Say what is closed and opened; to close what somebody is known to use is worth a warning."""
    found, whole = tuple(changes), console.verbosity > 0
    for change in found:
        if change.answered:
            console.warn(change.in_full if whole else str(change))
    for line in lines((change for change in found if not change.answered), whole=whole):
        console.say(line)


def items(changes: Iterable[ExposureChange]) -> list[Document]:
    """The changes for programs."""
    return [
        {
            "change": "closes" if change.closes else "opens",
            "text": change.whole or change.text,
            "answered": change.answered or None,
        }
        for change in changes
    ]
