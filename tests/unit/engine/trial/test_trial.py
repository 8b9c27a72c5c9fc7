"""Generations that roll themselves back, on a host and a kernel in memory with a clock that is told."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from hostfw.host.errors import HostError
from hostfw.host.network.sockets.sockets import TcpSocket
from hostfw.host.nftables.writing.script_runner import NftFailure, NftResult
from hostfw.host.process.processes import Ancestor
from hostfw.host.store.codec import StateError
from hostfw.host.store.generations.generations import accepted_number, generations, load_accepted
from hostfw.host.store.generations.trial import load_rollback_timer, load_trial
from hostfw.host.systemd.rollback_timer import WatchdogError
from hostfw.model.values import Family
from hostfw.nft.objects import TABLE
from tests.unit.cli_runs import UPLINK, WEB, Machine, machine

OLD = TcpSocket(100, 20)
NEW = TcpSocket(101, 21)
OTHER_WEB = WEB.replace("80", "443")
_TARGET = re.compile(r"\b(?:jump|goto) ([^\s,}]+)")
_LOOKUP = re.compile(r"@([^\s,}]+)")
WITHIN = ("apply", "--confirm-within", "90s")


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A host with an accepted generation that lets port 80 in, and a session of ssh; 443 is written, not applied."""
    made = machine(tmp_path, monkeypatch)
    made.write(web=WEB, uplink=UPLINK)
    assert made.hostfwctl("apply").status == 0
    made.write(web=OTHER_WEB)
    session(made, OLD)
    return made


def session(host: Machine, connection: TcpSocket) -> None:
    """Let what is typed come through a connection of ssh; those of before stay."""
    if connection not in host.connections:
        host.connections.append(connection)
    host.ancestors = (Ancestor(60, "bash", frozenset()), Ancestor(50, "sshd", frozenset({connection.inode})))


def lets_in(host: Machine, port: int) -> bool:
    """True if an IPv4 packet that comes in may meet anything about a port: what is built aside does not count."""
    table = host.kernel.read_tables().of(Family.V4)
    maps = {item.name for item in table.sets if item.is_map}
    reached, waiting = set[tuple[str, str]](), [("chain", "input")]
    lines: list[str] = []
    while waiting:
        kind, name = waiting.pop()
        if (kind, name) not in reached:
            reached.add((kind, name))
            chain = table.chain(name) if kind == "chain" else None
            found = host.kernel.lines(Family.V4, kind, name)[: chain.rules if chain else None]
            lines.extend(found)
            waiting.extend(("chain", target) for line in found for target in _TARGET.findall(line))
            waiting.extend(("map", target) for line in found for target in _LOOKUP.findall(line) if target in maps)
    return any(f"dport {port} " in line or f"{port} :" in line for line in lines)


def state(host: Machine) -> Path:
    """The stand-in for /var/lib/hostfw."""
    return host.directory / "var"


def status(host: Machine) -> dict[str, object]:
    """The Status document."""
    document: dict[str, object] = json.loads(host.hostfwctl("status", "-o", "json").out)
    return document


def deadline_command(host: Machine) -> tuple[str, ...]:
    """The command of the one rollback timer, from the verb on."""
    ((_, command),) = host.timers.values()
    return command[command.index("rollback") :]


def test_what_is_accepted_stays_until_it_is_confirmed(host: Machine) -> None:
    """The new generation is in force, the way back on disk and armed, and both are said."""
    accepted = accepted_number(state(host))

    done = host.hostfwctl(*WITHIN)

    trial, _ = load_trial(state(host))
    timer = load_rollback_timer(host.directory / "run")
    assert done.status == 0
    assert done.err.endswith(
        "rolled back in 1 min 30 s, at 2030-01-01 00:01:30 UTC, "
        "unless `hostfwctl confirm` is run in a new ssh connection before\n"
    )
    assert lets_in(host, 443)
    assert accepted_number(state(host)) == accepted
    assert "443" not in (state(host) / "last-good.nft").read_text()
    assert trial is not None
    assert (trial.previous, trial.deadline_uptime_s, trial.boot_id) == (accepted, 90, "boot-1")
    assert timer is not None
    assert timer.cookies == frozenset({OLD.cookie})
    assert deadline_command(host) == ("rollback", f"--if-pending={trial.token}")


