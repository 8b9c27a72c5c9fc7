"""Files about workloads that run: which count, which do not, and how changes of them are heard."""

import os
import select
import time
from pathlib import Path

import pytest

from hostfw.host.store.configuration.files import read_file
from hostfw.host.workloads import files
from hostfw.host.workloads.events import FolderNews, WorkloadEvents
from hostfw.host.workloads.reader import FOLDER, WorkloadReader
from hostfw.model.host.facts import Running
from hostfw.model.problems import Problem
from hostfw.model.sources import IGNORE_FILE, Source
from tests.unit.builders.policy_texts import manifest

WEB = manifest("WorkloadEndpoint", "{interfaceName: ve-web, ipNetworks: [10.0.0.2]}", "web")
DB = manifest("WorkloadEndpoint", "{interfaceName: ve-db, ipNetworks: [10.0.0.3]}", "db")


def _names(running: Running) -> list[str]:
    return [one.metadata.full_name for one in running.workloads]


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / FOLDER
    folder.mkdir(mode=0o755)
    return folder


def _read(folder: Path) -> Running:
    return WorkloadReader(folder.parent).read()


def test_without_a_folder_nothing_runs(tmp_path: Path) -> None:
    """It is made by whoever needs it."""
    assert WorkloadReader(tmp_path).read() == Running()


def test_every_file_counts_for_itself(folder: Path) -> None:
    """Several in one file as well; names of editors' files do not count."""
    (folder / "a.yaml").write_text(f"{WEB}---\n{DB}")
    (folder / ".b.yaml").write_text("nonsense: [")
    (folder / "c.txt").write_text("nonsense: [")

    assert _names(_read(folder)) == ["default/db", "default/web"]
    assert _read(folder).problems == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "the flow sequence"),
        (DB.replace("ipNetworks", "ipNetwork"), 'unknown field "ipNetwork"'),
        (f"{DB}---\n{manifest('Tier')}", "holds a Tier"),
    ],
)
def test_a_file_with_a_mistake_counts_for_nothing(folder: Path, text: str, message: str) -> None:
    """And the others for what they say."""
    (folder / "web.yaml").write_text(WEB)
    (folder / "wrong.yaml").write_text(text)

    running = _read(folder)

    assert _names(running) == ["default/web"]
    assert running.problems
    assert message in running.problems[0].message or message == "the flow sequence"


def test_a_file_that_is_nobodys_cannot_be_left_out_by_a_list_of_files(folder: Path) -> None:
    """Such a list counts in the configuration directory alone, and no hint says otherwise."""
    (folder / "other.yaml").write_text("services: {}")

    (first, *_) = _read(folder).problems

    assert IGNORE_FILE not in first.hint


def test_a_file_that_is_too_big_counts_for_nothing(folder: Path) -> None:
    """Its labels would be decoded for half a minute; the others count."""
    labels = ", ".join(f"l{number}: x" for number in range(100_000))
    (folder / "big.yaml").write_text(DB.replace("name: db", f"name: db, labels: {{{labels}}}"))
    (folder / "web.yaml").write_text(WEB)
    running = _read(folder)

    assert _names(running) == ["default/web"]
    (problem,) = running.problems
    assert str(problem.position.path) == str(folder / "big.yaml")
    assert (problem.message, problem.expected) == ("is too big", "at most 1 MiB")


def test_links_are_not_followed(folder: Path, tmp_path: Path) -> None:
    """The files that they lead to may be anybody's."""
    (tmp_path / "web.yaml").write_text(WEB)
    (folder / "web.yaml").symlink_to(tmp_path / "web.yaml")

    running = _read(folder)

    assert _names(running) == []
    assert "is a symbolic link" in running.problems[0].message


