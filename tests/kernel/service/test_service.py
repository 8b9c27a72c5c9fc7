"""The service in a network namespace: what it takes over, keeps, follows and answers."""

import json
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from hostfw.control.channel import DaemonError, report
from hostfw.control.server import ASIDE
from hostfw.control.socket import socket_path
from hostfw.engine.context import Directories
from hostfw.host.lock import service_elsewhere
from lab.hostfwctl import Installation, environment, install
from lab.hostfwctl import hostfwctl as run_verb
from lab.laboratory import Lab
from lab.namespace import Namespace, inside, namespace, process, run
from lab.service import Service, command, service
from tests.kernel.packets.connections import admits
from tests.kernel.web_policy import two_endpoints

Hostfwctl = Callable[..., CompletedProcess[str]]

_PATIENCE_S = 20
_POLICY = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: web}}
spec:
  selector: has(role)
  ingress:
  - {{action: Allow, protocol: TCP, destination: {{ports: [{port}]}}}}
  egress:
  - {{action: Allow}}
"""


_service = partial(service, takes_over=False)


def _wait(condition: Callable[[], object], patience_s: float = _PATIENCE_S) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


def _configure(installation: Installation, port: int) -> None:
    (installation.config / "policy.yaml").write_text(two_endpoints("lan0") + _POLICY.format(port=port))


def _rules(node: Namespace) -> list[str]:
    """The lines of the ruleset, sorted: what is made again comes last in the kernel's list."""
    return sorted(run(node, ["nft", "-s", "list", "ruleset"]).stdout.splitlines())


def _told_times(service: Service, words: str, times: int) -> bool:
    return len(service.told(words)) == times


@pytest.fixture(name="service")
def _running(installation: Installation, tmp_path: Path) -> Iterator[Service]:
    _configure(installation, 80)
    with _service(installation, tmp_path / "log") as running:
        yield running


def test_the_first_start_puts_the_configuration_directory_into_force(
    lab: Lab, service: Service, hostfwctl: Hostfwctl
) -> None:
    """Nothing was accepted before; later starts use the accepted generation."""
    status = json.loads(hostfwctl("status", "-o", "json").stdout)
    assert status["inForce"]
    assert status["accepted"] == status["generation"]
    assert admits(lab, 80)
    assert not admits(lab, 81)
    assert service.told("is in force: 1 policy, 2 endpoints, 1 interface")


def test_a_start_uses_what_was_accepted_and_not_what_lies_in_the_directory(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, tmp_path: Path
) -> None:
    """A file that was changed, or broken, since the last apply changes nothing until somebody applies it."""
    _configure(installation, 80)
    hostfwctl("apply")
    (installation.config / "policy.yaml").write_text("kind: [")
    with _service(installation, tmp_path / "log"):
        assert admits(lab, 80)
        assert hostfwctl("reload", check=False).returncode == 3
        assert admits(lab, 80)


def test_a_broken_configuration_at_the_first_start_leaves_base_protection(
    lab: Lab, installation: Installation, tmp_path: Path
) -> None:
    """Failsafes are open, everything else is closed, and the reason is told."""
    (installation.config / "policy.yaml").write_text("kind: Nonsense\n")
    with _service(installation, tmp_path / "log") as running:
        assert running.wait_for(lambda _: running.told("policy.yaml:1:"))
        assert admits(lab, 22)
        assert not admits(lab, 80)


def test_reload_goes_through_the_service_and_fails_when_the_policy_is_bad(
    lab: Lab, service: Service, hostfwctl: Hostfwctl
) -> None:
    """As `systemctl reload` needs it: synchronous, with the exit status and the words of the outcome."""
    _configure(service.installation, 81)
    assert "in force" in hostfwctl("reload").stderr
    assert admits(lab, 81)
    (service.installation.config / "policy.yaml").write_text("apiVersion: v0\nkind: Nonsense\n")
    refused = hostfwctl("reload", check=False)
    assert refused.returncode == 3
    assert "policy.yaml:2:7: unknown kind" in refused.stderr
    assert "nothing was changed" in refused.stderr
    assert admits(lab, 81)
    assert service.told("the configuration was refused")


