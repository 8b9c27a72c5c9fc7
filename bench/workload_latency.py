"""From the file that names a workload to its packets, in the running service.

    python3 -m bench.workload_latency

Another label is written aside and renamed, as a hook does, and the workload sends all the time: the time from the
renaming to the first packet that gets through, or to the first that does not, and likewise for a workload that comes
and goes. Below that the steps of the same change in an engine of this process, without the service around it.
"""

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import pairwise
from os import getloadavg
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import NamedTuple
from unittest.mock import patch

from bench.workloads import BRIDGE, NODE, SIZES, install_files, make_links, running, workload, write
from hostfw.engine import reconcile
from hostfw.host.nftables.writing.script_runner import NftablesWorker, NftResult
from hostfw.model.values import Family
from lab.hostfwctl import Installation, hostfwctl
from lab.namespace import inside, namespace, run
from lab.packets.flood import flood, udp_frame
from lab.service import service

ROUNDS = 15
_PORT = 80
_PORT_BYTES = struct.pack("!H", _PORT)
_EVERY_S = 0.0005
_PATIENCE_S = 20.0
_GONE_AFTER = 40
"""So many packets in a row that do not arrive are denied, and not late."""
_PAUSE_S = 1.0
"""Pause after each change, in which the service reads back, writes down and tidies up."""
_SPORT = 14 + 20


class Wire(NamedTuple):
    """The ends of two workloads behind one bridge: frames from one to the other, each with a number of its own."""

    sender: socket.socket
    receiver: socket.socket
    frame: bytes

    def send(self, number: int) -> None:
        """Send the frame of a number."""
        port = struct.pack("!H", 1024 + number % 60_000)
        self.sender.send(self.frame[:_SPORT] + port + self.frame[_SPORT + 2 :])

    def arrived(self) -> set[int]:
        """The numbers of the frames that have arrived since the last time."""
        found: set[int] = set()
        while True:
            try:
                got = self.receiver.recv(2048)
            except BlockingIOError:
                return found
            if got[12:14] == b"\x08\x00" and len(got) >= _SPORT + 4 and got[_SPORT + 2 : _SPORT + 4] == _PORT_BYTES:
                found.add(int.from_bytes(got[_SPORT : _SPORT + 2], "big") - 1024)


def until_passed_s(wire: Wire, change: Callable[[], None]) -> float:
    """Seconds from a change to the first packet that gets through."""
    wire.arrived()
    change()
    began_s = perf_counter()
    for number in range(60_000):
        wire.send(number)
        if wire.arrived():
            return perf_counter() - began_s
        if perf_counter() - began_s > _PATIENCE_S:
            break
        sleep(_EVERY_S)
    raise TimeoutError("nothing gets through")


def until_denied_s(wire: Wire, change: Callable[[], None]) -> float:
    """Seconds from a change to the first packet that does not get through, nor do those after it."""
    wire.arrived()
    change()
    began_s = perf_counter()
    sent_s: list[float] = []
    last = -1
    while perf_counter() - began_s < _PATIENCE_S:
        sent_s.append(perf_counter())
        wire.send(len(sent_s) - 1)
        sleep(_EVERY_S)
        last = max((last, *wire.arrived()))
        if len(sent_s) - last > _GONE_AFTER:
            return sent_s[last + 1] - began_s
    raise TimeoutError("everything gets through")