def test_a_new_connection_confirms(host: Machine) -> None:
    """The generation on trial is accepted, and nothing rolls it back any more."""
    host.hostfwctl(*WITHIN)
    session(host, NEW)

    done = host.hostfwctl("confirm")

    assert done.status == 0
    assert done.err.endswith(" is accepted\n")
    assert load_trial(state(host)) == (None, ())
    assert host.timers == {}
    assert "443" in (state(host) / "last-good.nft").read_text()
    assert lets_in(host, 443)
    assert host.hostfwctl("reload").err.startswith("no change")


def test_an_old_connection_does_not(host: Machine) -> None:
    """It is told why, and what to do; the generation goes on waiting, and the console may confirm on purpose."""
    host.hostfwctl(*WITHIN)
    host.clock.wait(30)

    done = host.hostfwctl("confirm")

    assert done.status == 1
    assert "this ssh connection was there before the change" in done.err
    assert "is rolled back in 60 s" in done.err
    assert "hint: run it in a new ssh connection" in done.err
    assert load_trial(state(host))[0] is not None
    assert host.hostfwctl("confirm", "--console").status == 0


def test_the_deadline_takes_it_back(host: Machine) -> None:
    """The command of the watchdog puts what was accepted into force, and `status` says what happened."""
    host.hostfwctl(*WITHIN)
    command = deadline_command(host)
    host.clock.wait(90)

    done = host.hostfwctl(*command)

    assert done.status == 0
    assert not lets_in(host, 443)
    assert lets_in(host, 80)
    assert load_trial(state(host)) == (None, ())
    assert host.hostfwctl("status").out.count("was rolled back: it was not confirmed in time (just now)\n") == 1
    assert host.hostfwctl(*command).status == 0, "twice is as good as once"


def test_the_watchdog_of_what_was_confirmed_does_nothing(host: Machine) -> None:
    """Nor does one of a trial that was replaced."""
    host.hostfwctl(*WITHIN)
    command = deadline_command(host)
    host.hostfwctl("confirm", "--console")
    committed = len(host.kernel.committed)

    assert host.hostfwctl(*command) == (0, "", "")
    assert len(host.kernel.committed) == committed
    assert lets_in(host, 443)


def test_too_late_is_told_apart(host: Machine) -> None:
    """The timer or the confirmation itself may notice that it is too late: exit status 5."""
    host.hostfwctl(*WITHIN)
    session(host, NEW)
    host.clock.wait(91)

    late = host.hostfwctl("confirm")
    later = host.hostfwctl("confirm", "-o", "json")

    assert late.status == 5
    assert "was rolled back at 2030-01-01 00:01:31 UTC: it was not confirmed in time\n" in late.err
    assert not lets_in(host, 443)
    assert later.status == 5
    assert json.loads(later.out)["result"] == "taken-back"


def test_status_takes_back_what_is_overdue(host: Machine) -> None:
    """Whoever comes first after a watchdog that failed."""
    host.hostfwctl(*WITHIN)
    host.clock.wait(90)

    shown = status(host)

    assert shown["confirmation"] is None
    assert isinstance(shown["lastEvent"], dict)
    assert shown["lastEvent"]["kind"] == "rolled-back"
    assert not lets_in(host, 443)


@pytest.mark.parametrize("how", ["another boot", "a run directory that was cleared"])
def test_a_reboot_ends_it(host: Machine, how: str) -> None:
    """The accepted generation is in force, however long the deadline."""
    host.hostfwctl(*WITHIN)
    if how == "another boot":
        host.boot = "boot-2"
        host.clock.elapsed_s = 0.0
    else:
        for path in (host.directory / "run").iterdir():
            path.unlink()

    shown = status(host)

    assert isinstance(shown["lastEvent"], dict)
    assert shown["lastEvent"]["reason"] == "the host was started again before it was confirmed"
    assert not lets_in(host, 443)
    assert host.hostfwctl("confirm", "--console").status == 5


