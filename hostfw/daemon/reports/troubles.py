"""Current troubles, by the part of the service that they are about.

Trouble describes the present: a part reports its own, and clears it after a success. A refused request concerns its
client alone and is no trouble.
"""

from collections.abc import Callable
from enum import StrEnum


class Part(StrEnum):
    """A part of the service; the order is that in which troubles are reported."""

    TAKEOVER = "takeover"
    CONTROL = "control socket"
    PROTECTION = "protection"
    REPAIR = "repair"
    INTERFACES = "interfaces"
    NFT_EVENTS = "nftables events"
    LINK_EVENTS = "link events"
    WORKLOADS = "changes of workloads"
    CLOCK = "steps of the clock"
    DEADLINES = "ends of trials and lockdowns"
    EXPIRIES = "what has expired"
    MEMBERS = "members of sets"
    STATE = "state"
    RECORD = "record"
    AUDIT = "log"
    METRICS = "metrics"


class Troubles:
    """At most one trouble for each part; `changed` is called whenever what `__str__` gives is no longer the same."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._found: dict[Part, str] = {}

    def report(self, part: Part, message: str) -> None:
        """Say what is wrong with a part now, in place of what was before."""
        if self._found.get(part) != message:
            self._found[part] = message
            self._changed()

    def clear(self, part: Part) -> None:
        """Say that nothing is wrong with a part any more."""
        if self._found.pop(part, None) is not None:
            self._changed()

    def note(self, part: Part, message: str) -> None:
        """Say what is wrong with a part now, empty if nothing is."""
        if message:
            self.report(part, message)
        else:
            self.clear(part)

    def of(self, part: Part) -> str:
        """The trouble of a part, empty if there is none."""
        return self._found.get(part, "")

    def __bool__(self) -> bool:
        return bool(self._found)

    def __str__(self) -> str:
        return "; ".join(self._found[part] for part in Part if part in self._found)
