"""NFLOG records of real packets, and the loss of too many."""

import select
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from time import time

import pytest

from hostfw.host.errors import HostError
from hostfw.host.nftables.nflog import NflogReader, NflogRecord
from hostfw.host.nftables.writing.script_runner import NftablesWorker
from hostfw.model.values import Family
from lab.laboratory import Lab
from lab.namespace import inside, open_socket, run

ROOT = Path(__file__).parents[3]
GROUP = 100
RULES = """\
table ip hostfw {
    chain input {
        type filter hook input priority filter; policy accept;
        udp dport 9 log prefix "hostfw:DI|rule|default|web|2" group 100 snaplen 128 drop
        udp dport 10 log group 100 drop
        udp dport 11 log prefix "elsewhere" group 101 drop
    }
    chain output {
        type filter hook output priority filter; policy accept;
        udp dport 8 log prefix "out" group 100
    }
}
table ip6 hostfw {
    chain input {
        type filter hook input priority filter; policy accept;
        udp dport 9 log prefix "six" group 100 drop
    }
}
"""


@pytest.fixture
def reader(lab: Lab) -> Iterator[NflogReader]:
    """A reader on the host, which logs by RULES."""
    with inside(lab["host"]), NflogReader(GROUP, snaplen_bytes=64) as reader:
        with NftablesWorker() as nft:
            result = nft.commit(RULES)
        assert result.ok, result.error
        yield reader


def send(lab: Lab, port: int, payload: bytes = b"x", count: int = 1, family: Family = Family.V4) -> None:
    """Send UDP from the neighbour to the host."""
    address = lab.topology.address("peer", "host", family)
    kind = socket.AF_INET if family is Family.V4 else socket.AF_INET6
    with open_socket(lab["peer"], kind, socket.SOCK_DGRAM) as sock:
        for _ in range(count):
            sock.sendto(payload, (address, port))


def only(reader: NflogReader) -> NflogRecord:
    """The one record that comes."""
    first = next(reader.records(timeout_s=5))
    assert list(reader.records(timeout_s=0.2)) == []
    return first


def test_a_record_tells_of_its_packet(lab: Lab, reader: NflogReader) -> None:
    """With the whole prefix, the interface, and the packet from its IP header up to the snap length."""
    send(lab, 9, b"y" * 200)

    record = only(reader)

    assert record.prefix == "hostfw:DI|rule|default|web|2"
    assert (record.family, record.hook) == (Family.V4, "input")
    with inside(lab["host"]):
        assert (record.indev, record.outdev) == (socket.if_nametoindex("eth0"), 0)
    assert record.timestamp is not None
    assert abs(record.timestamp - time()) < 60
    assert len(record.payload) == 64
    assert record.payload[0] == 0x45
    assert socket.inet_ntoa(record.payload[16:20]) == lab.topology.address("peer", "host", Family.V4)
    assert record.payload[22:24] == (9).to_bytes(2, "big")
    assert record.payload[28:] == b"y" * 36


def test_a_short_packet_is_whole(lab: Lab, reader: NflogReader) -> None:
    """And a rule without a prefix has an empty one."""
    send(lab, 10, b"abc")

    record = only(reader)

    assert record.prefix == ""
    assert record.payload[28:] == b"abc"


def test_ipv6_is_logged_to_the_same_group(lab: Lab, reader: NflogReader) -> None:
    """One reader serves both tables."""
    send(lab, 9, family=Family.V6)

    record = only(reader)

    assert (record.prefix, record.family) == ("six", Family.V6)
    assert record.payload[0] >> 4 == 6


def test_what_leaves_the_host_has_an_outgoing_interface(lab: Lab, reader: NflogReader) -> None:
    """And no time stamp of the kernel's."""
    with inside(lab["host"]), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        index = socket.if_nametoindex("eth0")
        sock.sendto(b"x", (lab.topology.address("host", "peer", Family.V4), 8))

    record = only(reader)

    assert (record.hook, record.indev, record.outdev) == ("output", 0, index)
    assert record.timestamp is None


def test_other_groups_are_not_read(lab: Lab, reader: NflogReader) -> None:
    """They may belong to ulogd."""
    send(lab, 11)
    send(lab, 10)

    assert [record.prefix for record in reader.records(timeout_s=0.5)] == [""]


def test_a_reader_waits_without_turning(lab: Lab, reader: NflogReader) -> None:
    """Its descriptor is readable exactly when there is something to read."""
    assert reader.read() == ()
    assert select.select([reader], [], [], 0.05) == ([], [], [])

    send(lab, 10)

    assert select.select([reader], [], [], 2)[0] == [reader]
    assert len(reader.read()) == 1
    assert reader.read() == ()
    assert list(reader.records(timeout_s=0.05)) == []


def test_a_burst_comes_whole_and_in_order(lab: Lab, reader: NflogReader) -> None:
    """The buffer holds thousands."""
    with open_socket(lab["peer"], socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for number in range(3000):
            sock.sendto(number.to_bytes(2, "big"), (lab.topology.address("peer", "host", Family.V4), 9))

    numbers = [int.from_bytes(r.payload[28:], "big") for r in reader.records(timeout_s=0.5)]

    assert numbers == list(range(3000))
    assert (reader.lost, reader.overruns) == (0, 0)


def test_every_record_is_read_or_counted_as_lost(lab: Lab) -> None:
    """However hard the flood, and however small the buffer."""
    sent = 20_000
    with inside(lab["host"]), NflogReader(GROUP, 64, receive_buffer_bytes=64 * 1024) as reader:
        with NftablesWorker() as nft:
            assert nft.commit(RULES).ok
        send(lab, 9, count=sent)
        read = sum(1 for _ in reader.records(timeout_s=0.5))
        assert reader.overruns > 0
        send(lab, 9)
        read += sum(1 for _ in reader.records(timeout_s=0.5))

        assert 0 < read < sent
        assert read + reader.lost == sent + 1


def test_a_group_has_one_reader(lab: Lab, reader: NflogReader) -> None:
    """The second is told what to do, and the first reads on; the next namespace has groups of its own."""
    with inside(lab["host"]):
        with pytest.raises(HostError) as caught:
            NflogReader(GROUP, 64)
        NflogReader(GROUP + 1, 64).close()
    with inside(lab["peer"]):
        NflogReader(GROUP, 64).close()

    assert caught.value.message == "NFLOG group 100 has a reader already"
    assert "logging.group" in caught.value.hint
    send(lab, 10)
    assert len(list(reader.records(timeout_s=0.5))) == 1


def test_a_closed_group_can_be_read_again(lab: Lab, reader: NflogReader) -> None:
    """A daemon that is restarted goes on where it left off."""
    reader.close()
    with inside(lab["host"]), NflogReader(GROUP, 64) as following:
        send(lab, 10)

        assert len(list(following.records(timeout_s=0.5))) == 1


def test_reading_without_the_right_is_an_error(lab: Lab) -> None:
    """Told apart from a group that is taken."""
    script = """
import os
from hostfw.host.errors import HostError
from hostfw.host.nftables.nflog import NflogReader, NflogRecord
os.setuid(65534)
try:
    NflogReader(100, 64)
except HostError as error:
    print(error.message, "|", error.hint)
"""
    answer = run(lab["host"], [sys.executable, "-c", script], environment={"PYTHONPATH": str(ROOT)}).stdout

    assert answer == "NFLOG group 100 cannot be read: not permitted | this needs root, or CAP_NET_ADMIN\n"
