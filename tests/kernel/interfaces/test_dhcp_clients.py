"""DHCP clients at work, as processes: an address without an end is not believed before they have had time to write."""

import os
import shutil
import time
from pathlib import Path

import pytest

from hostfw.host.network.dhcp.dhcp_clients import links_being_asked_for, links_without_leases
from hostfw.host.network.interfaces import links
from hostfw.host.network.interfaces.links import observe
from hostfw.model.values import Learned
from lab.namespace import Namespace, inside, process, run

_LINKS = frozenset({"eth0", "eth1"})


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder in which programs that only sleep have the names of DHCP clients."""
    for name in ("dhclient", "udhcpc", "pppd"):
        shutil.copy("/bin/sleep", tmp_path / name)
    return tmp_path


def _asked_for(host: Namespace) -> frozenset[str]:
    with inside(host):
        return links_being_asked_for(_LINKS)


def test_a_client_asks_for_the_links_that_it_names(host: Namespace, peer: Namespace, programs: Path) -> None:
    """All if it names none; a client in another network namespace, or another program, asks for none of ours."""
    assert _asked_for(host) == frozenset()
    with process(peer, [str(programs / "dhclient"), "1000"]), process(host, [str(programs / "pppd"), "1000"]):
        assert _asked_for(host) == frozenset()
        with process(host, ["bash", "-c", f"exec -a eth1 {programs / 'dhclient'} 1000"]):
            time.sleep(0.2)
            assert _asked_for(host) == {"eth1"}
        with process(host, [str(programs / "dhclient"), "1000"]):
            time.sleep(0.2)
            assert _asked_for(host) == _LINKS


def test_a_client_of_an_ordinary_user_asks_for_nothing(host: Namespace, programs: Path) -> None:
    """Anybody may give a process any name."""
    os.chmod(programs, 0o755)  # noqa: PTH101 - another user runs it
    with process(host, ["setpriv", "--reuid", "nobody", "--clear-groups", str(programs / "dhclient"), "1000"]):
        time.sleep(0.2)
        assert _asked_for(host) == frozenset()


def test_a_client_that_writes_no_leases_is_known_by_its_file(host: Namespace, programs: Path, tmp_path: Path) -> None:
    """As ifupdown has it written; a file that a dead process left says nothing."""
    with process(host, [str(programs / "udhcpc"), "1000"]) as client:
        time.sleep(0.2)
        (tmp_path / "udhcpc.eth0.pid").write_text(f"{client.pid}\n")
        (tmp_path / "udhcpc.eth1.pid").write_text(f"{os.getpid()}\n")
        assert links_without_leases(_LINKS, tmp_path) == {"eth0"}
    assert links_without_leases(_LINKS, tmp_path) == frozenset()


def test_an_address_is_believed_once_a_client_had_time_to_write(
    host: Namespace, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then it may be a lease for ever; without a client it is the administrator's at once."""
    run(host, ["ip", "address", "add", "10.66.0.9/24", "dev", "eth0"])
    assert _way(host) is None
    with process(host, [str(programs / "dhclient"), "1000"]):
        time.sleep(0.2)
        assert _way(host) is Learned.DHCP
        monkeypatch.setattr(links, "SETTLED_S", 0.1)
        assert _way(host) is None


def _way(host: Namespace) -> Learned | None:
    with inside(host):
        eth0 = observe("host", nft="").interface("eth0")
    assert eth0 is not None
    return {str(cidr): how for cidr, how in eth0.learned}.get("10.66.0.9/32")
