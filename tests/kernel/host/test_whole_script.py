"""The script of a whole generation, loaded by plain nft: once more over itself, by the nft of either release."""

import re
import socket
from pathlib import Path

import pytest

from lab.laboratory import Lab
from lab.namespace import inside, run
from tests.kernel.engine.test_foreign_nft import ROOTS

GOLDEN = sorted((Path(__file__).parents[2] / "golden").glob("*/ruleset.nft"))
NEWER = [("chroot", str(root), "/usr/sbin/nft") for root in ROOTS if (root / "usr/sbin/nft").exists()]
NFTS = [("nft",), *NEWER[:1]]
PACKETS = 7


@pytest.mark.parametrize("nft", NFTS, ids=["our nft", "a newer nft"][: len(NFTS)])
@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.parent.name)
def test_a_script_loads_again_without_a_change(lab: Lab, golden: Path, nft: tuple[str, ...]) -> None:
    """Counters, and the elements that rules have put into dynamic sets, are afterwards as they were."""
    host, script = lab["host"], golden.read_text()
    run(host, (*nft, "-f", "-"), text=script)
    with inside(lab["peer"]), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(PACKETS):
            sock.sendto(b"", ("192.0.2.1", 9))
    run(host, ("ip", "link", "set", "eth0", "down"))
    before = lines(run(host, (*nft, "list", "ruleset")).stdout)
    run(host, (*nft, "-f", "-"), text=script)

    assert lines(run(host, (*nft, "list", "ruleset")).stdout) == before
    assert any(f"packets {PACKETS} " in line for line in before)
    assert any("192.0.2.2" in line and "limit" in line for line in before), "a dynamic set has an element"


def lines(listing: str) -> list[str]:
    """A listing in an order of its own, without the time that elements have left."""
    return sorted(re.sub(r" expires \S+", "", line) for line in listing.splitlines())
