"""Figures for Prometheus, written to a file as often as the settings say."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from hostfw.audit.events import IDENTIFIER
from hostfw.engine.counted import Value, counters_of
from hostfw.engine.host import Directories
from hostfw.host.errors import HostError
from hostfw.host.events import load_event
from hostfw.host.files import WriteError, write_atomically
from hostfw.host.in_force import load_in_force
from hostfw.host.named_counters import read_counters
from hostfw.host.nf_tables import KernelCounter
from hostfw.host.pending import load_pending
from hostfw.metrics import Figures, metrics_text
from hostfw.model.plan import Plan
from hostfw.model.settings import Metrics
from hostfw.model.values import Family

_MODE = 0o644
"""Whoever runs node_exporter is nobody in particular."""
_WARNING = "4"


@dataclass(frozen=True, slots=True)
class Known:
    """What the service knows: its figures, of which the rest is read elsewhere, and the plan in force."""

    figures: Callable[[], Figures]
    plan: Plan | None


def with_records(figures: Figures, directories: Directories) -> Figures:
    """Figures with what is on record: when the generation came into force, the last change, and what waits."""
    record, _ = load_in_force(directories.run)
    event = load_event(directories.state)
    pending, _ = load_pending(directories.state)
    return replace(
        figures,
        applied_at=record.applied_at if record is not None and record.id == figures.generation else None,
        changed=event.kind.value if event is not None else "",
        changed_at=event.at if event is not None else None,
        deadline=pending.deadline if pending is not None else None,
    )


class Exporter:
    """Who writes. What cannot be written is told once, and again when it had worked in between."""

    def __init__(
        self,
        know: Callable[[], Known],
        tell: Callable[[Mapping[str, str]], None],
        read: Callable[[], Mapping[tuple[Family, str], KernelCounter]] = read_counters,
    ) -> None:
        """Writes nothing before `follow`. `know` is called in the event loop, the `figures` that it gives are not."""
        self._know = know
        self._tell = tell
        self._read = read
        self._metrics = Metrics()
        self._work: asyncio.Task[None] | None = None
        self._trouble = ""
        # One thread, so that what is removed stays so.
        self._thread = ThreadPoolExecutor(1, "exporter")

    def follow(self, metrics: Metrics) -> None:
        """Write to this file from now on, at once first; a file that is no longer written to is removed."""
        if metrics == self._metrics:
            return
        before, self._metrics = self._metrics, metrics
        self._trouble = ""
        self._stop()
        if before.textfile is not None and before.textfile != metrics.textfile:
            # Old figures would be read for ever.
            self._thread.submit(_remove, Path(before.textfile))
        if metrics.textfile is not None:
            self._work = asyncio.get_running_loop().create_task(self._keep(Path(metrics.textfile), metrics))

    def close(self) -> None:
        """Write no more; the file stays, and its age says since when."""
        self._stop()
        self._thread.shutdown()

    def _stop(self) -> None:
        if self._work is not None:
            self._work.cancel()
            self._work = None

    async def _keep(self, path: Path, metrics: Metrics) -> None:
        while True:
            known = self._know()
            work = partial(_write, path, known, self._read)
            trouble = await asyncio.get_running_loop().run_in_executor(self._thread, work)
            if trouble and not self._trouble:
                self._tell(
                    {
                        "MESSAGE": f"no figures for Prometheus: {trouble}",
                        "PRIORITY": _WARNING,
                        "SYSLOG_IDENTIFIER": IDENTIFIER,
                    }
                )
            self._trouble = trouble
            await asyncio.sleep(metrics.interval_seconds)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _write(path: Path, known: Known, read: Callable[[], Mapping[tuple[Family, str], KernelCounter]]) -> str:
    """Write the file; gives what stood in the way."""
    try:
        values = {key: Value(counter.packets, counter.bytes) for key, counter in read().items()}
        text = metrics_text(known.figures(), counters_of(known.plan, values), values)
        write_atomically(path, text.encode(), _MODE)
    except HostError as error:
        return error.message
    except WriteError as error:
        return f"{path} cannot be written: {error.strerror}"
    return ""
