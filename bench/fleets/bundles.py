"""A fleet of 10,000 hosts that pull: a canary, waves, a bundle that fails, and bundles that nobody should take.

And the bytes that hosts fetch where endpoints are separate from policies.

    python3 -m bench.fleets.bundles [HOSTS]

Each host really verifies with ssh-keygen, compares every byte, and decides; the kernel is a stub that says if the
host is well. The clock is simulated: hosts pull every five minutes, each at a moment of its own, and the records are
counted once a minute.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from random import Random
from subprocess import run
from sys import argv
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from types import SimpleNamespace
from typing import Any

from hostfw.bundle.archive import archive
from hostfw.bundle.manifest import BundleError, EndpointFile, File, Manifest, Wave, manifest_text
from hostfw.bundle.selections import page_of, read_page, read_selection
from hostfw.bundle.waves import Tally, decide
from hostfw.cli.fleet.bundles.fetched import Verified, fetched_endpoints, place_beside, verified
from hostfw.cli.fleet.bundles.make import Rollout as BundleWords
from hostfw.cli.fleet.bundles.make import make, read_content
from hostfw.cli.fleet.bundles.pull import Wanted, pull
from hostfw.cli.fleet.bundles.status import State
from hostfw.host.bundles.signature import sign
from hostfw.host.bundles.state import BundleState, load_state, save_state

HOSTS = 10_000
CANARIES = 50
PULL_S, TALLY_S = 300, 60
CREATED = datetime(2030, 1, 1, tzinfo=UTC)
WAVES = (Wave(0, "canary"), Wave(600, "all", 10), Wave(1200, "all"))
_POLICY = b"""\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: service-%d}
spec:
  selector: role == 'web'
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [%d]}}]
"""


@dataclass(slots=True)
class Host:
    """A host of the simulation: its ring, the second of its next pull, and the numbers in force and failed."""

    node: str
    ring: str
    next_s: int
    in_force: int = 0
    failed: int = 0
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Rollout:
    """The end of a rollout: seconds of the simulated clock, hosts that took it, that failed, and real pulls made."""

    ended_s: int
    confirmed: int
    failed: int
    pulls: int


class _Signer:
    """A key that was just made, and the list that allows it."""

    def __init__(self, folder: Path) -> None:
        """Made by ssh-keygen."""
        self.key, self.allowed = folder / "key", folder / "allowed"
        run(("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key), check=True)
        self.allowed.write_text(f"ops {self.key.with_suffix('.pub').read_text()}")

    def bundle(self, number: int, created: datetime) -> bytes:
        """A bundle of a hundred policies."""
        files = {f"policy-{n:03}.yaml": _POLICY % (n, 1000 + n + number) for n in range(100)}
        said = tuple(File(path, len(text), sha256(text).hexdigest()) for path, text in files.items())
        text = manifest_text(Manifest("default", number, created, said, WAVES, most_failed=2, least_confirmed=40))
        return b"".join(archive(text, sign(text, self.key), files.items()))


def roll_out(
    hosts: list[Host], data: bytes, signer: _Signer, sick: float, begins: datetime, random: Random, lasts_s: int
) -> Rollout:
    """Let hosts pull a bundle for so long; on a share of them it fails."""
    number, pulls, tally, last_s = 0, 0, Tally(), 0
    for second in range(0, lasts_s, 5):
        if second % TALLY_S == 0 and number:
            tally = Tally(sum(h.in_force == number for h in hosts), sum(h.failed == number for h in hosts))
        for host in hosts:
            if host.next_s > second:
                continue
            host.next_s += PULL_S + random.randrange(120)
            digest = sha256(data).hexdigest()
            if host.digest == digest:
                # The server says that nothing changed: what was verified is looked at again.
                bundle = _KEPT[digest]
            else:
                bundle = _KEPT[digest] = verified(data, signer.allowed)
                host.digest = digest
                pulls += 1
            number = bundle.known.number
            if number <= host.in_force or host.failed == number:
                continue
            waits = decide(bundle.manifest, host.node, host.ring, begins + timedelta(seconds=second), tally)
            if waits is not None:
                continue
            last_s = second
            if random.random() < sick:
                host.failed = number
            else:
                host.in_force = number
    return Rollout(last_s, sum(h.in_force == number for h in hosts), sum(h.failed == number for h in hosts), pulls)


_KEPT: dict[str, Verified] = {}


_ACCEPTED = 1_000_000
"""The number of the bundle that a host has accepted, when it is offered what it should not take."""


def refused(signer: _Signer, other: _Signer, tries: int, random: Random, folder: Path) -> Iterator[str]:
    """Lines with the number of bundles that a host was offered and refused, by what is wrong with each.

    The host pulls each by `pull` itself; it has accepted a bundle before.
    """
    good, later = signer.bundle(_ACCEPTED, CREATED), signer.bundle(_ACCEPTED + 1, CREATED)
    folder.mkdir()
    save_state(folder, BundleState(accepted=verified(good, signer.allowed).known))
    few = max(tries // 10, 1)
    offers: tuple[tuple[str, int, Callable[[], bytes]], ...] = (
        ("newer, one bit changed", tries, lambda: _one_bit_changed(later, random)),
        ("newer, cut off", tries, lambda: later[: random.randrange(len(later))]),
        ("newer, followed by more", few, lambda: later + random.randbytes(random.randrange(1, 600))),
        (
            "newer, by a key that is not allowed",
            few,
            lambda: other.bundle(_ACCEPTED + random.randrange(1, 99), CREATED),
        ),
        ("older, as it was signed", few, lambda: signer.bundle(random.randrange(1, _ACCEPTED), CREATED)),
        ("another of the same number", few, lambda: signer.bundle(_ACCEPTED, CREATED + _later(random))),
    )
    for what, count, offer in offers:
        stopped = sum(_pulled(offer(), signer, folder) is State.REFUSED for _ in range(count))
        yield f"  {what}: {stopped} of {count} refused"
    again = sum(_pulled(good, signer, folder) is State.CHANGED for _ in range(few))
    yield f"  the accepted one again, after something else was put into force: {few - again} of {few} taken"
    assert load_state(folder).accepted == verified(good, signer.allowed).known
    # Or what is refused here would be refused for another reason.
    assert _pulled(later, signer, folder) is None


def _later(random: Random) -> timedelta:
    return timedelta(seconds=random.randrange(1, 10**6))


def _one_bit_changed(data: bytes, random: Random) -> bytes:
    place = random.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << random.randrange(8))]) + data[place + 1 :]


def _pulled(data: bytes, signer: _Signer, folder: Path) -> State | None:
    """The end of a pull of these bytes; None if the host begins to take them, which needs more than a directory."""
    source = folder / "offered"
    source.write_bytes(data)
    engine: Any = SimpleNamespace(directories=SimpleNamespace(state=folder, config=folder / "etc"))
    wanted = Wanted(str(source), signer.allowed, "host0", most_bytes=10**7, within_s=10, now=True)
    try:
        return pull(engine, wanted, CREATED + timedelta(days=1)).state
    except AttributeError:
        return None


def lines(hosts: int = HOSTS, tries: int = 1000) -> Iterator[str]:
    """The figures of a good rollout, of one that stops by itself, and of bundles that nobody takes."""
    random = Random(20)
    with TemporaryDirectory() as one, TemporaryDirectory() as two:
        signer, other = _Signer(Path(one)), _Signer(Path(two))
        fleet = [
            Host(f"host{n}.example", "canary" if n < CANARIES else "", random.randrange(PULL_S)) for n in range(hosts)
        ]
        good = signer.bundle(1, CREATED)
        yield f"bundle of 100 policies: {len(good)} bytes"
        began = perf_counter()
        done = roll_out(fleet, good, signer, 0.0, CREATED, random, 2400)
        took = perf_counter() - began
        yield (
            f"{hosts} hosts, 3 waves of 10 min: {done.confirmed} took it, the last after {done.ended_s} s of the "
            f"simulated clock; {done.pulls} pulls verified in {took:.0f} s, "
            f"{took / max(done.pulls, 1) * 1000:.1f} ms each"
        )
        for share in (1.0, 0.1, 0.001):
            later = CREATED + timedelta(days=1)
            fleet = [replace(h, next_s=random.randrange(PULL_S), in_force=1, failed=0, digest="") for h in fleet]
            bad = signer.bundle(2, later)
            # Who verified it once is enough here: what is shown is how far it gets.
            _KEPT[sha256(bad).hexdigest()] = verified(bad, signer.allowed)
            fleet = [replace(h, digest=sha256(bad).hexdigest()) for h in fleet]
            done = roll_out(fleet, bad, signer, share, later, random, 2400)
            yield (
                f"fails on {share * 100:g} % of hosts: {done.confirmed} took it, {done.failed} rolled it back, "
                f"the last after {done.ended_s} s"
            )
        yield "bundles that nobody should take:"
        yield from refused(signer, other, tries, random, Path(two) / "host")
        yield from separate_endpoints(hosts, Path(one), random)


_CHANGED = 1000
_SITES, _ROLES = 50, ("web", "application", "database", "cache", "queue", "mail", "login", "monitoring")
_PEERS = {
    "application": "web",
    "database": "application",
    "cache": "application",
    "queue": "application",
    "mail": "queue",
}


def _fleet_texts(hosts: int) -> dict[str, str]:
    """Policies by which a role lets another one of its site in, and the monitoring everywhere; and the endpoints."""
    rules = "".join(
        f"---\n{{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {{name: {role}-{site}}},\n"
        f" spec: {{selector: role == '{role}' && site == 's{site}', ingress: [{{action: Allow, protocol: TCP,\n"
        f" source: {{selector: role == '{peer}' && site == 's{site}'}}, destination: {{ports: [8080]}}}}]}}}}\n"
        for site in range(_SITES)
        for role, peer in _PEERS.items()
    )
    watched = (
        "---\n{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: watched},\n"
        " spec: {ingress: [{action: Allow, protocol: TCP, source: {selector: role == 'monitoring' && site == 's0'},"
        " destination: {ports: [9100]}}]}}\n"
    )
    endpoints = "".join(
        f"---\n{{apiVersion: projectcalico.org/v3, kind: HostEndpoint, metadata: {{name: host{n}-all,\n"
        f" labels: {{role: {_ROLES[n % len(_ROLES)]}, site: s{n // len(_ROLES) % _SITES}}}}},\n"
        f" spec: {{node: host{n}, interfaceName: '*', expectedIPs: [10.{n >> 16}.{n >> 8 & 255}.{n & 255}]}}}}\n"
        for n in range(hosts)
    )
    return {"policies.yaml": rules + watched, "endpoints.yaml": endpoints}


def separate_endpoints(hosts: int, folder: Path, random: Random) -> Iterator[str]:
    """Publish, and count the bytes that hosts fetch: each reads its page and its selection, with their digests."""
    policies = folder / "policies"
    policies.mkdir()
    for name, text in _fleet_texts(hosts).items():
        (policies / name).write_text(text)
    began = process_time()
    content = read_content(policies, separate_endpoints=True)
    took = process_time() - began
    separate = content.separate
    assert separate is not None
    manifest, data = make(content, BundleWords("default", 1, CREATED), folder / "key")
    fetched, selections = list[int](), set[str]()
    for n in range(hosts):
        page = _whole_file(content.endpoint_files, separate.pages[page_of(f"host{n}", len(separate.pages))])
        entry = read_page(page, f"host{n}")
        assert entry is not None
        selections.add(entry.selection.sha256)
        fetched.append(len(page) + entry.selection.size)
    for digest in selections:
        read_selection(_whole_file(content.endpoint_files, digest))
    yield (
        f"separate endpoints of {hosts} hosts: {took:.1f} s of CPU to choose them, {len(separate.pages)} pages, "
        f"{len(selections)} selections, a bundle of {len(data)} bytes with {len(manifest.files)} file"
    )
    fetched.sort()
    yield (
        f"  a host fetches {fetched[hosts // 2]} bytes of endpoints (median; {fetched[-1]} at most), and "
        f"{separate.whole.size} without: {separate.whole.size / fetched[hosts // 2]:.0f} times as much"
    )
    refused = sum(_is_refused_file(content.endpoint_files, folder, random) for _ in range(_CHANGED))
    yield f"  {_CHANGED} files of endpoints with one bit changed: {refused} refused"


def _is_refused_file(files: Mapping[str, bytes], folder: Path, random: Random) -> bool:
    """True if a host refuses a file in which a bit was changed."""
    digest = random.choice(list(files))
    text = bytearray(files[digest])
    text[random.randrange(len(text))] ^= 1 << random.randrange(8)
    archive = folder / "web.hostfw"
    place = Path(place_beside(str(archive), digest))
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(text)
    try:
        fetched_endpoints(str(archive), folder / "state", EndpointFile(digest, len(text)))
    except BundleError:
        return True
    return False


def _whole_file(files: Mapping[str, bytes], digest: str) -> bytes:
    """A file as a host takes it: with the digest that was signed."""
    assert sha256(files[digest]).hexdigest() == digest
    return files[digest]


if __name__ == "__main__":
    for line in lines(int(argv[1]) if len(argv) > 1 else HOSTS):
        print(line, flush=True)
