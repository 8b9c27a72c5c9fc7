"""New connections through mixtures of policies drawn at random: nanoseconds a packet, beside three other layouts.

Each mixture has 10 to 10,000 policies of two to sixteen shapes. Its frames are made in the kernel and meet the very
program of an interface, so what is measured is the rules alone: the time of a frame less that through an empty chain.

Beside it stand the same policies as a list (as rich rules of firewalld are), as a chain for each policy with two rules
and a mark around it (as Felix of Calico lays them out), and by hand: one lookup for each kind of key that leads to a
verdict at once, which is the least that lookups can cost, since it knows no order between them.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from os import getloadavg
from socket import AF_INET, AF_INET6, inet_ntop
from time import perf_counter, process_time

from bench.inputs.mixtures import (
    HERE,
    INTERFACE,
    Mixture,
    drawn_mixture,
    first_packets,
    last_packets,
    missing_packets,
    packets,
)
from bench.measuring.injector import injector
from hostfw.compile.layout.costs import CostModel
from hostfw.compile.ruleset import compile_plan
from hostfw.model.packets.packet import Packet
from hostfw.model.values import Family
from hostfw.nft.object_text import render
from hostfw.nft.objects import Chain, Hook, Ruleset, Table
from hostfw.nft.rules import Accept, Goto, Key, Note, Return, Rule
from hostfw.nft.simulate import effort
from lab.namespace import Namespace, inside, namespace, run

MIXTURES = 200
SIZES = (10, 100, 1000, 10_000)
_LIST = CostModel(10_000_000, 100, 100, 64, 100, 100, shared_rules=10_000_000)
_TABLE = 8192
"""Packets that frames are drawn from."""
_ROUND_S = 0.15
_ROUNDS = 3
_PASSED, _ALLOWED = 0x20000, 0x10000


@dataclass(frozen=True, slots=True)
class Figures:
    """Nanoseconds of a packet over an empty chain, by layout, for each kind of packet."""

    mixture: Mixture
    count: int
    compile_s: float
    by_layout: dict[str, tuple[int, ...]]
    lookups: int
    rules: int

    @property
    def uniform(self) -> int:
        """A packet of a rule drawn at random, by the layout of hostfw."""
        return self.by_layout["hostfw"][2]

    @property
    def text(self) -> str:
        """One line."""
        times = "  ".join(f"{name} {' '.join(f'{one:7}' for one in each)}" for name, each in self.by_layout.items())
        return f"{self.mixture.seed:4}{self.count:6} {self.mixture.family.nft:4}{self.compile_s:6.2f} s  {times}"


def lines(mixtures: int = MIXTURES, first_seed: int = 0, sizes: Sequence[int] = SIZES) -> Iterator[str]:
    """The figures of each mixture, then the worst of them."""
    yield f"load {getloadavg()[0]:.1f}; of each layout: first, last, uniform, miss, in ns over an empty chain"
    found: list[Figures] = []
    for seed in range(first_seed, first_seed + mixtures):
        figures = measured(drawn_mixture(seed), sizes[seed % len(sizes)])
        found.append(figures)
        yield figures.text
    for size in sorted({figures.count for figures in found}):
        of_size = [figures for figures in found if figures.count == size]
        worst = max(of_size, key=lambda figures: figures.uniform)
        ratio = min(figures.by_layout["policy chains"][2] / max(figures.uniform, 1) for figures in of_size)
        growth = worst.uniform / max(worst.by_layout["one lookup"][2], 1)
        miss = max(figures.by_layout["hostfw"][3] for figures in of_size)
        yield (
            f"{size} policies: uniform at most {worst.uniform} ns, {growth:.1f} times one lookup over the same; "
            f"miss at most {miss} ns; at least {ratio:.0f} times less than policy chains"
        )
        shapes = ", ".join(f"{name} {weight}" for name, weight in sorted(worst.mixture.weights.items()))
        yield f"  the worst, seed {worst.mixture.seed}: {worst.lookups} lookups, {worst.rules} rules; {shapes}"
    yield f"load {getloadavg()[0]:.1f}"


def measured(mixture: Mixture, count: int) -> Figures:
    """The figures of a mixture of so many policies."""
    plan = mixture.plan(count)
    started = process_time()
    compiled = compile_plan(plan)
    compile_s = process_time() - started
    listed = compile_plan(plan, _LIST)
    asked = (
        first_packets(plan, 64),
        last_packets(plan, 64),
        packets(plan, _TABLE, mixture.seed),
        missing_packets(plan, 64),
    )
    family = mixture.family
    scripts = {
        "hostfw": _script(compiled, family),
        "by hand": _script(_without_order(compiled), family),
        "list": _script(listed, family),
        "policy chains": _policy_chains(listed, family),
        "one lookup": _one_lookup(asked[2], family),
    }
    efforts = [effort(compiled, packet) for packet in (*asked[2][:50], asked[3][0])]
    return Figures(
        mixture,
        count,
        compile_s,
        _times(asked, scripts, family),
        max(one.lookups for one in efforts),
        max(one.rules for one in efforts),
    )


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


def _entry(ruleset: Ruleset, family: Family) -> tuple[Table, str]:
    """The table of a family, and the chain of the program of the interface."""
    table = next(table for table in ruleset.tables if table.family is family)
    chains = {chain.name: chain for chain in table.chains}
    base = next(base for base in table.base_chains if base.hook is Hook.INPUT)
    (to_root,) = (one for one in base.rules[-1].statements if isinstance(one, Goto))
    for rule in chains[to_root.chain].rules:
        if any(match.key is Key.IIFNAME and match.value == INTERFACE for match in rule.matches):
            (to_program,) = (one for one in rule.statements if isinstance(one, Goto))
            return table, to_program.chain
    raise LookupError(INTERFACE)


def _hooked(table: Table, family: Family, entry: str, more: str = "") -> str:
    hook = "type filter hook prerouting priority -300; policy accept;"
    body = render(Ruleset((replace(table, base_chains=()),)))
    return "\n".join(
        (
            body,
            more,
            f"add chain {family.nft} hostfw bench {{ {hook} }}",
            f"add rule {family.nft} hostfw bench jump {entry}",
            "",
        )
    )


def _script(ruleset: Ruleset, family: Family) -> str:
    table, entry = _entry(ruleset, family)
    return _hooked(table, family, entry)


def _without_order(ruleset: Ruleset) -> Ruleset:
    """The same lookups, where what is found decides at once."""

    def changed(rule: Rule) -> Rule:
        if not any(isinstance(one, Note) and one.number for one in rule.statements):
            return rule
        return Rule(tuple(match for match in rule.matches if match.key is not Key.SCRATCH), (Accept(),))

    tables = (
        replace(table, chains=tuple(Chain(one.name, tuple(map(changed, one.rules))) for one in table.chains))
        for table in ruleset.tables
    )
    return Ruleset(tuple(tables))


def _policy_chains(listed: Ruleset, family: Family) -> str:
    """A list as a chain for each of its rules, with a mark for what it allowed and one for what it passed on."""
    table, entry = _entry(listed, family)
    text, chains = [], []
    for chain in table.chains:
        if len(chain.rules) < min(SIZES) // 2:
            chains.append(chain)
            continue
        rules: list[str] = []
        own: list[Chain] = []
        for number, rule in enumerate(chain.rules):
            passes = Return() in rule.statements
            name = f"policy-{number}.{chain.name[-12:]}"
            own.append(Chain(name, (rule,)))
            rules.append(f"meta mark & {_PASSED:#010x} == 0 jump {name}")
            rules.append(f"meta mark & {_ALLOWED:#010x} != 0 {'return' if passes else 'accept'}")
        chains += [Chain(chain.name, ()), *own]
        lines_of = "\n".join(f"add rule {family.nft} hostfw {chain.name} {rule}" for rule in rules)
        text.append(lines_of)
    return _hooked(
        replace(table, chains=tuple(sorted(chains, key=lambda one: one.name))), family, entry, "\n".join(text)
    )


def _one_lookup(asked: Sequence[Packet], family: Family) -> str:
    """One hash lookup over the same packets, which grows with their number by misses of the cache alone."""
    width = family.bits // 8
    keys = sorted({(one.source.to_bytes(width, "big"), one.destination_port or 0) for one in asked})
    kind = AF_INET if family is Family.V4 else AF_INET6
    elements = ", ".join(f"{inet_ntop(kind, address)} . {port} : accept" for address, port in keys)
    address = "ipv4_addr" if family is Family.V4 else "ipv6_addr"
    return (
        f"table {family.nft} hostfw {{\n map asked {{ type {address} . inet_service : verdict; size {len(keys)}; "
        f"elements = {{ {elements} }} }}\n chain bench {{ type filter hook prerouting priority -300; policy accept; "
        f"{family.nft} saddr . th dport vmap @asked\n }}\n}}\n"
    )


def main() -> None:
    """Measure as many mixtures as the first argument says, from the seed that the second is, of the sizes behind."""
    given = [int(one) for one in sys.argv[1:]]
    count, seed, *sizes = [*given, *(MIXTURES, 0)[len(given) :]]
    for line in lines(count, seed, sizes or SIZES):
        print(line, flush=True)


if __name__ == "__main__":
    main()
