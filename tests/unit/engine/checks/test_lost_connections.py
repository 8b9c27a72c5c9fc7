"""Changes that would cut a host off are refused on every way into force, unless they are accepted."""

from dataclasses import replace
from pathlib import Path

import pytest

from hostfw.model.host.baseline import Baseline, Session
from hostfw.model.values import Family, parse_address
from tests.unit.cli_runs import UPLINK, WEB, Machine, machine

CLOSED = "node: web1\nfailsafe: none\n"
SSH = WEB.replace("ports: [80]", "ports: [22]")


def _address(text: str) -> int:
    parsed = parse_address(text)
    assert parsed is not None
    return parsed[1]


OWN = Session(Family.V4, _address("203.0.113.9"), 40000, _address("192.0.2.1"), 22, "eth0", own=True)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A host on which generation 1 closes ssh and generation 2, in force, does not; somebody is there by ssh."""
    made = machine(tmp_path, monkeypatch)
    made.write(hostfw=CLOSED, uplink=UPLINK, web=WEB)
    assert made.hostfwctl("apply").status == 0
    made.write(web=SSH)
    assert made.hostfwctl("apply").status == 0
    made.baseline = Baseline(sessions=(OWN,))
    return made


VERBS = (("apply",), ("reload",), ("rollback", "--to", "1"))


@pytest.mark.parametrize("verb", [*VERBS, ("apply", "--confirm-within", "90s")])
def test_what_would_cut_the_host_off_is_refused(host: Machine, verb: tuple[str, ...]) -> None:
    """With what would be lost and why; the ruleset in force is the same, and `status` reports it."""
    host.write(web=WEB)
    before = host.kernel.read_tables()

    done = host.hostfwctl(*verb)

    assert done.status == 1
    first, *rest = done.err.splitlines()
    assert first.startswith(
        "hostfwctl: this would cut the host off: another ssh connection like yours from 203.0.113.9"
    )
    assert first.endswith("; the ruleset in force is unchanged")
    assert "to do it anyway, add --accept-lockout" in " ".join(line.strip() for line in rest)
    assert host.kernel.read_tables() == before
    assert "could not be put into force: this would cut the host off" in host.hostfwctl("status").out


@pytest.mark.parametrize("verb", VERBS)
def test_a_loss_that_is_meant_is_said(host: Machine, verb: tuple[str, ...]) -> None:
    """As a warning, once it has happened."""
    host.write(web=WEB)

    done = host.hostfwctl(*verb, "--accept-lockout")

    assert done.status == 0
    assert "another ssh connection like yours from 203.0.113.9 to port 22 on eth0 would be lost" in done.err


def test_back_to_what_cuts_nobody_off_needs_no_word(host: Machine) -> None:
    """Only what is lost stands in the way."""
    host.baseline = Baseline(sessions=(replace(OWN, local_port=80),))

    assert host.hostfwctl("rollback", "--to", "1").status == 0


def test_a_trial_is_not_rolled_back_by_hand_to_what_cuts_the_host_off(host: Machine) -> None:
    """The accepted generation closes ssh, the trial does not; at the deadline it is rolled back all the same."""
    assert host.hostfwctl("rollback", "--to", "1", "--accept-lockout").status == 0
    assert host.hostfwctl("apply", "--confirm-within", "90s").status == 0
    before = host.kernel.read_tables()

    refused = host.hostfwctl("rollback")

    assert refused.status == 1
    assert "this would cut the host off: another ssh connection like yours from 203.0.113.9" in refused.err
    assert host.kernel.read_tables() == before
    done = host.hostfwctl("rollback", "--accept-lockout")
    assert done.status == 0
    assert "would be lost" in done.err
    assert host.kernel.read_tables() != before
    assert host.hostfwctl("apply", "--confirm-within", "90s").status == 0
    token = next(iter(host.timers.values()))[1][-1]
    host.clock.wait(91)
    assert host.hostfwctl("rollback", token).status == 0


DENY = "    - {{action: Deny, protocol: TCP, {}, destination: {{ports: [22]}}}}\n"
ALLOW = "    - {{action: Allow, protocol: TCP, {}, destination: {{ports: [22]}}}}\n"
HEAD = WEB.partition("    - action")[0]
REST = ALLOW.format("source: {}")


@pytest.mark.parametrize(
    ("rules", "form"),
    [
        (DENY.format("ipsec: true") + REST, " on eth0 through IPsec"),
        (DENY.format("ipsec: false") + REST, " on eth0"),
        (ALLOW.format("ipsec: true"), " on eth0"),
        (
            DENY.format("source: {macs: ['02:00:00:00:00:07']}") + REST,
            " on eth0 by way of 02:00:00:00:00:07",
        ),
        (ALLOW.format("source: {macs: ['02:00:00:00:00:07']}"), " on eth0"),
    ],
)
def test_what_nobody_sees_of_a_connection_may_cut_it_off(host: Machine, rules: str, form: str) -> None:
    """Its way through IPsec or not, and the neighbour that sent it: refused in each form that was not denied before."""
    host.write(web=HEAD + rules)

    done = host.hostfwctl("apply")

    said = " ".join(done.err.split())
    assert done.status == 1
    assert f"another ssh connection like yours from 203.0.113.9 to port 22{form} would be lost" in said
    assert host.hostfwctl("apply", "--accept-lockout").status == 0
    assert host.hostfwctl("apply", "--accept-loss").status == 0


def test_a_form_that_is_lost_does_not_hide_the_others(host: Machine) -> None:
    """A loss of what comes through IPsec, once accepted, leaves the loss of all others to be told."""
    host.write(web=HEAD + DENY.format("ipsec: true") + REST)
    assert host.hostfwctl("apply", "--accept-lockout").status == 0
    host.write(web=HEAD + DENY.format("ipsec: true"))

    done = host.hostfwctl("apply")

    assert done.status == 1
    assert "another ssh connection like yours" in done.err
