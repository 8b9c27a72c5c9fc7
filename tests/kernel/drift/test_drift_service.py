"""Changes of another program to our tables that the running service answers to, heard or not."""

import signal
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from hostfw.daemon.writer import KNOWN_WORKERS
from lab.hostfwctl import Installation
from lab.laboratory import Lab
from lab.namespace import run
from lab.service import Service, reload_repeatedly
from tests.kernel.conftest import Hostfwctl
from tests.kernel.drift.test_drift import MADE_ANEW, TAMPERING, WITH_MAPS, map_and_set, nft, script_of, structure
from tests.kernel.packets.connections import admits
from tests.kernel.service.test_service import _service

_PATIENCE_S = 20


@pytest.fixture(name="service")
def _running(installation: Installation, tmp_path: Path) -> Iterator[Service]:
    (installation.config / "policy.yaml").write_text(WITH_MAPS)
    with _service(installation, tmp_path / "log") as running:
        yield running


def _is_whole(lab: Lab, hostfwctl: Hostfwctl) -> bool:
    return "Drift:" not in hostfwctl("status").stdout and _admitted(lab) == (True, False)


def _admitted(lab: Lab) -> tuple[bool, bool]:
    return admits(lab, 80), admits(lab, 443)


def _wait_until_whole(lab: Lab, hostfwctl: Hostfwctl) -> None:
    deadline = monotonic() + _PATIENCE_S
    while not _is_whole(lab, hostfwctl):
        assert monotonic() < deadline, hostfwctl("status").stdout
        sleep(0.05)


@pytest.mark.parametrize("tampering", TAMPERING)
def test_the_service_undoes_what_it_hears_of(lab: Lab, service: Service, hostfwctl: Hostfwctl, tampering: str) -> None:
    """And says so once what it restored has been read back."""
    host = lab["host"]
    before = structure(host)

    nft(host, script_of(host, tampering))
    _wait_until_whole(lab, hostfwctl)

    assert structure(host) == before
    assert service.told("restored")
    assert not service.told("could not be restored")


@pytest.mark.parametrize("difference", MADE_ANEW)
def test_a_table_that_another_program_made_anew_is_ours_again(
    lab: Lab, service: Service, hostfwctl: Hostfwctl, difference: str
) -> None:
    """With everything in it by its name, and one thing another."""
    host = lab["host"]
    before = structure(host)
    listed = run(host, ["nft", "list", "table", "ip", "hostfw"]).stdout

    nft(host, f"delete table ip hostfw\n{listed.replace(*MADE_ANEW[difference], 1)}")
    _wait_until_whole(lab, hostfwctl)

    assert structure(host) == before
    assert service.told("restored")
    assert not service.told("nft refused base protection")


@pytest.mark.parametrize("tampering", ["a dormant table", "another hook", "no hook", "an empty map"])
def test_a_service_undoes_changes_made_while_it_was_stopped(
    lab: Lab, service: Service, hostfwctl: Hostfwctl, tampering: str
) -> None:
    """It hangs, and more is told to it meanwhile than its socket has room for."""
    host = lab["host"]
    mapped, _ = map_and_set(host)
    flush = f"flush map ip hostfw {mapped}"
    script = flush if tampering == "an empty map" else script_of(host, tampering)
    service.process.send_signal(signal.SIGSTOP)

    nft(host, script)
    elements = ", ".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(150_000))
    flood = f"add table ip theirs\nadd set ip theirs s {{ type ipv4_addr; elements = {{ {elements} }}; }}\n"
    for _ in range(6):
        run(host, ["nft", "-f", "-"], text=f"{flood}delete table ip theirs\n")
    service.process.send_signal(signal.SIGCONT)

    _wait_until_whole(lab, hostfwctl)


@pytest.mark.parametrize("tampering", ["a dormant table", "another hook", "no hook", "an empty map"])
def test_a_start_undoes_what_was_done_before_it(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, tmp_path: Path, tampering: str
) -> None:
    """Although the generation is the one that was accepted."""
    host = lab["host"]
    (installation.config / "policy.yaml").write_text(WITH_MAPS)
    hostfwctl("apply")
    mapped, _ = map_and_set(host)
    nft(host, f"flush map ip hostfw {mapped}" if tampering == "an empty map" else script_of(host, tampering))

    with _service(installation, tmp_path / "log"):
        assert _is_whole(lab, hostfwctl)


def test_a_flush_is_undone_after_more_writes_than_workers_are_remembered(
    lab: Lab, installation: Installation, service: Service, hostfwctl: Hostfwctl
) -> None:
    """Base protection's worker lives longer than that of any write: its own commit is no change by another program."""
    policy = installation.config / "policy.yaml"

    def configure(number: int) -> None:
        policy.write_text(WITH_MAPS.replace("ports: [80]", f"ports: [80, {90 + number}]"))

    reload_repeatedly(installation, KNOWN_WORKERS + 2, configure)
    before = structure(lab["host"])

    run(lab["host"], ["nft", "flush", "ruleset"])
    _wait_until_whole(lab, hostfwctl)

    assert structure(lab["host"]) == before
    assert len(service.told("is restored")) == 1
