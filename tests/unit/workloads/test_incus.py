"""Instances of Incus: what its API says, and what becomes of answers that say something else."""

import json
import select
from pathlib import Path

import pytest

from hostfw.workloads.engine_socket import EngineError
from hostfw.workloads.incus import IncusReader
from hostfw.workloads.values import Workload
from hostfw.workloads.watch import Reading
from lab.fakes.fake_engine import fake_engine

INSTANCE = {
    "name": "db",
    "project": "shop",
    "status": "Running",
    "expanded_config": {
        "user.app": "db",
        "user.bad key": "x",
        "user.odd": "\ud800",
        "image.os": "Debian",
        "image.release": "bookworm",
        "volatile.eth0.host_name": "veth9",
    },
    "expanded_devices": {"eth0": {"type": "nic", "network": "incusbr0", "ipv6.address": "fd42::50"}},
    "state": {
        "network": {
            "eth0": {
                "host_name": "veth1234",
                "hwaddr": "00:16:3E:00:00:01",
                "addresses": [{"family": "inet", "address": "10.9.9.9"}],
            },
            "lo": {"host_name": "", "hwaddr": ""},
        }
    },
}
LEASES = [
    {"hwaddr": "00:16:3e:00:00:01", "address": "10.10.0.50", "type": "DYNAMIC"},
    {"hwaddr": "00:16:3e:00:00:02", "address": "10.10.0.51", "type": "DYNAMIC"},
]


def _answers(*instances: tuple[str, object]) -> dict[str, bytes]:
    urls = [f"/1.0/instances/{name}?project=shop" for name, _ in instances]
    answers = {f"/1.0/instances/{name}": json.dumps({"metadata": found}).encode() for name, found in instances}
    answers["/1.0/instances"] = json.dumps({"metadata": urls}).encode()
    answers["/1.0/networks/incusbr0/leases"] = json.dumps({"metadata": LEASES}).encode()
    return answers


def _read(path: Path, answers: dict[str, bytes]) -> Reading:
    with fake_engine(path / "s", answers):
        return IncusReader(str(path / "s")).read()


def test_an_instance_has_the_addresses_that_incus_gave_it(tmp_path: Path) -> None:
    """Of its configuration and of the leases, not what is set within it."""
    assert _read(tmp_path, _answers(("db", INSTANCE))).workloads == (
        Workload(
            identity="shop/db",
            wanted_name="db",
            namespace="shop",
            orchestrator="incus",
            interface="veth1234",
            networks=("fd42::50", "10.10.0.50"),
            labels=(
                ("app", "db"),
                ("engine", "incus"),
                ("image", "Debian_bookworm"),
                ("name", "db"),
                ("network", "incusbr0"),
            ),
            mac="00:16:3e:00:00:01",
        ),
    )


def test_what_does_not_run_or_is_something_else_hides_no_other(tmp_path: Path) -> None:
    """Stopped, without fields, with fields of other kinds, gone meanwhile, and too large."""
    big = {**INSTANCE, "expanded_config": {"user.big": "x" * 10_000_000}}
    odd = {**INSTANCE, "state": {"network": [7]}, "expanded_config": 7}
    answers = _answers(
        ("stopped", {**INSTANCE, "status": "Stopped"}), ("empty", {}), ("odd", odd), ("big", big), ("db", INSTANCE)
    )
    answers["/1.0/instances"] = answers["/1.0/instances"].replace(b"]", b', 7, "/elsewhere", "/1.0/instances/gone"]')

    found = _read(tmp_path, answers)
    assert [one.wanted_name for one in found.workloads] == ["db"]
    assert found.remarks == ('instance "/1.0/instances/big?project=shop": its description is too large: left out',)


@pytest.mark.parametrize("answer", [b"{}", b'{"metadata": 7}', b'{"metadata": null}', b'{"metadata": [null]}'])
def test_an_answer_without_instances_has_none(tmp_path: Path, answer: bytes) -> None:
    """Nothing is raised."""
    assert _read(tmp_path, {"/1.0/instances": answer}) == Reading()


def test_an_instance_without_an_address_is_said(tmp_path: Path) -> None:
    """Its network may have no leases, or be none of Incus'."""
    card = {**INSTANCE, "expanded_devices": {"eth0": {"type": "nic", "parent": "br0"}}}
    reading = _read(tmp_path, _answers(("db", card)))
    assert [one.networks for one in reading.workloads] == [()]
    assert reading.remarks == ('instance "db": Incus gave "veth1234" no address so far',)
    assert reading.unfinished


def test_an_ethernet_address_is_the_one_that_incus_gave(tmp_path: Path) -> None:
    """An instance that has set that of another one is not taken for it."""
    config = {**INSTANCE["expanded_config"], "volatile.eth0.hwaddr": "00:16:3e:00:00:02"}  # type: ignore[dict-item]
    (found,) = _read(tmp_path, _answers(("db", {**INSTANCE, "expanded_config": config}))).workloads
    assert (found.mac, found.networks) == ("00:16:3e:00:00:02", ("fd42::50", "10.10.0.51"))


def test_events_come_by_a_websocket(tmp_path: Path) -> None:
    """A ping is answered, and the end is told."""
    path = tmp_path / "s"
    with fake_engine(path, {}) as engine, IncusReader(str(path)).listen() as events:
        engine.frame(b"\x89\x00")
        assert select.select([events], [], [], 5)[0]
        events.take()
        assert engine.pongs(1) == [b"\x8a\x80\0\0\0\0"]
        engine.hang_up()
        assert select.select([events], [], [], 5)[0]
        with pytest.raises(EngineError, match="ended the connection"):
            events.take()
