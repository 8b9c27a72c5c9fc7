"""Interfaces by names that mean something elsewhere: none of them is let in by the policy of another."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from hostfw.model.values import FAMILIES, Family
from lab.hostfwctl import hostfwctl, install
from lab.laboratory import laboratory
from lab.namespace import run
from lab.topology import pair
from tests.attacks.probes import GROUPS, Probe
from tests.attacks.target import POLICY, Target, target, wire

NAMES = (
    "*", "eth*", "eth?", "e*0", "[e]th0", "ETH0", "eth0.", "eth0.1", "eth00", "eth-0", "xeth0", "lo0", "lo*",
    "*lo", "'", '"',
    "eth0\\", "\\x6c", "a;b", "a,b", "{", "}", "{eth0}", "@eth0", "$eth0", "$(id)", "`id`", "#", "!eth0",
    "-", "--in", "=eth0", "<", "eth0\x01", "eth0\x7f", "\xe9th0", "ip", "drop", "accept", "iifname",
)  # fmt: skip
"""Patterns, what looks like the interface that is governed, and what nft, a shell or a terminal makes more of."""


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The host of POLICY with an interface by each of these names besides eth0, at `w0`, `w1`, ... of the peer."""
    with laboratory(pair()) as lab, ExitStack() as stack:
        host, peer = lab["host"], lab["peer"]
        for number, name in enumerate(NAMES):
            link = ["ip", "link", "add", "name", name, "address", "02:00:00:00:00:00", "type", "veth"]
            run(host, [*link, "peer", "name", f"w{number}", "netns", str(peer.path)])
            run(host, ["ip", "link", "set", "dev", name, "up"])
            run(peer, ["ip", "link", "set", f"w{number}", "up"])
        installation = install(host, tmp_path_factory.mktemp("crowded") / "hostfw")
        (installation.config / "policy.yaml").write_text(POLICY)
        hostfwctl(installation, "apply")
        made = stack.enter_context(target(lab))
        for number in range(len(NAMES)):
            made.wires[f"w{number}"] = stack.enter_context(wire(lab, f"w{number}"))
        yield made


def probes(family: Family) -> list[Probe]:
    """Packets that pass at eth0, and packets that do not."""
    return [*GROUPS["allowed"](family), *list(GROUPS["sources"](family))[:6]]


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("number", range(len(NAMES)), ids=[ascii(name) for name in NAMES])
def test_an_interface_by_an_odd_name_is_not_governed_by_another_s_policy(
    crowded: Target, number: int, family: Family
) -> None:
    """Nobody governs it, so nothing is let in, whatever its name could be taken for."""
    assert crowded.judge(probes(family), f"w{number}") == set()


@pytest.mark.parametrize("family", FAMILIES, ids=["IPv4", "IPv6"])
def test_the_interface_that_is_governed_is_as_ever(crowded: Target, family: Family) -> None:
    """Its neighbours by odd names take nothing from it."""
    assert crowded.judge(probes(family)) == {probe.name for probe in probes(family) if probe.passes}
