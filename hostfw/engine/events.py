"""Events of generations: the one place that records and announces them."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from hostfw.build.refused import Refused
from hostfw.engine.apply.applied import Applied
from hostfw.engine.context import Directories, Host
from hostfw.engine.kernel.deploy.deploy import counts
from hostfw.engine.outcomes import Failed
from hostfw.host.store.codec import StateError, Unreadable
from hostfw.host.store.generations.last_event import Event, EventKind, load_event, save_event
from hostfw.journal.notices import (
    exposure_changed,
    generation_applied,
    generation_awaiting,
    generation_failed,
    generation_refused,
)
from hostfw.model.host.services import ExposureChange
from hostfw.model.problems import errors

Counts = tuple[tuple[str, int], ...]


def note(directories: Directories, host: Host, event: Event, entry: Mapping[str, str]) -> Event:
    """Remember an event as the last one and announce it; a disk that will not take it stands in nobody's way.

    What is applied again and again is one event.
    """
    last: Event | None = None
    with suppress(Unreadable):
        last = load_event(directories.state)
    again = last is not None and (last.kind, last.generation, last.reason) == (
        event.kind,
        event.generation,
        event.reason,
    )
    if not (again and event.kind is EventKind.APPLIED):
        with suppress(StateError):
            save_event(directories.state, event)
        host.announce(entry)
    return event


def note_refused(directories: Directories, host: Host, refused: Refused) -> Refused:
    """Note that a configuration was refused."""
    wrong = errors(refused.problems)
    # What the host lacks stands in no file.
    place = f"{wrong[0].position.file_line}: " if wrong and wrong[0].position.path else ""
    first = f"{place}{wrong[0].message}" if wrong else ""
    more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    event = Event(EventKind.REFUSED, host.now(), reason=f"{first}{more}")
    note(directories, host, event, generation_refused(refused.problems))
    return refused


def note_failed(directories: Directories, host: Host, failure: Failed, generation: str) -> Failed:
    """Note that a generation could not be put into force."""
    event = Event(EventKind.FAILED, host.now(), generation, failure.message)
    note(directories, host, event, generation_failed(generation, failure.message, failure.in_force, failure.hint))
    return failure


def note_applied(
    directories: Directories, host: Host, applied: Applied, within_s: float, exposure: Sequence[ExposureChange] = ()
) -> None:
    """Note that a generation is in force, accepted or for so many seconds, and what services it closes and opens."""
    generation, trial = applied.generation, applied.trial
    if trial is None:
        kind, entry = EventKind.APPLIED, generation_applied(generation.id, *three(counts(generation)))
    else:
        kind, entry = EventKind.AWAITING, generation_awaiting(generation.id, within_s, trial.deadline)
    note(directories, host, Event(kind, host.now(), generation.id), entry)
    if exposure:
        host.announce(exposure_changed(generation.id, exposure))


def three(counted: Counts) -> tuple[int, int, int]:
    """The numbers of policies, endpoints and interfaces."""
    found = dict(counted)
    return found.get("policies", 0), found.get("endpoints", 0), found.get("interfaces", 0)
