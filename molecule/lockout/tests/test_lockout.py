"""The best-known accident of firewall roles, as often as LOCKOUT_RUNS says: each time the host comes back by itself."""

import json
import os
import signal
import subprocess
from functools import partial
from time import monotonic

import pytest

from conftest import PLAY_PATIENCE_S, command, environment, wait_until

RUNS = range(int(os.environ.get("LOCKOUT_RUNS", "5")))
HOSTS = ("hfm-lockout12", "hfm-lockout13")
CONFIRM_WITHIN_S = 12
# What connecting, the timer's accuracy and loading a ruleset take on a busy machine.
SLACK_S = 6


@pytest.fixture
def state(inside):
    """The enforced rules and the files in /etc of a host, read without its network."""

    def look(name):
        status = json.loads(inside(name, "hostfwctl", "status", "-o", "json"))
        files = inside(name, "sh", "-c", "cat /etc/hostfw/*.yaml | sha256sum")
        return status["generation"], status["accepted"], status["inForce"], status["confirmation"], files

    return look


@pytest.fixture
def before(state):
    """The state of all hosts before the accident, which no accident may change."""
    found = {name: state(name) for name in HOSTS}
    assert all(waits is None for *_, waits, _ in found.values()), found
    return found


@pytest.fixture
def came_back(inside):
    """True if the last event of a host is that a generation was in force and was rolled back."""

    def look(name):
        event = json.loads(inside(name, "hostfwctl", "status", "-o", "json"))["lastEvent"]
        return event["kind"] == "rolled-back"

    return look


def test_a_policy_that_cuts_ssh_is_refused_at_first(play, before, state):
    """Unless it is said to be meant, hostfw finds that Ansible's own connection would be lost, and changes nothing."""
    done = play("cut", "-e", '{"accept_lockout": false}')

    assert done.status == 2, done.text
    for name in HOSTS:
        assert "did not put" in done.text
        assert "ssh" in done.text.partition("did not put")[2]
        assert state(name) == before[name]


@pytest.mark.parametrize("run", RUNS)
def test_a_policy_that_cuts_ssh_comes_back_by_itself(run, play, before, state, machines, connects, came_back):
    """The play fails and says what happened, and everything is as it was."""
    done = play("cut")

    assert done.status == 2, done.text
    for name in HOSTS:
        assert f"{name} enforces generation {before[name][0]} as before" in done.text
        assert came_back(name), done.text
        assert connects(None, machines.address(name), 22)
        assert state(name) == before[name]


@pytest.mark.parametrize("run", RUNS)
def test_the_host_comes_back_when_the_controller_dies(
    run, scenario, before, state, machines, connects, inside, came_back
):
    """Ansible is killed while the cut is in force; new connections get in again within the window."""
    playing = subprocess.Popen(
        command(scenario, "cut"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        cwd=scenario,
        env=environment(),
        start_new_session=True,
    )
    try:
        for name in HOSTS:
            status = partial(inside, name, "hostfwctl", "status", "-o", "json")
            wait_until(lambda status=status: '"secondsLeft"' in status(), PLAY_PATIENCE_S)
    finally:
        os.killpg(playing.pid, signal.SIGKILL)
        playing.wait()
    died = monotonic()

    for name in HOSTS:
        left_s = CONFIRM_WITHIN_S + SLACK_S - (monotonic() - died)
        wait_until(lambda name=name: connects(None, machines.address(name), 22), left_s)
        wait_until(lambda name=name: state(name) == before[name], 5)
        assert came_back(name)


def test_the_next_run_needs_nothing_but_to_be_started(play, machines):
    """After all accidents the configuration that was there is put there again without a change."""
    done = play("converge")

    assert done.status == 0, done.text
    assert {name: done.changed(name) for name in machines} == dict.fromkeys(HOSTS, 0)
