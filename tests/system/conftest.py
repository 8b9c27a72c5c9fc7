"""Fixtures of the system tier: Debian hosts that boot systemd with hostfw installed, and a neighbour on their wire."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.hosts.host import Host, debian
from lab.hosts.image import Release, root_image
from lab.hosts.package import build_package, install_package
from lab.hosts.wire import Uplink, neighbour, wire
from lab.namespace import LabError
from tests.system.street import PEER, PEER6, Street, configure, listen, start_service

_ID_OF_OLDER = f"debian{Release.BOOKWORM.number}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run on one release only what has nothing to do with the release, unless there is time."""
    if config.getoption("--soak"):
        return
    twice = [item for item in items if item.get_closest_marker("alike") and _ID_OF_OLDER in item.name]
    items[:] = [item for item in items if item not in twice]
    config.hook.pytest_deselected(items=twice)


@pytest.fixture(scope="session", params=list(Release), ids=lambda release: f"debian{release.number}")
def release(request: pytest.FixtureRequest) -> Release:
    """Both releases that hostfw is for, one after the other."""
    of: Release = request.param
    try:
        root_image(of)
    except LabError as reason:
        pytest.skip(str(reason))
    return of


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of hostfw as users install it: the file that HOSTFW_DEB names, or one built from this tree."""
    named = os.environ.get("HOSTFW_DEB")
    return Path(named) if named else build_package(Path(__file__).parents[2], tmp_path_factory.mktemp("package"))


@pytest.fixture
def street() -> Iterator[Street]:
    """A wire with a neighbour."""
    with wire() as laid, neighbour(laid, "peer", f"{PEER}/24", f"{PEER6}/64") as peer:
        yield Street(laid, peer)


@pytest.fixture(scope="session")
def bare_seed(release: Release) -> Iterator[Host]:
    """A host without hostfw that listens at `OPEN` (TCP) and `CLOSED` (TCP and UDP) from its first moment, off."""
    with debian(release, "bare", on=False) as host:
        listen(host)
        yield host


@pytest.fixture(scope="session")
def seed(release: Release, bare_seed: Host, package: Path) -> Iterator[Host]:
    """The same with hostfw installed and configured, and its policy accepted, off."""
    with wire() as nowhere, debian(release, "seed", [Uplink(nowhere)], like=bare_seed) as host:
        install_package(host, package)
        configure(host)
        start_service(host)
        host.power_off()
        yield host


@pytest.fixture
def bare_host(release: Release, street: Street, bare_seed: Host) -> Iterator[Host]:
    """A host like `bare_seed`, running."""
    with debian(release, "web", [street.uplink()], like=bare_seed) as host:
        yield host


@pytest.fixture
def off_host(release: Release, street: Street, seed: Host) -> Iterator[Host]:
    """A host like `seed`, off."""
    with debian(release, "web", [street.uplink()], like=seed, on=False) as host:
        yield host


@pytest.fixture
def host(off_host: Host) -> Host:
    """A host like `seed`, running, with the policy in force."""
    off_host.start()
    return off_host
