"""Figures for Prometheus, written to a file as often as the settings say."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from hostfw.daemon.metrics.text import Figures, metrics_text
from hostfw.daemon.retries.backoff import Retry
from hostfw.engine.context import Directories
from hostfw.engine.kernel.counts.counters import Value, counters_of
from hostfw.host.errors import HostError
from hostfw.host.nftables.named_counters import read_counters
from hostfw.host.nftables.nf_tables import KernelCounter
from hostfw.host.store.atomic_files import WriteError, write_atomically
from hostfw.host.store.generations.active import load_active
from hostfw.host.store.generations.last_event import load_event
from hostfw.host.store.generations.trial import load_trial
from hostfw.model.plan import Plan
from hostfw.model.settings import Metrics
from hostfw.model.values import TableFamily

_MODE = 0o644
"""Whoever runs node_exporter is nobody in particular."""


@dataclass(frozen=True, slots=True)
class Known:
    """Data that the service has for metrics: its own figures, and the active plan."""

    figures: Callable[[], Figures]
    plan: Plan | None


def with_records(figures: Figures, directories: Directories) -> Figures:
    """Figures with what is on record: when the generation came into force, the last change, and what waits."""
    record, _ = load_active(directories.run)
    event = load_event(directories.state)
    pending, _ = load_trial(directories.state)
    return replace(
        figures,
        applied_at=record.applied_at if record is not None and record.id == figures.generation else None,
        changed=event.kind.value if event is not None else "",
        changed_at=event.at if event is not None else None,
        deadline=pending.deadline if pending is not None else None,
    )


class Exporter:
    """Writes the file. `trouble` hears of what stands in the way, once, and with nothing when it has passed."""

    def __init__(
        self,
        know: Callable[[], Known],
        trouble: Callable[[str], None],
        read: Callable[[], Mapping[tuple[TableFamily, str], KernelCounter]] = read_counters,
    ) -> None:
        """Writes nothing before `run`. `know` is called in the event loop, the `figures` that it gives are not."""
        self._know = know
        self._tell = trouble
        self._read = read
        self._metrics = Metrics()
        self._old: set[str] = set()
        self._changed = asyncio.Event()
        self._trouble = ""
        # One thread, so that what is removed stays so.
        self._thread = ThreadPoolExecutor(1, "exporter")

    def follow(self, metrics: Metrics) -> None:
        """Write to this file from now on, at once first; a file that is no longer written to is removed."""
        if metrics == self._metrics:
            return
        before, self._metrics = self._metrics, metrics
        if before.textfile is not None and before.textfile != metrics.textfile:
            self._old.add(before.textfile)
        self._note("")
        self._changed.set()

    async def run(self) -> None:
        """Write the file as often as the settings say, and again where it could not be written."""
        retry = Retry()
        while True:
            self._changed.clear()
            metrics, trouble = self._metrics, ""
            # Old figures would be read for ever.
            old, self._old = self._old - {metrics.textfile or ""}, set()
            if old:
                await self._do(partial(_remove, old))
            if metrics.textfile is not None:
                trouble = await self._do(partial(_write, Path(metrics.textfile), self._know(), self._read))
                if not self._changed.is_set():
                    self._note(trouble)
            wait_s: float | None = None if metrics.textfile is None else metrics.interval_seconds
            if trouble:
                wait_s = min(metrics.interval_seconds, retry.failed())
            else:
                retry.succeeded()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()

    async def _do(self, work: Callable[[], str]) -> str:
        """Do something on the thread; gives what stood in the way, whatever it was."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except Exception as error:  # noqa: BLE001  figures are not worth the service
            return f"{type(error).__name__}: {error}"

    def _note(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._tell(trouble)

    def close(self) -> None:
        """Write no more; the file stays, and its age says since when."""
        self._thread.shutdown()


def _remove(paths: Collection[str]) -> str:
    """Remove files that are not written to any more; one that cannot be removed is left to its owner."""
    for path in paths:
        with suppress(OSError):
            Path(path).unlink()
    return ""


def _write(path: Path, known: Known, read: Callable[[], Mapping[tuple[TableFamily, str], KernelCounter]]) -> str:
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
