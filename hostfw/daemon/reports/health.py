"""The service's account of itself: for systemd, for `hostfwctl status` and doctor, and for Prometheus."""

import os
from datetime import datetime
from functools import partial

from hostfw import __version__
from hostfw.build.generation import Generation
from hostfw.build.refused import Refused
from hostfw.control.messages import InForceNow, Reply, ServiceReport
from hostfw.control.socket import Refusal
from hostfw.daemon.audit.journal_queue import Outbox
from hostfw.daemon.audit.log_reader import Audit
from hostfw.daemon.metrics.exporter import Known, with_records
from hostfw.daemon.metrics.text import AuditFigures, Figures
from hostfw.daemon.reports.announcer import first_error
from hostfw.daemon.reports.notifier import Notifier
from hostfw.daemon.reports.troubles import Troubles
from hostfw.daemon.writer import WriterThread
from hostfw.engine.kernel.deploy.deploy import counts
from hostfw.engine.outcomes import Failed
from hostfw.model.wording import counted

JOURNAL_PATIENCE_S = 3.0
"""A journal that has not taken an entry for so long is trouble."""
WRITING_PATIENCE_S = 60.0
"""One piece of work that takes so long is trouble: nothing is repaired and nobody is answered meanwhile."""


class Health:
    """The generation that is in force as far as the service knows, and everything that is wrong at this moment.

    The service keeps `known`, `repairs` and `troubles` up to date; systemd hears of each change of the last.
    """

    def __init__(
        self,
        outbox: Outbox,
        writer: WriterThread,
        audit: Audit,
        notifier: Notifier,
        started_at: datetime,
    ) -> None:
        self.troubles = Troubles(self.tell_status)
        self._outbox = outbox
        self._writer = writer
        self._audit = audit
        self._notifier = notifier
        self._started_at = started_at
        self.known: Generation | None = None
        self.repairs = 0
        self._refused = ""

    def trouble(self) -> str:
        """Everything that is wrong at this moment, empty if nothing is."""
        found = [str(self.troubles)] if self.troubles else []
        if self._outbox.stuck_s >= JOURNAL_PATIENCE_S:
            found.append(
                f"the journal takes no entries: {self._outbox.waiting} wait, {self._outbox.unwritten} are lost"
            )
        if (busy_s := self._writer.busy_s) >= WRITING_PATIENCE_S:
            found.append(f"the current change has taken {busy_s:.0f} seconds so far")
        return "; ".join(found)

    def report(self) -> ServiceReport:
        """Return the answer to a request for a report."""
        figures = self._audit.figures()
        return ServiceReport(
            pid=os.getpid(),
            started_at=self._started_at,
            generation=self.known.id if self.known is not None else "",
            trouble=self.trouble(),
            repairs=self.repairs,
            records=figures.records,
            lost=figures.lost,
            missed=figures.missed,
            suppressed=sum(figures.suppressed.values()),
            entries_unwritten=self._outbox.unwritten,
            listening=figures.listening,
            untouched=self._writer.untouched(),
        )

    def figures(self) -> Known:
        """Data for the Prometheus file."""
        known, audit = self.known, self._audit.figures()
        figures = Figures(
            version=__version__,
            started_at=self._started_at,
            generation=known.id if known is not None else "",
            counts=dict(counts(known)) if known is not None else {},
            repairs=self.repairs,
            is_troubled=bool(self.trouble()),
            audit=AuditFigures(
                records=audit.records,
                entries=audit.events,
                lost=audit.lost,
                missed=audit.missed,
                unwritten=self._outbox.unwritten,
                is_listening=audit.listening,
            ),
        )
        plan = known.plan if known is not None else None
        return Known(partial(with_records, figures, self._writer.engine.directories), plan)

    def note_reload(self, reply: Reply | Refusal) -> None:
        """Keep for `systemctl status` how the last reload ended; that is about the past, and so no trouble."""
        match reply:
            case Refused(problems):
                self._refused = f"the last reload was refused: {first_error(problems)}"
            case Failed():
                self._refused = f"the last reload failed: {reply.message}"
            case InForceNow():
                self._refused = ""
            case _:
                return
        self.tell_status()

    def tell_status(self) -> None:
        """Have systemd show the state of this moment."""
        self._notifier.status(self.status())

    def status(self) -> str:
        """One line for `systemctl status`."""
        known = self.known
        if known is None:
            now = "no generation of ours is in force"
        else:
            policies, endpoints = len(known.candidate.resources.enforced), len(known.plan.host_endpoints)
            counts = f"{counted(policies, 'policy', 'policies')}, {counted(endpoints, 'endpoint')}"
            now = f"generation {known.id} in force: {counts}"
        return "; ".join(filter(None, (now, self.trouble(), self._refused)))
