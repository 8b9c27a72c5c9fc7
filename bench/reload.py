"""A reload in an engine that lives on, against the first apply of the same configuration in the same engine.

Everything counts: reading the files, deciding what changed, the kernel, reading back, and what is written down. The
switch is the one transaction at which packets meet the change; from then on it is in force, and the rest of the reload
removes what is no longer used, reads back and writes down.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import NamedTuple

from bench.inputs import configurations, mixture_files
from bench.inputs.mixtures import SHAPES
from bench.measuring.measure import ROUNDS, children_cpu_s, heading, resident_mib, row, rss_row
from hostfw.build.cache import EngineCache
from hostfw.build.candidate import check_candidate
from hostfw.daemon.collector import Collector
from hostfw.engine.apply.applied import Applied
from hostfw.engine.context import Directories, Host
from hostfw.engine.engine import Engine
from hostfw.host.nftables.writing.script_runner import NftablesWorker, SpareWorker
from hostfw.host.store.configuration.feed_files import read_own_feeds
from hostfw.host.store.configuration.files import read_configuration
from hostfw.nft.deletion import Deletion
from lab.namespace import inside, namespace

SIZES = (100, 1000, 10_000)
FEED = 1_000_000
_MORE = 10
_CHANGES = 7
"""Policies of all shapes that come one after the other; by then what is kept of each change is seen in memory."""
_FEED = """\
apiVersion: hostfw.io/v1
kind: Feed
metadata: {{name: bad, labels: {{list: bad}}}}
spec: {{path: {path}}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: block}}
spec:
  order: 0
  selector: role == 'web'
  types: [Ingress]
  ingress: [{{action: Deny, source: {{selector: list == 'bad'}}}}]
