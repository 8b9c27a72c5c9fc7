"""Knock at ports of a host all the time, and say whenever somebody answered: a program that tests start in a namespace.

    python3 knocker.py PORT ADDRESS... [every=SECONDS]      until standard input ends

Every millisecond, or as often as told, one TCP connection and one UDP datagram go to each address. What gets past a
firewall shows: a connection, a reset (the host's own stack refused) or an unreachable port. Ends with one JSON object:
`sent` counts, and `through` lists the kind and the moment, in seconds of the monotonic clock, of everything that got
through.
"""

import errno
import json
import select
import socket
import sys
from collections import deque
from time import monotonic, sleep

_PERIOD_S = 0.001
_OPEN = 64
_MOST = 20_000


def main() -> None:
    """Knock until told to stop."""
    words = sys.argv[1:]
    period_s = next((float(word.removeprefix("every=")) for word in words if word.startswith("every=")), _PERIOD_S)
    port, *addresses = (word for word in words if not word.startswith("every="))
    number = int(port)
    through: list[tuple[str, float]] = []
    waiting: deque[tuple[str, socket.socket]] = deque()
    datagrams = [(f"udp {address}", _connected(address, number)) for address in addresses]
    sent = 0
    sys.stdout.write("knocking\n")
    sys.stdout.flush()
    while not select.select([sys.stdin], [], [], 0)[0]:
        for address in addresses:
            _open(address, number, waiting, through)
        for name, sock in datagrams:
            _knock(name, sock, through)
        sent += 1
        _look(waiting, through)
        sleep(period_s)
    # The last ones may be on their way.
    sleep(0.1)
    _look(waiting, through)
    for _, sock in (*waiting, *datagrams):
        sock.close()
    json.dump({"sent": sent, "through": through[:_MOST]}, sys.stdout)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _connected(address: str, port: int) -> socket.socket:
    """A UDP socket that hears of unreachable ports."""
    sock = socket.socket(_family(address), socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.connect((address, port))
    return sock


def _knock(name: str, sock: socket.socket, through: list[tuple[str, float]]) -> None:
    try:
        sock.send(b"knock")
    except OSError as error:
        if error.errno == errno.ECONNREFUSED:
            through.append((name, monotonic()))


def _open(address: str, port: int, waiting: deque[tuple[str, socket.socket]], through: list[tuple[str, float]]) -> None:
    sock = socket.socket(_family(address), socket.SOCK_STREAM)
    sock.setblocking(False)
    # A reset at the end rather than a state that fills the tables of both sides.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.connect_ex((address, port))
    waiting.append((f"tcp {address}", sock))
    while len(waiting) > _OPEN:
        _judge(*waiting.popleft(), through)


def _look(waiting: deque[tuple[str, socket.socket]], through: list[tuple[str, float]]) -> None:
    """Take out every connection that came to something."""
    poll = select.poll()
    for _, sock in waiting:
        poll.register(sock, select.POLLOUT)
    done = {descriptor for descriptor, _ in poll.poll(0)}
    for name, sock in [item for item in waiting if item[1].fileno() in done]:
        waiting.remove((name, sock))
        _judge(name, sock, through)


def _judge(name: str, sock: socket.socket, through: list[tuple[str, float]]) -> None:
    number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    try:
        sock.getpeername()
        connected = True
    except OSError:
        connected = False
    if connected or number == errno.ECONNREFUSED:
        through.append((name, monotonic()))
    sock.close()


if __name__ == "__main__":
    main()
