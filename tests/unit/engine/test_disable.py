"""Turning hostfw off: what is done in which order, and what a failure midway leaves."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hostfw.engine.context import Directories
from hostfw.engine.disable import Disabled, Units, disable
from hostfw.engine.outcomes import Failed
from hostfw.engine.reading.block_state import BlockContext
from hostfw.host.nftables.writing.block_table import BlockTable
from hostfw.host.nftables.writing.script_runner import NftFailure
from hostfw.host.store.block import BlockRecord, save_block
from hostfw.host.store.generations.generations import accepted_number, generations
from hostfw.host.store.generations.last_event import EventKind, load_event
from tests.unit.cli_runs import WEB, Machine, machine


@dataclass(slots=True)
class FakeSystemd:
    """A systemd that has the units, or refuses."""

    refuses: str = ""
    done: list[tuple[str, ...]] = field(default_factory=list)

    def change(self, *arguments: str) -> str:
        """Note what is asked for."""
        self.done.append(arguments)
        return self.refuses

    def units(self) -> Units:
        """As `disable` takes it."""
        return Units(lambda: True, self.change)


NOWHERE = Units(lambda: False)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A host with an accepted generation in force."""
    made = machine(tmp_path, monkeypatch)
    made.write(web=WEB)
    assert made.hostfwctl("apply").status == 0
    return made


def directories(host: Machine) -> BlockContext:
    """The directories of the host, and the host."""
    folder = host.directory
    return BlockContext(Directories(folder / "etc", folder / "var", folder / "run"), host.host())


def test_nothing_of_ours_is_left_but_the_stored_generations(host: Machine) -> None:
    """And it says each step that it took, what was removed, and where it is kept."""
    here, systemd = directories(host), FakeSystemd()
    done = disable(here.directories, here.host, systemd.units())

    assert isinstance(done, Disabled)
    assert done.steps == (
        "stopped and disabled hostfw.service",
        "stopped and disabled hostfw-boot.service",
        "no boot loads a generation any more",
        "the tables ip hostfw and ip6 hostfw are removed",
    )
    assert systemd.done == [("disable", "--now", "hostfw.service"), ("disable", "--now", "hostfw-boot.service")]
    assert not host.kernel.read_tables().ip.exists
    state = here.directories.state
    assert (accepted_number(state), generations(state), done.number) == (None, (1,), 1)
    assert not (state / "last-good.nft").is_symlink()
    assert not (here.directories.run / "generation.json").exists()
    event = load_event(state)
    assert event is not None
    assert (event.kind, event.generation) == (EventKind.DISABLED, done.removed)


def test_what_waits_to_be_confirmed_and_a_block_go_too(host: Machine) -> None:
    """With the watchdog that would have rolled it back."""
    host.write(hostfw="failsafe: none\n")
    assert host.hostfwctl("apply", "--confirm-within", "90s").status == 0
    here = directories(host)
    gone = list[bool]()
    table = BlockTable((("in", 3),))

    def delete_block() -> bool:
        gone.append(True)
        return True

    blocked = replace(here.host, read_block=lambda: None if gone else table, delete_block=delete_block)
    done = disable(here.directories, blocked, NOWHERE)

    assert isinstance(done, Disabled)
    assert done.steps == (
        "the unconfirmed change is no longer on trial",
        "no boot loads a generation any more",
        "the block is taken away",
        "the tables ip hostfw and ip6 hostfw are removed",
    )
    assert (host.timers, gone) == ({}, [True])
    assert not list(here.directories.state.glob("pending*"))


