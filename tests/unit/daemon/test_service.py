"""The service under failures: of everything that it meets, one thing at a time, on a host and a kernel in memory."""

import asyncio
import errno
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any, cast

import pytest

from hostfw.build.refused import Refused
from hostfw.control.channel import report
from hostfw.control.client import ask
from hostfw.control.messages import Apply, InForceNow, ServiceReport
from hostfw.control.presence import Presence
from hostfw.daemon.audit.log_reader import Audit, AuditHost
from hostfw.daemon.dependencies import Dependencies
from hostfw.daemon.expiries import Expiries
from hostfw.daemon.metrics.exporter import Exporter
from hostfw.daemon.repair.forgotten_connections import ForgottenConnections
from hostfw.daemon.repair.repair import Repairer
from hostfw.daemon.reports.notifier import Notifier
from hostfw.daemon.resync import Resync
from hostfw.daemon.retries import backoff
from hostfw.daemon.retries.listening import Listening
from hostfw.daemon.retries.saving import Saving
from hostfw.daemon.service import Service
from hostfw.daemon.takeover import BOOT_RULES, Takeover
from hostfw.engine.apply import acceptance
from hostfw.engine.context import Directories, Host
from hostfw.engine.engine import Engine
from hostfw.engine.kernel.state import record
from hostfw.engine.outcomes import Failed
from hostfw.host.errors import HostError
from hostfw.host.lock import LockHeld
from hostfw.host.netlink.messages import NetlinkError
from hostfw.host.network.interfaces.link_events import LinkNews
from hostfw.host.nftables.nflog import NflogRecord
from hostfw.host.nftables.writing.script_runner import Nftables
from hostfw.host.nftables.writing.transactions import NftNews, Touched, Transaction, What
from hostfw.host.store.codec import StateError
from hostfw.host.store.generations.generations import load_accepted
from hostfw.journal.message_ids import MessageId
from hostfw.model.host.facts import Interface
from hostfw.model.values import Family
from lab.fakes.fake_events import FakeLinkEvents, FakeNftEvents
from lab.fakes.fakes import FakeJournal
from tests.unit.cli_runs import FACTS, UPLINK, WEB, Machine
from tests.unit.engine.trial.test_trial import lets_in

PATIENCE_S = 60.0
UPLINKS = "---\n".join((UPLINK, UPLINK.replace("name: uplink", "name: other").replace("eth0", "eth7")))
"""An endpoint beside it whose interface is not there yet."""
_OTHER = f"""{WEB.replace("name: web", "name: other").replace("[80]", "[81]")}\
      source: {{selector: list == 'bad'}}
"""
_LISTED = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: bad, labels: {list: bad}}
spec: {nets: [192.0.2.0/25, 198.51.100.0/24]}
"""


class Faults:
    """Failures to inject, by a name: those that are still to come."""

    def __init__(self) -> None:
        self.due: dict[str, list[Exception]] = {}
        self.met: list[str] = []

    def add(self, name: str, *errors: Exception) -> None:
        """Have these be raised, one each time."""
        self.due.setdefault(name, []).extend(errors)

    def meet(self, name: str) -> None:
        """Fail if that is due."""
        if self.due.get(name):
            self.met.append(name)
            raise self.due[name].pop(0)

    def wrap(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, failing where that is due."""

        def wrapped(*arguments: object, **named: object) -> Any:  # noqa: ANN401  what the function gives
            self.meet(name)
            return function(*arguments, **named)

        return wrapped


class Log:
    """A log that an event loop can watch, and in which nothing comes."""

    lost = overruns = 0

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()

    def fileno(self) -> int:
        """Never readable."""
        return self._ours.fileno()

    def wait(self, _: float | None) -> bool:
        """Nobody here waits without the loop."""
        raise AssertionError

    def read(self) -> tuple[NflogRecord, ...]:
        """Nothing."""
        return ()

    def close(self) -> None:
        """Leave the group."""
        self._ours.close()
        self._theirs.close()


