"""The notes of a resource for people: until when it counts, why it is there, and the ticket that it belongs to."""

from collections.abc import Iterable
from datetime import datetime

from hostfw.cli.output.durations import duration_text
from hostfw.model.kinds.metadata import REASON, TICKET, Metadata
from hostfw.model.time.expiry import Expired
from hostfw.model.time.moments import moment_text

_DAY_S = 86_400


def expiry_text(at: datetime, now: datetime, *, expired: bool) -> str:
    """`expires in 2 h (2030-01-31 12:00:00 CET)`, or that it has expired, or waits for a clock that is right."""
    left_s = (at - now).total_seconds()
    moment = moment_text(at)
    if left_s <= 0:
        return f"expired {_length(-left_s)} ago ({moment})"
    if expired:
        return f"expired ({moment}), although the clock says that it has not; write it anew, or set the clock"
    return f"expires in {_length(left_s)} ({moment})"


def is_expired(kind: str, metadata: Metadata, expired: Iterable[Expired]) -> bool:
    """True if a resource is among those that count no more, with the moment that it has now."""
    at = metadata.expires
    return at is not None and Expired(kind, metadata.full_name, at) in frozenset(expired)


def notes_of(kind: str, metadata: Metadata, expired: Iterable[Expired], now: datetime) -> tuple[tuple[str, str], ...]:
    """The notes that a resource has, by their names: `expires`, `reason` and `ticket`."""
    at = metadata.expires
    notes = (
        ("expires", "" if at is None else expiry_text(at, now, expired=is_expired(kind, metadata, expired))),
        ("reason", metadata.annotation(REASON)),
        ("ticket", metadata.annotation(TICKET)),
    )
    return tuple((name, text) for name, text in notes if text)


def _length(seconds: float) -> str:
    return f"{int(seconds // _DAY_S)} days" if seconds >= 2 * _DAY_S else duration_text(seconds)
