"""Workloads behind bridges or interfaces of their own, as many as there are policies for them.

    python3 -m bench.workloads

Processor time to plan and compile all of them, one more and one less, and to put one less, one more and another label
into force in a running engine, with that of its nft worker, and the time until it is in force. Each policy names two
neighbours, so one workload changes three.
"""

import gc
import json
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from os import getloadavg
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import NamedTuple

from bench.reload import Switch, TimedWorker
from hostfw.build.cache import EngineCache
from hostfw.build.candidate import Candidate, check_candidate
from hostfw.build.generation import Generation, GenerationCache, build
from hostfw.engine.apply.applied import Applied
from hostfw.engine.context import Directories, Host
from hostfw.engine.engine import Engine
from hostfw.host.nftables.writing.script_runner import SpareWorker
from hostfw.model.host.facts import BridgeFacts, HostFacts, Interface
from hostfw.model.kinds.metadata import Metadata
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.sources import Configuration, Source
from hostfw.model.values import Cidr, Family, Mac, address_text
from lab.namespace import Namespace, inside, namespace, run, set_sysctl
from lab.packets.flood import flood, received, udp_frame

SIZES = (10, 100, 1000)
ROUNDS = 5
BRIDGE = "br0"
NODE = "host1"
_PORT, _FLOWS = 80, 4096
_SPORT = 14 + 20
"""The place of the source port in a frame of UDP over IPv4."""
_PACKET_ROUNDS, _ROUND_S = 9, 0.3
_PATTERNS = {True: f'bridges: ["{BRIDGE}"]', False: 'interfaces: ["veth*"]'}
_POLICY = """\
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {{name: p{number}, namespace: shop}}
spec:
  selector: app == 'a{number}'
  types: [Ingress, Egress]
  ingress: [{{action: Allow, protocol: UDP, source: {{selector: app == 'a{next}'}}, destination: {{ports: [80]}}}}]
  egress: [{{action: Allow, protocol: UDP, destination: {{selector: app == 'a{previous}'}}}}]
---
"""
_ENDPOINT = """\
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {{name: {name}, namespace: shop, labels: {{app: a{number}}}}}
spec: {{interfaceName: {interface}, mac: "{mac}", ipNetworks: [{addresses}]}}
"""


def settings(*, bridged: bool) -> str:
    """The settings of a host whose workloads are behind a bridge, or behind interfaces of their own."""
    return f"node: {NODE}\nworkloads: {{{_PATTERNS[bridged]}}}\n"


def policies(count: int) -> str:
    """A policy for each workload: who may connect to it, and to whom it may connect."""
    return "".join(
        _POLICY.format(number=number, next=(number + 1) % count, previous=(number - 1) % count)
        for number in range(count)
    )


def candidate(count: int, *, bridged: bool) -> Candidate:
    """The configuration, decoded and checked."""
    sources = (Source("policies.yaml", policies(count)),)
    found = check_candidate(Configuration(Source("hostfw.yaml", settings(bridged=bridged)), sources))
    if not found.is_valid:
        raise AssertionError(found.problems)
    return found


def workload(number: int) -> WorkloadEndpoint:
    """A workload with an address of each family."""
    metadata = Metadata(f"w{number:04}", labels=(("app", f"a{number}"),), namespace="shop")
    addresses = Cidr(Family.V4, (10 << 24) + number + 2, 32), Cidr(Family.V6, (0xFD << 120) + number + 2, 128)
    return WorkloadEndpoint(metadata, f"veth{number}", addresses, NODE, mac=Mac((2 << 40) + number))


def facts(workloads: Sequence[WorkloadEndpoint], *, bridged: bool) -> HostFacts:
    """A host on which these run."""
    bridges = [Interface(BRIDGE, 2, kind="bridge", bridge=BridgeFacts(calls_ipv4=True, calls_ipv6=True))]
    ports = (
        Interface(one.interface_name, 10 + place, kind="veth", master=BRIDGE if bridged else None)
        for place, one in enumerate(workloads)
    )
    loopback = Interface("lo", 1, kind="loopback")
    interfaces = tuple(sorted((loopback, *(bridges if bridged else ()), *ports), key=lambda one: one.name))
    return HostFacts(NODE, interfaces, workloads=tuple(sorted(workloads, key=lambda one: one.metadata.full_name)))


