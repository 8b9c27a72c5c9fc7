"""Denied packets of the tests that flood: who sends them, and what counters and journal entries say of them."""

import socket
import threading
from collections import Counter

from hostfw.compile.layout.nft_rules.log_limits import LOG_RECORDS, SUPPRESSED
from hostfw.journal.message_ids import MessageId
from hostfw.model.settings import Logging
from hostfw.model.values import Family, parse_address
from lab.laboratory import Lab
from lab.namespace import open_socket
from lab.packets.packet_records import counters

HOST = "02:00:00:00:00:00"
"""The hardware address of the host's eth0."""
HOST_ADDRESS = {Family.V4: "192.0.2.1", Family.V6: "2001:db8::1"}
FLOODER = {Family.V4: "198.51.100.7", Family.V6: "2001:db8:bad::7"}
DENIED = "drop/in/end-of-tier/default"
LIMITS = Logging()


def number(text: str) -> int:
    """An address as an integer."""
    parsed = parse_address(text)
    assert parsed is not None
    return parsed[1]


def log_counters(lab: Lab, family: Family) -> tuple[int, Counter[str]]:
    """The packets that were denied, and what became of them in the log."""
    values = counters(lab["host"])
    names = (LOG_RECORDS, *SUPPRESSED)
    return values[family, DENIED], Counter({name.rpartition("/")[2]: values[family, name] for name in names})


def told_of(entries: list[dict[str, str]], source: str) -> int:
    """The number of denied packets of a source that the entries stand for."""
    denied = (entry for entry in entries if entry["MESSAGE_ID"] == MessageId.PACKET_DENIED)
    return sum(int(entry["HOSTFW_COUNT"]) for entry in denied if entry["HOSTFW_SRC_ADDR"] == source)


def told(entries: list[dict[str, str]]) -> int:
    """The number of denied packets that the entries stand for."""
    return sum(int(e["HOSTFW_COUNT"]) for e in entries if e["MESSAGE_ID"] == MessageId.PACKET_DENIED)


class QuietNeighbour:
    """A neighbour that sends one packet a second, as long as a flood goes on."""

    def __init__(self, lab: Lab, family: Family) -> None:
        self.sent = 0
        self.address = lab.topology.address("host", "peer", family)
        inet = socket.AF_INET if family is Family.V4 else socket.AF_INET6
        self._socket = open_socket(lab["peer"], inet, socket.SOCK_DGRAM)
        self._socket.connect((HOST_ADDRESS[family], 7))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    def _go_on(self) -> None:
        while True:
            self._socket.send(b"")
            self.sent += 1
            if self._over.wait(1):
                return
