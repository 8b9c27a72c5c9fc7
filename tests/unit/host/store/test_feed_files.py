"""Files that a Feed, or a symbolic link below a folder, may name, by their owners and readers."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from hostfw.host.store.configuration.feed_files import FeedTexts, read_feeds_within, read_own_feeds
from hostfw.host.store.configuration.files import folders_of, read_configuration, read_paths
from tests.unit.cli_runs import hostfwctl

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="ownership is checked for root alone")

NOBODY = 65534
SECRET = "TOKEN=hunter2"
FEED = "apiVersion: hostfw.io/v1\nkind: Feed\nmetadata: {{name: f, labels: {{a: b}}}}\nspec: {{path: {path}}}\n"


@pytest.fixture(name="etc")
def _etc(tmp_path: Path) -> Path:
    """A configuration directory with a list in a folder, and folders beside it."""
    for folder in ("etc/feeds", "lists", "home"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/feeds/list").write_text("192.0.2.1\n")
    (tmp_path / "lists/list").write_text("192.0.2.2\n")
    return tmp_path / "etc"


def said(found: FeedTexts, top: Path) -> list[str]:
    """The texts that were read, and the problems as a person reads them."""
    texts, problems = found
    return [*(source.text.strip() for source in texts), *(str(problem).replace(f"{top}/", "") for problem in problems)]


def nothing(_: Path) -> None:
    """Leave everything as it is."""


def hand_over(name: str) -> Callable[[Path], None]:
    """Give a file, folder or link to a user."""
    return lambda top: os.chown(top / name, NOBODY, NOBODY, follow_symlinks=False)


def open_up(name: str, mode: int) -> Callable[[Path], None]:
    """Give a file or folder another mode."""
    return lambda top: (top / name).chmod(mode)


def link(name: str, target: str) -> Callable[[Path], None]:
    """Make a symbolic link."""
    return lambda top: (top / name).symlink_to(target)


def both(*steps: Callable[[Path], None]) -> Callable[[Path], None]:
    """One after the other."""

    def done(top: Path) -> None:
        for step in steps:
            step(top)

    return done


OF_OTHERS = "belongs to user 65534, who is not root"
OWN = [
    ("beside the manifests", nothing, "etc/feeds/list", "192.0.2.1"),
    ("anywhere else", nothing, "lists/list", "192.0.2.2"),
    ("a user's file", hand_over("lists/list"), "lists/list", f"lists/list:1:1: {OF_OTHERS}"),
    (
        "a file that all may write",
        open_up("lists/list", 0o666),
        "lists/list",
        "lists/list:1:1: is writable by everyone",
    ),
    ("a user's folder", hand_over("lists"), "lists/list", f"lists:1:1: folder {OF_OTHERS}"),
    ("a folder of a group", open_up("lists", 0o775), "lists/list", "lists:1:1: folder is writable by its group"),
    ("right in a folder for all", open_up("lists", 0o1777), "lists/list", "lists:1:1: folder is writable by everyone"),
    ("by way of a folder for all", open_up("lists", 0o1777), "lists/../etc/feeds/list", "192.0.2.1"),
    (
        "by way of a user's folder",
        both(hand_over("home"), link("home/lists", "../lists")),
        "home/lists/list",
        f"home:1:1: folder {OF_OTHERS}",
    ),
    (
        "by a link of root's to a user's folder",
        both(link("home/list", "../lists/list"), hand_over("home"), link("etc/home", "../home")),
        "etc/home/list",
        f"home:1:1: folder {OF_OTHERS}",
    ),
    ("by a link of root's", link("etc/all", "../lists"), "etc/all/list", "192.0.2.2"),
    (
        "by a user's link",
        both(link("etc/all", "../lists"), hand_over("etc/all")),
        "etc/all/list",
        f"etc/all:1:1: symbolic link {OF_OTHERS}",
    ),
    (
        "by links in a circle",
        both(link("etc/one", "two"), link("etc/two", "one")),
        "etc/one",
        "etc/one:1:1: cannot be read: symbolic links that lead round in a circle",
    ),
    (
        "through a file",
        nothing,
        "lists/list/more",
        "lists/list/more:1:1: cannot be read: not a directory",
    ),
]


@as_root
@pytest.mark.parametrize(("prepare", "path", "expected"), [case[1:] for case in OWN], ids=[case[0] for case in OWN])
def test_a_feed_of_the_host_is_root_s_all_the_way(
    etc: Path, prepare: Callable[[Path], None], path: str, expected: str
) -> None:
    """Whoever owns a folder on the way chooses which file is enforced, or shown."""
    prepare(etc.parent)

    assert said(read_own_feeds(etc, [str(etc.parent / path)]), etc.parent) == [expected]


def test_folders_above_the_configuration_are_as_they_are(etc: Path) -> None:
    """They lead to the manifests as well, which say what is enforced."""
    etc.parent.chmod(0o777)

    assert said(read_own_feeds(etc, [str(etc / "feeds/list")]), etc.parent) == ["192.0.2.1"]


@pytest.mark.parametrize("path", ["/proc/self/environ", "/proc/kmsg", "/proc/1/environ", "/sys/kernel/mm/ksm/run"])
@pytest.mark.parametrize("trusted", [True, False], ids=["own", "of a proposal"])
def test_what_the_kernel_makes_up_is_no_feed(etc: Path, path: str, *, trusted: bool) -> None:
    """Files of the kernel, whether they can be read, are empty now, or act when they are read."""
    if not Path(path).is_file():
        pytest.skip(f"there is no such file as {path}; in a container it may be a pipe")
    found = read_own_feeds(etc, [path]) if trusted else read_feeds_within(None, [path])

    assert said(found, etc) in (
        [f"{path}:1:1: is made up by the kernel, and no list of addresses"],
        [f"{path}:1:1: cannot be read: permission denied"],
    )


def test_special_files_are_no_feeds_and_nobody_waits_for_them(etc: Path) -> None:
    """A pipe without a writer would block an ordinary open for ever."""
    os.mkfifo(etc / "pipe")
    found: list[FeedTexts] = []
    reader = threading.Thread(
        target=lambda: found.append(read_own_feeds(etc, ["/dev/zero", str(etc / "pipe"), str(etc)])), daemon=True
    )
    reader.start()
    reader.join(10)

    (told,) = found
    assert sorted(said(told, etc.parent)) == [
        "/dev/zero:1:1: is a device, not a file",
        "etc/pipe:1:1: is a pipe, not a file",
        "etc:1:1: is a directory, not a file",
    ]


def test_no_byte_of_what_is_not_text_is_told(etc: Path) -> None:
    """Of a list of the host's own either: its journal has other readers."""
    (etc / "feeds/list").write_bytes(b"192.0.2.1\n\xff")

    assert said(read_own_feeds(etc, [str(etc / "feeds/list")]), etc) == ["feeds/list:2:1: a byte is not UTF-8"]


