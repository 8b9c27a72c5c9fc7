"""New connections through mixtures of policies drawn at random: nanoseconds a packet, beside three other layouts.

Each mixture has 10 to 10,000 policies of two to sixteen shapes. Its frames are made in the kernel and meet the very
program of an interface, so what is measured is the rules alone: the time of a frame less that through an empty chain.

Beside it stand the same policies in other layouts (`bench.inputs.other_layouts`). One in five mixtures has staged
policies and Log rules among its policies, and one in five applies to what is forwarded.

    python3 -m bench.sweep [MIXTURES [FIRST-SEED [SIZE ...]]]
    python3 -m bench.sweep growth [MIXTURES [FIRST-SEED]]

The second measures each mixture with 10 and with 10,000 policies, and tells how many times more a packet costs, of what
one hash lookup over the same packets grows by. Where an early policy decides nearly everything, a walk through policies
is short as well: the line of a mixture has the rules of a list that a packet is compared with on average.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from os import getloadavg
from statistics import mean
from time import perf_counter, process_time

from bench.inputs.mixtures import (
    HERE,
    Mixture,
    drawn_mixture,
    first_packets,
    forwarded,
    last_packets,
    missing_packets,
    packets,
    with_logs,
)
from bench.inputs.other_layouts import AS_LIST, PolicyHook, as_compiled, one_lookup, policy_chains, without_order
from bench.measuring.injector import injector
from hostfw.compile.ruleset import compile_plan
from hostfw.model.packets.packet import Packet
from hostfw.model.plan import Plan
from hostfw.model.values import Family
from hostfw.nft.objects import Hook, Priority
from hostfw.nft.simulate import effort
from lab.namespace import Namespace, inside, namespace, run

MIXTURES = 200
SIZES = (10, 100, 1000, 10_000)
KINDS = ("plain", "plain", "staged and Log", "plain", "forwarded")
"""The policies of a mixture by seed: as they are, some of them staged or logging, or for what is forwarded."""
_TABLE = 8192
"""Packets that frames are drawn from."""
_ROUND_S = 0.15
_ROUNDS = 3
_DEEP = 4
"""A mixture is deep if a packet is compared with more than one of so many of its rules on average, were it a list."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Nanoseconds of a packet over an empty chain, by layout, for each kind of packet.

    `lookups` and `rules` are the most of one packet, and `compared` the rules of a list that one meets on average.
    """

    mixture: Mixture
    kind: str
    count: int
    compile_s: float
    by_layout: dict[str, tuple[int, ...]]
    lookups: int
    rules: int
    compared: int

    @property
    def uniform(self) -> int:
        """A packet of a rule drawn at random, by the layout of hostfw."""
        return self.by_layout["hostfw"][2]

    @property
    def miss(self) -> int:
        """A packet that few rules match, by the layout of hostfw."""
        return self.by_layout["hostfw"][3]

    @property
    def ratio(self) -> float:
        """The cost of the same packets in a chain for each policy, as a multiple."""
        return self.by_layout["policy chains"][2] / max(self.uniform, 1)

    @property
    def text(self) -> str:
        """One line."""
        times = "  ".join(f"{name} {' '.join(f'{one:7}' for one in each)}" for name, each in self.by_layout.items())
        of = f"{self.mixture.seed:4}{self.count:6} {self.mixture.family.nft:4}{self.kind:15}"
        counts = f"{self.lookups:3} lookups{self.rules:4} rules{self.compared:6} of a list"
        return f"{of}{self.compile_s:6.2f} s  {times}  {counts}"


def lines(mixtures: int = MIXTURES, first_seed: int = 0, sizes: Sequence[int] = SIZES) -> Iterator[str]:
    """The figures of each mixture, then the worst of them."""
    yield f"load {getloadavg()[0]:.1f}; of each layout: first, last, uniform, miss, in ns over an empty chain"
    found: list[Figures] = []
    for seed in range(first_seed, first_seed + mixtures):
        figures = measured(drawn_mixture(seed), KINDS[seed % len(KINDS)], sizes[seed // len(KINDS) % len(sizes)])
        found.append(figures)
        yield figures.text
    for size in sorted({figures.count for figures in found}):
        yield from _of_size(size, [figures for figures in found if figures.count == size])
    yield f"load {getloadavg()[0]:.1f}"


def _of_size(size: int, found: Sequence[Figures]) -> Iterator[str]:
    worst = max(found, key=lambda figures: figures.uniform)
    times = worst.uniform / max(worst.by_layout["one lookup"][2], 1)
    yield (
        f"{size} policies: uniform at most {worst.uniform} ns, {times:.1f} times one lookup over the same; "
        f"miss at most {max(figures.miss for figures in found)} ns"
    )
    shapes = ", ".join(f"{name} {weight}" for name, weight in sorted(worst.mixture.weights.items()))
    yield f"  the worst, seed {worst.mixture.seed}: {worst.lookups} lookups, {worst.rules} rules; {shapes}"
    deep = [figures for figures in found if figures.compared * _DEEP > size]
    for what, those in (("all", found), ("deep ones", deep)):
        if those:
            least = min(those, key=lambda figures: figures.ratio)
            chains = least.by_layout["policy chains"][2]
            yield (
                f"  {len(those)} {what}: at least {least.ratio:.0f} times less than policy chains; there these take "
                f"{chains} ns, and a packet meets {least.compared} rules of a list (seed {least.mixture.seed})"
            )


def measured(mixture: Mixture, kind: str, count: int) -> Figures:
    """The figures of a mixture of so many policies."""
    drawn = mixture.plan(count)
    plan = _of_kind(drawn, kind, mixture.seed)
    started = process_time()
    compiled = compile_plan(plan)
    compile_s = process_time() - started
    listed = compile_plan(plan, AS_LIST)
    asked = _asked(drawn, kind, mixture.seed)
    way = _way(mixture.family, kind)
    scripts = {
        "hostfw": as_compiled(compiled, way),
        "by hand": as_compiled(without_order(compiled), way),
        "list": as_compiled(listed, way),
        "policy chains": policy_chains(listed, way),
        "one lookup": one_lookup(asked[2], mixture.family),
    }
    few = (*asked[2][:50], asked[3][0])
    efforts = [effort(compiled, packet) for packet in few]
    return Figures(
        mixture,
        kind,
        count,
        compile_s,
        _times(asked, scripts, mixture.family),
        max(one.lookups for one in efforts),
        max(one.rules for one in efforts),
        round(mean(effort(listed, packet).rules for packet in few)),
    )


def growth_lines(mixtures: int, first_seed: int = 0, sizes: tuple[int, int] = (SIZES[0], SIZES[-1])) -> Iterator[str]:
    """The growth of the cost of a uniform packet from few policies to many, beside that of one lookup over the same."""
    yield f"load {getloadavg()[0]:.1f}; uniform packets with {sizes[0]} and {sizes[1]} policies, in ns"
    found: list[float] = []
    for seed in range(first_seed, first_seed + mixtures):
        mixture, kind = drawn_mixture(seed), KINDS[seed % len(KINDS)]
        few, many = (_uniform(mixture, kind, size) for size in sizes)
        ours, one = (after / max(before, 1) for before, after in zip(few, many, strict=True))
        found.append(ours / one)
        yield (
            f"{seed:4} {mixture.family.nft:4}{kind:15} hostfw{few[0]:6}{many[0]:6}{ours:6.1f}   "
            f"one lookup{few[1]:6}{many[1]:6}{one:6.1f}   {ours / one:5.2f} times its growth"
        )
    yield f"at most {max(found):.2f} times the growth of one lookup, {mean(found):.2f} on average"
    yield f"load {getloadavg()[0]:.1f}"


def _uniform(mixture: Mixture, kind: str, count: int) -> tuple[int, int]:
    """A uniform packet through the rules of hostfw, and through one lookup that knows all these packets."""
    drawn = mixture.plan(count)
    # As many as there are rules: what one lookup grows by is what the cache misses of that many keys.
    asked = [packets(drawn, min(count, _TABLE), mixture.seed)]
    ruleset = compile_plan(_of_kind(drawn, kind, mixture.seed))
    scripts = {
        "hostfw": as_compiled(ruleset, _way(mixture.family, kind)),
        "one lookup": one_lookup(asked[0], mixture.family),
    }
    times = _times(asked, scripts, mixture.family)
    return times["hostfw"][0], times["one lookup"][0]


def _of_kind(plan: Plan, kind: str, seed: int) -> Plan:
    match kind:
        case "staged and Log":
            return with_logs(plan, seed)
        case "forwarded":
            return forwarded(plan)
        case _:
            return plan


def _way(family: Family, kind: str) -> PolicyHook:
    return (family, Hook.FORWARD, Priority.MANGLE) if kind == "forwarded" else (family, Hook.INPUT, Priority.FILTER)


def _asked(plan: Plan, kind: str, seed: int) -> tuple[list[Packet], ...]:
    asked = (first_packets(plan, 64), last_packets(plan, 64), packets(plan, _TABLE, seed), missing_packets(plan, 64))
    if kind != "forwarded":
        return asked
    return tuple([replace(packet, out_interface="eth1") for packet in those] for those in asked)


def _times(asked: Sequence[list[Packet]], scripts: dict[str, str], family: Family) -> dict[str, tuple[int, ...]]:
    """Each layout in a namespace of its own, all layouts in turn, and the least of the rounds."""
    found: dict[str, list[int]] = {}
    for name, script in {"": "", **scripts}.items():
        with namespace("sweep") as node:
            run(node, ("ip", "link", "set", "lo", "up"))
            run(node, ("ip", "address", "add", str(ip_address(HERE[family])), "dev", "lo"))
            run(node, ("nft", "-f", "-"), text=_END.format(family=family.nft) + script)
            for kind in asked:
                found.setdefault(name, []).append(_least_ns(node, kind))
    empty = found.pop("")
    return {
        name: tuple(max(one - none, 0) for one, none in zip(each, empty, strict=True)) for name, each in found.items()
    }


_END = "table {family} d {{\n chain d {{ type filter hook prerouting priority -299; policy drop; }}\n}}\n"
"""Every packet ends right behind the rules."""


def _least_ns(node: Namespace, asked: list[Packet]) -> int:
    with inside(node), injector(asked) as frames:
        started = perf_counter()
        frames.ns(256)
        each = max((perf_counter() - started) / 256, 1e-7)
        count = min(max(int(_ROUND_S / each), 256), 150_000)
        return min(frames.ns(count) for _ in range(_ROUNDS))


def main() -> None:
    """Measure as many mixtures as the first argument says, from the seed that the second is, of the sizes behind."""
    growth = "growth" in sys.argv[1:2]
    given = [int(one) for one in sys.argv[2 if growth else 1 :]]
    count, seed, *sizes = [*given, *(MIXTURES, 0)[len(given) :]]
    for line in growth_lines(count, seed) if growth else lines(count, seed, sizes or SIZES):
        print(line, flush=True)


if __name__ == "__main__":
    main()