class World:
    """A service, and everything that it meets."""

    def __init__(self, directory: Path) -> None:
        self.machine = Machine(directory)
        self.machine.config.mkdir()
        self.machine.write(web=WEB, uplink=UPLINK)
        self.faults = Faults()
        self.journal = FakeJournal()
        self.nft: list[FakeNftEvents] = []
        self.links: list[FakeLinkEvents] = []
        self.readers: list[Log] = []
        self.committing: Event | None = None
        self.is_committing = Event()
        self.directories = Directories(*(directory / name for name in ("etc", "var", "run")))

    def host(self) -> Host:
        """The host, with its failures."""
        host = self.machine.host()
        names = ("observe", "read_tables", "read_some", "read_generation", "lock", "announce")
        wrapped: dict[str, Any] = {name: self.faults.wrap(name, getattr(host, name)) for name in names}
        return replace(host, **wrapped)

    def worker(self, *_: object, **__: object) -> Nftables:
        """The fake that commits, for the engine and for base protection alike."""
        world = self

        class Worker:
            def __getattr__(self, name: str) -> Any:  # noqa: ANN401  what the kernel in memory has
                return world.faults.wrap(name, getattr(world.machine.kernel, name))

            def commit(self, script: str) -> object:
                world.faults.meet("commit")
                if world.committing is not None:
                    world.is_committing.set()
                    world.committing.wait(PATIENCE_S)
                return world.machine.kernel.commit(script)

            def close(self) -> None:
                """Nothing was open."""

        return cast("Nftables", Worker())

    def outside(self) -> Dependencies:
        """The dependencies of the service."""

        def listen_nft() -> FakeNftEvents:
            self.faults.meet("listen nft")
            made = FakeNftEvents()
            made.read = self.faults.wrap("read nft", made.read)  # type: ignore[method-assign]
            self.nft.append(made)
            return made

        def listen_links() -> FakeLinkEvents:
            self.faults.meet("listen links")
            made = FakeLinkEvents()
            made.read = self.faults.wrap("read links", made.read)  # type: ignore[method-assign]
            self.links.append(made)
            return made

        def open_reader(*_: int) -> Log:
            self.faults.meet("open reader")
            self.readers.append(Log())
            self.readers[-1].read = self.faults.wrap("read log", self.readers[-1].read)  # type: ignore[method-assign]
            return self.readers[-1]

        audit = AuditHost(open_reader, lambda: None, lambda _: "eth0")
        return Dependencies(self.journal, self.worker, self.host(), audit, listen_nft, listen_links)

    # ------------------------------------------------------------------------------------------- what happens to it

    def flush(self) -> None:
        """Another program removes every rule, and nftables reports it."""
        kernel = self.machine.kernel
        kernel.meddle("delete table ip hostfw\ndelete table ip6 hostfw")
        touched = tuple(Touched(family, What.TABLE, "hostfw", 0, 1) for family in Family)
        self.tell(NftNews(kernel.generation, (Transaction(kernel.generation, 99, 99, "nft", False, touched),)))

    def tell(self, news: NftNews) -> None:
        """Have nftables tell something."""
        self.nft[-1].tell(news)

    def plug_in(self, name: str) -> None:
        """Have an interface come."""
        interface = Interface(name, 9, addresses=())
        self.machine.facts = replace(FACTS, interfaces=(*FACTS.interfaces, interface))
        self.links[-1].tell(LinkNews(frozenset({name})))

    # ------------------------------------------------------------------------------------------------ what is seen

    def told(self, words: str) -> list[str]:
        """The messages so far that hold some words."""
        return [entry["MESSAGE"] for entry in self.journal.sent if words in entry["MESSAGE"]]

    def engine(self) -> Engine:
        """The engine of a client."""
        return Engine(self.directories, self.machine.host())

    def report(self) -> ServiceReport:
        """The service's report, once it listens."""
        deadline = time.monotonic() + PATIENCE_S
        while (found := report(self.engine().directories)) is None:
            assert time.monotonic() < deadline, "nobody listens"
            time.sleep(0.01)
        return found

    def is_whole(self) -> bool:
        """True if the kernel holds what was accepted, nothing else, and the service says so."""
        engine = self.engine()
        status = engine.status()
        assert not isinstance(status, Failed)
        found = self.report()
        return (
            status.in_force
            and not status.drift
            and status.record is not None
            and found.generation == status.record.id
            and not found.trouble
        )


