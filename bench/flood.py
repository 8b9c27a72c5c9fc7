"""A flood of denied packets: whether every one is counted, whether a quiet neighbour is logged, and what it costs.

The service is the real one, with its journal in a file; the sender is a neighbour on the same machine, so what it sends
in a second is what this machine can send and deny.
"""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import monotonic, sleep

from hostfw.compile.layout.nft_rules.log_limits import LOG_RECORDS, LOG_SOURCES, SUPPRESSED
from hostfw.journal.message_ids import MessageId
from hostfw.model.values import FAMILIES, Family, parse_address
from lab.hostfwctl import install
from lab.laboratory import Lab, laboratory
from lab.namespace import open_socket
from lab.packets.flood import flood, received, spoofed, udp_frame
from lab.packets.packet_records import counters
from lab.service import Service, service
from lab.topology import pair

SECONDS = 5.0
_HOST = "02:00:00:00:00:00"
_ADDRESSES = {Family.V4: "192.0.2.1", Family.V6: "2001:db8::1"}
_FLOODERS = {Family.V4: "198.51.100.7", Family.V6: "2001:db8:bad::7"}
_DENIED = "drop/in/unmanaged-interface"
_SETTLE_S = 1.5


@dataclass(frozen=True, slots=True)
class Figures:
    """Results of a flood. `told` of `quiet` packets of the neighbour are in the journal."""

    per_second: float
    sent: int
    dropped: int
    counted: int
    records: int
    suppressed: tuple[int, ...]
    quiet: int
    told: int
    cpu: float
    memory_bytes: int

    @property
    def exact(self) -> bool:
        """True if each packet was counted, and either logged or counted as suppressed."""
        return self.counted == self.sent - self.dropped == self.records + sum(self.suppressed)


def lines() -> Iterator[str]:
    """The table, line by line as it is measured."""
    counts = f"{'exact':>8}{'records':>9}{'suppressed':>12}{'neighbour':>11}"
    yield f"{'flood of what is denied':28}{'packets/s':>12}{counts}{'CPU':>7}{'RSS':>9}"
    for family in FAMILIES:
        destination = _number(_ADDRESSES[family])
        one = [udp_frame(_HOST, _number(_FLOODERS[family]), destination, family, 9)]
        yield _row(f"one source, IPv{family:d}", measure(family, one))
        yield _row(
            f"spoofed sources, IPv{family:d}", measure(family, spoofed(_HOST, destination, family, 9, 2 * LOG_SOURCES))
        )


def measure(family: Family, frames: Sequence[bytes], seconds: float = SECONDS) -> Figures:
    """Flood a host on which nothing is allowed, while a neighbour sends a packet a second."""
    with laboratory(pair()) as lab, TemporaryDirectory(prefix="hostfw-bench-") as folder:
        installation = install(lab["host"], Path(folder, "hostfw"))
        with service(installation, Path(folder, "log")) as running:
            return _measure(lab, running, family, frames, seconds)


def _measure(lab: Lab, running: Service, family: Family, frames: Sequence[bytes], seconds: float) -> Figures:
    _, dropped_before = received(lab["host"], "eth0")
    with _neighbour(lab, family) as sent_by_neighbour:
        sleep(0.5)
        cpu_s, began_s = running.cpu_s, monotonic()
        flooded = flood(lab["peer"], "eth0", frames, seconds=seconds)
        took_s = monotonic() - began_s
        cpu_s = running.cpu_s - cpu_s
    sleep(_SETTLE_S)
    _, dropped = received(lab["host"], "eth0")
    values = counters(lab["host"])
    quiet = len(sent_by_neighbour)
    neighbour = lab.topology.address("host", "peer", family)
    denied = [entry for entry in running.entries() if entry["MESSAGE_ID"] == MessageId.PACKET_DENIED]
    return Figures(
        per_second=flooded.per_second,
        sent=flooded.packets + quiet,
        dropped=dropped - dropped_before,
        counted=values[family, _DENIED],
        records=values[family, LOG_RECORDS],
        suppressed=tuple(values[family, name] for name in SUPPRESSED),
        quiet=quiet,
        told=sum(int(entry["HOSTFW_COUNT"]) for entry in denied if entry["HOSTFW_SRC_ADDR"] == neighbour),
        cpu=cpu_s / took_s,
        memory_bytes=running.memory_bytes,
    )


@contextmanager
def _neighbour(lab: Lab, family: Family) -> Iterator[list[float]]:
    """A neighbour that sends one packet a second for the length of the block; gives when."""
    sent: list[float] = []
    over = Event()
    inet = socket.AF_INET if family is Family.V4 else socket.AF_INET6
    with open_socket(lab["peer"], inet, socket.SOCK_DGRAM) as sock:
        sock.connect((_ADDRESSES[family], 7))

        def go_on() -> None:
            while not over.wait(1 if sent else 0):
                sock.send(b"")
                sent.append(monotonic())

        thread = Thread(target=go_on)
        thread.start()
        try:
            yield sent
        finally:
            over.set()
            thread.join()


def _row(title: str, of: Figures) -> str:
    exact = "yes" if of.exact else "no"
    return (
        f"{title:28}{of.per_second:12,.0f}{exact:>8}{of.records:9}{sum(of.suppressed):12,}{f'{of.told}/{of.quiet}':>11}"
        f"{of.cpu:7.1%}{of.memory_bytes / 1e6:6.0f} MB"
    )


def _number(text: str) -> int:
    parsed = parse_address(text)
    if parsed is None:
        raise ValueError(text)
    return parsed[1]


if __name__ == "__main__":
    for line in lines():
        print(line, flush=True)
