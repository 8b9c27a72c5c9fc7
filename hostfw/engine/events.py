"""What became of a generation: the one place where that becomes an event."""

from contextlib import suppress

from hostfw.engine.host import Directories, Host
from hostfw.host.events import Event, EventKind, load_event, save_event
from hostfw.host.stored import StateError


def note(directories: Directories, host: Host, kind: EventKind, generation: str = "", reason: str = "") -> Event:
    """Make an event of it and remember it as the last one; a disk that will not take it stands in nobody's way.

    What is applied again and again is one event.
    """
    event = Event(kind, host.now(), generation, reason)
    last = load_event(directories.state)
    again = last is not None and (last.kind, last.generation, last.reason) == (EventKind.APPLIED, generation, reason)
    if not (kind is EventKind.APPLIED and again):
        with suppress(StateError):
            save_event(directories.state, event)
    return event
