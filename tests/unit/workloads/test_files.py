"""Files of a reader: one for each workload, and none of somebody else's touched."""

from pathlib import Path

import pytest

from hostfw.host.workloads.reader import FOLDER, WorkloadReader
from hostfw.workloads.files import WorkloadFolder
from hostfw.workloads.values import Workload, named

WEB, DB = (
    Workload(name, name, "shop", "docker", f"veth-{name}", (f"10.0.0.{number}",), (("app", name),))
    for number, name in enumerate(("web", "db"), 2)
)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    return tmp_path / FOLDER


def _running(folder: Path) -> list[str]:
    running = WorkloadReader(folder.parent).read()
    assert running.problems == ()
    return [one.metadata.full_name for one in running.workloads]


def test_files_come_and_go_with_the_workloads(folder: Path) -> None:
    """They are read as they are, and nothing is written that is there."""
    files = WorkloadFolder(folder, "docker")

    assert files.publish(named([WEB, DB])) == 2
    assert _running(folder) == ["shop/db", "shop/web"]
    before = (folder / "docker.shop.web.yaml").stat()
    assert files.publish(named([WEB])) == 1
    assert _running(folder) == ["shop/web"]
    assert (folder / "docker.shop.web.yaml").stat() == before
    assert files.publish(()) == 1
    assert list(folder.iterdir()) == []


def test_a_reader_takes_over_what_it_wrote_before(folder: Path) -> None:
    """Files of workloads that are gone are removed; so is one half written."""
    WorkloadFolder(folder, "docker").publish(named([WEB, DB]))
    (folder / ".docker.shop.old.yaml.new").write_text("half")

    assert WorkloadFolder(folder, "docker").publish(named([DB])) == 1
    assert [path.name for path in folder.iterdir()] == ["docker.shop.db.yaml"]


def test_files_of_others_stay(folder: Path) -> None:
    """Of another reader, of a hook, and of somebody who chose a similar name."""
    folder.mkdir()
    others = ["hook.yaml", "docker.mine.yaml", "podman.shop.web.yaml"]
    for name in others:
        (folder / name).write_text("a: 1\n")
    (folder / "docker.bytes.yaml").write_bytes(b"\xff\xfe")

    WorkloadFolder(folder, "docker").publish(named([WEB]))
    WorkloadFolder(folder, "docker").publish(())

    assert sorted(path.name for path in folder.iterdir()) == sorted([*others, "docker.bytes.yaml"])


def test_a_link_in_the_way_is_not_followed(folder: Path, tmp_path: Path) -> None:
    """The file it leads to stays as it is."""
    files = WorkloadFolder(folder, "docker")
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (folder / ".docker.shop.web.yaml.new").symlink_to(victim)

    with pytest.raises(OSError, match="symbolic links"):
        files.publish(named([WEB]))
    assert victim.read_text() == "mine"