def compile_s(count: int, *, bridged: bool) -> tuple[float, float, float]:
    """Processor seconds to plan and compile so many workloads, one less than them, and one more again."""
    of, cache = candidate(count, bridged=bridged), GenerationCache()
    every = [workload(number) for number in range(count)]
    without = [one for one in every if one is not every[count // 2]]
    fresh = _timed(partial(_build, of, facts(every, bridged=bridged), cache))
    rounds = [
        tuple(_timed(partial(_build, of, facts(some, bridged=bridged), cache)) for some in (without, every))
        for _ in range(ROUNDS)
    ]
    less, more = (median(times) for times in zip(*rounds, strict=True))
    return fresh, less, more


def _build(of: Candidate, on: HostFacts, cache: GenerationCache) -> None:
    built = build(of, on, cache)
    if not isinstance(built, Generation):
        raise TypeError(built)


def _timed(work: Callable[[], object]) -> float:
    """Processor seconds of some work; the collector is off, as in the service."""
    gc.collect()
    gc.disable()
    try:
        started = process_time()
        work()
        return process_time() - started
    finally:
        gc.enable()


class Times(NamedTuple):
    """Seconds of a change in a running engine: of its processor, of its worker's, and until the change is in force."""

    cpu_s: float
    in_force_s: float
    worker_s: float = 0.0


@dataclass(slots=True)
class Running:
    """An engine with a memory, in the namespace of the caller, and the configuration that it has in force."""

    root: Path
    node: Namespace
    engine: Engine
    switches: list[Switch]
    generation: Generation
    spare: SpareWorker

    def times(self, change: Callable[[], None]) -> Times:
        """The times of a change of workloads, which is put into force as the service does."""
        gc.collect()
        gc.disable()
        try:
            change()
            worker_s = _spent_s(self.spare)
            began_s, cpu_s = perf_counter(), process_time()
            outcome = self.engine.resync(self.generation)
            cpu_s = process_time() - cpu_s
        finally:
            gc.enable()
        if not isinstance(outcome, Applied) or outcome.change.is_empty:
            raise TypeError(outcome)
        self.generation = outcome.generation
        return Times(cpu_s, self.switches[-1].ended_s - began_s, _spent_s(self.spare) - worker_s)

    def less(self, number: int) -> None:
        """A workload goes."""
        (self.root / "run/workloads" / f"{workload(number).metadata.name}.yaml").unlink()

    def more(self, number: int, label: int | None = None) -> None:
        """A workload comes, with its own label or another."""
        write(self.root / "run/workloads", number, label)


@contextmanager
def running(count: int, *, bridged: bool, ends: int = 0) -> Iterator[Running]:
    """An engine in a network namespace of its own with so many workloads behind ports or interfaces that exist.

    Those of the first `ends` workloads are the one end of a veth whose other is called `end0` and so on.
    """
    with ExitStack() as of, TemporaryDirectory(prefix="hostfw-bench-") as folder, namespace(NODE) as node, inside(node):
        root = Path(folder)
        install_files(root, count, bridged=bridged)
        make_links(node, count, bridged=bridged, ends=ends)
        directories = Directories(*(root / name for name in ("etc", "var", "run")))
        switches: list[Switch] = []
        spare = SpareWorker()
        of.callback(spare.close)
        host = Host(nftables=partial(TimedWorker, switches, spare=spare)).below(directories.run)
        engine = Engine(directories, host, cache=EngineCache())
        outcome = engine.apply(candidate(count, bridged=bridged), accept_loss=True)
        if not isinstance(outcome, Applied):
            raise TypeError(outcome)
        yield Running(root, node, engine, switches, outcome.generation, spare)


def _spent_s(spare: SpareWorker) -> float:
    """Seconds of a processor that the worker has had so far, in hundredths; of a worker that is new, from its start."""
    worker = spare.pid
    if worker is None:
        return 0.0
    fields = Path(f"/proc/{worker}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def install_files(root: Path, count: int, *, bridged: bool) -> None:
    """The files of a configuration and of so many workloads, below a folder."""
    for name in ("etc", "run/workloads"):
        (root / name).mkdir(parents=True)
    (root / "etc/hostfw.yaml").write_text(settings(bridged=bridged))
    (root / "etc/policies.yaml").write_text(policies(count))
    for number in range(count):
        write(root / "run/workloads", number)


def make_links(node: Namespace, count: int, *, bridged: bool, ends: int = 0) -> None:
    """The interfaces of so many workloads in one batch, with nobody behind them but for the first ones."""
    master = f" master {BRIDGE}" if bridged else ""
    commands = [f"link add {BRIDGE} up type bridge"] if bridged else []
    for number in range(count):
        made = f"link add veth{number} type veth peer name end{number}"
        commands += (made if number < ends else f"tuntap add dev veth{number} mode tap",)
        commands += (f"link set veth{number} up{master}",)
    run(node, ["ip", "-batch", "-"], text="\n".join(commands))


def write(folder: Path, number: int, label: int | None = None) -> None:
    """The file of a workload, with its own label or another's, written aside and renamed, as a hook does."""
    one = workload(number)
    networks = (f'"{address_text(net.family, net.address)}"' for net in one.networks)
    aside = folder / f".{one.metadata.name}"
    aside.write_text(
        _ENDPOINT.format(
            name=one.metadata.name,
            number=number if label is None else label,
            interface=one.interface_name,
            mac=one.mac,
            addresses=", ".join(networks),
        )
    )
    aside.rename(folder / f"{one.metadata.name}.yaml")


def packet_ns(sizes: Sequence[int], *, bridged: bool) -> list[int]:
    """Nanoseconds of a new packet from a workload to another that allows it, among so many: the least of some rounds.

    They are sent by one processor, which takes them through the host to the other workload's end, in turns.
    """
    with ExitStack() as stack:
        senders = [stack.enter_context(_sender(count, bridged=bridged)) for count in sizes]
        rounds = [[sender() for sender in senders] for _ in range(_PACKET_ROUNDS)]
    return [min(of_size) for of_size in zip(*rounds, strict=True)]


@contextmanager
def _sender(count: int, *, bridged: bool) -> Iterator[Callable[[], int]]:
    """A function that sends from the second of so many workloads to the first, and tells what a packet took."""
    with running(count, bridged=bridged, ends=2) as engine, namespace("guests") as far:
        host = engine.node
        for number in range(2):
            run(host, ["ip", "link", "set", f"end{number}", "netns", far.path])
            run(far, ["ip", "link", "set", f"end{number}", "up"])
        receiver, sender = workload(0), workload(1)
        if not bridged:
            _route(host, receiver)
        target = str(receiver.mac) if bridged else _mac_of(host, sender.interface_name)
        source, destination = (one.networks[0].address for one in (sender, receiver))
        datagram = udp_frame(target, source, destination, Family.V4, _PORT)
        frame = _ethernet(target, str(sender.mac), datagram)
        frames = [frame[:_SPORT] + struct.pack("!H", port) + frame[_SPORT + 2 :] for port in range(1024, 1024 + _FLOWS)]
        # A bridge that has not heard of somebody yet asks all of its ports.
        answer = udp_frame(target, destination, source, Family.V4, _PORT)
        flood(far, "end0", [_ethernet(str(sender.mac), str(receiver.mac), answer)], count=1)
        before = received(far, "end0")[0]
        flood(far, "end1", frames, count=_FLOWS)
        arrived = received(far, "end0")[0] - before
        if arrived < _FLOWS:
            raise AssertionError(f"{arrived} of {_FLOWS} packets arrived")

        def send() -> int:
            sent = flood(far, "end1", frames, seconds=_ROUND_S)
            return round(sent.seconds / sent.packets * 1e9)

        yield send


def _route(host: Namespace, receiver: WorkloadEndpoint) -> None:
    """Have the host forward to a workload, whose end answers nobody."""
    address, interface = address_text(Family.V4, receiver.networks[0].address), receiver.interface_name
    set_sysctl(host, "net.ipv4.ip_forward", "1")
    run(host, ["ip", "route", "add", address, "dev", interface])
    run(host, ["ip", "neigh", "add", address, "lladdr", str(receiver.mac), "dev", interface])


def _mac_of(host: Namespace, interface: str) -> str:
    return str(json.loads(run(host, ["ip", "-j", "link", "show", interface]).stdout)[0]["address"])


def _ethernet(target: str, source: str, frame: bytes) -> bytes:
    """A frame under other Ethernet addresses."""
    return bytes.fromhex(f"{target}{source}".replace(":", "")) + frame[12:]


def lines() -> Iterator[str]:
    """The table, line by line as it is measured."""
    titles = ("all", "one less", "one more", "a label")
    yield f"{'workloads, each with a policy':34}{''.join(f'{one:>10}' for one in titles)}  load {getloadavg()[0]:.1f}"
    for bridged in (True, False):
        for count in SIZES:
            where = f"{count} behind {'a bridge' if bridged else 'interfaces'}"
            times = (f"{seconds:8.3f} s" for seconds in compile_s(count, bridged=bridged))
            yield f"{where + ', compile':34}{''.join(times)}"
            with running(count, bridged=bridged) as engine:
                rounds = [_changes(engine, count // 2) for _ in range(ROUNDS)]
            load = f"  load {getloadavg()[0]:.1f}"
            for title, each in (
                ("  engine, processor", "cpu_s"),
                ("  its nft worker, processor", "worker_s"),
                ("  engine, until in force", "in_force_s"),
            ):
                seconds = (median(getattr(one, each) for one in of) for of in zip(*rounds, strict=True))
                yield f"{title:34}{'':10}{''.join(f'{one:8.3f} s' for one in seconds)}{load}"
    for bridged in (True, False):
        few, many = packet_ns((SIZES[0], SIZES[-1]), bridged=bridged)
        where = "a bridge" if bridged else "interfaces"
        title = f"new packet behind {where}"
        yield f"{title:34}{few:7} ns among {SIZES[0]}, {many} among {SIZES[-1]}: {many / few:.2f}"
    yield f"load {getloadavg()[0]:.1f}"


def _changes(engine: Running, number: int) -> tuple[Times, Times, Times]:
    """The times of a workload that goes, that comes again, and that gets the label of another."""
    less, more = (engine.times(partial(change, number)) for change in (engine.less, engine.more))
    label = engine.times(partial(engine.more, number, number + 1))
    engine.times(partial(engine.more, number))
    return less, more, label


def main() -> None:
    """Print the table."""
    for line in lines():
        print(line, flush=True)


if __name__ == "__main__":
    main()
