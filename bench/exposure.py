"""Time to compute the exposure of twenty services, and the processor time of the whole verb.

The whole verb reads policy first, which is most of it: PyYAML's C loader on the same files is the measure.
"""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from bench.inputs import configurations
from bench.measuring.measure import command_cpu_s, heading, medians, row
from bench.startup import in_force
from bench.validate import BASELINE
from hostfw.build.candidate import check_candidate
from hostfw.exposure.services import changes, exposure
from hostfw.exposure.wording import change_lines, change_text
from hostfw.host.store.configuration.files import read_paths
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.services import BoundAddress, HostServices, Service
from hostfw.model.plan import Plan
from hostfw.model.values import FAMILIES, TCP, Cidr, Family
from hostfw.policy.resolve.plan import resolve

SIZES = (10, 100, 1000, 10_000)
SERVICES = 20
_INTERFACES = 4
_V4, _V6 = 0xC0000201, 0x20010DB8 << 96


def lines() -> Iterator[str]:
    """The table, line by line as it is measured."""
    yield f"{'exposure, 20 services':28}{'now':>15}{'and a change':>15}"
    for size in SIZES:
        with TemporaryDirectory(prefix="hostfw-bench-") as folder:
            configurations.write(Path(folder, "etc"), size)
            candidate = check_candidate(*read_paths([Path(folder, "etc")]))
        facts = _facts()
        plan, _ = resolve(candidate.resources, candidate.settings, facts)
        services = _services()
        asked = (plan, facts, services)
        now_s, change_s = medians(partial(_table, *asked), partial(_change, *asked), rounds=3)
        yield f"{f'{size} policies':28}{now_s * 1000:12.1f} ms{change_s * 1000:12.1f} ms"
    yield heading("exposure, processor time", "hostfwctl", "CSafeLoader")
    for size in SIZES:
        with (
            TemporaryDirectory(prefix="hostfw-bench-") as folder,
            in_force(Path(folder), size) as (inside, directories),
        ):
            verb = (*inside, sys.executable, "-m", "hostfw.cli", *directories, "exposure")
            read = (*inside, sys.executable, "-c", BASELINE, str(Path(folder, "etc")))
            # The first one compiles modules where nobody did.
            command_cpu_s(verb)
            ours_s, theirs_s = medians(partial(command_cpu_s, verb), partial(command_cpu_s, read))
            yield row(f"{size} policies", ours_s, theirs_s)


def _facts() -> HostFacts:
    addresses = [(Cidr(Family.V4, _V4 + n, 32), Cidr(Family.V6, _V6 + n, 128)) for n in range(_INTERFACES)]
    return HostFacts("host1", tuple(Interface(f"eth{n}", n + 1, addresses=held) for n, held in enumerate(addresses)))


def _services() -> HostServices:
    bound = tuple(BoundAddress(family) for family in FAMILIES)
    return HostServices(tuple(Service(TCP.number, 1020 + n, bound, unit=f"s{n}.service") for n in range(SERVICES)))


def _table(plan: Plan, facts: HostFacts, services: HostServices) -> float:
    started = perf_counter()
    exposure(plan, facts, services)
    return perf_counter() - started


def _change(plan: Plan, facts: HostFacts, services: HostServices) -> float:
    """From no rules at all, which changes the most."""
    started = perf_counter()
    after = exposure(plan, facts, services)
    for line in change_lines(changes(exposure(None, facts, services), after), after):
        change_text(line)
    return perf_counter() - started
