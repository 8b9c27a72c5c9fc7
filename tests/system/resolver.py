"""A resolver that says what a file says, with a time to live of 0: a program that tests start in a namespace.

    python3 resolver.py ADDRESS FILE      until it is ended

The file is JSON, read anew for each question: the addresses of every name. Questions come to port 53, by UDP, and by
TCP where an answer is long (RFC 1035).
"""

import json
import selectors
import socket
import struct
import sys
from ipaddress import ip_address
from pathlib import Path

_TYPES = {1: 4, 28: 6}
"""A and AAAA, with the IP versions of their addresses."""
_MOST_OF_UDP = 512
_TRUNCATED = 0x0200


def answer(question: bytes, addresses: list[str], most: int) -> bytes:
    """The answer to a question, or its beginning with the mark that there is more."""
    identity = question[:2]
    end = question.index(b"\0", 12) + 5
    (kind,) = struct.unpack("!H", question[end - 4 : end - 2])
    found = [ip_address(text) for text in addresses]
    records = [
        struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(one.packed)) + one.packed
        for one in found
        if one.version == _TYPES.get(kind)
    ]
    whole = b"".join(records)
    flags = 0x8180
    if end + len(whole) > most:
        flags, whole, records = flags | _TRUNCATED, b"", []
    return identity + struct.pack("!HHHHH", flags, 1, len(records), 0, 0) + question[12:end] + whole


def main() -> None:
    """Answer until it is ended."""
    at, path = (sys.argv[1], 53), Path(sys.argv[2])
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        socket.create_server(at) as streams,
        selectors.DefaultSelector() as waiting,
    ):
        datagrams.bind(at)
        waiting.register(datagrams, selectors.EVENT_READ)
        waiting.register(streams, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                addresses = json.loads(path.read_text())
                if key.fileobj is datagrams:
                    question, client = datagrams.recvfrom(4096)
                    datagrams.sendto(answer(question, addresses, _MOST_OF_UDP), client)
                else:
                    _converse(streams.accept()[0], addresses)


def _converse(client: socket.socket, addresses: list[str]) -> None:
    """Answer what comes over one connection, each with its length before it."""
    with client:
        client.settimeout(2)
        try:
            while length := client.recv(2):
                said = answer(client.recv(struct.unpack("!H", length)[0]), addresses, 65535)
                client.sendall(struct.pack("!H", len(said)) + said)
        except OSError:
            return


if __name__ == "__main__":
    main()