@contextmanager
def serving(count: int) -> Iterator[tuple[Path, Wire]]:
    """The service with so many workloads behind a bridge, the folder of their files, and the wire between two."""
    with ExitStack() as of:
        root = Path(of.enter_context(TemporaryDirectory(prefix="hostfw-bench-")))
        host, far = of.enter_context(namespace(NODE)), of.enter_context(namespace("guests"))
        install_files(root, count, bridged=True)
        (root / "var").mkdir()
        make_links(host, count, bridged=True, ends=2)
        for number in range(2):
            run(host, ["ip", "link", "set", f"end{number}", "netns", far.path])
            run(far, ["ip", "link", "set", f"end{number}", "up"])
        installation = Installation(host, root / "etc", root / "var", root / "run")
        hostfwctl(installation, "apply", "--accept-loss", timeout_s=300)
        of.enter_context(service(installation, root / "log"))
        with inside(far):
            ends = [of.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0300)) for _ in range(2)]
            for number, end in enumerate(ends):
                end.bind((f"end{number}", 0x0003))
                end.settimeout(0)
        receiver, sender = workload(0), workload(1)
        there, back = (
            udp_frame(str(to.mac), by.networks[0].address, to.networks[0].address, Family.V4, _PORT)
            for to, by in ((receiver, sender), (sender, receiver))
        )
        macs = bytes.fromhex(f"{receiver.mac}{sender.mac}".replace(":", ""))
        # A bridge that has not heard of somebody yet asks all of its ports.
        flood(far, "end0", [macs[6:] + macs[:6] + back[12:]], count=1)
        yield root / "run/workloads", Wire(ends[1], ends[0], macs + there[12:])


def latencies(count: int) -> dict[str, float]:
    """The medians of what can happen to a workload, in seconds."""
    found: dict[str, list[float]] = {"label": [], "other label": [], "goes": [], "comes": []}
    with serving(count) as (folder, wire):
        until_passed_s(wire, lambda: None)
        for _ in range(ROUNDS):
            found["other label"].append(until_denied_s(wire, partial(write, folder, 1, 5)))
            sleep(_PAUSE_S)
            found["label"].append(until_passed_s(wire, partial(write, folder, 1)))
            sleep(_PAUSE_S)
            found["goes"].append(until_denied_s(wire, (folder / f"{workload(1).metadata.name}.yaml").unlink))
            sleep(_PAUSE_S)
            found["comes"].append(until_passed_s(wire, partial(write, folder, 1)))
            sleep(_PAUSE_S)
    return {title: median(each) for title, each in found.items()}


def steps(count: int) -> dict[str, float]:
    """The medians of the steps of another label in an engine without a service, in seconds."""
    rounds: list[dict[str, float]] = []
    with running(count, bridged=True) as engine:
        for number in range(ROUNDS):
            marks: dict[str, float] = {}
            with _marked(marks):
                engine.times(partial(engine.more, 1, None if number % 2 else 5))
            marks["switched"] = engine.switches[-1].ended_s
            marks["switching"] = engine.switches[-1].began_s
            at_s = [marks[name] for name in ("began", "observed", "built", "prepared", "switching", "switched")]
            names = ("observe", "plan and compile", "nft: prepare", "until the switch", "switch")
            rounds.append(dict(zip(names, (b - a for a, b in pairwise(at_s)), strict=True)))
    return {name: median(one[name] for one in rounds) for name in rounds[0]}


@contextmanager
def _marked(marks: dict[str, float]) -> Iterator[None]:
    """Note when the steps of a change end."""
    first, build, commit = vars(reconcile)["is_of_another"], vars(reconcile)["build"], NftablesWorker.commit

    def began(*arguments: object) -> bool:
        marks["began"] = perf_counter()
        return bool(first(*arguments))

    def built(*arguments: object) -> object:
        marks["observed"] = perf_counter()
        found: object = build(*arguments)
        marks["built"] = perf_counter()
        return found

    def committed(self: NftablesWorker, script: str) -> NftResult:
        found = commit(self, script)
        marks.setdefault("prepared", perf_counter())
        return found

    with (
        patch.object(reconcile, "is_of_another", began),
        patch.object(reconcile, "build", built),
        patch.object(NftablesWorker, "commit", committed),
    ):
        yield


def lines() -> Iterator[str]:
    """The table, line by line as it is measured."""
    for count in SIZES:
        found = latencies(count)
        told = ", ".join(f"{title} {seconds * 1000:.0f} ms" for title, seconds in found.items())
        yield f"{count} workloads behind {BRIDGE}, file to packets: {told}; load {getloadavg()[0]:.1f}"
        told = ", ".join(f"{title} {seconds * 1000:.1f}" for title, seconds in steps(count).items())
        yield f"  steps of a label, in ms: {told}; load {getloadavg()[0]:.1f}"


def main() -> None:
    """Print the table."""
    for line in lines():
        print(line, flush=True)


if __name__ == "__main__":
    main()
