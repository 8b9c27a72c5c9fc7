"""Another program that edits our chains in the midst of an apply, without the service that would hear of it."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from hostfw.host.nftables.writing.script_runner import NftResult
from hostfw.model.values import Family
from tests.unit.cli_runs import UPLINK, WEB, Machine, machine
from tests.unit.engine.trial.test_trial import lets_in, status

Commit = Callable[[str], NftResult]


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A host where port 80 is let in, and 443 is written, not applied."""
    made = machine(tmp_path, monkeypatch)
    made.write(web=WEB, uplink=UPLINK)
    assert made.hostfwctl("apply").status == 0
    made.write(web=WEB.replace("80", "443"))
    return made


def _disturb(host: Machine, monkeypatch: pytest.MonkeyPatch, number: int, script: Callable[[str], str]) -> list[str]:
    """Have another program commit after a commit of ours, 0 for after each; gives what it committed."""
    real: Commit = host.kernel.commit
    ours: list[str] = []
    theirs: list[str] = []

    def commit(sent: str) -> NftResult:
        done = real(sent)
        ours.append(sent)
        if number in (0, len(ours)) and (text := script(ours[0])):
            assert host.kernel.meddle(text).ok
            theirs.append(text)
        return done

    monkeypatch.setattr(host.kernel, "commit", commit)
    return theirs


def _new_chain(prepared: str) -> str:
    found = re.search(r"add chain ip hostfw (policy/\S+|\S*web\S*)", prepared) or re.search(
        r"add chain ip hostfw (\S+)", prepared
    )
    return found[1] if found else ""


def _opened(prepared: str) -> str:
    """A rule in a chain that the prepare has added."""
    return f"add rule ip hostfw {_new_chain(prepared)} tcp dport 23 accept\n"


@pytest.mark.parametrize("after", [1, 2, 3], ids=["prepare", "switch", "sweep"])
def test_an_edit_in_the_midst_is_never_recorded_as_ours(
    host: Machine, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """The chain is written again, and the user told: what was added is gone, and nothing is left to find."""
    with monkeypatch.context() as patch:
        theirs = _disturb(host, patch, after, _opened)
        done = host.hostfwctl("apply")

    assert theirs
    assert done.status == 0, done
    assert "another program changed chain" in done.err
    assert lets_in(host, 443)
    chains = host.kernel.read_tables().ip.chains
    assert not any("dport 23" in line for c in chains for line in host.kernel.lines(Family.V4, "chain", c.name))
    assert status(host)["drift"] == []


@pytest.mark.parametrize("after", [1, 2, 3], ids=["prepare", "switch", "sweep"])
def test_a_chain_that_comes_in_the_midst_is_never_recorded_as_ours(
    host: Machine, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """No packet meets it: it is drift all the same, as at any other time, until the next apply takes it away."""
    with monkeypatch.context() as patch:
        assert not _disturb(host, patch, after, lambda _: "add chain ip hostfw theirs\n")
        assert host.hostfwctl("apply").status == 0

    assert status(host)["drift"] == ["table ip hostfw: chain theirs is not ours"]
    assert host.hostfwctl("apply").status == 0
    assert status(host)["drift"] == []


def test_commits_elsewhere_without_pause_do_not_hinder(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a container engine: what is read twice and is the same is ours."""

    def elsewhere(_: str) -> str:
        host.kernel.generation += 1
        return ""

    _disturb(host, monkeypatch, 0, elsewhere)
    done = host.hostfwctl("apply")

    assert done.status == 0, done
    assert "another program" not in done.err
    assert status(host)["drift"] == []


def test_a_program_that_always_comes_back_is_not_called_ours(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is another edit each time: the answer is that of a failure, and claims nothing of what is in force."""
    ports = iter(range(1000, 2000))
    with monkeypatch.context() as patch:
        _disturb(
            host, patch, 0, lambda first: f"add rule ip hostfw {_new_chain(first)} tcp dport {next(ports)} accept\n"
        )
        done = host.hostfwctl("apply")

    assert done.status == 1, done
    assert "another program changes our chains as fast as they are written" in done.err
    assert "the active rules are unknown" in done.err
    assert host.hostfwctl("apply").status == 0
    assert status(host)["drift"] == []


def test_the_same_edit_each_time_is_not_called_ours(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a program that answers each of our commits: the number of rules tells."""
    with monkeypatch.context() as patch:
        _disturb(host, patch, 0, _opened)
        done = host.hostfwctl("apply")

    assert done.status == 1, done
    assert "another program" in done.err
    assert host.hostfwctl("apply").status == 0


FLUSH = "delete table ip hostfw\ndelete table ip6 hostfw\n"
STEPS = ("check", "commit", "activate", "delete", "read_tables", "read_some")
"""The steps of an apply at the kernel, before or after any of which another program may flush it."""


def flush_at(host: Machine, monkeypatch: pytest.MonkeyPatch, step: str, *, first: bool, times: int) -> list[str]:
    """Have another program remove our tables before or after a step, so many times in all; gives which it did."""
    real: Callable[..., object] = getattr(host.kernel, step)
    flushed: list[str] = []

    def flush() -> None:
        if len(flushed) < times and host.kernel.read_names().ip.exists:
            assert host.kernel.meddle(FLUSH).ok
            flushed.append(step)

    def disturbed(*arguments: object, **named: object) -> object:
        if first:
            flush()
        found = real(*arguments, **named)
        if not first:
            flush()
        return found

    monkeypatch.setattr(host.kernel, step, disturbed)
    return flushed


@pytest.mark.parametrize("verb", [("apply",), ("reload",), ("apply", "--confirm-within", "90s")], ids=" ".join)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_flush_in_the_midst_is_no_reason_to_fail(
    host: Machine, monkeypatch: pytest.MonkeyPatch, step: str, when: str, verb: tuple[str, ...]
) -> None:
    """The new generation is in force in the end, unless it came after everything was read back."""
    with monkeypatch.context() as patch:
        flushed = flush_at(host, patch, step, first=when == "before", times=1)
        done = host.hostfwctl(*verb)

    assert done.status == 0, done
    if flushed and host.kernel.read_names().ip.exists:
        assert (lets_in(host, 443), lets_in(host, 80)) == (True, False)
        assert status(host)["drift"] == []
        assert (status(host)["confirmation"] is not None) == (len(verb) > 1)


def test_a_flush_in_the_midst_is_told(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a warning: what was typed was done."""
    with monkeypatch.context() as patch:
        assert flush_at(host, patch, "commit", first=False, times=1) == []
        done = host.hostfwctl("apply")

    assert (
        "warning: another program changed our tables while rules were put into force: they were written again"
        in done.err
    )


def test_who_flushes_without_pause_is_said_and_nothing_is_called_unchanged(
    host: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends after a few tries."""
    with monkeypatch.context() as patch:
        flushed = flush_at(host, patch, "commit", first=False, times=1000)
        done = host.hostfwctl("apply")

    assert 5 <= len(flushed) <= 20
    assert done.status == 1, done
    assert "the active rules are unknown" in done.err
    assert "unchanged" not in done.err
    assert host.hostfwctl("apply").status == 0
    assert lets_in(host, 443)
