"""The Ansible collection makes one configuration directory equal to another."""

import os
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from hostfw.host.store.configuration.files import read_configuration

_PATH = Path(__file__).parents[3] / "ansible/plugins/module_utils/configuration.py"
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


@pytest.fixture(params=[True, False], ids=["exchanged", "file by file"])
def _exchange(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """At one moment where the system can exchange directories, file by file where it cannot."""
    if not request.param:
        monkeypatch.setattr(configuration, "_exchange", lambda _one, _other: False)


@pytest.fixture(name="shared")
def _shared(tmp_path: Path) -> Path:
    """A folder and a file beside the configuration, which it has links to."""
    _lay_out(tmp_path, {"etc/web.yaml": "web\n", "shared/deny.yaml": "deny\n", "shared/deep/more.yaml": "more\n"})
    (tmp_path / "etc/site").symlink_to("../shared")
    (tmp_path / "etc/more.yaml").symlink_to("../one-more.yaml")
    (tmp_path / "one-more.yaml").write_text("one more\n")
    return tmp_path / "etc"


_ALL = {
    "web.yaml": b"web\n",
    "more.yaml": b"one more\n",
    "site/deny.yaml": b"deny\n",
    "site/deep/more.yaml": b"more\n",
}


def test_symbolic_links_are_followed_as_hostfw_follows_them(shared: Path) -> None:
    """A policy that denies may be in a folder that hosts share."""
    read, problems = read_configuration(shared)

    assert configuration.contents(shared) == _ALL
    assert problems == ()
    assert {Path(source.path).relative_to(shared).as_posix() for source in read.resources} == set(_ALL)


@pytest.mark.parametrize("target", [".", "..", "nowhere", "round"])
def test_links_that_hostfw_refuses_are_refused(tmp_path: Path, target: str) -> None:
    """Links in circles, to files that are read already, and to nowhere."""
    _lay_out(tmp_path, {"all/etc/web.yaml": "web\n"})
    (tmp_path / "all/etc/round").symlink_to(target)

    assert read_configuration(tmp_path / "all/etc")[1]
    with pytest.raises(OSError, match=r"already|No such file|levels of symbolic links"):
        configuration.contents(tmp_path / "all/etc")


@pytest.mark.usefixtures("_exchange")
def test_a_link_stays_as_long_as_its_target_holds_what_is_wanted(shared: Path) -> None:
    """Others share it: they see nothing of the change, and the host goes on to see theirs."""
    configuration.replace(str(shared), _ALL | {"web.yaml": b"new\n"})

    assert configuration.contents(shared) == _ALL | {"web.yaml": b"new\n"}
    assert (shared / "site").readlink() == Path("../shared")
    assert (shared / "more.yaml").readlink() == Path("../one-more.yaml")


@pytest.mark.usefixtures("_exchange")
@pytest.mark.parametrize("path", ["site/deny.yaml", "site/deep/other.yaml", "more.yaml"])
def test_what_a_link_leads_to_is_not_changed(shared: Path, path: str) -> None:
    """It is refused, and everything is as it was."""
    with pytest.raises(OSError, match="symbolic link"):
        configuration.replace(str(shared), _ALL | {path: b"new\n"})

    assert configuration.contents(shared) == _ALL
    assert sorted(entry.name for entry in shared.parent.iterdir()) == ["etc", "one-more.yaml", "shared"]


@pytest.mark.usefixtures("_exchange")
def test_a_link_that_is_no_longer_wanted_goes_and_its_target_stays(shared: Path) -> None:
    """The files of a shared folder are not those of one host."""
    configuration.replace(str(shared), {"web.yaml": b"web\n"})

    assert [entry.name for entry in shared.iterdir()] == ["web.yaml"]
    assert configuration.contents(shared.parent / "shared") == {"deny.yaml": b"deny\n", "deep/more.yaml": b"more\n"}
    assert (shared.parent / "one-more.yaml").read_text() == "one more\n"


@pytest.mark.usefixtures("_exchange")
def test_a_directory_that_is_a_link_stays_one(folder: Path) -> None:
    """Nothing is left beside it."""
    (folder.parent / "link").symlink_to("etc")

    configuration.replace(str(folder.parent / "link"), _NEW)

    assert (folder.parent / "link").readlink() == Path("etc")
    assert configuration.contents(folder) == _NEW
    assert sorted(entry.name for entry in folder.parent.iterdir()) == ["etc", "link"]


def _modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mode & 0o7777 for path in [folder, *folder.rglob("*")]}