OUTSIDE = [
    ("an absolute path", "/proc/self/environ", nothing),
    ("a path that leads up", "../secret", nothing),
    ("one that is not there", "../gone", nothing),
    ("a link", "list", link("pr/list", "../secret")),
    ("a link to a folder", "home/secret", link("pr/home", "..")),
    ("a folder whose name begins alike", "../pr-of-others/secret", nothing),
]


@pytest.mark.parametrize(("path", "prepare"), [case[1:] for case in OUTSIDE], ids=[case[0] for case in OUTSIDE])
@pytest.mark.parametrize("verb", [["validate"], ["validate", "--annotate"], ["compile"], ["get", "feed", "-o", "yaml"]])
def test_a_proposal_shows_nothing_outside_of_its_folder(
    tmp_path: Path, verb: list[str], path: str, prepare: Callable[[Path], None]
) -> None:
    """Not even whether there is such a file; whoever wrote it need not be allowed to see what its reader may."""
    for folder in ("pr", "pr-of-others"):
        (tmp_path / folder).mkdir()
    (tmp_path / "pr/feed.yaml").write_text(FEED.format(path=path))
    for name in ("secret", "pr-of-others/secret"):
        (tmp_path / name).write_text(f"{SECRET}\n")
    prepare(tmp_path)

    _, out, err = hostfwctl(*verb, "-f", str(tmp_path / "pr"))

    assert "is outside of" in out + err
    assert "hunter2" not in out + err
    assert "no such file" not in out + err


