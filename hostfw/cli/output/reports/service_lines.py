"""The service as `hostfwctl status` tells of it, and its word on who touched our tables."""

from collections.abc import Iterator
from datetime import datetime
from functools import cache, partial

from hostfw.cli.output.console import Style
from hostfw.cli.output.documents import Document
from hostfw.control.channel import DaemonError, report
from hostfw.control.messages import ServiceReport
from hostfw.engine.context import Directories
from hostfw.model.wording import counted

Line = tuple[str, str, Style | None]
"""A line of the page: its label, empty where it goes on, its text, and how it is meant."""

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60))


def line(label: str, text: str, style: Style | None = None) -> Line:
    """A line of a page."""
    return label, text, style


class Service:
    """The service of a run directory, asked once."""

    def __init__(self, directories: Directories) -> None:
        self.report = cache(partial(_report, directories))

    def only_ours(self, since: int, until: int) -> bool:
        """True if the service knows that nobody but it touched our tables between two generations of nftables."""
        told = self.report()
        if not isinstance(told, ServiceReport) or told.untouched is None:
            return False
        first, last = told.untouched
        return first <= since and until <= last


def _report(directories: Directories) -> ServiceReport | DaemonError | None:
    try:
        return report(directories)
    except DaemonError as error:
        return error
    except PermissionError:
        return None


def service_lines(service: ServiceReport | DaemonError | None, now: datetime) -> Iterator[Line]:
    """The lines about the service; its absence, as in a container, is no trouble."""
    match service:
        case None:
            yield line("Service", "not running: nothing follows interfaces, logs or repairs")
        case DaemonError():
            yield line("Service", service.message, Style.WARNING)
        case ServiceReport():
            repairs = f", {counted(service.repairs, 'repair')}" if service.repairs else ""
            yield line("Service", f"running, started {age(service.started_at, now)} (pid {service.pid}){repairs}")
            if service.trouble:
                yield line("Trouble", service.trouble, Style.WARNING)
            losses = _not_logged(service)
            if losses:
                yield line("Audit", losses, Style.WARNING)


def _not_logged(service: ServiceReport) -> str:
    """Denied packets that were not logged, in words; empty if there are none."""
    if not service.listening:
        return "the log cannot be read: packets are counted, but not logged"
    found = (
        (service.lost, "came too fast"),
        (service.missed, "were missed while the service was not running"),
        (service.entries_unwritten, "were refused by the journal"),
    )
    return ", ".join(f"{number} log records {what}" for number, what in found if number)


def service_item(service: ServiceReport | DaemonError | None) -> Document | None:
    """The service for programs, None where it does not answer."""
    if not isinstance(service, ServiceReport):
        return None
    return {
        "pid": service.pid,
        "startedAt": service.started_at.isoformat(),
        "generation": service.generation,
        "trouble": service.trouble,
        "repairs": service.repairs,
        "audit": {
            "listening": service.listening,
            "records": service.records,
            "lost": service.lost,
            "missed": service.missed,
            "suppressed": service.suppressed,
            "entriesUnwritten": service.entries_unwritten,
        },
    }


def age(since: datetime, until: datetime) -> str:
    """The time since something, in the largest unit that fits."""
    seconds = int((until - since).total_seconds())
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{counted(seconds // length, unit)} ago"
    return "just now" if seconds >= 0 else "in the future: was the clock set back?"