def test_without_systemd_and_rules_there_is_nothing_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says so, and is done."""
    here = directories(machine(tmp_path, monkeypatch))
    here.directories.state.mkdir()
    done = disable(here.directories, here.host, NOWHERE)

    assert done == Disabled(None, None, ("there were no tables of ours",))


def test_a_unit_that_does_not_stop_keeps_the_rules(host: Machine) -> None:
    """Its service would only put them back."""
    here = directories(host)
    outcome = disable(here.directories, here.host, FakeSystemd("Access denied").units())

    assert outcome == Failed(
        "hostfw.service could not be disabled: Access denied", "`systemctl status hostfw.service` says more"
    )
    assert host.kernel.read_tables().ip.exists
    assert accepted_number(here.directories.state) == 1


def test_a_unit_that_is_not_there_need_not_stop(host: Machine) -> None:
    """As where hostfw was not installed as a package."""
    here = directories(host)
    systemd = FakeSystemd("Failed to disable unit: Unit file hostfw.service does not exist.")
    done = disable(here.directories, here.host, systemd.units())

    assert isinstance(done, Disabled)
    assert done.steps[0] == "no boot loads a generation any more"


def test_a_service_that_runs_by_itself_keeps_the_rules(host: Machine) -> None:
    """As in a container."""
    here = directories(host)
    outcome = disable(here.directories, here.host, NOWHERE, still_running=lambda: 77)

    assert outcome == Failed("the service still runs (pid 77), and would put the rules back", "`kill 77` first")
    assert host.kernel.read_tables().ip.exists


def test_a_kernel_that_refuses_keeps_the_rules_in_force(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though no boot would load them; another try finishes it."""
    here = directories(host)

    def refuse(*_: object) -> None:
        raise NftFailure("the nft worker died", unchanged=True)

    for name in ("commit", "delete"):
        if hasattr(host.kernel, name):
            monkeypatch.setattr(host.kernel, name, refuse)
    outcome = disable(here.directories, here.host, NOWHERE)
    monkeypatch.undo()

    assert isinstance(outcome, Failed)
    assert host.kernel.read_tables().ip.exists
    assert isinstance(disable(here.directories, here.host, NOWHERE), Disabled)


def test_disable_asks_for_its_option(host: Machine) -> None:
    """And says what it would do, and what stopping the service does instead."""
    status, out, err = host.hostfwctl("disable")

    assert (status, out) == (2, "")
    assert err == (
        "hostfwctl: this removes every rule of hostfw: nothing is denied afterwards\n"
        "  hint: `hostfwctl disable --remove-rules` does it; "
        "`systemctl stop hostfw` stops the service and keeps the rules\n"
    )
    assert host.kernel.read_tables().ip.exists


def test_status_says_that_it_was_disabled(host: Machine) -> None:
    """Until something is applied again."""
    here = directories(host)
    disable(here.directories, here.host, NOWHERE)
    status, out, _ = host.hostfwctl("status")

    assert status == 4
    assert "State:         nothing in force\n" in out
    assert "was taken out of force, and out of every boot: by hand" in out


def test_a_block_is_the_first_thing_that_status_says(host: Machine) -> None:
    """Since when, how much it dropped, what it keeps, and how it ends."""
    host.blocked = BlockTable((("forward", 0), ("in", 3), ("out", 4)))
    _, out, _ = host.hostfwctl("status")

    assert out.startswith(
        "BLOCKED:       nothing passes (7 packets dropped), kept: nothing but lo; `hostfwctl unblock` ends it\nState:"
    )
    host.blocked = None
    since = datetime(2030, 1, 1, tzinfo=UTC)
    save_block(
        directories(host).directories.state,
        BlockRecord(since, everything=True, kept=(), boot_id="", script="", boot_script=""),
    )
    _, out, _ = host.hostfwctl("status")

    assert out.partition("State:")[0] == (
        "BLOCKED:       no longer, although it was since 2030-01-01 00:00:00 UTC: "
        "another program took the block away; "
        "`hostfwctl lockdown` again\n"
    )


def test_an_apply_beneath_a_block_says_that_it_waits(host: Machine) -> None:
    """And with a deadline it is refused, since nobody could confirm it."""
    host.blocked = BlockTable((("in", 3),))
    host.write(hostfw="failsafe: none\n")
    refused = host.hostfwctl("apply", "--confirm-within", "90s", "--accept-lockout")
    done = host.hostfwctl("apply", "--accept-lockout")

    assert refused.status == 1
    assert refused.err == (
        "hostfwctl: the host is blocked, so no new connection could confirm it; "
        "the ruleset in force is unchanged\n"
        "  hint: `hostfwctl unblock` first, or leave out --confirm-within: nothing of it counts before\n"
    )
    assert done.status == 0
    assert "warning: the host is blocked: this counts once `hostfwctl unblock` is run\n" in done.err
