"""Big sets: our load against the kernel's own time for the same batches and against `nft -f`, and a whole `apply`.

Every figure is of a network namespace of its own, made and removed in the round.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from socket import inet_ntoa
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from bench.measuring.measure import command_s, heading, medians, network_namespace, row
from hostfw.host.netlink.messages import NETLINK_NETFILTER, NetlinkSocket
from hostfw.host.nftables.sets.elements import BATCH_ELEMENTS, NEW, Keys, add_elements, batches
from hostfw.manifest.files.feed_file import parse_feed
from hostfw.model.prefixes import CidrSet, cidr_set
from hostfw.model.sources import Source
from hostfw.model.values import Family
from hostfw.nft.objects import TABLE
from lab.namespace import Namespace, inside, namespace, run

COUNT = 1_000_000
ROUNDS = 3

_POLICY = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: host1, labels: {role: web}}
spec: {node: host1, interfaceName: "*"}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: block}
spec:
  selector: role == 'web'
  ingress:
    - {action: Deny, source: {selector: list == 'bad'}}
    - {action: Allow}
---
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: bad, labels: {list: bad}}
spec: {path: bad.txt}
"""


def lines() -> Iterator[str]:
    """The tables, line by line as they are measured."""
    lists = (("hosts", _hosts()), ("CIDRs of 12 lengths", _mixed()))
    yield heading(f"{COUNT} elements into sets", "hostfw", "bare kernel")
    packed: dict[str, CidrSet] = {}
    for title, texts in lists:
        found, _ = parse_feed(Source("bad.txt", "\n".join(texts)))
        if not isinstance(found, CidrSet):
            raise TypeError(title)
        packed[title] = found
        yield row(title, *medians(*(_in_namespace(found, load) for load in (_load, _load_bare)), rounds=ROUNDS))
    yield heading(f"{COUNT} elements into sets", "hostfw", "nft -f")
    for title, found in packed.items():
        yield row(title, *medians(_in_namespace(found, _load), _in_namespace(found, _load_nft), rounds=ROUNDS))
    yield heading("10 elements into the same", "hostfw", "nft process")
    for title, found in packed.items():
        yield row(title, *_ten(found))
    yield heading(f"apply with a Feed of {COUNT}", "hostfwctl", "nft -f")
    for title, texts in lists:
        first, again, megabytes = zip(*(_apply(texts) for _ in range(ROUNDS)), strict=True)
        baseline = medians(_in_namespace(packed[title], _load_nft), rounds=1)[0]
        yield row(title, median(first), baseline)
        yield row("  with ten lines more", median(again), baseline)
        yield f"{'  at most':28}{max(megabytes):12.1f} MB"


def _hosts() -> list[str]:
    random = Random(1)
    return [inet_ntoa(host.to_bytes(4, "big")) for host in random.sample(range(1 << 24, 0xDFFFFFFF), COUNT)]


