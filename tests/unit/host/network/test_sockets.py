"""TCP sockets by sock_diag, held against what the sockets say of themselves."""

import os
import socket
import struct

import pytest

from hostfw.host.network.sockets.sockets import (
    ConnectionState,
    TcpSocket,
    find_connection,
    read_connections,
    read_tcp_sockets,
)
from hostfw.model.values import Family

_SO_COOKIE = 57


def tcp_socket(of: socket.socket) -> TcpSocket:
    """The data of a socket."""
    (cookie,) = struct.unpack("=Q", of.getsockopt(socket.SOL_SOCKET, _SO_COOKIE, 8))
    return TcpSocket(cookie, os.fstat(of.fileno()).st_ino)


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_both_ends_of_a_connection_are_listed(family: socket.AddressFamily, address: str) -> None:
    """With the cookie and the inode that the kernel gives to the socket itself; a listening socket is none."""
    with (
        socket.create_server((address, 0), family=family) as server,
        socket.create_connection(server.getsockname()[:2]) as client,
        server.accept()[0] as accepted,
    ):
        found = read_tcp_sockets()

        assert {tcp_socket(client), tcp_socket(accepted)} <= set(found)
        assert tcp_socket(server) not in found


def test_a_connection_that_nobody_accepted_yet_is_listed() -> None:
    """It keeps its cookie when it is accepted, so that it cannot pass for a new one."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        before = {found.cookie for found in read_tcp_sockets()}
        with server.accept()[0] as accepted:
            assert tcp_socket(accepted).cookie in before


def test_a_later_connection_has_another_cookie() -> None:
    """Even between the same addresses and ports."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()) as first, server.accept()[0]:
            before = {found.cookie for found in read_tcp_sockets()}
            assert tcp_socket(first).cookie in before
        with socket.create_connection(server.getsockname()) as second, server.accept()[0]:
            assert tcp_socket(second).cookie not in before


@pytest.mark.parametrize(
    ("family", "address", "seen"),
    [
        (socket.AF_INET, "127.0.0.1", Family.V4),
        (socket.AF_INET6, "::1", Family.V6),
        (socket.AF_INET6, "::", Family.V4),
    ],
)
def test_connections_are_listed_with_both_ends(family: socket.AddressFamily, address: str, seen: Family) -> None:
    """TCP as who listens has it and as who connected has it; an IPv6 socket may hold a connection of IPv4."""
    with (
        socket.create_server((address, 0), family=family, dualstack_ipv6=address == "::") as server,
        socket.create_connection((address if address != "::" else "127.0.0.1", server.getsockname()[1])) as client,
        server.accept()[0] as accepted,
    ):
        found = {one.cookie: one for one in read_connections()}

        near, far = (found[tcp_socket(end).cookie] for end in (accepted, client))
        assert (near.family, near.protocol, near.inbound, near.state) == (seen, 6, True, ConnectionState.ESTABLISHED)
        assert (near.local_port, near.peer_port) == (accepted.getsockname()[1], client.getsockname()[1])
        assert (near.local, near.peer) == (far.peer, far.local)
        assert far.inbound is False


def test_a_connection_is_listed_until_it_has_ended() -> None:
    """With who has ended it; what waits until nothing of it is under way any more is none."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted = server.accept()[0]
        near, far = (tcp_socket(end).cookie for end in (accepted, client))
        client.shutdown(socket.SHUT_WR)
        states = {one.cookie: one.state for one in read_connections()}
        accepted.close()
        client.close()
        left = {one.cookie for one in read_connections()}

    assert states[near] is ConnectionState.HALF_CLOSED
    assert states[far] in (ConnectionState.FIN_SENT, ConnectionState.HALF_CLOSED)
    assert not {near, far} & left


def test_connected_sockets_of_udp_are_listed() -> None:
    """One that is not connected may have any peer, and is no connection."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("127.0.0.1", 0))
        client.connect(server.getsockname())
        found = {one.cookie: one for one in read_connections()}

        one = found[tcp_socket(client).cookie]
        assert (one.protocol, one.peer_port, one.inbound) == (17, server.getsockname()[1], False)
        assert tcp_socket(server).cookie not in found


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_one_connection_is_found_by_its_ends(
    family: socket.AddressFamily, address: str, kind: socket.SocketKind
) -> None:
    """And by nothing else: not from another port, where a socket that waits for anybody would answer."""
    version = Family.V4 if family == socket.AF_INET else Family.V6
    with socket.socket(family, kind) as server, socket.socket(family, kind) as client:
        server.bind((address, 0))
        if kind == socket.SOCK_STREAM:
            server.listen()
        client.connect(server.getsockname()[:2])
        number = int.from_bytes(socket.inet_pton(family, address), "big")
        here, there = ((number, end.getsockname()[1]) for end in (client, server))
        protocol = 6 if kind == socket.SOCK_STREAM else 17

        assert find_connection(protocol, version, here, there, "lo") == tcp_socket(client).cookie
        assert find_connection(protocol, version, there, (number, here[1] ^ 1), "lo") is None
        assert find_connection(protocol, version, here, (number, there[1] ^ 1), "lo") is None
        assert find_connection(protocol, version, here, there, "no-such-if") is None
