"""Disks that take nothing: a clear word about it, a ruleset in force, and what was accepted before still there."""

import shutil
from pathlib import Path
from subprocess import CompletedProcess, TimeoutExpired

import pytest

from hostfw.host.lock import writer_lock
from hostfw.model.sources import Configuration
from lab.hostfwctl import Installation, environment, hostfwctl, install
from lab.laboratory import Lab, laboratory
from lab.namespace import inside, process, run
from lab.ruleset import Blocks, listed
from lab.topology import line
from tests.kernel.changing_policies import configuration

SMALL, BIG = configuration(1, 1), configuration(2, 4000)
"""Two configurations: what is kept of the first fits into 160 kB, and with what is kept of the second it does not."""

SMALL_DISK = 'mount -t tmpfs -o size=160k tmpfs "$PLACE"'
FULL_DISK = f'{SMALL_DISK} && ! cat /dev/zero >"$PLACE/filler" 2>/dev/null'
READ_ONLY_DISK = 'mount --bind "$PLACE" "$PLACE" && mount -o remount,bind,ro "$PLACE"'

FIRST, SECOND = '"$@" apply', 'cp "$BIG" "$ALL" && "$@" apply'
FIRST_UNSAVED, SECOND_UNSAVED = (f"{{ {step}; [ $? = 1 ]; }}" for step in (FIRST, SECOND))
"""In force, and not saved: exit status 1."""

DOCTOR = '"$@" doctor >&2; [ $? = 1 ]'


@pytest.fixture(scope="module")
def goldens(tmp_path_factory: pytest.TempPathFactory) -> tuple[Blocks, Blocks]:
    """The kernel's content for either configuration."""
    with laboratory(line()) as lab:
        made = install(lab["host"], tmp_path_factory.mktemp("goldens"))
        found = []
        for each in (SMALL, BIG):
            _write(made, each)
            hostfwctl(made, "apply")
            found.append(listed(made.node))
    return found[0], found[1]


@pytest.fixture
def installation(routed_lab: Lab, tmp_path: Path) -> Installation:
    """An installation on the host that forwards, with the small configuration written."""
    made = install(routed_lab["host"], tmp_path / "hostfw")
    _write(made, SMALL)
    return made


@pytest.mark.parametrize(
    ("name", "steps", "reason"),
    [
        ("full", (SMALL_DISK, FIRST, SECOND_UNSAVED, DOCTOR), "the disk is full"),
        ("read-only", (FIRST, READ_ONLY_DISK, SECOND_UNSAVED, DOCTOR), "the file system is mounted read-only"),
    ],
)
def test_a_state_directory_that_takes_nothing_keeps_what_was_accepted(
    installation: Installation, goldens: tuple[Blocks, Blocks], name: str, steps: tuple[str, ...], reason: str
) -> None:
    """The new generation is in force, the exit status and a message say so, and the boot has the old script."""
    small, big = goldens

    done = _with_disk(installation, installation.state, (*steps, 'cat "$PLACE/last-good.nft"'))

    assert done.returncode == 0, f"{name}: {done.stderr}"
    assert f"{reason}: after a reboot an earlier generation is in force" in done.stderr
    assert "is in force and could not be saved: the next boot enforces an earlier one" in done.stderr
    assert listed(installation.node) == big
    run(installation.node, ("nft", "flush", "ruleset"))
    run(installation.node, ("nft", "-f", "-"), text=done.stdout)
    assert listed(installation.node) == small


@pytest.mark.parametrize("which", ["state", "run"])
def test_the_doctor_names_a_read_only_file_system_before_anything_is_to_be_written(
    installation: Installation, which: str
) -> None:
    """All is in force and saved, and nothing can be changed any more."""
    directory = installation.state if which == "state" else installation.run

    done = _with_disk(installation, directory, (FIRST, '"$@" doctor >&2', READ_ONLY_DISK, DOCTOR))

    assert done.returncode == 0, done.stderr
    assert f"the file system that holds {directory} is mounted read-only" in done.stderr


def test_a_run_directory_without_space_costs_only_the_record(
    installation: Installation, goldens: tuple[Blocks, Blocks]
) -> None:
    """The generation is in force, a warning says what is lost, and the next one comes to be all the same."""
    small, big = goldens

    done = _with_disk(installation, installation.run, (FULL_DISK, FIRST))
    assert done.returncode == 0, done.stderr
    assert "the disk is full: the next apply writes every chain again" in done.stderr
    assert listed(installation.node) == small

    done = _with_disk(installation, installation.run, (FULL_DISK, SECOND))
    assert done.returncode == 0, done.stderr
    assert listed(installation.node) == big


def test_a_writer_with_another_run_directory_is_waited_for(
    installation: Installation, goldens: tuple[Blocks, Blocks]
) -> None:
    """Without the lock of the namespace nobody writes; what is in force stays."""
    small, big = goldens
    hostfwctl(installation, "apply")
    _write(installation, BIG)

    with inside(installation.node):
        lock = writer_lock(installation.run / "another")
    lock.acquire()
    with process(installation.node, (*installation.arguments, "apply"), environment=environment()) as apply:
        with pytest.raises(TimeoutExpired):
            apply.wait(2)
        assert listed(installation.node) == small
        lock.release()
        assert apply.wait(60) == 0
    assert listed(installation.node) == big


def test_a_missing_state_directory_is_made(installation: Installation, goldens: tuple[Blocks, Blocks]) -> None:
    """With everything above it, for root alone; nothing is to be warned of."""
    small, _ = goldens
    shutil.rmtree(installation.state.parent / "state")

    done = hostfwctl(installation, "apply")

    assert "reboot" not in done.stderr
    assert listed(installation.node) == small
    assert (installation.state / "last-good.nft").exists()
    assert installation.state.stat().st_mode & 0o777 == 0o700


def test_a_state_directory_that_cannot_be_made_is_said(
    installation: Installation, goldens: tuple[Blocks, Blocks]
) -> None:
    """As on a read-only root file system: the generation is in force, and what was not saved is an error."""
    small, _ = goldens
    shutil.rmtree(installation.state)

    done = _with_disk(
        installation, installation.state.parent, (READ_ONLY_DISK, 'mount -t tmpfs none "$RUN"', FIRST_UNSAVED)
    )

    assert done.returncode == 0, done.stderr
    assert "the file system is mounted read-only: after a reboot the failsafes alone are in force" in done.stderr
    assert listed(installation.node) == small


def _with_disk(installation: Installation, place: Path, steps: tuple[str, ...]) -> "CompletedProcess[str]":
    """Run shell commands on the node in a mount namespace of their own, in which `$PLACE` may become another disk."""
    big = installation.config.parent / "big.yaml"
    big.write_text(BIG.resources[0].text)
    variables = {
        "PLACE": place,
        "RUN": installation.run,
        "BIG": big,
        "ALL": installation.config / BIG.resources[0].path,
    }
    script = "\n".join(f"{step} || exit" for step in steps)
    return run(
        installation.node,
        ("unshare", "--mount", "sh", "-c", script, "sh", *installation.arguments),
        environment=environment() | {name: str(path) for name, path in variables.items()},
        check=False,
    )


def _write(installation: Installation, configuration: Configuration) -> None:
    for source in (configuration.settings, *configuration.resources):
        if source is not None:
            (installation.config / source.path).write_text(source.text)
