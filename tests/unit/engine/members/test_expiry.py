"""Quick rules for a time, on a host and a kernel in memory with a clock that is told; no service runs."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from hostfw.build.cache import EngineCache
from hostfw.engine.apply.applied import Applied
from hostfw.engine.context import Directories
from hostfw.engine.engine import Engine
from hostfw.engine.reconcile import Resumed
from hostfw.host.errors import HostError
from hostfw.host.store.generations.generations import load_accepted
from hostfw.model.host.baseline import Baseline
from hostfw.model.host.facts import HostFacts
from tests.unit.cli_runs import NEIGHBOURS, UPLINK, WEB, Machine, machine
from tests.unit.engine.trial.test_trial import lets_in, state

HOUR_S = 3600.0
SETTINGS = "failsafe: {inbound: [], outbound: []}\n"


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A host that allows port 443 for good, and port 8080 for two hours."""
    made = machine(tmp_path, monkeypatch)
    made.write(uplink=UPLINK)
    assert made.hostfwctl("apply").status == 0
    assert made.hostfwctl("allow", "tcp/443").status == 0
    said = made.hostfwctl("allow", "tcp/8080", "for", "2h", "--reason", "a test", "--ticket", "OPS-1")
    assert said.status == 0, said
    return made


def policy(host: Machine, name: str) -> dict[str, object]:
    """The metadata of a quick rule."""
    found: dict[str, object] = yaml.safe_load((host.config / "quick" / f"{name}.yaml").read_text())["metadata"]
    return found


def test_the_file_says_when_it_expires(host: Machine) -> None:
    """In UTC, to the second, with the reason and the ticket."""
    assert policy(host, "allow-tcp-8080")["annotations"] == {
        "hostfw.io/expires": "2030-01-01T02:00:00Z",
        "hostfw.io/reason": "a test",
        "hostfw.io/ticket": "OPS-1",
    }


def test_a_reload_does_not_make_a_clock_right(host: Machine) -> None:
    """One that a timer asks for, while the clock says a moment before the last apply; a person who applies does."""
    host.clock.moment -= timedelta(days=400)

    assert host.hostfwctl("reload").status == 0
    assert not lets_in(host, 8080)
    assert host.hostfwctl("reload").status == 0
    assert not lets_in(host, 8080)

    assert host.hostfwctl("apply").status == 0
    assert lets_in(host, 8080)


def test_what_expired_is_taken_out_by_the_next_status(host: Machine) -> None:
    """It is said, the file stays, and that is neither a change that is not in force nor a loss."""
    assert lets_in(host, 8080)
    host.clock.wait(2 * HOUR_S - 1)
    assert "Next expiry" in host.hostfwctl("status").out
    assert lets_in(host, 8080)

    host.clock.wait(7)
    said = host.hostfwctl("status").out

    assert not lets_in(host, 8080)
    assert lets_in(host, 443)
    assert "GlobalNetworkPolicy/quick.allow-tcp-8080" in said
    assert "Pending" not in said
    assert (host.config / "quick" / "allow-tcp-8080.yaml").exists()
    assert host.hostfwctl("apply").status == 0
    assert not lets_in(host, 8080)
    notes = json.loads(host.hostfwctl("rules", "-o", "json").out)["notes"]
    (note,) = [note for note in notes if note["name"] == "quick.allow-tcp-8080"]
    assert note["expires"].startswith("expired ")
    assert (note["reason"], note["ticket"]) == ("a test", "OPS-1")
    described = host.hostfwctl("describe", "gnp", "quick.allow-tcp-8080").out
    assert "expired " in described
    assert "OPS-1" in described


def test_a_clock_that_is_set_back_opens_nothing_until_somebody_asks(host: Machine) -> None:
    """The same words again give it a new time."""
    host.clock.wait(2 * HOUR_S)
    host.hostfwctl("apply")
    assert not lets_in(host, 8080)

    host.clock.moment = datetime(2030, 1, 1, tzinfo=UTC)
    host.clock.elapsed_s = HOUR_S
    host.hostfwctl("apply")
    assert not lets_in(host, 8080)

    assert host.hostfwctl("allow", "tcp/8080", "for", "3h").status == 0
    assert lets_in(host, 8080)


