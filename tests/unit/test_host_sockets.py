"""TCP sockets by sock_diag, held against what the sockets say of themselves."""

import os
import socket
import struct

import pytest

from hostfw.host.sockets import TcpSocket, read_tcp_sockets

_SO_COOKIE = 57


def tcp_socket(of: socket.socket) -> TcpSocket:
    """What a socket says of itself."""
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
