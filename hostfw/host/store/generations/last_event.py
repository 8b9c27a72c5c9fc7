"""The last thing that became of a generation, kept where it outlives a reboot: state_dir/event.json."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from hostfw.host.store.atomic_files import write_atomically
from hostfw.host.store.codec import load_json, saving, to_json
from hostfw.model.time.moments import moment_of

_EVENT = "event.json"


class EventKind(StrEnum):
    """The fate of a generation. `AWAITING` is in force until it is confirmed or rolled back."""

    APPLIED = "applied"
    AWAITING = "awaiting-confirmation"
    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled-back"
    REFUSED = "refused"
    FAILED = "failed"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Event:
    """An event: its kind, time, generation (empty where there is none yet), and reason if there is one."""

    kind: EventKind
    at: datetime
    generation: str = ""
    reason: str = ""


def save_event(state_dir: Path, event: Event) -> None:
    """Remember the last event, durably. Raises StateError."""
    with saving("the last event"):
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(
            state_dir / _EVENT,
            to_json(kind=event.kind, at=event.at.isoformat(), generation=event.generation, reason=event.reason),
        )


def load_event(state_dir: Path) -> Event | None:
    """The last event; None if there is none, or a damaged one: it is for people, who do without. Raises Unreadable."""
    data, _ = load_json(state_dir / _EVENT)
    match data:
        case {"format": 1, "kind": str(kind), "at": str(at), "generation": str(generation), "reason": str(reason)} if (
            kind in set(EventKind) and (when := moment_of(at)) is not None
        ):
            return Event(EventKind(kind), when, generation, reason)
        case _:
            return None
