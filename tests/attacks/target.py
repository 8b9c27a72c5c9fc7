"""A host under attack: probes go in at its eth0, and an observer behind its ruleset tells which of them got past."""

import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count

from hostfw.host.nftables.nflog import NflogReader
from hostfw.model.values import Family
from lab.laboratory import Lab
from lab.namespace import inside, run
from tests.attacks.probes import OPEN_TCP, OPEN_UDP, Probe, allowed
from tests.kernel.packets.frames import number_of

POLICY = f"""\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {{name: uplink}}
spec: {{node: host, interfaceName: eth0}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: services}}
spec:
  selector: all()
  types: [Ingress]
  ingress:
    - {{action: Allow, protocol: TCP, destination: {{ports: [{OPEN_TCP}]}}}}
    - action: Allow
      protocol: UDP
      source: {{nets: [192.0.2.2/32]}}
      destination: {{ports: [{OPEN_UDP}]}}
    - action: Allow
      protocol: UDP
      source: {{nets: ["2001:db8::2/128"]}}
      destination: {{ports: [{OPEN_UDP}]}}
"""
OBSERVER = """\
table inet observer {
    chain passed {
        type filter hook input priority 300
        log group 9 snaplen 256
    }
    chain forwarded {
        type filter hook forward priority 300
        log group 9 snaplen 256
    }
}
"""
_GROUP, _SNAPLEN = 9, 256
_PATIENCE_S = 10.0
_FIRST = 1000
"""Below are the numbers that the host itself may use."""


@dataclass(slots=True)
class Target:
    """The host. `judge` may be asked as often as one likes."""

    lab: Lab
    reader: NflogReader
    wires: dict[str, socket.socket]
    numbers: Iterator[int]
    past: dict[int, bytes] = field(default_factory=dict)

    def judge(self, probes: Sequence[Probe], wire: str = "eth0") -> set[str]:
        """The names of the probes that got past the ruleset, sent over a wire of the neighbour's.

        `past` then holds what got past, as it stood behind the ruleset.
        """
        names: dict[int, str] = {}
        for probe in probes:
            number = next(self.numbers)
            names[number] = probe.name
            for frame in probe.frames(number):
                self.wires[wire].send(frame)
        self.past = {number: seen for number, seen in self._seen_before(probes[0].family).items() if number in names}
        return {names[number] for number in self.past}

    def _seen_before(self, family: Family) -> dict[int, bytes]:
        """The packets that were seen until one that is allowed was, which is sent behind all others, by number."""
        barrier = next(self.numbers)
        probe = list(allowed(family))[-1]
        for frame in probe.frames(barrier):
            self.wires["eth0"].send(frame)
        seen: dict[int, bytes] = {}
        deadline = time.monotonic() + _PATIENCE_S
        while barrier not in seen:
            assert time.monotonic() < deadline, "the host lets nothing in any more, not even what policy allows"
            self.reader.wait(0.1)
            seen |= {number_of(record.payload): record.payload for record in self.reader.read() if record.payload}
        return seen


@contextmanager
def target(lab: Lab) -> Iterator[Target]:
    """The host of a laboratory, with the observer behind whatever ruleset it has."""
    # The neighbour's own stack would answer, and reset what the host lets in.
    run(
        lab["peer"],
        ["nft", "add table inet quiet; add chain inet quiet in { type filter hook input priority 0; policy drop; }"],
    )
    run(lab["host"], ["nft", "-f", "-"], text=OBSERVER)
    with ExitStack() as stack:
        with inside(lab["host"]):
            reader = stack.enter_context(NflogReader(_GROUP, _SNAPLEN))
        made = Target(lab, reader, {"eth0": stack.enter_context(wire(lab, "eth0"))}, count(_FIRST))
        yield made


@contextmanager
def wire(lab: Lab, interface: str) -> Iterator[socket.socket]:
    """A socket that sends frames on a wire of the neighbour."""
    with inside(lab["peer"]):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    with sock:
        with inside(lab["peer"]):
            sock.bind((interface, 0))
        yield sock
