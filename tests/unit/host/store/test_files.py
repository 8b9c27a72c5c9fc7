"""Reading configuration and writing state files."""

import codecs
import errno
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pytest

from hostfw.host.store.atomic_files import WriteError, folder_aside, link_atomically, remove_leftovers, write_atomically
from hostfw.host.store.configuration import files
from hostfw.host.store.configuration.files import read_configuration, read_paths
from hostfw.model.problems import Problem, Severity
from hostfw.model.sources import Configuration

ROOT = Path(__file__).parents[4]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="ownership is checked for root alone")


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """An empty configuration directory."""
    path = tmp_path / "etc"
    path.mkdir(mode=0o755)
    return path


def put(path: Path, content: str | bytes = "", mode: int = 0o644) -> Path:
    """A file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    path.chmod(mode)
    return path


def contents(folder: Path) -> list[str]:
    """The names of everything in a folder, hidden or not."""
    return sorted(path.name for path in folder.iterdir())


def names(configuration: Configuration, top: Path) -> list[str]:
    """The paths of the resource files below a directory."""
    return [str(Path(source.path).relative_to(top)) for source in configuration.resources]


def said(problems: tuple[Problem, ...], top: Path) -> list[str]:
    """The problems as a person reads them, below a directory."""
    return [str(problem).removeprefix(f"{top}/") for problem in problems]


def test_resources_come_in_byte_order_of_their_paths(etc: Path) -> None:
    """Capitals sort before small letters, and a dot before a slash."""
    for name in ("b.yaml", "B.yml", "a/z.yaml", "a.yaml", "a/b/c.yaml", "ä.yaml", "10.yaml", "9.yaml"):
        put(etc / name, name)

    configuration, problems = read_configuration(etc)

    assert names(configuration, etc) == [
        "10.yaml",
        "9.yaml",
        "B.yml",
        "a.yaml",
        "a/b/c.yaml",
        "a/z.yaml",
        "b.yaml",
        "ä.yaml",
    ]
    assert [source.text for source in configuration.resources][:2] == ["10.yaml", "9.yaml"]
    assert problems == ()


def test_hostfw_yaml_at_the_top_is_the_settings(etc: Path) -> None:
    """The same name in a folder is an ordinary resource file."""
    put(etc / "hostfw.yaml", "node: a\n")
    put(etc / "sub/hostfw.yaml", "kind: Tier\n")

    configuration, problems = read_configuration(etc)

    assert configuration.settings is not None
    assert configuration.settings.path == str(etc / "hostfw.yaml")
    assert configuration.settings.text == "node: a\n"
    assert names(configuration, etc) == ["sub/hostfw.yaml"]
    assert problems == ()


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.yaml",
        ".git/a.yaml",
        "a.yaml~",
        "old~/a.yaml",
        "a.yaml.dpkg-old",
        "a.dpkg-new.yaml",
        "policies.dpkg-dist/a.yaml",
        "a.yaml.rpmnew",
        "README.md",
        "a.json",
    ],
)
def test_files_of_editors_and_package_managers_are_left_out(etc: Path, name: str) -> None:
    """Neither their content nor their permissions matter."""
    put(etc / name, b"\xff", mode=0o666)

    assert read_configuration(etc) == (Configuration(), ())


def test_an_empty_directory_is_an_empty_configuration(etc: Path) -> None:
    """A host without policy is allowed."""
    assert read_configuration(etc) == (Configuration(), ())


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    """An empty configuration would deny everything; a mistyped path must not."""
    _, problems = read_configuration(tmp_path / "etx")

    assert said(problems, tmp_path) == ["etx:1:1: directory cannot be read: there is no such file or directory"]
    assert problems[0].hint == "make it, or name another directory with --config-dir"


def test_a_file_in_place_of_the_directory_is_an_error(tmp_path: Path) -> None:
    """`--config-dir a.yaml` is a mistake for `-f a.yaml`."""
    put(tmp_path / "a.yaml")

    _, problems = read_configuration(tmp_path / "a.yaml")

    assert said(problems, tmp_path) == ["a.yaml:1:1: directory cannot be read: not a directory"]


@pytest.mark.parametrize("name", ["a.yaml", "hostfw.yaml"])
def test_a_file_begins_with_one_byte_order_mark_at_most(etc: Path, name: str) -> None:
    """One is none of the text; a second is a character that nobody sees."""
    put(etc / name, codecs.BOM_UTF8 + b"a: b\n")
    assert read_configuration(etc)[1] == ()

    put(etc / name, codecs.BOM_UTF8 * 2 + b"a: b\n")
    _, problems = read_configuration(etc)

    assert said(problems, etc) == [f"{name}:1:1: begins with two byte order marks"]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("at the start", b"\xffabc", "1:1: byte 0xff is not UTF-8"),
        ("in the third line", b"a: b\nc: d\n  e: \xe9t\xe9\n", "3:6: byte 0xe9 is not UTF-8"),
        ("behind wider characters", "ä: ö ü".encode() + b"\xc3", "1:7: byte 0xc3 is not UTF-8"),
        ("half a character at the end", "ä".encode()[:1], "1:1: byte 0xc3 is not UTF-8"),
        ("UTF-16", "kind: Tier".encode("utf-16"), "1:1: is UTF-16 text"),
        ("UTF-32", "kind: Tier".encode("utf-32"), "1:1: is UTF-32 text"),
        ("UTF-32, most significant byte first", b"\0\0\xfe\xff\0\0\0k", "1:3: is UTF-32 text"),
    ],
)
def test_bytes_that_are_not_utf_8_are_pointed_at(etc: Path, name: str, content: bytes, expected: str) -> None:
    """Line and column are those of the first bad byte, in characters."""
    put(etc / "a.yaml", content)

    configuration, problems = read_configuration(etc)

    assert said(problems, etc) == [f"a.yaml:{expected}"], name
    assert configuration.resources == ()
    assert problems[0].expected == "UTF-8 text"


def test_a_byte_order_mark_is_no_part_of_the_text(etc: Path) -> None:
    """Columns count from the first character that a person sees; line ends stay as they are."""
    put(etc / "a.yaml", b"\xef\xbb\xbfkind: Tier\r\n")

    configuration, _ = read_configuration(etc)

    assert configuration.resources[0].text == "kind: Tier\r\n"


def test_a_problem_in_one_file_keeps_none_of_the_others(etc: Path) -> None:
    """Everything that is wrong is said at once, and the rest is read."""
    put(etc / "a.yaml", b"\xff")
    put(etc / "b.yaml", "fine")
    put(etc / "c.yaml", b"\xfe")

    configuration, problems = read_configuration(etc)

    assert names(configuration, etc) == ["b.yaml"]
    assert len(problems) == 2


def test_special_files_are_refused_without_waiting(etc: Path) -> None:
    """A pipe without a writer would block an ordinary open for ever."""
    os.mkfifo(etc / "pipe.yaml")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(etc / "socket.yaml"))
        (etc / "null.yaml").symlink_to("/dev/null")

        found: list[tuple[Problem, ...]] = []
        reader = threading.Thread(target=lambda: found.append(read_configuration(etc)[1]), daemon=True)
        reader.start()
        reader.join(10)

    assert found, "reading did not come back"
    assert said(found[0], etc) == [
        "null.yaml:1:1: is a device, not a file",
        "pipe.yaml:1:1: is a pipe, not a file",
        "socket.yaml:1:1: is a socket, not a file",
    ]


@pytest.mark.parametrize(
    ("link", "target", "expected"),
    [
        ("a.yaml", "nowhere.yaml", "a.yaml:1:1: cannot be read: there is no such file or directory"),
        ("a.yaml", "a.yaml", "a.yaml:1:1: cannot be read: symbolic links that lead round in a circle"),
        ("policies.d", "/nowhere", "policies.d:1:1: cannot be read: there is no such file or directory"),
        ("policies.d", "policies.d", "policies.d:1:1: cannot be read: symbolic links that lead round in a circle"),
    ],
)
def test_links_that_lead_nowhere_are_errors(etc: Path, link: str, target: str, expected: str) -> None:
    """A folder of policies behind a broken link must not be skipped in silence."""
    (etc / link).symlink_to(target)

    _, problems = read_configuration(etc)

    assert said(problems, etc) == [expected]


def test_links_to_files_and_folders_are_followed(etc: Path, tmp_path: Path) -> None:
    """A file goes by the path that a person sees."""
    put(tmp_path / "shared/x.yaml", "x")
    (etc / "all").symlink_to(tmp_path / "shared")
    (etc / "one.yaml").symlink_to(tmp_path / "shared/x.yaml")

    configuration, problems = read_configuration(etc)

    assert names(configuration, etc) == ["all/x.yaml", "one.yaml"]
    assert problems == ()


def test_a_folder_that_leads_back_is_read_once(etc: Path) -> None:
    """Loops of directories are said and end."""
    put(etc / "a/b/x.yaml", "x")
    (etc / "a/b/up").symlink_to(etc)

    configuration, problems = read_configuration(etc)

    assert names(configuration, etc) == ["a/b/x.yaml"]
    assert said(problems, etc) == [f"a/b/up:1:1: leads to a directory that is read already, as {etc}"]


def test_a_name_in_capitals_is_warned_of(etc: Path) -> None:
    """A policy in `A.YAML` would otherwise be missed."""
    put(etc / "A.YAML")

    configuration, problems = read_configuration(etc)

    assert configuration.resources == ()
    assert said(problems, etc) == ["A.YAML:1:1: warning: left out, because its name ends in capitals"]
    assert problems[0].severity is Severity.WARNING


@pytest.mark.parametrize(
    ("name", "shown"),
    [(b"a\nb.yaml", "a\\nb.yaml"), (b"\xff.yaml", "\\udcff.yaml"), ("a\u202eb.yaml".encode(), "a\\u202eb.yaml")],
)
def test_names_that_cannot_be_printed_are_refused(etc: Path, name: bytes, shown: str) -> None:
    """They would end up in logs, in rulesets and on terminals."""
    (etc / os.fsdecode(name)).write_text("")

    configuration, problems = read_configuration(etc)

    assert configuration.resources == ()
    assert said(problems, etc) == [f"{shown}:1:1: name holds characters that cannot be printed"]


def test_a_file_that_is_too_big_is_refused(etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device or a runaway log under a .yaml name must not eat the host's memory."""
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 10)
    put(etc / "a.yaml", "x" * 10)
    put(etc / "b.yaml", "x" * 11)

    configuration, problems = read_configuration(etc)

    assert names(configuration, etc) == ["a.yaml"]
    assert said(problems, etc) == ["b.yaml:1:1: is too big"]