"""


class Switch(NamedTuple):
    """The begin and the end of a switch, in seconds of the performance counter."""

    began_s: float
    ended_s: float


class TimedWorker(NftablesWorker):
    """An nft worker that notes when it switched."""

    def __init__(self, switches: list[Switch], keep_open: Sequence[int], spare: SpareWorker | None = None) -> None:
        super().__init__(keep_open=keep_open, spare=spare)
        self._switches = switches

    def activate(self, deletions: Iterable[Deletion], generation: int) -> None:
        """Switch, and note when."""
        began_s = perf_counter()
        super().activate(deletions, generation)
        self._switches.append(Switch(began_s, perf_counter()))


@dataclass(slots=True)
class Living:
    """An engine with a memory, on directories of its own."""

    root: Path
    switches: list[Switch] = field(default_factory=list)
    cache: EngineCache = field(default_factory=EngineCache)
    collector: Collector = field(default_factory=Collector)
    began_s: float = 0.0

    def reload_s(self, *, changes: bool = True) -> float:
        """The time of a reload, in seconds, with or without changes; the collector is off, as in the service."""
        with self.collector.off():
            return self._reload_s(changes=changes)

    def _reload_s(self, *, changes: bool) -> float:
        directories = Directories(*(self.root / name for name in ("etc", "var", "run")))
        host = Host(nftables=partial(TimedWorker, self.switches))
        self.began_s = perf_counter()
        configuration, problems = read_configuration(directories.config)
        candidate = check_candidate(
            configuration, problems, partial(read_own_feeds, directories.config), self.cache.candidate
        )
        outcome = Engine(directories, host, cache=self.cache).apply(candidate, accept_loss=True)
        took_s = perf_counter() - self.began_s
        if not isinstance(outcome, Applied) or outcome.warnings or outcome.change.is_empty is changes:
            raise AssertionError(outcome)
        return took_s

    def edit(self, name: str, edit: Callable[[str], str]) -> None:
        """Change a configuration file."""
        path = self.root / "etc" / name
        path.write_text(edit(path.read_text()))


@contextmanager
def living(size: int, feed: int = 0, *, mixed: bool = False) -> Iterator[Living]:
    """An engine in a network namespace of its own, over so many policies, and one that denies a feed's addresses.

    Policies are alike, or `mixed` of all shapes.
    """
    with TemporaryDirectory(prefix="hostfw-bench-") as folder, namespace("host1") as node, inside(node):
        root = Path(folder)
        if mixed:
            mixture_files.write(root / "etc", dict.fromkeys(SHAPES, 1), size)
        else:
            configurations.write(root / "etc", size)
        if feed:
            (root / "bad.txt").write_text(_addresses(0, feed))
            (root / "etc" / "feed.yaml").write_text(_FEED.format(path=root / "bad.txt"))
        yield Living(root)


def lines() -> Iterator[str]:
    """The table, line by line as it is measured."""
    yield heading("reload in a running engine", "reload", "first apply")
    for size in SIZES:
        with living(size) as engine:
            first_s = engine.reload_s()
            nothing_s = median(engine.reload_s(changes=False) for _ in range(ROUNDS))
            yield row(f"{size} policies, no change", nothing_s, first_s)
            changes = [one_policy(engine, number) for number in range(ROUNDS)]
            yield row(f"{size} policies, one changed", median(one.whole_s for one in changes), first_s)
            yield row("  until it is in force", median(one.in_force_s for one in changes), first_s)
            yield row("  its switch alone", median(one.switch_s for one in changes), first_s)
    yield heading("the same of all shapes", "reload", "first apply")
    for size in SIZES:
        with living(size, mixed=True) as engine:
            first_s = engine.reload_s()
            first_mib = resident_mib()
            changes = [_one_of_all_shapes(engine, number) for number in range(_CHANGES)]
            yield row(f"{size} policies, one changed", median(one.whole_s for one in changes), first_s)
            yield row("  until it is in force", median(one.in_force_s for one in changes), first_s)
            yield row("  its processor time", median(one.cpu_s for one in changes), first_s)
            yield row("  that of nft", median(one.nft_cpu_s for one in changes), first_s)
            yield rss_row("  memory of the process", resident_mib(), first_mib)
    with living(SIZES[0], FEED) as engine:
        first_s = engine.reload_s()
        more_s = median(_more_addresses_s(engine, number) for number in range(ROUNDS))
        yield row(f"feed of {FEED}, {_MORE} more", more_s, first_s)


class Changed(NamedTuple):
    """Times of a reload, until the change is in force, of the switch alone, of this process and of nft, in seconds."""

    whole_s: float
    in_force_s: float
    switch_s: float
    cpu_s: float
    nft_cpu_s: float


def one_policy(engine: Living, number: int) -> Changed:
    """A reload with one changed policy."""
    engine.edit("policies/00003.yaml", lambda text: text.replace(f"10.{number}.33.7/32", f"10.{number + 1}.33.7/32"))
    return _reloaded(engine)


def _one_of_all_shapes(engine: Living, number: int) -> Changed:
    """A reload with one more policy, in the midst of the others."""
    order = number + 55
    text = mixture_files.policy(order, mixture_files.MORE, name=f"more-{number}")
    (engine.root / "etc" / "policies" / f"more-{number}.yaml").write_text(text)
    return _reloaded(engine)


def _reloaded(engine: Living) -> Changed:
    before, began_s, began_nft_s = len(engine.switches), process_time(), children_cpu_s()
    whole_s = engine.reload_s()
    cpu_s, nft_cpu_s = process_time() - began_s, children_cpu_s() - began_nft_s
    (switch,) = engine.switches[before:]
    return Changed(whole_s, switch.ended_s - engine.began_s, switch.ended_s - switch.began_s, cpu_s, nft_cpu_s)


def _more_addresses_s(engine: Living, number: int) -> float:
    with (engine.root / "bad.txt").open("a") as file:
        first = FEED + number * _MORE
        file.write(_addresses(first, first + _MORE))
    return engine.reload_s()


def _addresses(first: int, end: int) -> str:
    return "".join(f"100.{n >> 16}.{n >> 8 & 255}.{n & 255}\n" for n in range(first, end))
