"""Another program in the midst of the commit of a stored script: it is sent again, and nothing else called ours."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hostfw.host.nftables.writing.script_runner import NftResult
from hostfw.model.values import Family
from tests.unit.cli_runs import UPLINK, WEB, Machine, machine
from tests.unit.engine.apply.test_edits_meanwhile import flush_at
from tests.unit.engine.trial.test_trial import broken, lets_in, status

WITHIN = ("apply", "--confirm-within", "90s")
STEPS = ("check", "commit", "amend", "delete", "read_tables")


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A host that let in port 80, has 443 on trial, and cannot build its sources any more."""
    made = machine(tmp_path, monkeypatch)
    made.write(web=WEB, uplink=UPLINK)
    assert made.hostfwctl("apply").status == 0
    made.write(web=WEB.replace("80", "443"))
    assert made.hostfwctl(*WITHIN).status == 0
    monkeypatch.setattr("hostfw.engine.trial.rollback.check_candidate", broken)
    return made


@pytest.mark.parametrize("before", ["", "add table ip hostfw { flags dormant; }\n"], ids=["whole", "dormant"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_flush_in_the_midst_is_no_reason_to_fail(
    host: Machine, monkeypatch: pytest.MonkeyPatch, step: str, when: str, before: str
) -> None:
    """The stored script is in force in the end, unless the flush came after everything was read back."""
    assert not before or host.kernel.meddle(before).ok
    with monkeypatch.context() as patch:
        flushed = flush_at(host, patch, step, first=when == "before", times=1)
        done = host.hostfwctl("rollback")

    assert done.status == 0, done
    if flushed and host.kernel.read_names().ip.exists:
        assert (lets_in(host, 80), lets_in(host, 443)) == (True, False)
        assert status(host)["drift"] == []


def test_a_flush_in_the_midst_is_told(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a warning: what was typed was done."""
    with monkeypatch.context() as patch:
        flush_at(host, patch, "commit", first=False, times=1)
        done = host.hostfwctl("rollback")

    assert done.status == 0
    assert "another program changed our tables while rules were put into force: they were written again" in done.err


def test_who_flushes_without_pause_is_said_and_nothing_is_called_unchanged(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends after a few tries."""
    with monkeypatch.context() as patch:
        flushed = flush_at(host, patch, "commit", first=False, times=1000)
        done = host.hostfwctl("rollback")

    assert 5 <= len(flushed) <= 20
    assert done.status == 1, done
    assert "the active rules are unknown" in done.err
    assert host.hostfwctl("rollback").status == 0
    assert lets_in(host, 80)


def _after_each_commit(
    host: Machine, patch: pytest.MonkeyPatch, act: Callable[[str, int], str], times: int
) -> list[str]:
    """Have another program commit after each commit of a script, so many times; gives what it committed."""
    real: Callable[[str], NftResult] = host.kernel.commit
    theirs: list[str] = []

    def commit(sent: str) -> NftResult:
        done = real(sent)
        if len(theirs) < times and sent.startswith("#!"):
            theirs.append(act(sent, len(theirs)))
            assert host.kernel.meddle(theirs[-1]).ok
        return done

    patch.setattr(host.kernel, "commit", commit)
    return theirs


def _opened(script: str, number: int) -> str:
    """A rule in a chain of the script, another one each time."""
    chain = re.search(r"chain ip hostfw (in/\S+)", script) or re.search(r"chain ip hostfw (\S+)", script)
    assert chain is not None
    return f"add rule ip hostfw {chain[1]} tcp dport {1000 + number} accept\n"


def test_an_edit_in_the_midst_is_never_recorded_as_ours(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script is sent again, since what was read back may hold anything."""
    with monkeypatch.context() as patch:
        theirs = _after_each_commit(host, patch, _opened, 1)
        done = host.hostfwctl("rollback")

    assert theirs
    assert done.status == 0, done
    chains = host.kernel.read_tables().ip.chains
    assert not any("dport 1000" in line for c in chains for line in host.kernel.lines(Family.V4, "chain", c.name))
    assert status(host)["drift"] == []


def test_a_program_that_always_comes_back_is_not_called_ours(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is another edit each time: the answer claims nothing of what is in force."""
    with monkeypatch.context() as patch:
        _after_each_commit(host, patch, _opened, 1000)
        done = host.hostfwctl("rollback")

    assert done.status == 1, done
    assert "another program changes our chains as fast as they are written" in done.err
    assert "the active rules are unknown" in done.err


def test_commits_elsewhere_without_pause_do_not_hinder(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a container engine: what is read twice and is the same is ours."""
    with monkeypatch.context() as patch:
        _after_each_commit(host, patch, lambda *_: "", 1000)
        done = host.hostfwctl("rollback")

    assert done.status == 0, done
    assert "another program" not in done.err
    assert status(host)["drift"] == []
