"""What became of a generation: the one place where that becomes an event."""

from collections.abc import Mapping
from contextlib import suppress

from hostfw.engine.host import Directories, Host
from hostfw.host.events import Event, EventKind, load_event, save_event
from hostfw.host.stored import StateError


def note(directories: Directories, host: Host, event: Event, entry: Mapping[str, str]) -> Event:
    """Remember an event as the last one and announce it; a disk that will not take it stands in nobody's way.

    What is applied again and again is one event.
    """
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