@pytest.mark.parametrize("what", ["pr", "pr/feed.yaml"])
def test_a_proposal_has_its_own_lists(tmp_path: Path, what: str) -> None:
    """Below the folder that was named, or that the named file is in."""
    (tmp_path / "pr/lists").mkdir(parents=True)
    (tmp_path / "pr/feed.yaml").write_text(FEED.format(path="lists/drop.txt"))
    (tmp_path / "pr/lists/drop.txt").write_text("192.0.2.1\n")

    assert hostfwctl("validate", "-f", str(tmp_path / what)).status == 0


def test_who_trusts_the_author_has_feeds_anywhere(tmp_path: Path) -> None:
    """As for the configuration directory itself, whichever way it is named."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/feed.yaml").write_text(FEED.format(path="../drop.txt"))
    (tmp_path / "drop.txt").write_text("192.0.2.1\n")

    assert hostfwctl("validate", "-f", str(tmp_path / "etc")).status == 3
    assert hostfwctl("validate", "--feeds-anywhere", "-f", str(tmp_path / "etc")).status == 0
    assert hostfwctl("--config-dir", str(tmp_path / "etc"), "validate", "-f", str(tmp_path / "etc")).status == 0


@pytest.mark.parametrize(
    ("name", "target"), [("a.yaml", "../secret"), ("shared", "../others"), ("b.yaml", "/proc/1/cmdline")]
)
def test_a_link_of_a_proposal_stays_below_its_folder(tmp_path: Path, name: str, target: str) -> None:
    """A manifest shows its lines where something is wrong with them."""
    for folder in ("pr", "others"):
        (tmp_path / folder).mkdir()
    for file in ("secret", "others/secret.yaml"):
        (tmp_path / file).write_text(f"{SECRET}\n")
    (tmp_path / "pr" / name).symlink_to(target)

    status, out, err = hostfwctl("validate", "-f", str(tmp_path / "pr"))

    assert status == 3
    assert f"pr/{name}:1:1: is outside of" in out
    assert "hunter2" not in out + err


def test_links_within_a_proposal_are_followed(tmp_path: Path) -> None:
    """Also from one of the folders that were named into another."""
    for folder in ("one", "other/deep"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "other/deep/a.yaml").write_text("# nothing\n")
    (tmp_path / "one/b.yaml").symlink_to("../other/deep/a.yaml")
    folders = [tmp_path / "one", tmp_path / "other"]

    configuration, problems = read_paths(folders, anywhere=False)

    assert [Path(source.path).name for source in configuration.resources] == ["b.yaml", "a.yaml"]
    assert problems == ()
    assert folders_of([*folders, tmp_path / "one/b.yaml"]) == tuple(map(str, folders))


@as_root
def test_links_of_the_configuration_are_root_s_all_the_way(etc: Path) -> None:
    """Manifests by way of a user's folder are the user's."""
    (etc / "all").symlink_to("../home")
    (etc.parent / "home/policies.yaml").write_text("# root's own file\n")
    assert read_configuration(etc)[1] == ()

    os.chown(etc.parent / "home", NOBODY, NOBODY)
    os.chown(etc.parent / "home/policies.yaml", 0, 0)
    (problem,) = read_configuration(etc)[1]

    assert problem.message.startswith(f"folder {OF_OTHERS}")
