"""The service on a running host: reload, stop, restart, and what systemd thinks of the units."""

import pytest

from lab.hosts.host import Host
from tests.system.street import CLOSED, HOST6, OPEN, POLICY, Street, configure, connects, eventually, reload, rules

_OTHER = 5556
_MISTAKES = [
    ("a field that is misspelt", POLICY.replace("selector:", "selectr:"), 'unknown field "selectr"'),
    ("YAML that ends too early", POLICY + "  egress: [", "policy.yaml:"),
    ("an action that does not exist", POLICY.replace("Allow", "Permit"), '"Permit"'),
    ("a tab", POLICY.replace("  selector:", "\tselector:"), "policy.yaml:10:"),
]


def test_a_boot_ends_with_everything_running(host: Host) -> None:
    """After a boot no unit has failed, and the service is ready with the policy in force."""
    assert host.run(["systemctl", "is-system-running"], check=False).stdout == "running\n"
    assert host.property_of("hostfw", "ActiveState") == "active"
    assert "1 polic" in host.property_of("hostfw", "StatusText")


def test_reload_puts_good_policy_into_force(host: Host, street: Street) -> None:
    """`systemctl reload hostfw` returns when the new policy decides, with the same daemon."""
    daemon = host.pid_of("hostfw")
    assert connects(street.peer, OPEN)

    configure(host, POLICY.replace(str(OPEN), str(CLOSED)))
    reload(host)

    assert connects(street.peer, CLOSED)
    assert connects(street.peer, CLOSED, HOST6)
    assert not connects(street.peer, OPEN)
    assert host.pid_of("hostfw") == daemon


@pytest.mark.alike
@pytest.mark.parametrize(("policy", "reason"), [case[1:] for case in _MISTAKES], ids=[case[0] for case in _MISTAKES])
def test_reload_refuses_bad_policy(host: Host, street: Street, policy: str, reason: str) -> None:
    """`systemctl reload hostfw` fails, what was in force stays, and `systemctl status` says where the mistake is."""
    before = rules(host)
    configure(host, policy.replace(str(OPEN), str(_OTHER)))

    reloaded = host.run(["systemctl", "reload", "hostfw"], check=False)

    assert reloaded.returncode == 1
    status = host.run(["systemctl", "status", "--no-pager", "--full", "hostfw"]).stdout
    assert reason in status
    assert "/etc/hostfw/policy.yaml:" in host.property_of("hostfw", "StatusText")
    assert rules(host) == before
    assert connects(street.peer, OPEN)


@pytest.mark.alike
def test_a_refusal_is_forgotten_with_the_next_good_policy(host: Host) -> None:
    """Once the mistake is mended the status speaks of it no more."""
    configure(host, POLICY.replace("Allow", "Permit"))
    assert host.run(["systemctl", "reload", "hostfw"], check=False).returncode == 1

    configure(host)
    reload(host)

    assert "refused" not in host.property_of("hostfw", "StatusText")


@pytest.mark.alike
def test_sighup_reloads_as_well(host: Host, street: Street) -> None:
    """A signal does what `systemctl reload` does, without waiting for it."""
    configure(host, POLICY.replace(str(OPEN), str(CLOSED)))
    host.run(["systemctl", "kill", "--kill-whom=main", "--signal=HUP", "hostfw"])

    assert eventually(lambda: connects(street.peer, CLOSED), 5) is not None


@pytest.mark.parametrize("verb", ["stop", "restart", "kill"])
def test_ending_the_service_leaves_the_rules(host: Host, street: Street, verb: str) -> None:
    """Nothing gets in while the service stops, is stopped, or starts again; what is allowed goes on."""
    with street.knocking(host) as knocks:
        host.run(["systemctl", verb, "hostfw"])
        assert connects(street.peer, OPEN)
        host.run(["systemctl", "start", "hostfw"])
        assert connects(street.peer, OPEN)

    assert knocks.sent > 100
    assert knocks.through == ()


def test_stopping_the_boot_unit_leaves_the_rules(host: Host, street: Street) -> None:
    """There is no way to open the host by stopping units."""
    with street.knocking(host) as knocks:
        host.run(["systemctl", "stop", "hostfw", "hostfw-boot"])
        host.run(["systemctl", "restart", "hostfw-boot"])
        host.run(["systemctl", "start", "hostfw"])

    assert knocks.through == ()


_OTHERS = ("hostfw-pull.service", "hostfw-pull.timer", "hostfw-workloads@docker.service")


def test_systemd_finds_nothing_wrong_with_the_units(host: Host) -> None:
    """`systemd-analyze verify` is silent about them."""
    units = ("hostfw.service", "hostfw-boot.service", "hostfw-feed@drop.service", "hostfw-feed@drop.timer", *_OTHERS)

    verified = host.run(["systemd-analyze", "verify", "--man=no", *units], check=False)

    assert (verified.returncode, verified.stderr) == (0, "")


@pytest.mark.parametrize(
    ("unit", "most"),
    [
        ("hostfw.service", 20),
        ("hostfw-feed@drop.service", 30),
        ("hostfw-pull.service", 30),
        ("hostfw-workloads@docker.service", 15),
    ],
)
def test_the_service_is_locked_in(host: Host, unit: str, most: int) -> None:
    """`systemd-analyze security` rates its exposure at so many tenths of 10 or better; downloads have the network."""
    rated = host.run(["systemd-analyze", "security", f"--threshold={most}", "--no-pager", unit], check=False)

    assert rated.returncode == 0, rated.stdout


@pytest.mark.alike
def test_the_accepted_generation_outlives_its_files(host: Host, street: Street) -> None:
    """A service that starts does not read /etc: what was accepted counts until somebody reloads."""
    configure(host, POLICY.replace(str(OPEN), str(CLOSED)))

    host.run(["systemctl", "restart", "hostfw"])

    assert connects(street.peer, OPEN)
    assert not connects(street.peer, CLOSED)