@pytest.mark.usefixtures("_exchange")
@pytest.mark.parametrize(("mode", "new_folder", "new_file"), [(0o700, 0o700, 0o600), (0o750, 0o750, 0o640)])
def test_modes_are_kept_and_what_is_new_is_no_wider(folder: Path, mode: int, new_folder: int, new_file: int) -> None:
    """Users who may not read the directory may not read its files, wherever these came from."""
    folder.chmod(mode)
    (folder / "policies").chmod(0o711)
    (folder / "policies/web.yaml").chmod(0o600)
    (folder / "hostfw.yaml").chmod(0o640)

    configuration.replace(str(folder), _NEW)

    assert {path: found for path, found in _modes(folder).items() if path in (".", "feeds", *_NEW, "policies")} == {
        ".": mode,
        "policies": 0o711,
        "policies/web.yaml": 0o600,
        "hostfw.yaml": 0o640,
        "feeds": new_folder,
        "feeds/list.txt": new_file,
    }


@pytest.mark.usefixtures("_exchange")
def test_new_files_are_no_wider_than_where_they_come_from(folder: Path, tmp_path: Path) -> None:
    """And never writable for others."""
    _lay_out(tmp_path / "src", {path: data.decode() for path, data in _NEW.items()})
    (tmp_path / "src/feeds").chmod(0o700)
    (tmp_path / "src/feeds/list.txt").chmod(0o600)
    (tmp_path / "src/policies/web.yaml").chmod(0o666)

    configuration.replace(str(folder), _NEW, like=str(tmp_path / "src"))
    configuration.replace(str(tmp_path / "backup"), configuration.contents(folder), like=str(folder))

    for top in (folder, tmp_path / "backup"):
        modes = _modes(top)
        assert (modes["feeds"], modes["feeds/list.txt"], modes["policies/web.yaml"]) == (0o700, 0o600, 0o644)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
@pytest.mark.usefixtures("_exchange")
def test_owners_are_kept(folder: Path) -> None:
    """A group that may read the configuration still may."""
    for path in (folder, folder / "policies", folder / "policies/web.yaml"):
        os.chown(path, 0, 65534)

    configuration.replace(str(folder), _NEW)

    assert {(folder / path).stat().st_gid for path in ("", "policies", "policies/web.yaml")} == {65534}


def test_a_file_is_written_through_its_link_and_keeps_its_mode(tmp_path: Path) -> None:
    """One resource is managed alone, and what is a link stays one."""
    (tmp_path / "web.yaml").write_text("old\n")
    (tmp_path / "web.yaml").chmod(0o600)
    (tmp_path / "etc").mkdir(mode=0o700)
    (tmp_path / "etc/web.yaml").symlink_to("../web.yaml")

    configuration.write(str(tmp_path / "etc/web.yaml"), b"new\n")
    configuration.write(str(tmp_path / "etc/other.yaml"), b"new\n")

    assert (tmp_path / "etc/web.yaml").readlink() == Path("../web.yaml")
    assert (tmp_path / "web.yaml").read_text() == "new\n"
    assert _modes(tmp_path)["web.yaml"] == _modes(tmp_path)["etc/other.yaml"] == 0o600


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("globalnetworkpolicy/web.yaml", ""),
        ("..web/web.yml", "hostfw leaves ..web/web.yml out"),
        ("globalnetworkpolicy/web.dpkg-old.yaml", "hostfw leaves globalnetworkpolicy/web.dpkg-old.yaml out"),
        ("tier/.hidden.yaml", "hostfw leaves tier/.hidden.yaml out"),
        ("old~/web.yaml", "hostfw leaves old~/web.yaml out"),
        ("../web.yaml", "path is to be that of a .yaml file below config_dir"),
        ("/web.yaml", "path is to be that of a .yaml file below config_dir"),
        ("web.json", "path is to be that of a .yaml file below config_dir"),
    ],
)
def test_a_policy_cannot_name_a_file_that_nobody_reads(path: str, expected: str) -> None:
    """It would be said to be there, and never be enforced."""
    assert configuration.why_not_read(path).startswith(expected)
    assert bool(configuration.why_not_read(path)) is bool(expected)


def test_what_was_edited_since_is_told_by_file(tmp_path: Path) -> None:
    """Nothing is told where nothing was noted, or what was noted is damaged."""
    record = tmp_path / "below/deployed.json"
    assert configuration.edited(str(record), {"a.yaml": b"1"}) == []
    assert configuration.edited(None, {"a.yaml": b"1"}) == []

    configuration.note(str(record), {"a.yaml": b"1", "b.yaml": b"2"})

    assert configuration.edited(str(record), {"a.yaml": b"1", "b.yaml": b"2"}) == []
    assert configuration.edited(str(record), {"a.yaml": b"x", "c.yaml": b"3"}) == ["~ a.yaml", "- b.yaml", "+ c.yaml"]
    assert record.stat().st_mode & 0o077 == 0
    record.write_text("{")
    assert configuration.edited(str(record), {}) == []
