"""Name servers and leases as files tell of them; what rtnetlink tells is held to real interfaces elsewhere."""

from pathlib import Path

import pytest

from hostfw.host.network import baseline
from hostfw.host.network import network_needs as needs
from hostfw.host.network.network_needs import Route, name_servers
from hostfw.host.network.sockets.sockets import TcpEnd
from hostfw.model.host.baseline import NameServer
from hostfw.model.values import Family, parse_address

STUB = "# by systemd-resolved\nnameserver 127.0.0.53\noptions edns0\n"
UPSTREAMS = "nameserver 192.0.2.53\nnameserver 2001:db8::53\n"
ROUTES = {"127.0.0.53": Route("lo", 1), "192.0.2.53": Route("eth0", 2), "2001:db8::53": Route("eth0", None)}


def server(address: str, interface: str = "", source: int | None = None) -> NameServer:
    """A name server as a baseline has it."""
    parsed = parse_address(address)
    assert parsed is not None
    return NameServer(*parsed, interface, source)


CASES = [
    ("none", "search example.org\n", []),
    ("one", "nameserver 192.0.2.53\n", [server("192.0.2.53", "eth0", 2)]),
    ("one twice", "nameserver 192.0.2.53\nnameserver\t192.0.2.53 \n", [server("192.0.2.53", "eth0", 2)]),
    ("one without a route", "nameserver 198.51.100.1\n", [server("198.51.100.1")]),
    ("link-local, with its interface", "nameserver fe80::1%eth1\n", [server("fe80::1", "eth1")]),
    ("comments and nonsense", "#nameserver 192.0.2.1\nnameserver localhost\n ;nameserver 192.0.2.2\n", []),
    (
        "behind the stub of systemd-resolved",
        STUB,
        [server("127.0.0.53", "lo", 1), server("192.0.2.53", "eth0", 2), server("2001:db8::53", "eth0")],
    ),
]


@pytest.mark.parametrize(("text", "expected"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_name_servers_are_those_that_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, expected: list[NameServer]
) -> None:
    """Each with the interface that the route to it takes."""
    known = {parse_address(address): route for address, route in ROUTES.items()}
    monkeypatch.setattr(needs, "route_to", lambda family, address: known.get((family, address)))
    (tmp_path / "resolv.conf").write_text(text)
    (tmp_path / "upstreams").write_text(UPSTREAMS)

    assert list(name_servers(tmp_path / "resolv.conf", tmp_path / "upstreams")) == expected


def test_without_resolv_conf_no_name_server_is_asked(tmp_path: Path) -> None:
    """Nor where only systemd-resolved's own file is missing."""
    assert name_servers(tmp_path / "none", tmp_path / "none") == ()


SHOWN = [
    ("one port of both families", "Listen=0.0.0.0:22 (Stream)\nListen=[::]:22 (Stream)\n", {7}),
    ("another port, and a datagram", "Listen=[::]:2222 (Stream)\nListen=[::]:22 (Datagram)\n", {8}),
    ("no such unit", "Listen=\n", set()),
]


@pytest.mark.parametrize(("shown", "expected"), [pytest.param(*case[1:], id=case[0]) for case in SHOWN])
def test_what_systemd_holds_for_sshd_is_told_by_its_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str, expected: set[int]
) -> None:
    """Its other sockets are no business of ours."""
    (tmp_path / "1").mkdir()
    (tmp_path / "1/stat").write_text("1 (systemd) S 0 1 1 0\n")
    fd = tmp_path / "1/fd"
    fd.mkdir()
    for inode in (7, 8):
        (fd / str(inode)).symlink_to(f"socket:[{inode}]")
    monkeypatch.setattr(baseline, "systemctl", lambda *_: shown)
    ends = [TcpEnd(Family.V4, 0, port, None, 0, 0, inode) for port, inode in ((22, 7), (2222, 8), (22, 9))]

    assert baseline._activated(ends, tmp_path) == expected
