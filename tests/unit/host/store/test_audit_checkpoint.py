"""The audit checkpoint across restarts."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hostfw.host.errors import HostError
from hostfw.host.store.audit_checkpoint import AuditCheckpoint, AuditCheckpointFile


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Iterator[AuditCheckpointFile]:
    file = AuditCheckpointFile(tmp_path / "run")
    yield file
    file.close()


def test_what_was_kept_is_there_for_the_next(file: AuditCheckpointFile, tmp_path: Path) -> None:
    """The last of it."""
    assert file.load() is None

    file.save(AuditCheckpoint(5, 100))
    file.save(AuditCheckpoint(7, 2**40))

    again = AuditCheckpointFile(tmp_path / "run")
    assert again.load() == AuditCheckpoint(7, 2**40)
    again.close()


def test_what_is_of_another_network_namespace_says_nothing(
    file: AuditCheckpointFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its counters are others."""
    file.save(AuditCheckpoint(5, 100))
    monkeypatch.setattr("hostfw.host.store.audit_checkpoint.network_namespace", lambda: 1)

    assert file.load() is None


@pytest.mark.parametrize("content", [b"", b"hostfw/1", b"x" * 32, b"x" * 31, b"x" * 33, b"x" * 4096])
def test_what_is_not_ours_is_not_believed(file: AuditCheckpointFile, tmp_path: Path, content: bytes) -> None:
    """Whatever its length."""
    file.save(AuditCheckpoint(5, 100))
    (tmp_path / "run" / "audit.heard").write_bytes(content)

    assert file.load() is None


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """The caller may go on without."""
    (tmp_path / "file").write_text("")

    with pytest.raises(HostError, match="how much of the log was read cannot be saved"):
        AuditCheckpointFile(tmp_path / "file" / "run").save(AuditCheckpoint(1, 1))


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize("make", [Path.mkdir, _pipe, _link])
def test_what_is_no_file_gives_way_to_one(
    file: AuditCheckpointFile, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """Nothing is written through a link."""
    path = tmp_path / "run" / "audit.heard"
    path.parent.mkdir()
    make(path)

    assert file.load() is None
    file.save(AuditCheckpoint(5, 100))

    assert AuditCheckpointFile(tmp_path / "run").load() == AuditCheckpoint(5, 100)
    assert [each.name for each in path.parent.iterdir()] == ["audit.heard"]


def test_a_folder_with_something_in_it_stays_and_is_an_error(file: AuditCheckpointFile, tmp_path: Path) -> None:
    """It is nothing of ours."""
    (tmp_path / "run" / "audit.heard" / "theirs").mkdir(parents=True)

    assert file.load() is None
    with pytest.raises(HostError, match="cannot be saved: "):
        file.save(AuditCheckpoint(5, 100))


def test_a_file_that_is_too_long_is_cut(file: AuditCheckpointFile, tmp_path: Path) -> None:
    """It would not be believed for ever."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "audit.heard").write_bytes(b"x" * 4096)

    file.save(AuditCheckpoint(5, 100))

    assert file.load() == AuditCheckpoint(5, 100)
