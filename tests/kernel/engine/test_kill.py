"""`hostfwctl apply`, killed at any moment: the kernel holds the old generation or the new one, and so does the disk."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from random import Random
from time import monotonic, sleep

import pytest

from hostfw.host.lock import writer_lock
from hostfw.model.sources import Configuration
from lab.hostfwctl import Installation, environment, hostfwctl, install
from lab.laboratory import Lab
from lab.namespace import inside, namespace, process, run
from lab.ruleset import Blocks, in_force, listed
from tests.kernel.changing_policies import configuration

KILLS = {500: (20, 450), 5_000: (5, 0), 70_000: (0, 50)}
"""Numbers of kills, normally and under soak, for so many addresses in the blocklist.

More than 4,096 are filled in by a batch of their own, between the declaration of the set and the switch.
"""

SPREAD = (0.4, 1.6)
"""Times of kills, as shares of the time after which the generations have been seen to change."""
FOLLOW = 1.15
"""Adaptation of that time to the measurements, since the machine's speed varies."""


@pytest.fixture
def installation(routed_lab: Lab, tmp_path: Path) -> Installation:
    """An installation on the host that forwards."""
    return install(routed_lab["host"], tmp_path / "hostfw")


@pytest.mark.parametrize("blocked", KILLS)
def test_a_killed_apply_leaves_one_generation_or_the_other(
    installation: Installation, blocked: int, soak: bool
) -> None:
    """Whole, from every base chain on; the next apply and the next boot come to exactly one of them as well."""
    kills = KILLS[blocked][soak]
    if not kills:
        pytest.skip("make soak" if not soak else "without --soak")
    random = Random(blocked)
    node = installation.node
    configurations = configuration(1, blocked), configuration(2, blocked + 1)
    goldens = []
    apply_s = 0.0
    for each in configurations:
        _write(installation, each)
        started = monotonic()
        hostfwctl(installation, "apply", "--accept-loss")
        apply_s = (monotonic() - started) / 2
        goldens.append(listed(node))
    enforced = [in_force(golden) for golden in goldens]
    assert enforced[0] != enforced[1]
    turned = 0

    for number in range(kills):
        target = number % 2
        _write(installation, configurations[target])
        _kill_apply(installation, random.uniform(*SPREAD) * apply_s, worker_too=random.random() < 0.5)

        now = in_force(listed(node))
        assert now in enforced, f"kill {number}: {_difference(now, enforced[target])}"
        turned += now == enforced[target]
        apply_s *= 1 / FOLLOW if now == enforced[target] else FOLLOW
        assert _after_a_boot(installation) in goldens, f"kill {number}"
        hostfwctl(installation, "apply", "--accept-loss")
        assert listed(node) == goldens[target], f"kill {number}: {_difference(listed(node), goldens[target])}"

    assert hostfwctl(installation, "status").returncode == 0
    assert kills < 20 or 0 < turned < kills, "the moments lie on both sides of the switch"


def _write(installation: Installation, configuration: Configuration) -> None:
    for source in (configuration.settings, *configuration.resources):
        if source is not None:
            (installation.config / source.path).write_text(source.text)


def _kill_apply(installation: Installation, after_s: float, *, worker_too: bool) -> None:
    """Start an apply, kill it, and wait until what it left behind has ended, which is when the lock is free."""
    command = (*installation.arguments, "apply", "--accept-loss")
    with process(installation.node, command, environment=environment()) as apply:
        sleep(after_s)
        workers = _children(apply.pid)
        os.killpg(apply.pid, signal.SIGKILL)
        for worker in workers if worker_too else ():
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
    with inside(installation.node):
        lock = writer_lock(installation.run)
    with lock:
        pass


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _after_a_boot(installation: Installation) -> Blocks:
    """The result of the accepted script in an empty kernel."""
    with namespace("boot") as empty:
        run(empty, ("nft", "-f", str(installation.state / "last-good.nft")))
        return listed(empty)


def _difference(one: Blocks, other: Blocks) -> list[tuple[str, str]]:
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