def test_apply_of_named_files_goes_through_the_service(
    lab: Lab, service: Service, hostfwctl: Hostfwctl, tmp_path: Path
) -> None:
    """The client reads them, which the service in its sandbox could not, and the feeds that they name."""
    staging = tmp_path / "staging"
    staging.mkdir()
    (staging / "policy.yaml").write_text(two_endpoints("lan0") + _POLICY.format(port=8080))
    hostfwctl("apply", "-f", str(staging))
    assert admits(lab, 8080)
    assert not admits(lab, 80)
    assert service.told("is in force")


def test_a_trial_goes_through_the_service_and_ends_at_its_deadline(
    lab: Lab, service: Service, hostfwctl: Hostfwctl
) -> None:
    """Rolled back unless confirmed, and the service knows what is in force afterwards."""
    _configure(service.installation, 82)
    hostfwctl("apply", "--confirm-within", "8s")
    assert admits(lab, 82)
    # Within the trial: a reload after it would put the files into force, which are those of the trial.
    assert "waits" not in hostfwctl("reload", check=False).stderr
    _wait(lambda: service.told("was rolled back"))
    _wait(lambda: not admits(lab, 82))
    assert admits(lab, 80)
    run(lab["host"], ["nft", "flush", "ruleset"])
    _wait(lambda: service.told("is restored"))
    assert admits(lab, 80)


def test_an_interface_that_comes_during_a_trial_keeps_nobody_from_confirming(
    lab: Lab, service: Service, hostfwctl: Hostfwctl
) -> None:
    """As when a container starts: what is accepted then is what is in force, with the interface in it."""
    group = (
        "---\napiVersion: hostfw.io/v1\nkind: InterfaceGroup\nmetadata: {name: guests}\n"
        'spec: {match: [{name: "guest*"}]}\n'
        "---\napiVersion: projectcalico.org/v3\nkind: HostEndpoint\nmetadata: {name: guests, labels: {role: guest}}\n"
        "spec: {node: host, interfaceGroup: guests}\n"
    )
    (service.installation.config / "policy.yaml").write_text(two_endpoints("lan0") + _POLICY.format(port=83) + group)
    hostfwctl("apply", "--confirm-within", "60s")
    before = json.loads(hostfwctl("status", "-o", "json").stdout)
    run(lab["host"], ["ip", "link", "add", "guest0", "type", "veth", "peer", "name", "other0"])
    _wait(lambda: json.loads(hostfwctl("status", "-o", "json").stdout)["generation"] != before["generation"])
    _wait(lambda: "guest0" in run(lab["host"], ["nft", "list", "table", "ip", "hostfw"]).stdout)
    waiting = json.loads(hostfwctl("status", "-o", "json").stdout)
    assert waiting["confirmation"]["deadline"] == before["confirmation"]["deadline"]

    done = hostfwctl("confirm", "--console")

    assert "is accepted" in done.stderr
    after = json.loads(hostfwctl("status", "-o", "json").stdout)
    assert (after["confirmation"], after["accepted"]) == (None, after["generation"])
    assert "guest0" in (service.installation.state / "last-good.nft").read_text()
    assert admits(lab, 83)


@pytest.mark.parametrize(
    "command",
    [
        "flush ruleset",
        "delete table ip hostfw",
        "flush chain ip hostfw input",
        "insert rule ip hostfw input accept",
        "add chain ip hostfw input { policy accept; }",
        "add chain ip hostfw theirs { type filter hook input priority -300; policy drop; }",
    ],
)
def test_changes_by_another_program_are_undone(lab: Lab, service: Service, hostfwctl: Hostfwctl, command: str) -> None:
    """Base protection within milliseconds, the whole soon after, and who it was."""
    before = _rules(lab["host"])
    run(lab["host"], ["nft", command])
    _wait(lambda: service.told("is restored"))
    assert _rules(lab["host"]) == before
    assert json.loads(hostfwctl("status", "-o", "json").stdout)["drift"] == []
    assert any(entry.get("HOSTFW_PROCESS") == "nft" for entry in service.entries())
    assert admits(lab, 80)
    assert not admits(lab, 81)


