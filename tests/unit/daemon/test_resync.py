"""The work of the service for interfaces, counted: how often it looks at the host, and what it starts for that."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hostfw.engine.context import Host
from hostfw.host.errors import HostError
from hostfw.host.network.interfaces.link_events import LinkNews
from hostfw.host.nftables.writing.script_runner import Nftables
from hostfw.host.workloads.reader import FOLDER, WorkloadReader
from hostfw.model.host.facts import HostFacts, Interface, Running
from hostfw.model.values import Family, host_cidr
from tests.unit.daemon.test_service import UPLINKS, World, live, serving, until

BURST_S = 0.4


class CountedWorld(World):
    """A world in which observations of the host and workers of nft are counted."""

    observations = workers = readings = 0
    observed: HostFacts | None = None
    unreadable = False

    def host(self) -> Host:
        """The host, counting."""
        host = super().host()

        def observe(node: str | None) -> HostFacts:
            self.observations += 1
            self.observed = host.observe(node)
            return self.observed

        return replace(host, observe=observe, observed=lambda: self.observed)

    def read_workloads(self) -> Running:
        """No workloads, counted; where they are `unreadable` it fails once."""
        self.readings += 1
        if self.unreadable:
            self.unreadable = False
            raise HostError("the workloads cannot be read")
        return Running()

    def write_workload(self, text: str) -> None:
        """Write a file about workloads aside and rename it, as a hook does."""
        folder = self.directories.run / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "new").write_text(text)
        (folder / "new").rename(folder / "one.yaml")

    async def has_read(self) -> None:
        """Wait until workloads were read, and what that leads to is done."""
        await until(lambda: self.readings)
        await asyncio.sleep(0.05)
        self.readings = 0

    def worker(self, *arguments: object, **named: object) -> Nftables:
        """A worker, counted."""
        self.workers += 1
        return super().worker(*arguments, **named)

    async def settled(self) -> None:
        """Wait until the service is whole and looks at nothing any more; what was counted is forgotten."""
        await until(self.is_whole)
        self.observations = 1
        while self.observations or self.workers:
            self.observations = self.workers = 0
            await asyncio.sleep(0.15)


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> CountedWorld:
    return CountedWorld(tmp_path)


def of_no_interest(number: int) -> LinkNews:
    """A veth pair of a container that comes or goes, with the address that the kernel gives it."""
    names = f"veth{number}", f"peer{number}"
    links = frozenset(Interface(name, 100 + number, kind="veth") for name in names)
    addresses = frozenset((name, host_cidr(Family.V6, (0xFE80 << 112) + number)) for name in names)
    return LinkNews(frozenset(names), links=links, addresses=addresses)


def test_interfaces_that_nobody_asks_about_cost_one_look_in_a_second(
    world: CountedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many come and go, and no worker and no write: but they are looked at."""
    monkeypatch.setattr("hostfw.daemon.resync.LATER_S", BURST_S)

    async def story() -> None:
        async with serving(world):
            await world.settled()
            committed = len(world.machine.kernel.committed)
            for number in range(50):
                world.links[-1].tell(of_no_interest(number))
                await asyncio.sleep(0.004)
            assert world.observations == 0
            await until(lambda: world.observations)
            await asyncio.sleep(0.05)
            assert (world.observations, world.workers) == (1, 0)
            assert len(world.machine.kernel.committed) == committed

    live(story())


def test_one_that_somebody_asks_about_is_seen_to_at_once_among_the_others(
    world: CountedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait of the others is not its own."""
    world.machine.write(uplink=UPLINKS)
    monkeypatch.setattr("hostfw.daemon.resync.LATER_S", 30.0)

    async def story() -> None:
        async with serving(world):
            await world.settled()
            world.links[-1].tell(of_no_interest(1))
            await asyncio.sleep(0.05)
            began = time.monotonic()
            world.plug_in("eth7")
            await until(lambda: world.told("interface eth7 is governed"))
            assert time.monotonic() - began < 5

    live(story())


def test_a_workload_has_the_network_observed_only_after_the_kernel_told_of_a_change(
    world: CountedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a change of no interest as well; and after a look that failed it is observed in any case."""
    monkeypatch.setattr("hostfw.daemon.resync.LATER_S", 30.0)
    monkeypatch.setattr(WorkloadReader, "read", lambda _: world.read_workloads())

    async def story() -> None:
        async with serving(world):
            world.write_workload("---")
            await world.settled()
            world.readings = 0
            for number in range(2):
                world.write_workload(f"--- # {number}")
                await world.has_read()
            assert world.observations == 0

            world.links[-1].tell(of_no_interest(1))
            for number in range(2, 4):
                world.write_workload(f"--- # {number}")
                await world.has_read()
            assert world.observations == 1

            world.unreadable = True
            world.write_workload("--- # 4")
            await until(lambda: world.observations == 2)

    live(story())
