"""The plan of what is in force, whatever was accepted."""

from dataclasses import replace
from pathlib import Path

import pytest

from hostfw.cli.command_line.options import Options
from hostfw.cli.input.active_plan import active_plan, mark_of
from hostfw.host.store.configuration.files import read_configuration
from hostfw.host.store.generations.active import ActiveGeneration, forget_active, save_active
from hostfw.host.store.generations.generations import load_accepted, store_generation
from tests.unit.cli_runs import UPLINK, WEB, Machine, machine


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with a policy accepted and in force."""
    made = machine(tmp_path, monkeypatch)
    made.write(web=WEB, uplink=UPLINK)
    made.hostfwctl("apply")
    return made


def options(host: Machine) -> Options:
    """The directories of the machine."""
    return Options("drops", host.config, host.directory / "var", host.directory / "run")


def policies(host: Machine) -> list[str]:
    """The policies of the plan in force."""
    known = active_plan(options(host))
    assert known is not None
    return [p.name for e in known.plan.endpoints for t in e.ingress.tiers for p in t.policies]


def test_what_was_accepted_is_in_force(host: Machine) -> None:
    """And still is after a boot, of which nothing is on record."""
    known = active_plan(options(host))
    before = policies(host)
    forget_active(host.directory / "run")

    assert known is not None
    assert known.generation == load_accepted(host.directory / "var")[0].id  # type: ignore[union-attr]
    assert before == policies(host) == ["web"]


def test_what_waits_for_its_confirmation_is_in_force(host: Machine) -> None:
    """A generation that is stored and on record, and not accepted."""
    state, run = host.directory / "var", host.directory / "run"
    accepted, _ = load_accepted(state)
    assert accepted is not None
    host.write(web=WEB.replace("name: web", "name: trial"))
    store_generation(state, replace(accepted, id="trial", configuration=read_configuration(host.config)[0]))
    before = mark_of(options(host))
    save_active(run, ActiveGeneration("trial", host.clock.now(), 1))

    known = active_plan(options(host))

    assert known is not None
    assert known.generation == "trial"
    assert policies(host) == ["trial"]
    assert mark_of(options(host)) != before


def test_what_is_in_force_without_its_sources_is_not_known(host: Machine) -> None:
    """Another generation's names and lines would be wrong ones."""
    save_active(host.directory / "run", ActiveGeneration("another", host.clock.now(), 1))

    assert active_plan(options(host)) is None


def test_before_the_first_apply_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a plan nor a mark."""
    found = options(machine(tmp_path, monkeypatch))

    assert active_plan(found) is None
    assert mark_of(found) == (None, None)