def test_the_boot_is_left_a_script_without_what_ends(host: Machine) -> None:
    """With the seconds between which the other one may be loaded."""
    folder = state(host) / "accepted"
    first, last = map(int, (folder / "expires").read_text().split())
    accepted, problems = load_accepted(state(host))

    assert problems == ()
    assert accepted is not None
    assert accepted.lasting is not None
    assert (first, last) == (int(accepted.applied_at.timestamp()), int(accepted.lasting.until.timestamp()))
    assert "8080" in accepted.script
    assert "8080" not in accepted.lasting.script.replace("allow-tcp-8080", "")
    assert "443" in accepted.lasting.script
    assert accepted.script_at(accepted.applied_at) == accepted.script
    assert accepted.script_at(accepted.lasting.until) == accepted.lasting.script
    assert accepted.script_at(datetime(1970, 1, 2, tzinfo=UTC)) == accepted.lasting.script


def test_a_rule_that_stays_is_not_made_to_end(host: Machine) -> None:
    """Whoever opened it for good still counts on it."""
    refused = host.hostfwctl("allow", "tcp/443", "for", "1h")

    assert refused.status == 1
    assert "does not expire" in refused.err
    assert host.hostfwctl("allow", "tcp/8080").status == 0
    assert "hostfw.io/expires" not in str(policy(host, "allow-tcp-8080")["annotations"])


def test_the_next_quick_rule_takes_the_files_of_those_that_ended(host: Machine) -> None:
    """Nobody wrote them but hostfwctl."""
    host.clock.wait(2 * HOUR_S)

    said = host.hostfwctl("deny", "198.51.100.7", "for", "4h")

    assert said.status == 0, said
    assert "allow-tcp-8080.yaml was removed" in said.err
    assert sorted(path.name for path in (host.config / "quick").iterdir()) == [
        "allow-tcp-443.yaml",
        "deny-198-51-100-7.yaml",
        "tier.yaml",
    ]


@pytest.mark.parametrize("word", ["2", "h", "2 h", "0h", "2y", "99999999w"])
def test_a_time_that_is_none_is_said(host: Machine, word: str) -> None:
    """And nothing is written."""
    refused = host.hostfwctl("allow", "tcp/9", "for", word)

    assert refused.status == 2
    assert "30m or 4h" in refused.err


def test_the_last_way_in_that_ends_is_warned_of(host: Machine) -> None:
    """Before it does."""
    host.baseline = Baseline(sessions=(NEIGHBOURS,))
    (host.config / "hostfw.yaml").write_text(SETTINGS)
    (host.config / "quick" / "allow-tcp-22.yaml").unlink(missing_ok=True)
    assert host.hostfwctl("apply", "--accept-lockout").status == 0

    said = host.hostfwctl("allow", "tcp/22", "for", "1h")

    assert said.status == 0, said
    assert "once what allows it has expired" in said.err


def test_the_last_way_in_that_gets_an_end_is_warned_of(host: Machine) -> None:
    """Once, although the rules stay the same until then, so that nothing else changes."""
    host.baseline = Baseline(sessions=(NEIGHBOURS,))
    (host.config / "hostfw.yaml").write_text(SETTINGS)
    ssh = WEB.replace("[80]", "[22]")
    host.write(web=ssh)
    assert host.hostfwctl("apply", "--accept-lockout").status == 0
    annotated = ssh.replace("name: web", "name: web\n  annotations: {hostfw.io/expires: '2030-01-01T01:00:00Z'}")
    host.write(web=annotated)

    said = host.hostfwctl("apply")

    assert said.status == 0, said
    assert "no change: generation" in said.err
    assert "once what allows it has expired, first at 2030-01-01 01:00:00 UTC" in said.err
    assert "has expired" not in host.hostfwctl("apply").err
    assert "has expired" not in host.hostfwctl("reload").err
    host.write(web=annotated.replace("01:00:00", "00:30:00"))
    assert "first at 2030-01-01 00:30:00 UTC" in host.hostfwctl("reload").err


