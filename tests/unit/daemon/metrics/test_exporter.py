"""The file for node_exporter is written, replaced, given up and reported."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hostfw.daemon.metrics.exporter import Exporter, Known, with_records
from hostfw.daemon.metrics.text import Figures
from hostfw.engine.context import Directories
from hostfw.host.errors import HostError
from hostfw.host.nftables.nf_tables import KernelCounter
from hostfw.host.store.generations.active import ActiveGeneration, save_active
from hostfw.host.store.generations.last_event import Event, EventKind, save_event
from hostfw.host.store.generations.trial import Trial, save_trial
from hostfw.model.settings import Metrics
from hostfw.model.values import Family, TableFamily

NOW = datetime(2030, 1, 1, tzinfo=UTC)
FIGURES = Figures("0.1.0", NOW, generation="abc")
PATIENCE_S = 10


class Surroundings:
    """Dependencies of the exporter: figures, counters that may not be readable, and a journal."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.packets = 0
        self.reads = 0
        self.refusal = ""

    def exporter(self) -> Exporter:
        """An exporter in this world."""
        return Exporter(lambda: Known(lambda: FIGURES, None), self.tell, self.read)

    def tell(self, trouble: str) -> None:
        """Hear what stands in the way."""
        if trouble:
            self.told.append(trouble)

    def read(self) -> Mapping[tuple[TableFamily, str], KernelCounter]:
        """One counter, with a packet more each time."""
        self.reads += 1
        if self.refusal:
            raise HostError(self.refusal)
        self.packets += 1
        return {(Family.V4, "mystery"): KernelCounter("mystery", self.packets, 60)}


def live(story: Callable[[Exporter, Surroundings], Awaitable[None]]) -> Surroundings:
    """Let a story happen to an exporter; it is closed afterwards."""
    outside = Surroundings()

    async def whole() -> None:
        exporter = outside.exporter()
        running = asyncio.create_task(exporter.run())
        async with asyncio.timeout(PATIENCE_S):
            await story(exporter, outside)
        running.cancel()
        exporter.close()

    asyncio.run(whole())
    return outside


async def until(condition: Callable[[], object]) -> None:
    """Wait for something to become true."""
    while not condition():  # noqa: ASYNC110  files and threads tell of nothing
        await asyncio.sleep(0.005)


def test_the_file_is_written_again_and_again_for_everybody(tmp_path: Path) -> None:
    """At once, and then at each interval."""
    path = tmp_path / "hostfw.prom"

    async def story(exporter: Exporter, outside: Surroundings) -> None:
        exporter.follow(Metrics(str(path), 0))
        await until(lambda: outside.reads > 2)

    outside = live(story)
    text = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o644
    assert 'hostfw_generation_info{generation="abc"} 1\n' in text
    assert 'hostfw_unaccounted_packets_total{counter="mystery",family="ipv4"} ' in text
    assert [each.name for each in tmp_path.iterdir()] == ["hostfw.prom"]
    assert outside.told == []


def test_nothing_is_read_where_nothing_is_to_be_written() -> None:
    """The default."""

    async def story(exporter: Exporter, _: Surroundings) -> None:
        exporter.follow(Metrics())
        await asyncio.sleep(0.02)

    assert live(story).reads == 0


def test_a_file_that_is_no_longer_wanted_is_removed(tmp_path: Path) -> None:
    """Its figures would be taken for the present ones; the one that is wanted instead is written at once."""
    first, second = tmp_path / "one.prom", tmp_path / "two.prom"

    async def story(exporter: Exporter, _: Surroundings) -> None:
        exporter.follow(Metrics(str(first), 3600))
        await until(first.exists)
        exporter.follow(Metrics(str(second), 3600))
        await until(second.exists)
        assert not first.exists()
        exporter.follow(Metrics())
        await until(lambda: not second.exists())

    live(story)


def test_settings_that_did_not_change_change_nothing(tmp_path: Path) -> None:
    """A reload does not write more often than the interval says."""
    metrics = Metrics(str(tmp_path / "hostfw.prom"), 3600)

    async def story(exporter: Exporter, outside: Surroundings) -> None:
        exporter.follow(metrics)
        await until(lambda: outside.reads)
        exporter.follow(metrics)
        await asyncio.sleep(0.02)

    assert live(story).reads == 1


@pytest.mark.parametrize("trouble", ["the counters", "the file"])
def test_what_cannot_be_written_is_told_once_until_it_works_again(tmp_path: Path, trouble: str) -> None:
    """Whatever stands in the way, and how often it is tried."""
    folder = tmp_path / "folder"
    path = folder / "hostfw.prom"

    async def story(exporter: Exporter, outside: Surroundings) -> None:
        for _ in range(2):
            if trouble == "the counters":
                folder.mkdir(exist_ok=True)
                outside.refusal = "reading the counters: Operation not permitted"
            before = outside.reads
            exporter.follow(Metrics(str(path), 0))
            await until(lambda: outside.reads > before + 3)  # noqa: B023  it is awaited here
            folder.mkdir(exist_ok=True)
            outside.refusal = ""
            await until(path.exists)
            exporter.follow(Metrics())
            await until(lambda: not path.exists())
            folder.rmdir()

    told = live(story).told
    reason = {
        "the counters": "reading the counters: Operation not permitted",
        "the file": f"{path} cannot be written: No such file or directory",
    }[trouble]
    assert told == [reason] * 2


def test_what_is_on_record_is_added(tmp_path: Path) -> None:
    """Of the generation that the service knows of, and of no other."""
    directories = Directories(tmp_path, tmp_path / "state", tmp_path / "run")
    assert with_records(FIGURES, directories) == FIGURES
    save_active(directories.run, ActiveGeneration("abc", NOW, 7))
    save_event(directories.state, Event(EventKind.AWAITING, NOW, "abc"))
    save_trial(directories.state, Trial("token", 1, "abc", None, False, NOW, 1.0, "boot"))

    found = with_records(FIGURES, directories)
    other = with_records(Figures("0.1.0", NOW, generation="another"), directories)

    assert (found.applied_at, found.changed, found.changed_at, found.deadline) == (
        NOW,
        "awaiting-confirmation",
        NOW,
        NOW,
    )
    assert other.applied_at is None