@pytest.fixture(name="world")
def _world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(backoff, "RETRY_FIRST_S", 0.02)
    monkeypatch.setattr(backoff, "RETRY_LONGEST_S", 0.05)
    monkeypatch.setattr("hostfw.daemon.repair.change_tracker.PATIENCE_S", 0.001)
    return World(tmp_path)


@asynccontextmanager
async def serving(world: World) -> AsyncIterator["asyncio.Task[None]"]:
    """The service, until the block ends; it must end well."""
    service = asyncio.create_task(Service(world.directories, world.outside()).run())
    try:
        yield service
    finally:
        if not service.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(service, PATIENCE_S)


async def until(holds: Callable[[], object]) -> None:
    """Wait until something holds; it is asked on a thread, since it may ask the service."""
    async with asyncio.timeout(PATIENCE_S):
        while not await asyncio.to_thread(holds):  # noqa: ASYNC110  threads tell of nothing
            await asyncio.sleep(0.01)


def live(story: Coroutine[object, object, None]) -> None:
    """Let a story happen."""
    asyncio.run(story)


FAILURES: list[Exception] = [NetlinkError(errno.ENOBUFS, "reading"), OSError(errno.ENOSPC, "nobody thought of this")]
IDS = ["ENOBUFS", "unexpected"]


@pytest.mark.parametrize("failure", FAILURES, ids=IDS)
@pytest.mark.parametrize("name", ["observe", "read_tables", "lock", "commit", "read_some"])
def test_a_failure_at_the_start_passes(world: World, name: str, failure: Exception) -> None:
    """The log is read, interfaces are followed, and what stood in the way is said for as long as it does."""
    world.faults.add(name, *([failure] * 3))

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            assert world.readers
            world.plug_in("eth7")
            await until(lambda: world.machine.kernel.committed)

    live(story())
    assert set(world.faults.met) == {name}


def test_a_lock_that_another_holds_for_long_is_waited_for(world: World) -> None:
    """Meanwhile the service says that it is not there yet, and why."""
    world.faults.add("lock", *([LockHeld("another process is changing the ruleset")] * 20))

    async def story() -> None:
        async with serving(world):
            await until(lambda: "another process is changing the ruleset" in world.report().trouble)
            assert not (await asyncio.to_thread(world.report)).generation
            await until(world.is_whole)

    live(story())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("observe", "its stored script is in force"),
        ("lock", "base protection alone is in force"),
        ("read_tables", "it cannot be had"),
    ],
)
def test_the_start_of_what_was_accepted_is_tried_again_as_well(world: World, name: str, words: str) -> None:
    """With the boot's rules gone base protection comes first, and what can be had follows until all of it is there."""

    async def first() -> None:
        async with serving(world):
            await until(world.is_whole)

    async def second() -> None:
        async with serving(world):
            await until(lambda: words in world.report().trouble)
            await until(world.is_whole)
            assert world.readers

    live(first())
    world.machine.kernel.meddle("delete table ip hostfw\ndelete table ip6 hostfw")
    world.readers.clear()
    world.faults.add(name, *([HostError("it cannot be had")] * 30))
    live(second())


def test_a_configuration_that_is_refused_at_the_first_start_leaves_base_protection_and_says_so(world: World) -> None:
    """It is the user's to mend, and then everything is well without another start."""
    world.machine.write(web="kind: Nonsense\n")

    async def story() -> None:
        async with serving(world):
            await until(lambda: "nothing was ever accepted" in world.report().trouble)
            assert "base protection alone is in force" in (await asyncio.to_thread(world.report)).trouble
            assert world.readers
            world.machine.write(web=WEB)
            answer = await asyncio.to_thread(ask, world.engine(), Apply())
            assert isinstance(answer, InForceNow)
            await until(world.is_whole)

    live(story())


