"""A trial outlives what happens to the host meanwhile: interfaces that come, and a service that starts again."""

from dataclasses import replace
from pathlib import Path

import pytest

from hostfw.build.cache import EngineCache
from hostfw.build.generation import Generation
from hostfw.engine.apply.applied import Applied
from hostfw.engine.context import Directories
from hostfw.engine.engine import Engine
from hostfw.engine.reconcile import Resumed
from hostfw.host.store.codec import StateError
from hostfw.host.store.generations.active import load_active
from hostfw.host.store.generations.generations import accepted_number, generations, load_accepted
from hostfw.host.store.generations.trial import load_rollback_timer, load_trial
from hostfw.model.host.facts import HostFacts, Interface
from tests.unit.cli_runs import WEB, Machine, machine
from tests.unit.engine.trial.test_trial import NEW, OLD, WITHIN, lets_in, session, state

GROUP = """\
apiVersion: hostfw.io/v1
kind: InterfaceGroup
metadata: {name: uplinks}
spec: {match: [{name: "eth*"}]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: uplinks, labels: {role: web}}
spec: {node: web1, interfaceGroup: uplinks}
"""


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A host whose interfaces eth* are governed, with port 80 accepted and 443 on trial."""
    made = machine(tmp_path, monkeypatch)
    made.write(web=WEB, uplinks=GROUP)
    assert made.hostfwctl("apply").status == 0
    session(made, OLD)
    made.write(web=WEB.replace("80", "443"))
    assert made.hostfwctl(*WITHIN).status == 0
    return made


def service(host: Machine) -> tuple[Engine, Generation]:
    """The engine of a service that has just taken over, and what it knows to be in force."""
    folders = Directories(host.config, state(host), host.directory / "run")
    engine = Engine(folders, host.host(), cache=EngineCache())
    resumed = engine.resume()
    assert isinstance(resumed, Resumed), resumed
    generation = engine.cache.generation.generation if engine.cache else None
    assert generation is not None
    return engine, generation


def plug_in(host: Machine, name: str) -> HostFacts:
    """Let an interface appear."""
    host.facts = replace(host.facts, interfaces=(*host.facts.interfaces, Interface(name, 9)))
    return host.facts


def recorded(host: Machine) -> str:
    """The id of what is in force."""
    record, _ = load_active(host.directory / "run")
    assert record is not None
    return record.id


@pytest.mark.parametrize("how", ["the service follows", "the service starts again"])
def test_an_interface_that_comes_does_not_keep_anyone_from_confirming(host: Machine, how: str) -> None:
    """The accepted generation is the active one, for the host as it is; deadline, timer and proof are as before."""
    before, _ = load_trial(state(host))
    timer = load_rollback_timer(host.directory / "run")
    engine, current = service(host)
    plug_in(host, "eth7")
    outcome = engine.resync(current) if how == "the service follows" else service(host)[1]
    assert isinstance(outcome, Applied | Generation)

    trial, _ = load_trial(state(host))
    assert before is not None
    assert trial == replace(before, number=before.number + 1, id=recorded(host))
    assert trial.id != before.id
    assert load_rollback_timer(host.directory / "run") == timer
    old = host.hostfwctl("confirm")
    session(host, NEW)
    done = host.hostfwctl("confirm")

    assert (old.status, done.status) == (1, 0), (old.err, done.err)
    accepted, _ = load_accepted(state(host))
    assert accepted is not None
    assert accepted.id == recorded(host)
    assert "eth7" in (state(host) / "last-good.nft").read_text()
    assert lets_in(host, 443)


def test_many_interfaces_that_come_leave_one_trial(host: Machine) -> None:
    """And the way back is what was accepted before the first of them."""
    accepted = accepted_number(state(host))
    stored = len(generations(state(host)))
    engine, current = service(host)
    for number in range(5):
        plug_in(host, f"eth{number + 7}")
        outcome = engine.resync(current)
        assert isinstance(outcome, Applied)
        current = outcome.generation

    assert len(generations(state(host))) == stored
    assert accepted_number(state(host)) == accepted
    host.clock.wait(91)
    assert host.hostfwctl("status").status == 0
    assert lets_in(host, 80)
    assert not lets_in(host, 443)
    assert "eth11" in "".join(host.kernel.committed)


def test_what_cannot_be_written_down_is_said(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trial goes on, and the deadline rolls back what nobody can confirm."""
    engine, current = service(host)

    def refuse(*_: object) -> int:
        raise StateError("the generation could not be saved: the disk is full")

    monkeypatch.setattr("hostfw.engine.trial.trial.store_generation", refuse)
    plug_in(host, "eth7")
    outcome = engine.resync(current)

    assert isinstance(outcome, Applied)
    (unsaved,) = outcome.unsaved
    assert unsaved.startswith(
        "the generation could not be saved: the disk is full: what is in force cannot be confirmed"
    )
    session(host, NEW)
    assert host.hostfwctl("confirm").status == 1


@pytest.mark.parametrize("how", ["by hand", "at the deadline"])
def test_what_is_rolled_back_to_is_accepted_for_the_host_as_it_is(host: Machine, how: str) -> None:
    """An interface that came during the trial is governed by the next boot too, and the history is no longer."""
    before = generations(state(host))
    engine, current = service(host)
    plug_in(host, "eth7")
    assert isinstance(engine.resync(current), Applied)
    if how == "by hand":
        assert host.hostfwctl("rollback").status == 0
    else:
        host.clock.wait(600)
        assert engine.expire() is not None

    accepted, _ = load_accepted(state(host))
    assert accepted is not None
    assert accepted.id == recorded(host)
    assert '"eth7"' in accepted.script
    assert (lets_in(host, 80), lets_in(host, 443)) == (True, False)
    assert len(generations(state(host))) == len(before)
    assert "Accepted" not in host.hostfwctl("status").out
