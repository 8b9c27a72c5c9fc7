"""Fixtures of the attacks: a host with a policy in force, and what stands behind it and sees what got past."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.hostfwctl import Installation, hostfwctl, install
from lab.laboratory import Lab, laboratory
from lab.topology import pair
from tests.attacks.target import POLICY, Target, target


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The host `host` with POLICY in force, and its neighbour `peer`."""
    with laboratory(pair()) as lab:
        installation = install(lab["host"], tmp_path_factory.mktemp("guarded") / "hostfw")
        (installation.config / "policy.yaml").write_text(POLICY)
        hostfwctl(installation, "apply")
        with target(lab) as made:
            yield made


@pytest.fixture(scope="session")
def open_host() -> Iterator[Target]:
    """The same without a ruleset of ours."""
    with laboratory(pair()) as lab, target(lab) as made:
        yield made


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that others may look into, as /run is."""
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
            parent.chmod(0o755)
    return tmp_path


@pytest.fixture
def lab() -> Iterator[Lab]:
    """`host` and `peer` on one wire, for one test."""
    with laboratory(pair()) as built:
        yield built


@pytest.fixture
def installation(lab: Lab, place: Path) -> Installation:
    """Empty directories for hostfw on the host of `lab`."""
    return install(lab["host"], place / "hostfw")