def test_files_that_others_may_write_do_not_count(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root reads them: neither such a file nor any in such a folder."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    (folder / "web.yaml").write_text(WEB)
    (folder / "web.yaml").chmod(0o666)
    written_by_others = _read(folder)
    (folder / "web.yaml").chmod(0o644)
    folder.chmod(0o777)
    in_an_open_folder = _read(folder)

    assert (_names(written_by_others), _names(in_an_open_folder)) == ([], [])
    # Whoever runs this without being root owns the files, which is as bad.
    for running in (written_by_others, in_an_open_folder):
        assert any(words in running.problems[0].message for words in ("writable", "who is not root"))


def test_files_that_are_as_they_were_are_not_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once their last change is so long ago that another one would have another time; a changed one is."""
    read: list[str] = []
    real = read_file

    def noted(path: Path, owner: int | None, most_bytes: int) -> Source | Problem:
        read.append(path.name)
        return real(path, owner, most_bytes)

    monkeypatch.setattr("hostfw.host.workloads.files.read_file", noted)
    (folder / "web.yaml").write_text(WEB)
    (folder / "db.yaml").write_text(DB)
    reader = files.WorkloadFiles(folder)
    assert _names(reader.read()) == _names(reader.read()) == ["default/db", "default/web"]
    assert read == ["db.yaml", "web.yaml"] * 2, "they may have changed within one tick of the clock"
    later_ns = time.time_ns() + 3_000_000_000
    monkeypatch.setattr("hostfw.host.workloads.files.time_ns", lambda: later_ns)
    reader.read()
    read.clear()

    assert _names(reader.read()) == ["default/db", "default/web"]
    assert read == []

    changed = (folder / "db.yaml").stat()
    (folder / "db.yaml").write_text(DB.replace("name: db", "name: bd"))
    os.utime(folder / "db.yaml", ns=(changed.st_atime_ns, changed.st_mtime_ns))
    assert _names(reader.read()) == ["default/bd", "default/web"]
    (folder / "web.yaml").unlink()
    assert _names(reader.read()) == ["default/bd"]
    assert read == ["db.yaml"]


def test_names_that_do_not_count_are_not_heard_of(folder: Path) -> None:
    """A file that is written aside is heard of once it is renamed, and is whole then; one that is begun is not yet."""
    events = WorkloadEvents(folder, counts=files.is_read)
    try:
        (folder / ".web").write_text(WEB)
        assert events.read() is FolderNews.NOTHING
        (folder / ".web").rename(folder / "web.yaml")
        assert events.read() is FolderNews.WHOLE
        with (folder / "db.yaml").open("w") as file:
            assert events.read() is FolderNews.SOMETHING
            file.write(DB)
        assert events.read() is FolderNews.WHOLE
        folder.chmod(0o755)
        assert events.read() is FolderNews.SOMETHING
    finally:
        events.close()


def _has_news(events: WorkloadEvents) -> bool:
    return bool(select.select([events.fileno()], [], [], 1.0)[0] and events.read())


def test_every_change_is_heard_and_the_folder_is_made(tmp_path: Path) -> None:
    """A file that is renamed into it, written, chmodded or removed."""
    folder = tmp_path / FOLDER
    events = WorkloadEvents(folder)
    try:
        assert not events.read()
        aside = tmp_path / "aside"
        aside.write_text(WEB)
        aside.rename(folder / "web.yaml")
        assert _has_news(events)
        (folder / "web.yaml").write_text(DB)
        assert _has_news(events)
        (folder / "web.yaml").chmod(0o600)
        assert _has_news(events)
        (folder / "web.yaml").unlink()
        assert _has_news(events)
        assert not events.read()
    finally:
        events.close()


def test_a_folder_that_is_removed_is_an_error_and_can_be_watched_anew(tmp_path: Path) -> None:
    """The service opens another listener then."""
    events = WorkloadEvents(tmp_path / FOLDER)
    (tmp_path / FOLDER).rmdir()
    try:
        with pytest.raises(OSError, match="removed or replaced"):
            _has_news(events)
    finally:
        events.close()
    WorkloadEvents(tmp_path / FOLDER).close()
