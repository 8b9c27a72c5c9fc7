"""One entry of the journal about an event: its fields, and who was at work."""

from collections.abc import Iterable
from dataclasses import dataclass

from hostfw.audit.packet_event import IDENTIFIER, plain
from hostfw.journal.message_ids import MessageId

Fields = dict[str, str]
"""The fields of one journal entry."""

ERROR, WARNING, NOTICE, INFORMATIONAL = "3", "4", "5", "6"
"""Priorities of syslog."""

_MOST_LINES = 20
"""Of problems, or of what was changed, in one entry: what follows is counted."""


@dataclass(frozen=True, slots=True)
class Actor:
    """The process that did something, as far as that is known: its command name, its pid, its user's number."""

    process: str = ""
    pid: int | None = None
    uid: int | None = None

    def __str__(self) -> str:
        pid = "" if self.pid is None else f"[{self.pid}]"
        return f"{self.process}{pid}" if self.process else f"process {self.pid}" if self.pid is not None else ""


UNKNOWN_ACTOR = Actor()


def entry(kind: MessageId, priority: str, message: str, **fields: object) -> Fields:
    """The entry of one event; the names of `fields` are without HOSTFW_."""
    known = {f"HOSTFW_{name}": _lines_of(value) for name, value in fields.items() if value is not None and value != ""}
    return {
        "MESSAGE": plain(message),
        "MESSAGE_ID": kind,
        "PRIORITY": priority,
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        **known,
    }


def warning(message: str) -> Fields:
    """The entry of something that stands in the way and is tried again; it is of no kind of its own."""
    return {"MESSAGE": plain(message), "PRIORITY": WARNING, "SYSLOG_IDENTIFIER": IDENTIFIER}


def by_actor(actor: Actor) -> dict[str, object]:
    """The fields that say who did it."""
    return {"PROCESS": actor.process, "PID": actor.pid, "UID": actor.uid}


def _lines_of(value: object) -> str:
    """A value without what would steer a terminal: `journalctl -x` puts it into the catalog's text as it is."""
    return "\n".join(map(plain, str(value).split("\n")))


def lines(sentences: Iterable[str]) -> str:
    """One a line, the first of them."""
    known = [plain(sentence) for sentence in sentences]
    more = [f"and {len(known) - _MOST_LINES} more"] if len(known) > _MOST_LINES else []
    return "\n".join((*known[:_MOST_LINES], *more))