@as_root
@pytest.mark.parametrize(
    ("mode", "expected", "hint"),
    [
        (0o644, [], None),
        (0o600, [], None),
        (0o664, ["a.yaml:1:1: is writable by its group"], "chmod go-w"),
        (0o646, ["a.yaml:1:1: is writable by everyone"], "chmod go-w"),
        (0o666, ["a.yaml:1:1: is writable by everyone"], "chmod go-w"),
    ],
)
def test_root_takes_no_policy_that_others_may_write(
    etc: Path, mode: int, expected: list[str], hint: str | None
) -> None:
    """The content of a file is enforced with root's power."""
    put(etc / "a.yaml", "x", mode)

    configuration, problems = read_configuration(etc)

    assert said(problems, etc) == expected
    assert bool(configuration.resources) is not bool(expected)
    assert [problem.hint for problem in problems] == ([f"{hint} {etc}/a.yaml"] if hint else [])


@as_root
def test_root_takes_no_policy_of_another_owner(etc: Path) -> None:
    """Its owner could make it writable at any time."""
    os.chown(put(etc / "a.yaml", "x"), 1000, 0)

    configuration, problems = read_configuration(etc)

    assert configuration.resources == ()
    assert said(problems, etc) == ["a.yaml:1:1: belongs to user 1000, who is not root"]
    assert problems[0].hint == f"chown root: {etc}/a.yaml"


