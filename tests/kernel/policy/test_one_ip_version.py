"""One of our two tables without effect: what is said of each IP version is what packets of it meet."""

import json
import socket

import pytest

from hostfw.model.values import FAMILIES, Family
from lab.hostfwctl import Installation
from lab.laboratory import Lab
from lab.namespace import inside
from tests.kernel.conftest import Hostfwctl
from tests.kernel.drift.test_drift import WITH_MAPS, nft

_ADDRESSES = {Family.V4: (socket.AF_INET, "192.0.2.1"), Family.V6: (socket.AF_INET6, "2001:db8::1")}
_DEPRIVED = {
    "dormant": "add table {family} hostfw {{ flags dormant; }}",
    "gone": "delete table {family} hostfw",
    "empty": "delete table {family} hostfw\nadd table {family} hostfw",
    "without a chain for input": "{unhooked}",
}


def _admits(lab: Lab, family: Family, port: int) -> bool:
    kind, address = _ADDRESSES[family]
    with inside(lab["peer"]), socket.socket(kind) as client:
        client.settimeout(0.3)
        try:
            client.connect((address, port))
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False
    return True


@pytest.mark.parametrize("family", FAMILIES, ids=str)
@pytest.mark.parametrize("how", _DEPRIVED)
def test_the_state_of_each_ip_version_is_told(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, how: str, family: Family
) -> None:
    """By `status` with an exit status of its own, by `doctor` and by `exposure`; the next apply restores it."""
    host, other = lab["host"], next(one for one in FAMILIES if one is not family)
    (installation.config / "policy.yaml").write_text(WITH_MAPS)
    hostfwctl("apply")
    unhooked = f"flush chain {family.nft} hostfw input\ndelete chain {family.nft} hostfw input"
    nft(host, _DEPRIVED[how].format(family=family.nft, unhooked=unhooked))
    assert (_admits(lab, family, 9), _admits(lab, other, 9)) == (True, False)

    status = hostfwctl("status", check=False)
    document = json.loads(hostfwctl("status", "-o", "json", check=False).stdout)
    doctor = hostfwctl("doctor", check=False)
    with inside(host), socket.create_server(("::", 9), family=socket.AF_INET6, dualstack_ipv6=True):
        exposure = hostfwctl("exposure", "-o", "json")

    unmet = f"no IPv{family} packet meets rules of hostfw"
    assert status.returncode == 4
    assert f"in force for IPv{other} alone: {unmet}" in " ".join(status.stdout.split())
    assert (document["inForce"], document["ipVersions"]) == (False, [other])
    assert f"in-force: {unmet}: every one passes that no other program denies" in " ".join(doctor.stdout.split())
    assert doctor.returncode == 1
    assert unmet in exposure.stderr
    assert _allowed(json.loads(exposure.stdout)) == {_ADDRESSES[family][1]: True, _ADDRESSES[other][1]: False}
    hostfwctl("apply")
    assert (_admits(lab, family, 9), _admits(lab, other, 9)) == (False, False)
    assert hostfwctl("status").returncode == 0


def _allowed(document: dict[str, list[dict[str, list[dict[str, object]]]]]) -> dict[str, bool]:
    """Of each address of the host at eth0, whether anybody reaches port 9 there."""
    return {
        str(place["address"]): any(decision["allowed"] for decision in place["decisions"])  # type: ignore[attr-defined]
        for item in document["items"]
        for place in item["reached"]
        if place["address"] in {address for _, address in _ADDRESSES.values()}
    }