def test_elements_that_another_hand_took_out_of_a_set_come_back(
    lab: Lab, service: Service, hostfwctl: Hostfwctl
) -> None:
    """A set that is there by its name is not taken for granted where its elements were touched."""
    blocked = [f"198.51.{number}.1/32" for number in range(200)]
    (service.installation.config / "blocked.yaml").write_text(
        _POLICY.format(port=80)
        .replace("name: web", "name: blocked")
        .replace(
            "{action: Allow, protocol: TCP, destination: {ports: [80]}}",
            f"{{action: Allow, source: {{nets: [{', '.join(blocked)}]}}}}",
        )
    )
    hostfwctl("reload")
    before = _rules(lab["host"])
    name = next(line.split()[1] for line in before if re.match(r"\s(set|map) \S+/32\.", line))
    run(lab["host"], ["nft", f"delete element ip hostfw {name} {{ 198.51.7.1 }}"])
    _wait(lambda: service.told("is restored: nft"))
    assert _rules(lab["host"]) == before
    assert service.told(f"deleted 1 element of the set {name}")


def test_tampering_without_end_is_backed_off_and_base_protection_stays(lab: Lab, service: Service) -> None:
    """A flood of it is never a busy loop: a handful of repairs, told as such."""
    for _ in range(60):
        run(lab["host"], ["nft", "flush", "ruleset"])
        time.sleep(0.03)
    _wait(lambda: service.told("times within 60 seconds"))
    assert not admits(lab, 81)
    assert len(service.told("is restored")) < 12
    _wait(lambda: admits(lab, 80))


def test_anothers_tables_are_none_of_the_services_business(lab: Lab, service: Service) -> None:
    """Nothing is repaired, and nothing of theirs is touched."""
    run(lab["host"], ["nft", "add table inet other; add chain inet other c { type filter hook input priority 10; }"])
    time.sleep(0.3)
    assert not service.told("is restored")
    assert "table inet other {" in _rules(lab["host"])


def test_an_interface_that_appears_meets_its_policy_at_once(lab: Lab, service: Service, hostfwctl: Hostfwctl) -> None:
    """Within a tenth of a second on a machine that has nothing else to do; nothing restarts."""
    for number in range(3):
        run(lab["host"], ["ip", "link", "add", "lan0", "type", "veth", "peer", "name", "other0"])
        _wait(partial(_told_times, service, "interface lan0 is governed by HostEndpoint lan", number + 1))
        run(lab["host"], ["ip", "link", "delete", "lan0"])
        _wait(partial(_told_times, service, "interface lan0 is no longer governed", number + 1))
    assert json.loads(hostfwctl("status", "-o", "json").stdout)["drift"] == []


def test_a_stopped_or_killed_service_leaves_the_rules_in_force(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, tmp_path: Path
) -> None:
    """And the next one takes them over without a change; hostfwctl works in between."""
    _configure(installation, 80)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with _service(installation, tmp_path / "log") as running:
            before = _rules(lab["host"])
            running.process.send_signal(number)
            assert running.process.wait(10) == (0 if number is signal.SIGTERM else -signal.SIGKILL)
        assert _rules(lab["host"]) == before
        assert "no change" in hostfwctl("apply").stderr


def test_who_is_not_root_is_not_answered(service: Service) -> None:
    """The socket lets nobody in, and says so."""
    path = socket_path(service.installation.run)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_second_service_does_not_begin(lab: Lab, service: Service) -> None:
    """There is one writer in a network namespace."""
    second = run(lab["host"], command(service.installation), environment=environment(), check=False)
    assert second.returncode == 1
    pid, run_dir = service.process.pid, service.installation.run
    running = f"another hostfw service (pid {pid}, with the run directory {run_dir}) runs in this network namespace"
    assert running in second.stderr


