"""The life of a reader: listen to an engine, read what runs, write it down; and begin again when the engine is away.

While an engine does not answer, what it said holds for as long as the same interfaces are there: they cannot be
somebody else's, since the kernel gives no number of an interface twice. What is gone is removed all the same.
"""

import select
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from time import monotonic, sleep
from typing import Protocol

from hostfw.host.errors import HostError, reason
from hostfw.host.workloads.interfaces import HostInterfaces
from hostfw.workloads.engine_socket import EngineError
from hostfw.workloads.files import WorkloadFolder
from hostfw.workloads.values import Workload, is_interface, named

AGAIN_S = 0.3
"""Time after which a reading is repeated: engines tell of some things before they say so themselves.

Docker 20.10 does of a network that a container is connected to; and of what happened while events began nobody told.
"""
REFRESH_S = 60.0
"""Longest time without a reading, which notices an engine that hangs, and an event that got lost."""
_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.25, 1.0
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 1.0
_LONGEST_AGAIN_S, _MOST_TRIES = 10.0, 16
_SHOWN = 20
_NOTICE, _WARNING = 5, 4


@dataclass(frozen=True, slots=True)
class Reading:
    """Workloads that run, and sentences about those that cannot be written, by what each is about.

    `unfinished` says that a part was not ready yet, and that another reading before long will tell.
    """

    workloads: tuple[Workload, ...] = ()
    remarks: tuple[str, ...] = ()
    unfinished: bool = False


class Events(Protocol):
    """Word of changes."""

    def fileno(self) -> int:
        """The descriptor that is readable while there is something to hear."""

    def take(self) -> None:
        """Take what has arrived; never waits. Raises OSError or EngineError once nothing more will come."""


class Engine(Protocol):
    """One engine, as a reader knows it. Everything raises OSError, HostError or EngineError."""

    name: str

    def listen(self) -> AbstractContextManager[Events]:
        """Hear of changes from now on."""

    def read(self) -> Reading:
        """Read the workloads that run now."""


class Log:
    """Standard error, which journald reads (sd-daemon(3)); the same is said once until it is no longer so."""

    def __init__(self) -> None:
        """Nothing has been said."""
        self._said: frozenset[str] = frozenset()
        self._trouble = ""

    def remarks(self, sentences: Sequence[str]) -> None:
        """Say what was not said about the latest reading."""
        new = [one for one in sentences if one not in self._said]
        for one in new[:_SHOWN]:
            _say(_WARNING, one)
        if len(new) > _SHOWN:
            _say(_WARNING, f"and {len(new) - _SHOWN} more like these")
        self._said = frozenset(sentences)

    def trouble(self, sentence: str) -> None:
        """Say that an engine is away."""
        if sentence != self._trouble:
            _say(_WARNING, sentence)
        self._trouble = sentence

    def well(self, sentence: str) -> None:
        """Say that it is back, if it was away."""
        if self._trouble:
            _say(_NOTICE, sentence)
        self._trouble = ""


def _say(level: int, sentence: str) -> None:
    print(f"<{level}>{sentence}", file=sys.stderr, flush=True)  # noqa: T201  the journal


class Watch:
    """Keeps the files of a reader as its engine says, until a signal ends the process."""

    def __init__(self, engine: Engine, folder: WorkloadFolder, log: Log) -> None:
        self._engine = engine
        self._folder = folder
        self._log = log
        self._known: tuple[tuple[Workload, int], ...] = ()

    def run(self) -> None:
        """Never returns."""
        retry_s = _FIRST_RETRY_S
        while True:
            began = monotonic()
            try:
                self._follow()
            except (OSError, HostError, EngineError) as error:
                self._log.trouble(
                    f"{self._engine.name}: {_words(error)}; what it said before holds for interfaces that are there"
                )
                self._keep_what_is_there()
                retry_s = _FIRST_RETRY_S if monotonic() - began > _LONGEST_RETRY_S else retry_s
            sleep(retry_s)
            retry_s = min(2 * retry_s, _LONGEST_RETRY_S)

    def _follow(self) -> None:
        """Read once and then after each event, until the engine fails."""
        with self._engine.listen() as events:
            self._read()
            again_at: float | None = monotonic() + AGAIN_S
            tries = 0
            while True:
                wait_s = REFRESH_S if again_at is None else max(0.0, again_at - monotonic())
                ready, _, _ = select.select([events], [], [], wait_s)
                began = monotonic()
                if ready:
                    events.take()
                    tries = 0
                tries = min(tries + 1, _MOST_TRIES)
                unfinished = self._read()
                pause_s = min(AGAIN_S * 2.0 ** (tries - 1), _LONGEST_AGAIN_S)
                again_at = monotonic() + pause_s if ready or unfinished else None
                # Many that come at once are read together.
                sleep(min(max(_SHORTEST_PAUSE_S, monotonic() - began), _LONGEST_PAUSE_S))

    def _read(self) -> bool:
        """Write what runs now; True if there is more to come."""
        reading = self._engine.read()
        interfaces = HostInterfaces()
        remarks = list(reading.remarks)
        good = []
        for one in reading.workloads:
            if not is_interface(one.interface):
                remarks.append(f"{one.wanted_name!a}: its interface has a name that policy cannot name")
                continue
            found = interfaces.by_name.get(one.interface)
            # Behind a port of a bridge it may ask for its first address.
            if found is not None and (one.networks or (one.mac and found.master)):
                good.append(one)
            elif found is not None:
                remarks.append(f"{one.wanted_name!a}: no address of it is known, so {one.interface} is not named")
        self._known = tuple((one, interfaces.by_name[one.interface].index) for one in named(good))
        self._log.well(f"{self._engine.name}: it answers again")
        self._log.remarks(remarks)
        self._folder.publish(one for one, _ in self._known)
        return reading.unfinished

    def _keep_what_is_there(self) -> None:
        """Remove workloads whose interface is gone, and follow interfaces that were renamed."""
        try:
            by_index = HostInterfaces().by_index
            self._known = tuple(
                (replace(one, interface=by_index[index].name), index)
                for one, index in self._known
                if index in by_index and is_interface(by_index[index].name)
            )
            self._folder.publish(one for one, _ in self._known)
        except (OSError, HostError) as error:
            self._log.trouble(f"{self._engine.name}: the files cannot be brought up to date: {_words(error)}")


def _words(error: Exception) -> str:
    match error:
        case HostError():
            return error.message
        case OSError():
            return f"{error.filename}: {reason(error)}" if error.filename else reason(error)
        case _:
            return str(error)