@pytest.mark.parametrize("verb", ["apply", "reload"])
def test_meanwhile_nothing_else_is_accepted(host: Machine, verb: str) -> None:
    """The message says what waits, for how long, and what can be done."""
    host.hostfwctl(*WITHIN)
    host.clock.wait(30)

    done = host.hostfwctl(verb)

    assert done.status == 1
    assert "is in force for 60 more seconds, unless it is confirmed; nothing was changed\n" in done.err
    assert "`hostfwctl confirm` keeps it, `hostfwctl rollback` rolls it back" in done.err
    assert load_trial(state(host))[0] is not None


def test_another_trial_replaces_the_first(host: Machine) -> None:
    """The way back stays what was accepted, and one watchdog is left."""
    accepted = accepted_number(state(host))
    host.hostfwctl(*WITHIN)
    first, _ = load_trial(state(host))
    host.write(web=WEB.replace("80", "8443"))
    host.clock.wait(30)

    host.hostfwctl(*WITHIN)

    second, _ = load_trial(state(host))
    assert first is not None
    assert second is not None
    assert second.token != first.token
    assert (second.previous, second.deadline_uptime_s) == (accepted, 120)
    assert deadline_command(host) == ("rollback", f"--if-pending={second.token}")
    host.hostfwctl("rollback")
    assert lets_in(host, 80)
    assert not lets_in(host, 8443)


def test_rollback_by_hand_is_at_once(host: Machine) -> None:
    """It says what was rolled back and what is in force; a second one has nothing to do and names the way further."""
    host.hostfwctl(*WITHIN)

    done = host.hostfwctl("rollback")
    again = host.hostfwctl("rollback")

    assert done.status == 0
    assert "rolled back (by hand): generation " in done.err
    assert host.timers == {}
    assert not lets_in(host, 443)
    assert again.status == 1
    assert again.err.startswith("hostfwctl: there is nothing to roll back: the active generation is accepted\n")


def test_what_changes_nothing_needs_no_confirmation(host: Machine) -> None:
    """A comment is accepted at once; `confirm` then has nothing to do, as a playbook that runs twice expects."""
    host.write(web=f"# {WEB}\n{WEB}".replace(f"# {WEB}", "# a comment"))

    done = host.hostfwctl(*WITHIN)

    assert done.err.startswith("no change: ")
    assert load_trial(state(host)) == (None, ())
    assert host.timers == {}
    accepted, _ = load_accepted(state(host))
    assert accepted is not None
    assert any("a comment" in source.text for source in accepted.configuration.resources)
    assert host.hostfwctl("confirm").status == 0


_OK = NftResult(ok=True)
_REFUSED = NftResult(ok=False, error="1:1-1: Error: no\n", line=1, column=1)


@pytest.mark.parametrize("answers", [(_REFUSED,), (_OK, _REFUSED, _REFUSED), (_OK, _REFUSED, _OK, _REFUSED)])
def test_what_nft_refuses_leaves_nothing_behind(host: Machine, answers: Sequence[NftResult]) -> None:
    """In prepare, or where base chains do not turn, in the check or the commit of the script: no trial, no watchdog."""
    host.kernel.failures.extend(answers)

    done = host.hostfwctl(*WITHIN)

    assert done.status == 1
    assert load_trial(state(host)) == (None, ())
    assert host.timers == {}
    assert "could not be put into force: nft refused the transaction" in host.hostfwctl("status").out


def test_a_trial_that_fails_leaves_the_one_before(host: Machine) -> None:
    """The earlier trial goes on, with its timer and its connections."""
    host.hostfwctl(*WITHIN)
    before = (load_trial(state(host)), load_rollback_timer(host.directory / "run"), dict(host.timers))
    host.write(web=WEB.replace("80", "8443"))
    host.kernel.failures.extend([_OK, _REFUSED, _REFUSED])

    done = host.hostfwctl(*WITHIN)

    assert done.status == 1
    assert before == (load_trial(state(host)), load_rollback_timer(host.directory / "run"), host.timers)


def test_a_switch_of_unknown_outcome_is_rolled_back(host: Machine) -> None:
    """A kernel that does not answer may have done it: the way back stays."""
    host.kernel.failures.extend([_OK, NftFailure("the kernel does not answer", unchanged=False)])

    assert host.hostfwctl(*WITHIN).status == 1
    assert load_trial(state(host))[0] is not None
    assert len(host.timers) == 1


