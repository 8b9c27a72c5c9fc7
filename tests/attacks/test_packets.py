"""Packets that try to get past a policy: none does, and it is the policy that stops them."""

import pytest

from hostfw.audit.packet_headers import headers
from hostfw.model.values import FAMILIES, TCP, UDP, Family
from tests.attacks.probes import GROUPS, OPEN_TCP, OPEN_UDP, PEER, Probe
from tests.attacks.target import Target

FEWEST = 600
SUITE: dict[tuple[str, Family], list[Probe]] = {
    (group, family): list(probes(family)) for group, probes in GROUPS.items() for family in FAMILIES
}


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("group", GROUPS)
def test_nothing_gets_past_but_what_policy_allows(guarded: Target, group: str, family: Family) -> None:
    """Allowed packets pass, in the same forms."""
    probes = SUITE[group, family]

    passed = guarded.judge(probes)

    assert passed == {probe.name for probe in probes if probe.passes}
    assert {_flow(data) for data in guarded.past.values()} <= {
        (PEER[family], TCP.number, OPEN_TCP),
        (PEER[family], UDP.number, OPEN_UDP),
    }


def _flow(data: bytes) -> tuple[str, int | None, int | None]:
    """The source of a packet that got past, and its destination port."""
    found = headers(data)
    return found.source_text, found.protocol, found.destination_port


def test_the_suite_is_as_large_as_it_claims() -> None:
    """Each probe under a name of its own, over both families."""
    names = [(group, family, probe.name) for (group, family), probes in SUITE.items() for probe in probes]

    assert len(names) == len(set(names)) >= FEWEST
    assert all(sum(key[1] is family for key in names) >= FEWEST / 2 for family in FAMILIES)


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
def test_without_a_policy_most_of_them_get_through(open_host: Target, family: Family) -> None:
    """So it is not the laboratory, nor the kernel, that stops them."""
    probes = [
        probe
        for (group, of), found in SUITE.items()
        if of is family and group not in ("malformed", "frames")
        for probe in found
    ]

    passed = {group: len(open_host.judge(SUITE[group, family])) for group in GROUPS}

    assert sum(passed.values()) > len(probes) // 2
    assert [group for group, number in passed.items() if not number] == []
