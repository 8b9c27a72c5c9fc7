"""Policy in a few words: real packets before and after, the files that it leaves, and the way back."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from socket import AF_INET, AF_INET6, SOCK_STREAM, socket
from time import monotonic

import pytest

from hostfw.model.values import TCP, Family
from lab.hostfwctl import Installation, hostfwctl, install
from lab.laboratory import Lab
from lab.namespace import open_socket
from lab.packets.probe import DENY_PATIENCE_S, Flow, Verdict, probe
from lab.service import service


@pytest.fixture(name="host")
def _host(routed_lab: Lab, tmp_path: Path) -> Installation:
    host = install(routed_lab["host"], tmp_path / "hostfw")
    hostfwctl(host, "apply")
    return host


def passing(lab: Lab, *flows: tuple[str, str, int]) -> list[bool]:
    """The results of TCP flows from one node to a port of another, over IPv4 and IPv6 alike."""
    asked = [Flow(source, destination, TCP, port, family) for source, destination, port in flows for family in Family]
    verdicts = [result.verdict is Verdict.ALLOWED for result in probe(lab, asked, DENY_PATIENCE_S)]
    both = list(zip(verdicts[::2], verdicts[1::2], strict=True))
    assert all(first == second for first, second in both), both
    return [first for first, _ in both]


def test_a_port_is_opened_on_a_host_without_any_policy(routed_lab: Lab, host: Installation) -> None:
    """And nothing else: what goes out or through stays as it was, since a HostEndpoint that does so comes with it."""
    flows = (("outer", "host", 80), ("outer", "host", 81), ("host", "outer", 25), ("inner", "outer", 25))
    assert passing(routed_lab, *flows) == [False, False, True, True]

    said = hostfwctl(host, "allow", "http")

    assert passing(routed_lab, *flows) == [True, False, True, True]
    assert sorted(path.name for path in (host.config / "quick").iterdir()) == [
        "allow-tcp-80.yaml",
        "this-host.yaml",
        "tier.yaml",
    ]
    assert "kind: GlobalNetworkPolicy" in said.stdout
    assert "no change" in hostfwctl(host, "allow", "80/tcp").stderr
    assert hostfwctl(host, "diff").stdout == ""


def test_an_address_is_denied_everything_until_it_is_removed(routed_lab: Lab, host: Installation) -> None:
    """In, out and through, whatever else is allowed."""
    flows = (("outer", "host", 80), ("host", "outer", 25), ("inner", "outer", 25), ("inner", "host", 80))
    hostfwctl(host, "allow", "tcp/80")
    assert passing(routed_lab, *flows) == [True, True, True, True]

    hostfwctl(host, "deny", "192.0.2.2,2001:db8::2", "--reason", "scans")

    assert passing(routed_lab, *flows) == [False, False, False, True]
    hostfwctl(host, "remove", "deny", "192.0.2.2,2001:db8::2")
    assert passing(routed_lab, *flows) == [True, True, True, True]


def test_an_address_that_is_denied_is_denied_ssh_too(routed_lab: Lab, host: Installation) -> None:
    """And nobody else is; the failsafe opens to it again where it is told to, or where it names the address."""
    flows = (("outer", "host", 22), ("inner", "host", 22))
    assert passing(routed_lab, *flows) == [True, True]

    hostfwctl(host, "deny", "192.0.2.2,2001:db8::2")
    assert passing(routed_lab, *flows) == [False, True]

    hostfwctl(host, "deny", "192.0.2.2,2001:db8::2", "--keep-failsafes")
    assert passing(routed_lab, *flows) == [True, True]

    hostfwctl(host, "deny", "ssh", "from", "192.0.2.2,2001:db8::2")
    assert passing(routed_lab, *flows) == [False, True]
    named = "{protocol: tcp, port: 22, net: 192.0.2.2/32}, {protocol: tcp, port: 22, net: '2001:db8::2/128'}"
    (host.config / "hostfw.yaml").write_text(f"failsafe: {{inbound: [22, {named}]}}\n")
    hostfwctl(host, "apply")
    assert passing(routed_lab, *flows) == [True, True]


def test_an_open_ssh_connection_is_cut_with_its_ban(routed_lab: Lab, host: Installation) -> None:
    """Its next packet is a new one for connection tracking, which a failsafe before the ban would have let in."""
    listener = open_socket(routed_lab["host"], AF_INET, SOCK_STREAM)
    client = open_socket(routed_lab["outer"], AF_INET, SOCK_STREAM)
    with listener, client:
        listener.bind(("192.0.2.1", 22))
        listener.listen()
        client.settimeout(DENY_PATIENCE_S)
        client.connect(("192.0.2.1", 22))
        server, _ = listener.accept()
        with server:
            assert arrives(client, server)
            said = hostfwctl(host, "deny", "192.0.2.2", "--cut")

            assert "1 connection ended" in said.stderr
            assert not arrives(client, server)


def test_an_open_connection_is_cut_where_that_is_asked_for(routed_lab: Lab, host: Installation) -> None:
    """Without --cut it goes on; with it the next packet meets the rule that denies."""
    hostfwctl(host, "allow", "tcp/7007")
    listener = open_socket(routed_lab["host"], AF_INET, SOCK_STREAM)
    client = open_socket(routed_lab["outer"], AF_INET, SOCK_STREAM)
    with listener, client:
        listener.bind(("192.0.2.1", 7007))
        listener.listen()
        client.settimeout(DENY_PATIENCE_S)
        client.connect(("192.0.2.1", 7007))
        server, _ = listener.accept()
        with server:
            assert arrives(client, server)
            hostfwctl(host, "deny", "192.0.2.2")
            assert arrives(client, server)
            hostfwctl(host, "remove", "deny", "192.0.2.2")

            said = hostfwctl(host, "deny", "192.0.2.2", "--cut")

            assert "1 connection ended" in said.stderr
            assert not arrives(client, server)


def arrives(client: socket, server: socket) -> bool:
    """True if what one end sends comes to the other."""
    server.settimeout(DENY_PATIENCE_S)
    client.sendall(b"x")
    with suppress(TimeoutError):
        return server.recv(1) == b"x"
    return False


def test_the_first_configuration_closes_nothing_that_listens(routed_lab: Lab, host: Installation) -> None:
    """Services that listen on every address or on one are reachable as before; all other ports are closed."""
    listeners = [
        open_socket(routed_lab["host"], AF_INET6, SOCK_STREAM),
        open_socket(routed_lab["host"], AF_INET, SOCK_STREAM),
    ]
    with listeners[0], listeners[1]:
        listeners[0].bind(("::", 8080))
        listeners[1].bind(("192.0.2.1", 8081))
        for listener in listeners:
            listener.listen()

        hostfwctl(host, "init", "--write")
        hostfwctl(host, "apply")

    assert passing(routed_lab, ("outer", "host", 8080), ("inner", "host", 8080)) == [True, True]
    assert passing(routed_lab, ("outer", "host", 82), ("host", "outer", 25)) == [False, True]
    flows = [Flow("outer", "host", TCP, 8081, family) for family in Family]
    assert [result.verdict for result in probe(routed_lab, flows, DENY_PATIENCE_S)] == [
        Verdict.ALLOWED,
        Verdict.DROPPED,
    ]


def test_what_is_allowed_for_a_time_is_closed_after_it(routed_lab: Lab, host: Installation, tmp_path: Path) -> None:
    """By the service, within five seconds of its moment and not before; what is allowed for good stays open."""
    flows = (("outer", "host", 80), ("outer", "host", 81))
    hostfwctl(host, "allow", "tcp/81")
    with service(host, tmp_path / "log") as running:
        hostfwctl(host, "allow", "tcp/80", "for", "12s")
        ends_s = monotonic() + 12
        assert passing(routed_lab, *flows) == [True, True]
        running.wait_for(lambda _: running.told("expired"))
        late_s = monotonic() - ends_s
        assert passing(routed_lab, *flows) == [False, True]
    assert -1.5 <= late_s <= 5
    assert "expired" in hostfwctl(host, "rules").stdout


def test_rules_that_are_written_at_once_are_all_in_force(routed_lab: Lab, host: Installation) -> None:
    """One after the other, each with the others' files: none is lost, and none is refused for another's sake."""
    ports = (8001, 8002, 8003, 8004)
    with ThreadPoolExecutor(len(ports)) as pool:
        done = list(pool.map(lambda port: hostfwctl(host, "allow", f"tcp/{port}", check=False), ports))

    assert [(one.returncode, one.stderr) for one in done if one.returncode] == []
    assert len(list((host.config / "quick").glob("allow-tcp-800?.yaml"))) == len(ports)
    assert hostfwctl(host, "diff").stdout == ""
    assert passing(routed_lab, *(("outer", "host", port) for port in ports)) == [True] * len(ports)
