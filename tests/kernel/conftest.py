"""Fixtures of the kernel tier: a host with a neighbour, in network namespaces, and the real hostfwctl on the host.

A test that wants another topology opens `laboratory(...)` itself. All of it ends with the test; see
`lab.laboratory` for running commands on a node and `lab.packets.probe` for sending packets.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from lab.hostfwctl import Installation, hostfwctl, install
from lab.laboratory import Lab, laboratory
from lab.namespace import LabError, Namespace, namespace
from lab.topology import line, pair

Hostfwctl = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="session", autouse=True)
def _namespaces() -> None:
    """Skip the tier, with the reason, where even root may make no network namespace."""
    try:
        with namespace("trial"):
            pass
    except LabError as reason:
        pytest.skip(str(reason))


@pytest.fixture
def lab() -> Iterator[Lab]:
    """`host` and `peer` on one wire, no ruleset: 192.0.2.1 and .2, 2001:db8::1 and ::2, both at eth0.

    `lab["host"]` is a namespace for `run`, `process`, `inside` and `open_socket` of `lab_namespace`.
    """
    with laboratory(pair()) as built:
        yield built


@pytest.fixture
def routed_lab() -> Iterator[Lab]:
    """`host` forwarding between `inner` (lan0; 10.0.0.2, fd00::2) and `outer` (wan0; 192.0.2.2, 2001:db8::2)."""
    with laboratory(line()) as built:
        yield built


@pytest.fixture
def host(lab: Lab) -> Namespace:
    """The host of `lab`."""
    return lab["host"]


@pytest.fixture
def peer(lab: Lab) -> Namespace:
    """The neighbour of `lab`."""
    return lab["peer"]


@pytest.fixture
def installation(host: Namespace, tmp_path: Path) -> Installation:
    """An installation on the host of `lab`, with an empty configuration in `installation.config` to write to."""
    return install(host, tmp_path / "hostfw")


@pytest.fixture(name="hostfwctl")
def _hostfwctl(installation: Installation) -> Hostfwctl:
    """The real hostfwctl on the host: `hostfwctl("apply")`; `check=False` for one that is to fail."""

    def command(*arguments: str, check: bool = True) -> CompletedProcess[str]:
        return hostfwctl(installation, *arguments, check=check)

    return command
