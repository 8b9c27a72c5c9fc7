"""Scenarios once more, while another program writes marks at every hook, before and after each of our base chains."""

from collections.abc import Iterator

import pytest
from _pytest.mark import ParameterSet

from hostfw.model.values import Family
from tests.kernel.policy.scenario import Scenario, scenarios
from tests.kernel.policy.test_scenarios import Site, _put_into_force, _title, _try, site

__all__ = ["site"]

_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
_PRIORITIES = (-450, -301, -299, -250, -201, -199, -151, -149, -101, -99, -1, 1, 49, 99, 101, 300)
"""Around those of ours (raw -300, mangle -150, filter 0), of connection tracking (-200) and of NAT (-100, 100)."""
_SET, _CLEAR = "meta mark set meta mark or 0xff000000", "meta mark set meta mark and 0xffffff"
"""Bits that hostfw may use, and the wire of the scenarios does not, which finds packets' ways by the others."""
_WRITES = {
    "all bits set": (_SET,),
    "all bits cleared": (_CLEAR,),
    "set, then cleared": (_SET, _CLEAR),
    "cleared, then set": (_CLEAR, _SET),
    "turned over": ("meta mark set meta mark xor 0xff000000",),
}
_GROUPS = ("13", "14", "15", "16", "17", "18", "19", "20", "22", "23", "27")
"""Groups of scenarios in which hooks, directions and ways differ."""


def _table(writes: tuple[str, ...]) -> str:
    """A table that writes marks at every place; in turn, where there are several ways."""
    chains = (
        f"chain {hook}-{number} {{ type {kind} hook {hook} priority {priority}; {writes[number % len(writes)]}; }}"
        for hook in _HOOKS
        for number, priority in enumerate(_PRIORITIES)
        for kind in (("route" if hook == "output" and number % 2 else "filter"),)
    )
    body = "\n".join(chains).replace("; ", ";\n").replace("{ ", "{\n").replace(" }", "\n}")
    return f"table inet marks\ndelete table inet marks\ntable inet marks {{\n{body}\n}}\n"


def _chosen() -> list[ParameterSet]:
    """Each scenario with one way of writing; every sixth, and with --soak all of them."""
    told = [scenario for scenario in scenarios() if scenario.group[:2] in _GROUPS]
    return [
        pytest.param(
            scenario,
            list(_WRITES)[number % len(_WRITES)],
            marks=() if number % 6 == 0 else pytest.mark.soak,
            id=f"{scenario.group}: {scenario.name}",
        )
        for number, scenario in enumerate(told)
    ]


@pytest.fixture(name="marked")
def _marked(site: Site) -> Iterator[Site]:
    yield site
    done = site.wire.nftables.commit("table inet marks\ndelete table inet marks\n")
    assert done.ok, done.error


@pytest.mark.parametrize(("scenario", "writes"), _chosen())
def test_packets_fare_the_same_whatever_their_marks(
    scenario: Scenario, writes: str, marked: Site, *, soak: bool
) -> None:
    """One way of writing, and with --soak every way."""
    for way in _WRITES if soak else (writes,):
        done = marked.wire.nftables.commit(_table(_WRITES[way]))
        assert done.ok, done.error
        marked.wire.forget()
        for stage in scenario.stages:
            generation = _put_into_force(marked, stage)
            last: dict[Family, bytes] = {}
            wrong = [
                f"{way}: {_title(trial)}: {found}"
                for trial in stage.trials
                for found in _try(marked, generation, trial, last)
            ]
            assert not wrong, "\n".join(("", *wrong))