def test_the_first_of_all_goes_back_to_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There was no ruleset, so there is none again."""
    host = machine(tmp_path, monkeypatch)
    host.write(web=WEB, uplink=UPLINK)
    host.hostfwctl(*WITHIN)

    done = host.hostfwctl("rollback")

    assert done.status == 0
    assert done.err.endswith("nothing is in force\n")
    assert not host.kernel.read_tables().of(Family.V4).exists
    assert host.hostfwctl("status").status == 4


def test_what_protects_an_unknown_host_goes_back_to_protection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ruleset that a boot loaded is not taken away: an empty configuration's takes its place."""
    host = machine(tmp_path, monkeypatch)
    host.kernel.meddle(f"table ip {TABLE} {{\n}}\n")
    host.write(web=WEB, uplink=UPLINK)
    host.hostfwctl(*WITHIN)

    host.hostfwctl("rollback")

    assert host.kernel.lines(Family.V4, "chain", "input")
    assert not lets_in(host, 80)


def test_sources_that_no_longer_build_leave_the_stored_script(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the host cannot be observed: what was in force byte for byte is in force again."""
    host.hostfwctl(*WITHIN)
    monkeypatch.setattr("hostfw.engine.trial.rollback.check_candidate", broken)

    done = host.hostfwctl("rollback")

    assert done.status == 0
    assert "its sources no longer build on this host: its script is in force as it was stored" in done.err
    assert host.kernel.committed[-1] == (state(host) / "last-good.nft").read_text()


def broken(configuration: object, **_cache: object) -> object:
    """A refusal by an upgraded version that refuses more than before."""
    from hostfw.build.candidate import check_candidate
    from hostfw.model.positions import Position
    from hostfw.model.problems import Problem
    from hostfw.model.sources import Configuration

    assert isinstance(configuration, Configuration)
    return replace(check_candidate(configuration), problems=(Problem(Position("web.yaml", 1, 1), "is refused now"),))


def test_history_and_back_to_a_number(host: Machine) -> None:
    """The list names what is accepted and in force; an earlier one comes back under a number of its own."""
    host.hostfwctl("apply")
    before = host.hostfwctl("history").out

    done = host.hostfwctl("rollback", "--to", "1")

    assert before.splitlines()[0].split() == ["NUMBER", "GENERATION", "APPLIED", "POLICIES", "ENDPOINTS", "STATE"]
    assert [line.split()[0] for line in before.splitlines()[1:]] == ["2", "1"]
    assert before.splitlines()[1].endswith("1           1   accepted, in force")
    assert done.status == 0
    assert done.err.endswith(" in force, and accepted\n")
    assert lets_in(host, 80)
    assert not lets_in(host, 443)
    items = json.loads(host.hostfwctl("history", "-o", "json").out)["items"]
    assert [(i["number"], i["accepted"], i["inForce"], i["pending"]) for i in items] == [
        (3, True, True, False),
        (2, False, False, False),
        (1, False, False, False),
    ]


def test_a_number_that_is_not_stored_is_refused(host: Machine) -> None:
    """And nothing changes."""
    done = host.hostfwctl("rollback", "--to", "77")

    assert (done.status, done.err.splitlines()[0]) == (
        1,
        "hostfwctl: generation number 77 is not stored; the ruleset in force is unchanged",
    )


def test_what_waits_stands_in_the_way_of_going_back_further(host: Machine) -> None:
    """One way back at a time."""
    host.hostfwctl(*WITHIN)

    assert "unless it is confirmed" in host.hostfwctl("rollback", "--to", "1").err


def test_a_kill_after_the_acceptance_leaves_it_accepted(host: Machine) -> None:
    """The rename of the link is the confirmation; what a kill left of the record is cleared away."""
    host.hostfwctl(*WITHIN)
    records = [
        (path, path.read_bytes()) for path in (state(host) / "pending.json", host.directory / "run/pending.json")
    ]
    timer = dict(host.timers)
    host.hostfwctl("confirm", "--console")
    for path, text in records:
        path.write_bytes(text)
    host.timers.update(timer)
    host.clock.wait(1000)

    shown = status(host)

    assert shown["confirmation"] is None
    assert isinstance(shown["lastEvent"], dict)
    assert shown["lastEvent"]["kind"] == "confirmed"
    assert lets_in(host, 443)
    assert host.timers == {}


def test_what_is_in_force_must_be_what_waits(host: Machine) -> None:
    """After another program, or a kill before it was recorded, a connection proves nothing about the generation."""
    host.hostfwctl(*WITHIN)
    session(host, NEW)
    host.kernel.meddle("flush chain ip hostfw input\n")

    done = host.hostfwctl("confirm", "--console")

    assert done.status == 1
    assert "as it was applied: table ip hostfw: chain input was changed by another program" in done.err


@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff"])
def test_a_damaged_record_is_rolled_back(host: Machine, damage: bytes) -> None:
    """Something waited, and nobody knows what: what was accepted is certain."""
    host.hostfwctl(*WITHIN)
    (state(host) / "pending.json").write_bytes(damage)

    shown = status(host)

    assert isinstance(shown["lastEvent"], dict)
    assert shown["lastEvent"]["reason"] == "the record of the unconfirmed change was damaged"
    assert not lets_in(host, 443)


def test_an_apply_ends_what_can_no_longer_be_rolled_back(host: Machine) -> None:
    """With the accepted generation lost, a new one must not be refused for ever."""
    host.hostfwctl(*WITHIN)
    for number in generations(state(host))[:1]:
        (state(host) / f"generations/{number:06}/sources.json").write_bytes(b"")
    host.clock.wait(100)

    assert "was not written by hostfw" in host.hostfwctl("rollback").err
    assert host.hostfwctl("apply").status == 0
    assert load_trial(state(host)) == (None, ())
    assert lets_in(host, 443)


def test_the_last_refusal_is_shown(host: Machine) -> None:
    """The place, the problem, and how many more; until the next generation is in force."""
    host.write(web=WEB.replace("selector", "selectr").replace("Allow", "Alow"))
    host.hostfwctl("apply")
    refused = host.hostfwctl("status").out
    host.write(web=WEB)
    host.hostfwctl("apply")

    assert 'Last event:    a configuration was refused: etc/web.yaml:7: unknown field "selectr"' in refused
    assert ", and 1 more (just now)\n" in refused
    assert "Last event" not in host.hostfwctl("status").out


def test_without_a_watchdog_nothing_is_switched(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing would roll it back: the failure is reported and remembered, and prepared rules let nobody in."""

    def refuse(*_: object) -> str:
        raise WatchdogError("`systemd-run` failed: no bus")

    monkeypatch.setattr(Machine, "arm", refuse)

    done = host.hostfwctl(*WITHIN)

    assert done.status == 1
    assert done.err == "hostfwctl: `systemd-run` failed: no bus; the ruleset in force is unchanged\n"
    assert "could not be put into force: `systemd-run` failed: no bus" in host.hostfwctl("status").out
    assert load_trial(state(host)) == (None, ())
    assert not lets_in(host, 443)


def test_a_way_back_that_cannot_be_written_changes_nothing(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk: no trial, and the watchdog is called off."""

    def refuse(*_: object) -> None:
        raise StateError("the way back could not be saved: the disk is full")

    monkeypatch.setattr("hostfw.engine.trial.trial.save_trial", refuse)

    done = host.hostfwctl(*WITHIN)

    assert done.status == 1
    assert host.timers == {}
    assert not lets_in(host, 443)


def test_connections_that_cannot_be_noted_leave_the_console(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generation is in force and the way back stands; it is said what will confirm."""
    answers = iter([HostError("sock_diag says no")])

    def refuse() -> tuple[TcpSocket, ...]:
        for error in answers:
            raise error
        return (NEW,)

    monkeypatch.setattr("hostfw.cli.outcomes.Host", lambda: replace(host.host(), read_tcp_sockets=refuse))

    applied = host.hostfwctl(*WITHIN)
    session(host, NEW)
    confirmed = host.hostfwctl("confirm")

    assert applied.status == 0
    assert "sock_diag says no: only `hostfwctl confirm --console` will confirm" in applied.err
    assert confirmed.status == 1
    assert "which connections were there before the change was not noted" in confirmed.err
    assert host.hostfwctl("confirm", "--console").status == 0
