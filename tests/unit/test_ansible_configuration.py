"""How the Ansible collection makes one configuration directory what another is."""

import os
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[2] / "ansible/plugins/module_utils/configuration.py"
_SPEC = spec_from_file_location("ansible_configuration", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
configuration = module_from_spec(_SPEC)
_SPEC.loader.exec_module(configuration)

_OLD = {"hostfw.yaml": "node: a\n", "policies/web.yaml": "old\n", "gone/away.yaml": "x\n"}
_OTHERS = {".git/HEAD": "ref\n", "hostfw.yaml.dpkg-dist": "dist\n", "policies/.web.yaml.swp": "swap\n", "notes~": "n\n"}
_NEW = {"hostfw.yaml": b"node: a\n", "policies/web.yaml": b"new\n", "feeds/list.txt": b"192.0.2.1\n"}


def _lay_out(folder: Path, files: dict[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory as it is on a host, with what people and packages leave there."""
    _lay_out(tmp_path / "etc", _OLD | _OTHERS)
    return tmp_path / "etc"


def test_a_configuration_is_all_that_hostfw_does_not_leave_out(folder: Path) -> None:
    """Files that are not YAML belong to it, since a Feed may name them."""
    assert configuration.contents(folder) == {path: text.encode() for path, text in _OLD.items()}
    assert configuration.contents(folder / "nowhere") == {}


def test_differences_name_files_by_what_became_of_them() -> None:
    """In the order of the paths."""
    old = {path: text.encode() for path, text in _OLD.items()}

    assert configuration.differences(old, _NEW) == ["+ feeds/list.txt", "- gone/away.yaml", "~ policies/web.yaml"]
    assert configuration.differences(_NEW, _NEW) == []


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_directory_holds_what_it_is_to_hold_and_keeps_the_rest(
    folder: Path, exchanges: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At one moment where the system can exchange directories, file by file where it cannot."""
    if not exchanges:
        monkeypatch.setattr(configuration, "_exchange", lambda _one, _other: False)
    inode = folder.stat().st_ino

    configuration.replace(str(folder), _NEW)

    assert (folder.stat().st_ino != inode) is exchanges
    assert configuration.contents(folder) == _NEW
    for path, text in _OTHERS.items():
        assert (folder / path).read_text() == text
    assert not (folder / "gone").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["etc"]
    modes = {path.stat().st_mode & 0o777 for path in (folder, folder / "policies", folder / "feeds")}
    assert modes == {0o755}
    assert {(folder / path).stat().st_mode & 0o777 for path in _NEW} == {0o644}


def test_a_directory_that_is_not_there_is_made(tmp_path: Path) -> None:
    """With the directories above it."""
    configuration.replace(str(tmp_path / "var/lib/previous"), _NEW)

    assert configuration.contents(tmp_path / "var/lib/previous") == _NEW


def test_what_cannot_be_written_leaves_the_directory_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk in the middle: the old files, no temporary ones, and the error."""

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space left"):
        configuration.replace(str(folder), _NEW)

    assert configuration.contents(folder) == {path: text.encode() for path, text in _OLD.items()}
    assert [path.name for path in folder.parent.iterdir()] == ["etc"]
