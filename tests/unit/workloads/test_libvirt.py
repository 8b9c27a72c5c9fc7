"""Guests of libvirt: what its files say, and what becomes of files that say something else."""

import json
import time
from pathlib import Path

import pytest

from hostfw.workloads.libvirt import LibvirtReader
from hostfw.workloads.values import Workload
from hostfw.workloads.watch import Reading

GUEST = """\
<!-- WARNING: THIS IS AN AUTO-GENERATED FILE. -->
<domstatus state='running' reason='booted' pid='812'>
  <monitor path='/var/lib/libvirt/qemu/domain-1-db/monitor.sock' type='unix'/>
  <domain type='kvm' id='1'>
    <name>{name}</name>
    <uuid>0b4ccf1a-3f26-4c9b-a5d3-5cc1b5b0f7aa</uuid>
    <metadata>
      <hostfw:workload xmlns:hostfw="https://hostfw.io/libvirt/1"{namespace}>
        <hostfw:label key="app" value="db"/>
        <hostfw:label key="bad key" value="x"/>
        <hostfw:label/>
      </hostfw:workload>
      <other xmlns="https://example.com/"><label key="app" value="web"/></other>
    </metadata>
    <devices>
      <interface type='network'>
        <mac address='52:54:00:AA:00:01'/>
        <source network='default' portid='7' bridge='virbr0'/>
        <target dev='vnet0'/>
      </interface>
      {more}
    </devices>
  </domain>
</domstatus>
"""
SECOND = """\
      <interface type='bridge'>
        <mac address='52:54:00:aa:00:02'/>
        <source bridge='br0'/>
        <target dev='vnet1'/>
        <filterref filter='clean-traffic'>
          <parameter name='IP' value='192.0.2.7'/>
          <parameter name='IPV6' value='2001:db8::7'/>
          <parameter name='OTHER' value='192.0.2.8'/>
        </filterref>
      </interface>
      <interface type='user'><mac address='52:54:00:aa:00:03'/></interface>
"""
NETWORK = """\
<networkstatus><network><name>default</name><bridge name='virbr0'/>
  <dns><host ip='192.168.122.99'><hostname>x</hostname></host></dns>
  <ip address='192.168.122.1' netmask='255.255.255.0'><dhcp>
    <range start='192.168.122.2' end='192.168.122.254'/>
    <host mac='52:54:00:aa:00:01' name='db' ip='192.168.122.50'/>
    <host mac='52:54:00:aa:00:77' name='x' ip='192.168.122.51'/>
  </dhcp></ip></network></networkstatus>
"""


@pytest.fixture(name="state")
def _state(tmp_path: Path) -> Path:
    for folder in ("qemu", "lxc", "network", "leases"):
        (tmp_path / folder).mkdir()
    return tmp_path


def _read(state: Path) -> Reading:
    return LibvirtReader(state, state / "leases").read()


def _guest(state: Path, name: str = "db", more: str = "", namespace: str = "") -> None:
    (state / "qemu" / "db.xml").write_text(GUEST.format(name=name, more=more, namespace=namespace))


def _lease(mac: str, address: str, end: object) -> dict[str, object]:
    return {"ip-address": address, "mac-address": mac, "hostname": "db", "expiry-time": end}


def test_a_guest_has_the_addresses_that_libvirt_gave_it(state: Path) -> None:
    """By its Ethernet address: of an entry of the network, and of a lease that has not ended."""
    _guest(state)
    (state / "network" / "default.xml").write_text(NETWORK)
    mac, now = "52:54:00:aa:00:01", int(time.time())
    leases = [
        _lease(mac, "192.168.122.60", now + 600),
        _lease(mac, "192.168.122.61", now - 600),
        _lease(mac, "fd00::60", 0),
        _lease("52:54:00:aa:00:09", "192.168.122.62", now + 600),
    ]
    (state / "leases" / "virbr0.status").write_text(json.dumps(leases))

    assert _read(state).workloads == (
        Workload(
            identity="0b4ccf1a-3f26-4c9b-a5d3-5cc1b5b0f7aa",
            wanted_name="db",
            namespace="default",
            orchestrator="libvirt",
            interface="vnet0",
            networks=("192.168.122.50", "192.168.122.60", "fd00::60"),
            labels=(("app", "db"), ("engine", "libvirt"), ("name", "db"), ("network", "default")),
            mac=mac,
        ),
    )


def test_every_card_with_an_interface_is_a_workload(state: Path) -> None:
    """The addresses of a filter are its own; the namespace of the metadata counts for all."""
    _guest(state, more=SECOND, namespace=" namespace='shop'")
    (state / "network" / "default.xml").write_text(NETWORK)

    found = {one.interface: one for one in _read(state).workloads}
    assert found.keys() == {"vnet0", "vnet1"}
    assert found["vnet1"].networks == ("192.0.2.7", "2001:db8::7")
    assert found["vnet1"].wanted_name == "db.vnet1"
    assert {one.namespace for one in found.values()} == {"shop"}


def test_a_guest_without_an_address_is_said(state: Path) -> None:
    """It is known by its Ethernet address, with which it may ask for one."""
    _guest(state)

    reading = _read(state)
    assert [(one.networks, one.mac) for one in reading.workloads] == [((), "52:54:00:aa:00:01")]
    assert reading.remarks == ('guest "db": libvirt gave "vnet0" no address so far',)


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        (b"<domstatus><domain>", "it is no XML"),
        (b"\xff\xfe\x00", "it is no XML"),
        (b"<a>" * 200_000, "it is no XML"),
        (b"x" * 10_000_000, "it has over 1024 KiB"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><domain>&b;</domain>', None),
        (b"", None),
        (b"<domain/>", None),
        (b"<domstatus/>", None),
    ],
)
def test_a_file_that_is_something_else_hides_no_other(state: Path, text: bytes, remark: str | None) -> None:
    """It is said, unless it is being written."""
    _guest(state)
    (state / "network" / "default.xml").write_text(NETWORK)
    (state / "qemu" / "wrong.xml").write_bytes(text)

    found = _read(state)
    assert [one.wanted_name for one in found.workloads] == ["db"]
    assert len(found.remarks) == (remark is not None)
    assert all(remark is not None and remark in one for one in found.remarks)


@pytest.mark.parametrize("text", ["", "[", "7", "[7, null]", '[{"ip-address": 7, "mac-address": []}]', "[" * 100_000])
def test_leases_that_are_something_else_are_none(state: Path, text: str) -> None:
    """The guest's other addresses hold."""
    _guest(state)
    (state / "network" / "default.xml").write_text(NETWORK)
    (state / "leases" / "virbr0.status").write_text(text)

    assert [one.networks for one in _read(state).workloads] == [("192.168.122.50",)]


def test_without_libvirt_nothing_runs(tmp_path: Path) -> None:
    """A host may have one driver or none; which folder is missing is said."""
    assert LibvirtReader(tmp_path / "run", tmp_path / "leases").read() == Reading()
    with (
        pytest.raises(FileNotFoundError, match="run/qemu"),
        LibvirtReader(tmp_path / "run", tmp_path / "leases").listen(),
    ):
        pass
