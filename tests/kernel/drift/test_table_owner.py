"""A table of ours that another program has made its own: told with its name, and taken back as soon as it can be."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import CompletedProcess
from time import monotonic, sleep

import pytest

from lab.hostfwctl import Installation, environment
from lab.laboratory import Lab
from lab.namespace import Namespace, process
from lab.service import service
from tests.kernel.conftest import Hostfwctl
from tests.kernel.drift.test_drift import WITH_MAPS, structure
from tests.kernel.packets.connections import admits

_FLAGS = {"owner": "2", "owner, persist": "6"}
"""NFT_TABLE_F_OWNER, and with NFT_TABLE_F_PERSIST (Linux 6.9), by which the table outlives the program."""
_UNMET = "in force for IPv6 alone: no IPv4 packet meets rules of hostfw"
_PATIENCE_S = 30


@contextmanager
def _owned(node: Namespace, flags: str) -> Iterator[None]:
    arguments = [sys.executable, "-m", "lab.table_owner", _FLAGS[flags]]
    with process(node, arguments, environment=environment(), stdin=subprocess.PIPE) as owner:
        assert owner.stdin is not None
        assert owner.stdout is not None
        said = owner.stdout.readline()
        if not said:
            pytest.skip("this kernel has no such flag")
        yield
        owner.stdin.close()
        assert owner.wait(10) == 0


@pytest.mark.parametrize("flags", _FLAGS)
def test_every_verb_names_the_owner_and_takes_the_table_back_after_it(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, flags: str
) -> None:
    """Nobody else may change such a table; the one that stays after its owner is made again by the next apply."""
    host = lab["host"]
    (installation.config / "policy.yaml").write_text(WITH_MAPS)
    hostfwctl("apply")
    before = structure(host)

    with _owned(host, flags):
        assert _ended(hostfwctl("doctor", check=False), 1, "table ip hostfw belongs to ")
        assert _ended(hostfwctl("status", check=False), 4, _UNMET, "table ip hostfw belongs to ")
        apply = hostfwctl("apply", check=False)
        assert _ended(apply, 1, "belongs to ", ", which alone may change it", "hint: end that program")
        assert "not permitted" not in apply.stderr
        assert _ended(hostfwctl("disable", "--remove-rules", check=False), 1, "belongs to ")

    if "persist" in flags:
        assert _ended(hostfwctl("status", check=False), 4, _UNMET, "was left behind by another program")
    else:
        assert _ended(hostfwctl("status", check=False), 4, _UNMET, "table ip hostfw is gone")
    hostfwctl("apply")
    assert structure(host) == before
    assert (admits(lab, 80), admits(lab, 443)) == (True, False)
    assert "Drift:" not in hostfwctl("status").stdout


@pytest.mark.parametrize("flags", _FLAGS)
def test_the_service_takes_it_back_once_the_owner_has_ended(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, tmp_path: Path, flags: str
) -> None:
    """The end of a table with its owner is reported by no event; until then it is in trouble, and says why."""
    host = lab["host"]
    (installation.config / "policy.yaml").write_text(WITH_MAPS)
    with service(installation, tmp_path / "log") as running:
        before = structure(host)
        with _owned(host, flags):
            running.wait_for(lambda _: running.told("belongs to "))
            status = hostfwctl("status", check=False)
            assert _ended(status, 4, "Trouble:", "belongs to ", _UNMET)
            assert _ended(hostfwctl("doctor", check=False), 1, "own-service: the service is in trouble", "belongs to ")
        deadline = monotonic() + _PATIENCE_S
        while structure(host) != before or "Trouble:" in hostfwctl("status").stdout:
            assert monotonic() < deadline, running.log.read_text()[-4000:]
            sleep(0.2)
        assert (admits(lab, 80), admits(lab, 443)) == (True, False)
        assert "Drift:" not in hostfwctl("status").stdout
        assert running.process.poll() is None


def _ended(done: CompletedProcess[str], status: int, *words: str) -> bool:
    """True if a verb ended with a status and said all of that; otherwise an assertion shows what it said."""
    said = " ".join(f"{done.stdout} {done.stderr}".split())
    assert done.returncode == status, said
    assert not [word for word in words if word not in said], said
    return True