@pytest.mark.parametrize("text", ["", "["], ids=["empty", "cut off"])
def test_systemd_does_not_wait_for_what_was_accepted_where_it_cannot_be_read(
    world: World, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Since that does not pass: the rules of before stay, the trouble says why, and the next reload mends it."""
    ready: list[str] = []

    async def first() -> None:
        async with serving(world):
            await until(world.is_whole)

    async def second() -> None:
        async with serving(world):
            await until(lambda: ready)
            assert "generation.json" in ready[0]
            assert BOOT_RULES in (await asyncio.to_thread(world.report)).trouble
            answer = await asyncio.to_thread(ask, world.engine(), Apply())
            assert isinstance(answer, InForceNow)
            await until(world.is_whole)
        assert len(ready) == 1

    live(first())
    for path in world.directories.state.rglob("generation.json"):
        path.write_text(text)
    monkeypatch.setattr("hostfw.daemon.service.READY_PATIENCE_S", 3600.0)
    monkeypatch.setattr(Notifier, "ready", lambda _, status: ready.append(status))
    live(second())


@pytest.mark.parametrize("failure", FAILURES, ids=IDS)
@pytest.mark.parametrize("name", ["read_tables", "lock", "commit", "read_some"])
def test_damage_is_remembered_until_it_is_repaired(world: World, name: str, failure: Exception) -> None:
    """However often and in whatever way the repair fails; then nothing is left of the trouble."""

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            world.faults.add(name, *([failure] * 4))
            world.flush()
            await until(lambda: world.told("is restored: nft"))
            await until(world.is_whole)
            assert name in world.faults.met

    live(story())


@pytest.mark.parametrize("times", [1, 3])
def test_what_a_change_could_not_remove_is_removed_later(world: World, times: int) -> None:
    """The change itself counts; nobody else is said to have been at our tables meanwhile."""

    def there() -> set[str]:
        tables = world.machine.kernel.read_names()
        chains = {chain.name for table in tables.every for chain in table.chains}
        return chains | {one.name for table in tables.every for one in table.sets}

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            alone = there()
            world.machine.write(other=f"{_OTHER}---\n{_LISTED}")
            assert isinstance(await asyncio.to_thread(ask, world.engine(), Apply()), InForceNow)
            assert there() - alone
            world.faults.add("delete", *([NetlinkError(errno.ENOBUFS, "deleting unused objects")] * times))
            world.machine.write(other="")
            answer = await asyncio.to_thread(ask, world.engine(), Apply())
            assert isinstance(answer, InForceNow)
            assert [warning for warning in answer.warnings if "unused objects could not be removed" in warning]
            await until(lambda: there() == alone)
            await until(world.is_whole)

    live(story())
    assert world.faults.met == ["delete"] * times
    assert not world.told("another program")


@pytest.mark.parametrize("failure", FAILURES, ids=IDS)
@pytest.mark.parametrize("name", ["observe", "lock"])
def test_an_interface_is_followed_in_the_end(world: World, name: str, failure: Exception) -> None:
    """Whatever failed at first."""
    world.machine.write(uplink=UPLINKS)

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            world.faults.add(name, *([failure] * 4))
            world.plug_in("eth7")
            # What was under way already may have seen the interface: what comes after it meets the failure.
            await until(lambda: name in world.faults.met)
            await until(lambda: world.told("interface eth7 is governed"))
            await until(world.is_whole)

    live(story())


@pytest.mark.parametrize("failure", FAILURES, ids=IDS)
def test_a_listener_that_fails_is_replaced(world: World, failure: Exception) -> None:
    """Changes to tables and host in between are found."""
    world.machine.write(uplink=UPLINKS)

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            world.faults.add("listen nft", failure)
            world.faults.add("read nft", failure)
            world.machine.kernel.meddle("delete table ip hostfw\ndelete table ip6 hostfw")
            world.tell(NftNews())
            await until(lambda: len(world.nft) == 2)
            await until(world.is_whole)

            world.faults.add("listen links", failure)
            world.faults.add("read links", failure)
            world.plug_in("eth7")
            await until(lambda: len(world.links) == 2)
            await until(lambda: world.told("interface eth7 is governed"))
            await until(world.is_whole)

    live(story())
    assert all(listener.is_closed for listener in world.nft)
    assert all(listener.is_closed for listener in world.links)


@pytest.mark.parametrize("which", ["nft", "links", "readers"])
def test_a_listener_that_is_closed_under_the_loop_is_replaced(
    world: World, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """Nothing comes of its descriptor any more, and no error either: it is looked at as often as the watchdog asks."""
    monkeypatch.setattr("hostfw.daemon.service.IDLE_S", 0.05)
    monkeypatch.setattr("hostfw.daemon.audit.log_reader.RETRY_S", 0.05)

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            listeners: list[Any] = getattr(world, which)
            ours, theirs = socket.socketpair()
            os.dup2(ours.fileno(), listeners[-1].fileno())
            await until(lambda: len(listeners) == 2)
            await until(world.is_whole)
            if which == "nft":
                world.flush()
                await until(lambda: world.told("is restored"))
            ours.close()
            theirs.close()

    live(story())


@pytest.mark.parametrize("failure", FAILURES, ids=IDS)
def test_listeners_that_cannot_be_opened_at_the_start_are_opened_later(world: World, failure: Exception) -> None:
    """And it is said meanwhile."""
    world.faults.add("listen nft", *([failure] * 3))
    world.faults.add("listen links", *([failure] * 3))

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            assert world.told("nftables events cannot be read")
            world.flush()
            await until(lambda: world.told("is restored: nft"))

    live(story())


def test_figures_that_cannot_be_written_are_trouble_until_they_can(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is raised."""
    world.machine.write(hostfw=f"metrics: {{textfile: {world.directories.run}/figures.prom, intervalSeconds: 3600}}\n")
    world.faults.add("write", ValueError("nobody thought of this"), HostError("no"))
    monkeypatch.setattr("hostfw.daemon.metrics.exporter._write", world.faults.wrap("write", lambda *_: ""))

    async def story() -> None:
        async with serving(world):
            await until(lambda: not world.faults.due["write"])
            await until(world.is_whole)

    live(story())
    assert world.told("no figures for Prometheus: ValueError: nobody thought of this")


def test_a_request_that_fails_unexpectedly_is_answered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one is carried out; what the engine remembered is not relied upon."""
    monkeypatch.setattr(Engine, "rollback", world.faults.wrap("rollback", Engine.rollback))

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            world.faults.add("commit", ValueError("nobody thought of this"))
            world.machine.write(web=WEB.replace("80", "81"))
            answer = await asyncio.to_thread(ask, world.engine(), Apply())
            assert isinstance(answer, Failed)
            assert "ValueError: nobody thought of this" in answer.message
            await until(lambda: world.told("a defect of hostfw"))
            await until(world.is_whole)
            assert isinstance(await asyncio.to_thread(ask, world.engine(), Apply()), InForceNow)

    live(story())


def test_a_refused_request_is_the_clients_business(world: World) -> None:
    """It leaves no trouble behind, and neither does a refused reload: the doctor reads the directory for itself."""

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            world.machine.write(web="kind: Nonsense\n")
            assert isinstance(await asyncio.to_thread(ask, world.engine(), Apply()), Refused)
            assert not (await asyncio.to_thread(world.report)).trouble

    live(story())


def test_what_could_not_be_saved_is_saved_in_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anybody who requests it, and the trouble passes with it."""
    state = "hostfw.engine.apply.acceptance.accept"
    accept = world.faults.wrap("accept", getattr(acceptance, "accept"))  # noqa: B009  it is not its own
    monkeypatch.setattr(state, accept)

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            world.faults.add("accept", *([StateError("the generation could not be saved: the disk is full")] * 20))
            world.machine.write(web=WEB.replace("80", "81"))
            answer = await asyncio.to_thread(ask, world.engine(), Apply())
            assert isinstance(answer, InForceNow)
            assert answer.unsaved
            await until(lambda: "the disk is full" in world.report().trouble)
            await until(world.is_whole)
            stored, _ = load_accepted(world.directories.state)
            assert stored is not None
            assert stored.id == answer.generation

    live(story())


def test_no_room_anywhere_leads_to_no_earlier_policy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An old record that cannot be removed is no other hostfwctl's: what was said to be in force stays so."""
    full = StateError("the disk is full")
    for name, module in (("save_active", record), ("forget_active", record), ("accept", acceptance)):
        path = f"{module.__name__}.{name}"
        monkeypatch.setattr(path, world.faults.wrap(name, getattr(module, name)))

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            for name in ("save_active", "forget_active", "accept"):
                world.faults.add(name, *([full] * 1000))
            world.machine.write(web=WEB.replace("80", "81"), uplink=UPLINKS)
            answer = await asyncio.to_thread(ask, world.engine(), Apply())
            assert isinstance(answer, InForceNow)
            assert answer.unsaved
            world.plug_in("eth7")
            await until(lambda: world.told("interface eth7 is governed"))
            assert lets_in(world.machine, 81)
            assert not lets_in(world.machine, 80)
            await until(lambda: "could not be noted in the run directory" in world.report().trouble)
            world.faults.due.clear()
            await until(world.is_whole)
            assert lets_in(world.machine, 81)
            assert not lets_in(world.machine, 80)

    live(story())


def test_base_protection_does_not_stay_above_what_was_just_repaired(world: World) -> None:
    """It may be sent while a repair is ending: what is in force is looked at once more."""

    async def story() -> None:
        service = Service(world.directories, world.outside())
        task = asyncio.create_task(service.run())
        await until(world.is_whole)
        service._repairer._is_exposed.set()
        await until(lambda: world.told("as base protection had been restored"))
        await until(world.is_whole)
        assert lets_in(world.machine, 80)
        assert not _undone(world)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(task, PATIENCE_S)

    live(story())


def test_a_script_gives_way_to_what_builds_and_interfaces_are_followed_again(world: World) -> None:
    """As where the host could not be looked at while something was put right."""

    async def story() -> None:
        service = Service(world.directories, world.outside())
        task = asyncio.create_task(service.run())
        await until(world.is_whole)
        world.faults.add("observe", *([HostError("the host cannot be read")] * 6))
        world.plug_in("eth7")
        await until(lambda: "interfaces could not be followed" in world.report().trouble)
        await asyncio.get_running_loop().run_in_executor(None, service._writer._told, None)
        await until(lambda: "does not compile on this host" in world.report().trouble or world.is_whole())
        await until(world.is_whole)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(task, PATIENCE_S)

    live(story())


@pytest.mark.parametrize("step", ["activate", "delete", "read_some"])
def test_what_failed_midway_is_no_other_programs_doing(world: World, step: str) -> None:
    """The journal says that our own change failed, and what was accepted is in force."""

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            world.faults.add(step, ValueError("nobody thought of this"))
            world.machine.write(web=WEB.replace("80", "81"))
            answer = await asyncio.to_thread(ask, world.engine(), Apply())
            assert isinstance(answer, Failed)
            await until(lambda: world.told("as a change had failed midway"))
            await until(world.is_whole)
            assert lets_in(world.machine, 80)
            assert not lets_in(world.machine, 81)
            assert not _undone(world)

    live(story())


def _undone(world: World) -> list[dict[str, str]]:
    """Messages about changes of other programs."""
    return [entry for entry in world.journal.sent if entry.get("MESSAGE_ID") == MessageId.TABLES_RESTORED]


TASKS = [
    (Repairer, "run"),
    (Repairer, "protect"),
    (Resync, "run"),
    (Resync, "note_masters"),
    (Expiries, "run"),
    (Presence, "run"),
    (Service, "_watch_callbacks"),
    (Listening, "run"),
    (Audit, "run"),
    (ForgottenConnections, "run"),
    (Exporter, "run"),
    (Service, "_live"),
    (Service, "_reload"),
    (Saving, "run"),
    (Takeover, "run"),
]


@pytest.mark.parametrize("how", ["raises", "ends"])
@pytest.mark.parametrize(("owner", "task"), TASKS, ids=[f"{owner.__name__}.{task}" for owner, task in TASKS])
def test_a_task_that_cannot_go_on_ends_the_process(
    world: World, monkeypatch: pytest.MonkeyPatch, owner: type, task: str, how: str
) -> None:
    """It does not go on without: systemd starts it anew over rules that last."""
    if (owner, how) == (Takeover, "ends"):
        pytest.skip("that one is to end")

    async def broken(*_: object) -> None:
        await asyncio.sleep(0.05)
        if how == "raises":
            raise ValueError("nobody thought of this")

    monkeypatch.setattr(owner, task, broken)

    async def story() -> None:
        await asyncio.wait_for(Service(world.directories, world.outside()).run(), PATIENCE_S)

    with pytest.raises(ExceptionGroup) as caught:
        live(story())

    expected = "nobody thought of this" if how == "raises" else "has ended"
    assert expected in str(caught.value.exceptions[0])
    assert world.told(expected)


@pytest.mark.parametrize("owner", [Repairer, Resync])
def test_a_callback_of_the_loop_that_fails_ends_the_process(
    world: World, monkeypatch: pytest.MonkeyPatch, owner: type
) -> None:
    """The loop itself would only write a line and go on without what was heard."""

    def broken(*_: object) -> None:
        raise ValueError("nobody thought of this")

    async def story() -> None:
        service = asyncio.create_task(Service(world.directories, world.outside()).run())
        await until(lambda: world.nft and world.links and world.machine.kernel.committed)
        monkeypatch.setattr(owner, "note", broken)
        world.flush()
        world.plug_in("eth7")
        await asyncio.wait_for(service, PATIENCE_S)

    monkeypatch.setattr(owner, "note", broken)
    with pytest.raises(ExceptionGroup):
        live(story())
    assert world.told("nobody thought of this")


def test_a_stop_during_an_apply_waits_for_it_and_answers(world: World) -> None:
    """Whoever waits for the next turn is sent to do it without the service."""

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            world.machine.write(web=WEB.replace("80", "81"))
            world.committing = Event()
            first = asyncio.create_task(asyncio.to_thread(ask, world.engine(), Apply()))
            await until(world.is_committing.is_set)
            second = asyncio.create_task(asyncio.to_thread(ask, world.engine(), Apply()))
            await asyncio.sleep(0.1)
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.1)
            committing, world.committing = world.committing, None
            committing.set()
            answers = await asyncio.gather(first, second)
            assert all(isinstance(answer, InForceNow) for answer in answers), answers
            assert [answer.unchanged for answer in answers if isinstance(answer, InForceNow)] == [False, True]

    live(story())
    assert not world.told("defect")


def test_a_stop_while_it_starts_is_heard(world: World) -> None:
    """Whatever keeps it from starting."""
    world.faults.add("lock", *([LockHeld("another process is changing the ruleset")] * 10_000))

    async def story() -> None:
        async with serving(world):
            await until(lambda: "another process" in world.report().trouble)

    live(story())


def test_what_is_not_saved_is_trouble_until_it_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk: in force all the same, and whoever looks is told for as long as a reboot undoes it."""

    async def story() -> None:
        async with serving(world):
            await until(world.is_whole)
            world.machine.write(web=WEB.replace("80", "443"))
            with monkeypatch.context() as patch:
                patch.setattr("hostfw.build.cache.save_accepted", _no_room)
                reply = await asyncio.to_thread(ask, world.engine(), Apply())
                assert isinstance(reply, InForceNow)
                (unsaved,) = reply.unsaved
                assert unsaved == "the generation could not be saved: after a reboot an earlier generation is in force"
                assert (await asyncio.to_thread(world.report)).trouble == unsaved
            await asyncio.to_thread(ask, world.engine(), Apply())
            await until(world.is_whole)

    live(story())


def _no_room(*_: object, **__: object) -> int:
    raise StateError("the generation could not be saved")