def test_a_second_service_with_directories_of_its_own_does_not_begin(
    lab: Lab, service: Service, tmp_path: Path
) -> None:
    """Two would undo each other's rules; hostfwctl of the other directories says so, and changes nothing."""
    other = install(lab["host"], tmp_path / "other")
    _configure(other, 81)
    before = _rules(lab["host"])
    second = run(lab["host"], command(other), environment=environment(), check=False)
    assert second.returncode == 1
    assert f"(pid {service.process.pid}, with the run directory {service.installation.run})" in second.stderr
    elsewhere = f"(pid {service.process.pid}) has the run directory {service.installation.run}"
    refused = run_verb(other, "apply", check=False)
    assert refused.returncode == 1
    assert elsewhere in " ".join(refused.stderr.split())
    assert elsewhere in " ".join(run_verb(other, "status", check=False).stdout.split())
    assert _rules(lab["host"]) == before
    with namespace("beside") as beside, inside(beside):
        assert service_elsewhere(other.run) is None
    service.process.kill()
    service.process.wait()
    run_verb(other, "apply")
    assert _rules(lab["host"]) != before


def _answers(service: Service) -> bool:
    try:
        return report(directories_of(service.installation)) is not None
    except DaemonError:
        return False


def directories_of(installation: Installation) -> Directories:
    """The directories of an installation."""
    return Directories(installation.config, installation.state, installation.run)


@pytest.mark.parametrize("act", ["socket", "content", "folder", "folder moved", "another socket", "another file"])
def test_a_control_socket_that_somebody_took_away_is_opened_again(
    lab: Lab, service: Service, hostfwctl: Hostfwctl, tmp_path: Path, act: str
) -> None:
    """It is told, and all is as before."""
    run_dir = service.installation.run
    path = socket_path(run_dir)
    before = path.stat().st_ino
    match act:
        case "socket":
            path.unlink()
        case "content":
            for one in run_dir.iterdir():
                shutil.rmtree(one) if one.is_dir() else one.unlink()
        case "folder":
            run_dir.rename(tmp_path / "moved")
            shutil.rmtree(tmp_path / "moved")
        case "folder moved":
            run_dir.rename(tmp_path / "moved")
        case "another socket":
            with socket.socket(socket.AF_UNIX) as other:
                other.bind(str(tmp_path / "other"))
            (tmp_path / "other").rename(path)
        case _:
            (tmp_path / "file").write_text("")
            (tmp_path / "file").rename(path)

    with inside(lab["host"]):
        _wait(lambda: path.is_socket() and path.stat().st_ino != before and _answers(service))
        _wait(lambda: service.told("the control socket is open there again"))
        _wait((run_dir / "generation.json").exists)
    _wait(lambda: not json.loads(hostfwctl("status", "-o", "json").stdout)["service"]["trouble"])
    assert "control.sock" not in hostfwctl("doctor", check=False).stdout
    assert path.stat().st_mode & 0o777 == 0o600
    _configure(service.installation, 81)
    assert hostfwctl("apply").returncode == 0
    assert admits(lab, 81)


def test_a_socket_that_cannot_be_opened_again_is_trouble(lab: Lab, service: Service, hostfwctl: Hostfwctl) -> None:
    """Status, doctor and who wants to write say that a service runs and is not reached: it would undo what they do."""
    path = socket_path(service.installation.run)
    in_the_way = path.with_name(f"{path.name}{ASIDE}")
    in_the_way.mkdir()
    (in_the_way / "theirs").touch()
    path.unlink()
    path.mkdir()
    _wait(path.is_dir)

    assert "the service runs, and its socket" in hostfwctl("status").stdout
    examined = hostfwctl("doctor", check=False)
    assert (examined.returncode, "the service runs, and its socket" in examined.stdout) == (1, True)
    _configure(service.installation, 81)
    refused = hostfwctl("apply", check=False)
    assert (refused.returncode, "the service runs, and its socket" in refused.stderr) == (1, True)
    assert "unchanged" in refused.stderr
    assert not admits(lab, 81)

    path.rmdir()
    _wait(path.is_socket)
    _wait(lambda: not json.loads(hostfwctl("status", "-o", "json").stdout)["service"]["trouble"])
    assert hostfwctl("apply").returncode == 0
    assert admits(lab, 81)