@as_root
def test_root_takes_nothing_from_a_folder_that_others_may_write(etc: Path) -> None:
    """Others could put files there, or take some away."""
    put(etc / "sub/a.yaml", "x")
    (etc / "sub").chmod(0o777)

    configuration, problems = read_configuration(etc)

    assert configuration.resources == ()
    assert said(problems, etc) == ["sub:1:1: is writable by everyone"]


@as_root
@pytest.mark.parametrize("through_link", [False, True], ids=["as it is", "through a link of root's"])
def test_root_takes_nothing_from_below_a_folder_of_another(tmp_path: Path, *, through_link: bool) -> None:
    """Its owner could put another directory of root's in the place of the configuration."""
    home = tmp_path / "home"
    put(home / "etc/a.yaml", "x")
    os.chown(home, 1000, 1000)
    (tmp_path / "link").symlink_to(home / "etc")
    etc = tmp_path / "link" if through_link else home / "etc"

    configuration, problems = read_configuration(etc)

    assert configuration == Configuration(None, ())
    assert said(problems, tmp_path) == ["home:1:1: folder belongs to user 1000, who is not root"]


@as_root
def test_root_follows_no_link_of_another_to_the_configuration(tmp_path: Path) -> None:
    """Whoever owns it can lead it elsewhere; one of root's own is followed."""
    put(tmp_path / "real/a.yaml", "x")
    etc = tmp_path / "etc"
    etc.symlink_to(tmp_path / "real")
    assert names(read_configuration(etc)[0], etc) == ["a.yaml"]

    os.lchown(etc, 1000, 1000)
    configuration, problems = read_configuration(etc)

    assert configuration == Configuration(None, ())
    assert said(problems, tmp_path) == ["etc:1:1: symbolic link belongs to user 1000, who is not root"]
    assert problems[0].hint == f"chown -h root: {etc}"