def _mixed() -> list[str]:
    """Prefixes that do not cover each other: three quarters IPv4 of nine lengths, a quarter IPv6 of three."""
    random = Random(2)
    wide = random.sample(range(1 << 16, 0xDFFFFF), COUNT * 3 // 4)
    four = [f"{inet_ntoa((slot << 8).to_bytes(4, 'big'))}/{random.randint(24, 32)}" for slot in wide]
    six = random.sample(range(1 << 28), COUNT - len(four))
    return four + [f"2001:{n >> 16:x}:{n & 0xFFFF:x}::/{random.choice((48, 56, 64))}" for n in six]


def _declarations(found: CidrSet, more: int = 0) -> str:
    kinds = {Family.V4: "ipv4_addr", Family.V6: "ipv6_addr"}
    return "".join(
        f"table {family.nft} {TABLE} {{ set s{length} {{ type {kinds[family]}; size {len(addresses) + more}; }}; }}\n"
        for family, length, addresses in found.parts
    )


def _in_namespace(found: CidrSet, load: Callable[[CidrSet, Namespace], float]) -> Callable[[], float]:
    """A load into empty sets."""

    def measure() -> float:
        with namespace("bench") as place:
            run(place, ("nft", "-f", "-"), text=_declarations(found))
            return load(found, place)

    return measure


def _keys(found: CidrSet) -> list[tuple[Family, str, Keys]]:
    return [(family, f"s{length}", Keys(addresses.data, addresses.width)) for family, length, addresses in found.parts]


def _load(found: CidrSet, place: Namespace) -> float:
    with inside(place):
        started = perf_counter()
        for family, name, keys in _keys(found):
            add_elements(family, name, keys)
        return perf_counter() - started


def _load_bare(found: CidrSet, place: Namespace) -> float:
    """The same batches, made beforehand: what is left is the kernel's."""
    prepared = [one for family, name, keys in _keys(found) for one in batches(NEW, family, name, keys, BATCH_ELEMENTS)]
    with inside(place), NetlinkSocket(NETLINK_NETFILTER, 60) as sock:
        sock.make_room(max(len(batch) for batch, _ in prepared))
        started = perf_counter()
        for batch, last in prepared:
            sock.transact(batch, last, "loading")
        return perf_counter() - started


def _load_nft(found: CidrSet, place: Namespace) -> float:
    with TemporaryDirectory(prefix="hostfw-bench-") as folder:
        script = Path(folder, "sets.nft")
        with script.open("w") as file:
            for part in found.parts:
                texts = (str(cidr).partition("/")[0] for cidr in cidr_set({(part.family, part.length): part.addresses}))
                file.write(f"add element {part.family.nft} {TABLE} s{part.length} {{ {', '.join(texts)} }}\n")
        with inside(place):
            return command_s(["nft", "-f", str(script)])


def _ten(found: CidrSet) -> list[float]:
    """Ten more in the sets as they are loaded."""
    family, length, _ = found.parts[0]
    with namespace("bench") as place:
        run(place, ("nft", "-f", "-"), text=_declarations(found, more=1000))
        _load(found, place)
        spare = iter(range(1000))

        def texts() -> list[str]:
            return [f"240.0.{n >> 8}.{n & 255}" for n in (next(spare) for _ in range(10))]

        def ours() -> float:
            packed = b"".join(bytes(map(int, text.split("."))) for text in texts())
            with inside(place):
                started = perf_counter()
                add_elements(family, f"s{length}", Keys(packed, 4))
                return perf_counter() - started

        def theirs() -> float:
            elements = ", ".join(texts())
            with inside(place):
                return command_s(["nft", f"add element {family.nft} {TABLE} s{length} {{ {elements} }}"])

        return medians(ours, theirs)


def _apply(texts: list[str]) -> tuple[float, float, float]:
    """The seconds of a first apply and of one after ten more lines, and the megabytes of the bigger one."""
    with TemporaryDirectory(prefix="hostfw-bench-") as folder, network_namespace() as prefix:
        etc = Path(folder, "etc")
        etc.mkdir()
        (etc / "hostfw.yaml").write_text("node: host1\n")
        (etc / "policy.yaml").write_text(_POLICY)
        (etc / "bad.txt").write_text("\n".join(texts))
        directories = ["--config-dir", str(etc), "--state-dir", f"{folder}/state", "--run-dir", f"{folder}/run"]
        command = [*prefix, sys.executable, "-c", _MEASURED, *directories, "-q", "apply"]

        def measured() -> tuple[float, float]:
            started = perf_counter()
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            return perf_counter() - started, int(done.stdout) / 1024

        first_s, first_mb = measured()
        with (etc / "bad.txt").open("a") as file:
            file.writelines(f"\n240.0.0.{n}" for n in range(10))
        again_s, again_mb = measured()
        return first_s, again_s, max(first_mb, again_mb)


_MEASURED = """
import sys
from pathlib import Path
from hostfw.cli.main import run
if run(sys.argv[1:], sys.stderr, sys.stderr):
    sys.exit(1)
print(*[line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")])
"""
"""VmHWM rather than ru_maxrss, which a process begins with that of the one that started it."""
