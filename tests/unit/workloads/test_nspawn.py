"""The Ethernet addresses of machines of systemd-nspawn."""

from pathlib import Path

import pytest

from hostfw.workloads.nspawn import ethernet_address, host_id, siphash


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        # The vectors of the authors of SipHash: the key and the data are bytes that count up.
        (0, 0x726FDB47DD0E0E31),
        (1, 0x74F839C593DC67FD),
        (7, 0xAB0200F58B01D137),
        (8, 0x93F5F5799A932462),
        (15, 0xA129CA6149BE45E5),
        (63, 0x958A324CEB064572),
    ],
)
def test_siphash_is_that_of_its_authors(length: int, expected: int) -> None:
    """With and without a part of a word at the end."""
    assert siphash(bytes(range(16)), bytes(range(length))) == expected


@pytest.mark.parametrize(
    ("host", "machine", "expected"),
    [
        # Of systemd 252 and 257, as `ip link` shows them within the machines.
        ("73122f8e0cdc484e8640eb3a497039d2", "web", "76:d3:ae:aa:dc:59"),
        ("73122f8e0cdc484e8640eb3a497039d2", "db", "42:12:cb:5b:f8:32"),
        ("70506508f8d3406881b51ed2b0e9b3aa", "a-really-long-name", "26:b9:bb:b8:32:0c"),
    ],
)
def test_a_machine_has_the_ethernet_address_of_systemd_nspawn(host: str, machine: str, expected: str) -> None:
    """It depends on the host and on the whole name."""
    assert ethernet_address(bytes.fromhex(host), machine) == expected


@pytest.mark.parametrize(
    "text", ["", "uninitialized\n", "73122f8e", "g" * 32, "73122f8e0cdc484e8640eb3a497039d2ff", "\xff"]
)
def test_a_host_without_an_id_has_none(text: str, tmp_path: Path) -> None:
    """Nothing is derived from half an id, or from none."""
    path = tmp_path / "machine-id"
    assert host_id(path) is None
    path.write_text(text, "latin-1")
    assert host_id(path) is None
    path.write_text("73122f8e0cdc484e8640eb3a497039d2\n")
    assert host_id(path) == bytes.fromhex("73122f8e0cdc484e8640eb3a497039d2")