@as_root
def test_files_that_a_person_names_may_be_anyones(tmp_path: Path) -> None:
    """`sudo hostfwctl validate -f .` in one's own checkout works."""
    path = put(tmp_path / "a.yaml", "x", 0o666)
    os.chown(path, 1000, 1000)
    tmp_path.chmod(0o777)

    configuration, problems = read_paths([path, tmp_path])

    assert [source.path for source in configuration.resources] == [str(path)]
    assert problems == ()


def test_paths_come_in_the_order_that_a_person_gave(tmp_path: Path) -> None:
    """Within a directory byte order holds, each file comes once, and a named file may end in anything."""
    put(tmp_path / "d/b.yaml", "b")
    put(tmp_path / "d/a.yaml", "a")
    put(tmp_path / "z.manifest", "z")

    configuration, problems = read_paths([tmp_path / "z.manifest", tmp_path / "d/b.yaml", tmp_path / "d"])

    assert names(configuration, tmp_path) == ["z.manifest", "d/b.yaml", "d/a.yaml"]
    assert problems == ()


@pytest.mark.parametrize("named", ["d", "d/hostfw.yaml"])
def test_settings_come_along_with_named_paths(tmp_path: Path, named: str) -> None:
    """A directory that holds hostfw.yaml brings its settings, and so does the file itself."""
    put(tmp_path / "d/hostfw.yaml", "node: a")

    configuration, problems = read_paths([tmp_path / named])

    assert configuration.settings is not None
    assert configuration.settings.text == "node: a"
    assert configuration.resources == ()
    assert problems == ()


def test_two_settings_files_are_an_error(tmp_path: Path) -> None:
    """Neither of them may win by chance."""
    first, second = put(tmp_path / "a/hostfw.yaml"), put(tmp_path / "b/hostfw.yaml")

    _, problems = read_paths([tmp_path / "a", tmp_path / "b"])

    assert [str(problem) for problem in problems] == [f"{second}:1:1: second settings file; the first is {first}"]


def test_a_dash_is_standard_input(tmp_path: Path) -> None:
    """It is read once and mixes with files."""
    put(tmp_path / "a.yaml", "a")

    configuration, problems = read_paths([Path("-"), tmp_path / "a.yaml", Path("-")], stdin=BytesIO(b"kind: Tier\n"))

    assert [(Path(source.path).name, source.text) for source in configuration.resources] == [
        ("<stdin>", "kind: Tier\n"),
        ("a.yaml", "a"),
    ]
    assert problems == ()


def test_a_named_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """So is a pipe, which might never end."""
    os.mkfifo(tmp_path / "pipe")

    configuration, problems = read_paths([tmp_path / "nope.yaml", tmp_path / "pipe"])

    assert configuration == Configuration()
    assert said(problems, tmp_path) == [
        "nope.yaml:1:1: cannot be read: there is no such file or directory",
        "pipe:1:1: is a pipe, not a file",
    ]


def test_writing_replaces_content_and_mode(tmp_path: Path) -> None:
    """Nothing but the file is left."""
    path = put(tmp_path / "a", "old", 0o644)

    write_atomically(path, b"new", mode=0o600)

    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert contents(tmp_path) == ["a"]


