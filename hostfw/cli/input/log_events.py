"""The events of an NFLOG group, put down to the generation that is in force when they are read."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from hostfw.audit.attribution import Attribution, attribution
from hostfw.audit.packet_event import PacketEvent, packet_event
from hostfw.audit.packet_headers import headers
from hostfw.cli.command_line.options import Options
from hostfw.cli.input.active_plan import ActivePlan, active_plan, mark_of
from hostfw.host.errors import HostError
from hostfw.host.nftables.nflog import Nflog, NflogRecord, interface_name
from hostfw.host.time import clock

_RECHECK_S = 1.0
"""Interval between checks for another active generation, as long as records come."""


@dataclass(slots=True)
class LogEvents:
    """The events of a group as they come. `foreign` counts the records that are not hostfw's."""

    options: Options
    reader: Nflog
    attributed: Attribution
    mark: tuple[str | None, int | None]
    foreign: int = 0
    _checked_s: float = float("-inf")

    def read(self) -> Iterator[PacketEvent]:
        """The events that have come; never waits."""
        records = self.reader.read()
        if records:
            self._recheck()
        for record in records:
            event = _event(record, self.attributed)
            if event is None:
                self.foreign += 1
            else:
                yield event

    def _recheck(self) -> None:
        """Learn of a generation that was put into force meanwhile, before anything is put down to it."""
        now_s = clock.monotonic()
        if now_s - self._checked_s < _RECHECK_S:
            return
        self._checked_s = now_s
        with suppress(HostError):
            # What cannot be read now is looked at again in a moment; the log goes on.
            mark = mark_of(self.options)
            if mark != self.mark:
                self.attributed = attributed(active_plan(self.options))
                self.mark = mark


def attributed(known: ActivePlan | None) -> Attribution:
    """The attribution data of the active generation."""
    return Attribution() if known is None else attribution(known.plan, known.generation)


def _event(record: NflogRecord, attributed: Attribution) -> PacketEvent | None:
    moment = clock.now() if record.timestamp is None else datetime.fromtimestamp(record.timestamp, UTC)
    interfaces = interface_name(record.indev), interface_name(record.outdev)
    return packet_event(record.prefix, headers(record.payload, record.family), interfaces, moment, attributed)
