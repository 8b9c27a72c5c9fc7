"""A block on interfaces with the names that the kernel takes: the renewal of a lease passes there, and nowhere else."""

import os
import socket
from collections.abc import Callable
from contextlib import closing

import pytest

from hostfw.model.host.baseline import Lease, LeaseKind
from hostfw.model.values import Family
from hostfw.nft.block import block_script, boot_block_script, inexpressible
from lab.namespace import Namespace, inside, namespace, run

EXACT = ("eth0", "eth0.100", "e" * 15, "e*h0", "a?", "[a]", "!eth0", "a;b", "a{b", "a}b", "a#b", "@a", "$(id)", "drop")
"""Names that nft takes as they stand."""
INEXACT = ('e"th0', '";flush"', "eth*", "*", "eth\\*", "a\\", "ä0", "é" * 7, "a\x01b", "a\u2028", "\udcff\udcfe")
"""Names that would end a text of nft, or mean others as well."""
SCRIPTS = {"now": block_script, "at the boot": boot_block_script}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("name", [*EXACT, *INEXACT], ids=ascii)
def test_a_renewal_passes_on_its_own_interface_alone(name: str, script: Callable[..., str]) -> None:
    """One whose name cannot be said is left out, with a warning; the block holds all the same."""
    # Another name that begins as this one does, as a pattern would match.
    alike = name[:-1] + ("y" if name.endswith("z") else "z") if len(os.fsencode(name)) == 15 else f"{name.rstrip('*')}z"
    lease = Lease(LeaseKind.DHCP, Family.V4, name, 0xC0000101)
    with namespace("host") as host:
        for number, interface in ((1, name), (2, alike)):
            _add(host, interface, number)

        run(host, ["nft", "-f", "-"], text=script((), (lease,)))

        assert [_gets_out(host, number, 67) for number in (1, 2)] == [name in EXACT, False]
        assert [_gets_out(host, number, 53) for number in (1, 2)] == [False, False]
    assert inexpressible((lease,)) == (() if name in EXACT else (name,))


def _add(host: Namespace, interface: str, number: int) -> None:
    run(host, ["ip", "link", "add", "name", interface, "type", "veth", "peer", "name", f"far{number}"])
    run(host, ["ip", "link", "set", f"far{number}", "up"])
    run(host, ["ip", "link", "set", "dev", interface, "up"])
    run(host, ["ip", "address", "add", f"192.0.{number}.1/24", "dev", interface])
    run(host, ["ip", "neighbour", "add", f"192.0.{number}.2", "lladdr", "02:00:00:00:00:01", "dev", interface])


def _gets_out(host: Namespace, number: int, port: int) -> bool:
    """True if a datagram of the DHCP client's port gets out of an interface: the kernel says who may not send."""
    with inside(host), closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
        client.bind((f"192.0.{number}.1", 68))
        try:
            client.sendto(b"x", (f"192.0.{number}.2", port))
        except PermissionError:
            return False
    return True