def test_a_service_that_stops_is_not_said_to_run(service: Service, hostfwctl: Hostfwctl) -> None:
    """Nor is its socket opened again."""
    service.process.terminate()
    service.process.wait(10)

    assert "not running" in hostfwctl("status").stdout
    assert not socket_path(service.installation.run).exists()


def test_a_signal_that_means_nothing_ends_nothing(service: Service, hostfwctl: Hostfwctl) -> None:
    """As some programs understand, and who does not know may send."""
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        service.process.send_signal(number)
    time.sleep(0.3)

    assert service.process.poll() is None
    assert json.loads(hostfwctl("status", "-o", "json").stdout)["service"]["pid"]


def test_hangup_reloads(lab: Lab, service: Service) -> None:
    """For hosts without hostfwctl; the journal says which services that closes and opens."""
    with process(lab["host"], [sys.executable, "-m", "http.server", "83"]) as serving:
        _wait(lambda: ":0053 " in Path(f"/proc/{serving.pid}/net/tcp").read_text())
        _configure(service.installation, 83)
        service.process.send_signal(signal.SIGHUP)
        _wait(lambda: admits(lab, 83))
        _wait(lambda: service.told("opens tcp/83"))


def test_a_block_is_put_back_when_everything_is_flushed(lab: Lab, service: Service, hostfwctl: Hostfwctl) -> None:
    """With the tables below it, which count again once it is let go."""
    host = lab["host"]
    hostfwctl("lockdown", "--all")
    blocked = _rules(host)
    run(host, ["nft", "flush", "ruleset"])
    _wait(lambda: _rules(host) == blocked)
    _wait(lambda: service.told("restored"))

    assert not admits(lab, 80)
    hostfwctl("unblock")
    assert admits(lab, 80)


def test_figures_for_prometheus_are_written_where_the_settings_say(
    lab: Lab, service: Service, hostfwctl: Hostfwctl, tmp_path: Path
) -> None:
    """With what the kernel counted, at once when the setting comes; and not any more when it goes."""
    path = tmp_path / "hostfw.prom"
    settings = service.installation.config / "hostfw.yaml"
    for _ in range(3):
        assert admits(lab, 80)
    settings.write_text(f"metrics: {{textfile: {path}, intervalSeconds: 5}}\n")
    hostfwctl("reload")
    _wait(path.exists)
    text = path.read_text()
    generation = json.loads(hostfwctl("status", "-o", "json").stdout)["generation"]
    assert re.search(
        r'^hostfw_rule_packets_total\{.*policy="web",direction="ingress".*family="ipv4"\} 3$', text, re.MULTILINE
    )
    assert f'hostfw_generation_info{{generation="{generation}"}} 1\n' in text
    assert 'hostfw_last_change_info{outcome="applied"} 1\n' in text
    assert re.search(r"^hostfw_generation_applied_timestamp_seconds [0-9.]+$", text, re.MULTILINE)
    settings.unlink()
    hostfwctl("reload")
    _wait(lambda: not path.exists())


def test_what_another_hostfwctl_did_to_a_hanging_service_is_taken_over(
    lab: Lab, service: Service, hostfwctl: Hostfwctl
) -> None:
    """A trial that its deadline rolls back past a service that hangs is not put back once that goes on."""
    _configure(service.installation, 82)
    hostfwctl("apply", "--confirm-within", "2s")
    assert admits(lab, 82)
    service.process.send_signal(signal.SIGSTOP)
    try:
        _wait(lambda: not admits(lab, 82), 60)
    finally:
        service.process.send_signal(signal.SIGCONT)
    time.sleep(1)
    assert not admits(lab, 82)
    assert admits(lab, 80)
    status = json.loads(hostfwctl("status", "-o", "json").stdout)
    assert status["generation"] == status["accepted"] == status["service"]["generation"]