def test_what_is_allowed_after_a_clock_that_was_ahead_is_in_force(host: Machine) -> None:
    """The moment of the last apply is of the clock that was wrong, and not in the way of who applies now."""
    host.clock.moment += timedelta(days=300)
    assert host.hostfwctl("apply").status == 0
    host.clock.moment -= timedelta(days=300)

    said = host.hostfwctl("allow", "tcp/9000", "for", "2h")

    assert said.status == 0, said
    assert lets_in(host, 9000)


def test_a_rollback_opens_nothing_that_has_expired_since(host: Machine) -> None:
    """Whatever the clock says, and although the record of that generation does not know."""
    host.clock.wait(2 * HOUR_S)
    host.write(web=WEB)
    assert host.hostfwctl("apply").status == 0
    host.clock.moment -= timedelta(hours=1)

    said = host.hostfwctl("rollback", "--to", 3, "--accept-loss")

    assert said.status == 0, said
    assert lets_in(host, 443)
    assert not lets_in(host, 8080)


@pytest.mark.parametrize("looked", [False, True])
def test_a_file_that_comes_back_opens_nothing_again(host: Machine, *, looked: bool) -> None:
    """The next quick rule took it, whether or not anybody had noted its end; git or a backup brings it back."""
    path = host.config / "quick" / "allow-tcp-8080.yaml"
    text = path.read_text()
    host.clock.wait(2 * HOUR_S + 60)
    if looked:
        assert host.hostfwctl("status").status == 0
    assert host.hostfwctl("allow", "tcp/9000").status == 0
    assert not path.exists()
    assert host.hostfwctl("allow", "tcp/9001").status == 0

    path.write_text(text)
    host.clock.moment -= timedelta(hours=1)
    assert host.hostfwctl("apply").status == 0

    assert lets_in(host, 9000)
    assert not lets_in(host, 8080)
    path.write_text(text.replace("02:00:00Z", "02:30:00Z"))
    assert host.hostfwctl("apply").status == 0
    assert lets_in(host, 8080)


def test_the_boot_knows_of_an_end_that_changes_no_rule(host: Machine) -> None:
    """It would leave out what is still allowed, or ask the clock for a moment that is over."""
    unused = yaml.safe_dump(
        {
            "apiVersion": "projectcalico.org/v3",
            "kind": "GlobalNetworkPolicy",
            "metadata": {"name": "unused", "annotations": {"hostfw.io/expires": "2030-01-01T01:00:00Z"}},
            "spec": {"selector": "has(nothing)", "ingress": [{"action": "Allow"}]},
        }
    )
    host.write(unused=unused)
    assert host.hostfwctl("apply").status == 0
    first, last = map(int, (state(host) / "accepted" / "expires").read_text().split())
    assert last - first < 2 * HOUR_S
    cache = EngineCache()
    active = Engine(Directories(*(host.directory / name for name in ("etc", "var", "run"))), host.host(), cache=cache)
    assert isinstance(active.resume(), Resumed)
    generation = cache.generation.generation
    assert generation is not None
    host.clock.wait(HOUR_S)

    outcome = active.resync(generation)

    assert isinstance(outcome, Applied), outcome
    _, later = map(int, (state(host) / "accepted" / "expires").read_text().split())
    assert later == last + HOUR_S
    number = host.hostfwctl("history", "-o", "json").out
    assert isinstance(active.resync(outcome.generation), Applied)
    assert host.hostfwctl("history", "-o", "json").out == number


def test_a_script_that_nothing_builds_any_more_ends_as_well(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stored one of what lasts takes its place, once."""

    def fail(_: Machine, __: str | None) -> HostFacts:
        raise HostError("the interfaces cannot be read")

    monkeypatch.setattr(Machine, "observed", fail)
    host.clock.wait(2 * HOUR_S + 60)

    host.hostfwctl("status")

    assert not lets_in(host, 8080)
    assert lets_in(host, 443)
    commits = host.kernel.read_generation()
    host.hostfwctl("status")
    assert host.kernel.read_generation() == commits