@pytest.mark.parametrize("call", ["fsync", "fchmod"])
def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """The error names the file and the reason, and no temporary file stays."""
    path = put(tmp_path / "a", "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)

    with pytest.raises(WriteError) as caught:
        write_atomically(path, b"new")

    assert str(caught.value) == f"{path}: cannot be written: the disk is full"
    assert caught.value.errno == 28
    assert path.read_text() == "old"
    assert contents(tmp_path) == ["a"]


def test_writing_into_a_missing_folder_says_so(tmp_path: Path) -> None:
    """The path is the one that was asked for, not that of a temporary file."""
    with pytest.raises(WriteError) as caught:
        write_atomically(tmp_path / "no" / "a", b"new")

    assert str(caught.value) == f"{tmp_path}/no/a: cannot be written: there is no such file or directory"


def test_a_killed_writer_leaves_a_file_that_is_told_apart(tmp_path: Path) -> None:
    """An interrupted write never leaves the name of a real file."""
    path = put(tmp_path / "a", "old")
    script = f"""
import os
from pathlib import Path
from hostfw.host.store.atomic_files import write_atomically
os.fsync = lambda _: os.kill(os.getpid(), 9)
write_atomically(Path({str(path)!r}), b"half")
"""
    killed = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)

    assert killed.returncode == -9
    assert path.read_text() == "old"
    assert len(contents(tmp_path)) == 2
    remove_leftovers(tmp_path)
    assert contents(tmp_path) == ["a"]


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_being_written_is_no_leftover(tmp_path: Path, kind: str) -> None:
    """Whoever sweeps while others write, in the same folder and without any lock of theirs."""
    done = threading.Event()
    failures: list[Exception] = []

    def write(name: str) -> None:
        try:
            for number in range(150):
                if kind == "file":
                    write_atomically(tmp_path / name, f"{number}".encode())
                elif kind == "link":
                    link_atomically(tmp_path / name, f"{number}")
                else:
                    with folder_aside(tmp_path / name) as aside:
                        (aside / "part").write_text("whole")
                        aside.rename(tmp_path / f"{name}{number}")
        except OSError as error:
            failures.append(error)

    def sweep() -> None:
        while not done.is_set():
            remove_leftovers(tmp_path)

    writers = [threading.Thread(target=write, args=(name,)) for name in "ab"]
    sweeper = threading.Thread(target=sweep)
    for thread in (*writers, sweeper):
        thread.start()
    for thread in writers:
        thread.join(60)
    done.set()
    sweeper.join(60)

    assert failures == []
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == (
        sorted(f"{name}{number}" for name in "ab" for number in range(150)) if kind == "folder" else ["a", "b"]
    )
    if kind == "folder":
        assert all((path / "part").read_text() == "whole" for path in tmp_path.iterdir())


def test_a_folder_aside_that_nobody_renames_goes(tmp_path: Path) -> None:
    """As when what should go into it cannot be written."""
    with suppress(ValueError), folder_aside(tmp_path / "a") as aside:
        (aside / "part").write_text("half")
        raise ValueError

    assert contents(tmp_path) == []


def test_folders_that_nest_too_deep_are_a_problem(tmp_path: Path) -> None:
    """However deep: the walk ends at a bound, and what is above is read."""
    here = os.open(tmp_path, os.O_RDONLY)
    try:
        put(tmp_path / "above.yaml", "a")
        for _ in range(1100):
            os.mkdir("d", dir_fd=here)
            deeper = os.open("d", os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = deeper
    finally:
        os.close(here)

    configuration, problems = read_paths([tmp_path])

    assert [Path(source.path).name for source in configuration.resources] == ["above.yaml"]
    assert [problem.message for problem in problems] == ["folders nest deeper than 32"]
    subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)


@pytest.mark.parametrize("path", ["/proc/kmsg", "/proc/self/pagemap", "/proc/uptime", "/sys/kernel/profiling"])
def test_what_the_kernel_makes_up_is_not_opened(path: str) -> None:
    """Reading it may act, may never end, and gives no file of anybody's."""
    if not Path(path).is_file():
        pytest.skip(f"there is no such file as {path}; in a container it may be a pipe")
    configuration, problems = read_paths([Path(path)])

    assert configuration.resources == ()
    assert [problem.message for problem in problems] == ["is made up by the kernel, and not a file on a disk"]


def test_a_file_system_without_locks_is_written_to_and_never_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some on a network: what cannot be told apart stays."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("hostfw.host.store.atomic_files.fcntl.flock", refuse)
    put(tmp_path / ".b.12345678.tmp", "half")
    write_atomically(tmp_path / "a", b"whole")
    remove_leftovers(tmp_path)

    assert contents(tmp_path) == [".b.12345678.tmp", "a"]
    assert (tmp_path / "a").read_text() == "whole"
