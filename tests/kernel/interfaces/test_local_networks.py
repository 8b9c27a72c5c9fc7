"""The networks of an interface as a rule has them, while addresses come and go under the service."""

from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from time import monotonic, sleep

import pytest

from hostfw.model.values import TCP, Family
from lab.hostfwctl import Installation
from lab.laboratory import Lab
from lab.namespace import run, set_sysctl
from lab.packets.probe import ALLOW_PATIENCE_S, DENY_PATIENCE_S, Flow, Verdict, probe
from lab.service import service
from tests.kernel.interfaces.test_neighbours import advertise
from tests.kernel.web_policy import ETH0

Hostfwctl = Callable[..., CompletedProcess[str]]

_PATIENCE_S = 20.0
_POLICY = f"""\
{ETH0}\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: lan}}
spec:
  types: [Ingress, Egress]
  ingress: [{{action: Allow, protocol: TCP, source: {{nets: [local]}}, destination: {{ports: [445]}}}}]
  egress: [{{action: Allow, protocol: TCP, destination: {{nets: [local], ports: [446]}}}}]
"""


@pytest.fixture
def host_of(lab: Lab) -> Lab:
    """A host that takes advertisements."""
    for key in ("accept_ra", "autoconf"):
        set_sysctl(lab["host"], f"net.ipv6.conf.eth0.{key}", "1")
    return lab


def _address(lab: Lab, node: str, *words: str) -> None:
    run(
        lab[node],
        ["ip", "address", *words, "dev", "eth0", *(["nodad"] if ":" in words[1] and words[0] == "add" else [])],
    )


def _is(lab: Lab, verdict: Verdict, *, family: Family, port: int = 445) -> bool:
    ends = ("peer", "host") if port == 445 else ("host", "peer")
    patience_s = ALLOW_PATIENCE_S if verdict is Verdict.ALLOWED else DENY_PATIENCE_S
    return probe(lab, (Flow(*ends, TCP, port, family),), patience_s)[0].verdict is verdict


def _until(holds: Callable[[], bool]) -> None:
    deadline = monotonic() + _PATIENCE_S
    while not holds():
        assert monotonic() < deadline, "it did not come about"
        sleep(0.1)


@pytest.mark.parametrize("family", [Family.V4, Family.V6])
def test_the_networks_of_an_interface_are_followed(
    lab: Lab, installation: Installation, tmp_path: Path, family: Family
) -> None:
    """Neighbours get in, and are reached, while an address of the host is in their network, and not before or after."""
    own, other = ("192.0.2.1/24", "192.0.2.1/32") if family is Family.V4 else ("2001:db8::1/64", "2001:db8::1/128")
    near = "192.0.2.0/24" if family is Family.V4 else "2001:db8::/64"
    (installation.config / "policy.yaml").write_text(_POLICY)
    with service(installation, tmp_path / "log"):
        assert _is(lab, Verdict.ALLOWED, family=family)
        assert _is(lab, Verdict.ALLOWED, family=family, port=446)

        _address(lab, "host", "del", own)
        _address(lab, "host", "add", other)
        run(lab["host"], ["ip", f"-{family:d}", "route", "replace", near, "dev", "eth0", "proto", "static"])
        _until(lambda: _is(lab, Verdict.DROPPED, family=family))
        assert _is(lab, Verdict.DROPPED, family=family, port=446)

        _address(lab, "host", "del", other)
        _address(lab, "host", "add", own)
        _until(lambda: _is(lab, Verdict.ALLOWED, family=family))
        assert _is(lab, Verdict.ALLOWED, family=family, port=446)


def test_an_advertised_network_is_local_and_a_large_one_is_not(
    host_of: Lab, installation: Installation, hostfwctl: Hostfwctl, tmp_path: Path
) -> None:
    """A router's /64 counts; a lease of a /8 would make a good part of the world local, and is named."""
    lab = host_of
    (installation.config / "policy.yaml").write_text(_POLICY)
    with service(installation, tmp_path / "log"):
        advertise(lab["peer"])
        _until(lambda: "fd66::/64" in hostfwctl("interfaces", "-o", "json").stdout)
        _until(lambda: hostfwctl("explain", "fd66::2", "host:445", "--in", "eth0", check=False).returncode == 0)
        assert hostfwctl("explain", "fd67::2", "host:445", "--in", "eth0", check=False).returncode == 10

        _address(lab, "host", "add", "10.1.2.3/8", "valid_lft", "3600", "preferred_lft", "3600")
        _until(lambda: "local is without 10.0.0.0/8 of eth0, which DHCP gave" in hostfwctl("validate").stdout)
        assert "local is without 10.0.0.0/8 of eth0" in hostfwctl("doctor", check=False).stdout
        assert hostfwctl("explain", "10.200.0.1", "host:445", "--in", "eth0", check=False).returncode == 10
