"""Configuration files, read as texts and problems: nothing raises or blocks, whatever lies there."""

import errno
import os
import stat
import sys
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from hostfw.host.errors import reason
from hostfw.host.store.configuration.path_trust import OTHERS_MAY_WRITE, is_below, is_made_up, suspicion
from hostfw.model.positions import Position
from hostfw.model.problems import Problem, Severity, in_order
from hostfw.model.sources import IGNORE_FILE, Configuration, Source

if TYPE_CHECKING:
    # What reads such files is loaded with the first of them: most directories have none.
    from hostfw.manifest.files.ignore_file import IgnoreFile

SETTINGS_FILE = "hostfw.yaml"
STDIN = "<stdin>"
"""The path of what came through standard input."""
MAX_FILE_BYTES = 64 * 1024 * 1024
"""Far above a network set of a million prefixes (25 MB), far below what would hurt a host."""
MAX_FOLDERS_DEEP = 32
"""Deepest nesting of folders above a file."""

ENDINGS = (".yaml", ".yml")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_UTF32_MARKS = (b"\xff\xfe\0\0", b"\0\0\xfe\xff")


def read_configuration(config_dir: Path) -> tuple[Configuration, tuple[Problem, ...]]:
    """Everything below the configuration directory, in byte order of the paths.

    `hostfw.yaml` is the settings, every other `*.yaml` and `*.yml` in any folder a resource file, but for those that
    begin with a dot and those that a `.hostfwignore` leaves out. Read as root, files and folders must belong to root
    and be writable by nobody else, since root's power enforces what they say; so must every folder and symbolic link
    on the way to the directory, as whoever has one of them decides what is read.
    """
    owner = 0 if os.geteuid() == 0 else None
    if owner is not None and (problem := _bad_way(config_dir, owner)):
        return Configuration(None, ()), (problem,)
    return _read_all(_walk(config_dir, owner), owner)


def read_paths(
    paths: Sequence[Path], stdin: BinaryIO | None = None, *, anywhere: bool = True
) -> tuple[Configuration, tuple[Problem, ...]]:
    """The files and directories that a person named, in that order; `-` is standard input.

    A file named here is read whatever its name ends in, and may belong to anyone. Settings come from a file called
    `hostfw.yaml`, named itself or at the top of a directory. Unless `anywhere`, symbolic links below a directory must
    not lead out of the folders that were named: whoever wrote them could show the files of whoever reads.
    """
    return _read_all(_named(paths, stdin, None if anywhere else folders_of(paths)), owner=None)


def folders_of(paths: Sequence[Path]) -> tuple[str, ...]:
    """The folders that a person named, or named a file in, their symbolic links followed; for `-` the current one."""
    # Path.is_dir raises where a directory above cannot be searched.
    folders = (Path() if str(path) == "-" else path if os.path.isdir(path) else path.parent for path in paths)  # noqa: PTH112
    return tuple(dict.fromkeys(os.path.realpath(folder) for folder in folders))


def read_file(path: Path, owner: int | None, most_bytes: int | None = None) -> Source | Problem:
    """The text of one file; a problem says where it is not UTF-8, and nothing else of what it holds."""
    return _read(_File(path), owner, most_bytes, quote=False)


def leads_out(path: Path, within: Sequence[str]) -> Problem:
    """The problem of a file or link that is outside of the folders that a configuration must keep to."""
    return file_problem(
        path,
        f"is outside of {', '.join(within)}, which the configuration is read from",
        expected="a file below it",
        hint="if you trust the author of this configuration, add --feeds-anywhere",
    )


def file_problem(
    path: Path, message: str, *, expected: str = "", hint: str = "", severity: Severity = Severity.ERROR
) -> Problem:
    """A problem of a file as a whole."""
    return Problem(Position(_printable(str(path)), 1, 1), message, expected, hint, severity)


class _File(NamedTuple):
    """A file to read, or with `stream` standard input."""

    path: Path
    settings: bool = False
    stream: BinaryIO | None = None


def _read_all(files: Iterator[_File | Problem], owner: int | None) -> tuple[Configuration, tuple[Problem, ...]]:
    settings: Source | None = None
    resources: list[Source] = []
    problems: list[Problem] = []
    for file in files:
        content = file if isinstance(file, Problem) else _read(file, owner)
        if isinstance(content, Problem):
            problems.append(content)
        elif isinstance(file, _File) and file.settings:
            if settings:
                problems.append(file_problem(file.path, f"second settings file; the first is {settings.path}"))
            settings = settings or content
        else:
            resources.append(content)
    return Configuration(settings, tuple(resources)), in_order(problems)


def _named(paths: Sequence[Path], stdin: BinaryIO | None, within: Sequence[str] | None) -> Iterator[_File | Problem]:
    """The files of a list of paths, each once."""
    seen: set[_File | Problem] = set()
    for path in paths:
        found: Iterator[_File | Problem]
        if str(path) == "-":
            found = iter((_File(Path(STDIN), stream=stdin or sys.stdin.buffer),))
        elif os.path.isdir(path):  # noqa: PTH112  Path.is_dir raises where a directory above cannot be searched
            found = _walk(path, None, within)
        else:
            found = iter((_File(path, settings=path.name == SETTINGS_FILE),))
        for file in found:
            if file not in seen:
                seen.add(file)
                yield file


class _Walk(NamedTuple):
    """A look at a directory: who everything must belong to, where links must stay, and the folders seen so far."""

    top: Path
    owner: int | None
    within: Sequence[str] | None
    seen: dict[tuple[int, int], Path]
    ignored: "tuple[IgnoreFile, ...]" = ()


def _walk(top: Path, owner: int | None, within: Sequence[str] | None = None) -> Iterator[_File | Problem]:
    """The configuration files below a directory, in byte order of their paths, and what is wrong with folders."""
    found = tuple(_walk_folder(top, _Walk(top, owner, within, {})))
    yield from (item for item in found if isinstance(item, Problem))
    yield from sorted((item for item in found if isinstance(item, _File)), key=lambda file: os.fsencode(file.path))


def _walk_folder(folder: Path, walk: _Walk) -> Iterator[_File | Problem]:
    if len(folder.parts) - len(walk.top.parts) > MAX_FOLDERS_DEEP:
        yield file_problem(folder, f"folders nest deeper than {MAX_FOLDERS_DEEP}", hint="move them further up")
        return
    try:
        with os.scandir(folder) as entries:
            named = [(entry.name, entry.is_symlink()) for entry in entries]
        found = [(name, is_link) for name, is_link in named if not left_out(name)]
        info = folder.stat()
    except OSError as error:
        is_top = folder == walk.top and error.errno == errno.ENOENT
        hint = "make it, or name another directory with --config-dir" if is_top else ""
        yield file_problem(folder, f"directory cannot be read: {reason(error)}", hint=hint)
        return
    first = walk.seen.setdefault((info.st_dev, info.st_ino), folder)
    if first != folder:
        yield file_problem(folder, f"leads to a directory that is read already, as {first}", hint="remove the link")
    elif problem := distrust(folder, info, walk.owner):
        yield problem
    else:
        ignore_file = dict(named).get(IGNORE_FILE)
        if ignore_file is not None:
            walk = yield from _with_ignore_file(folder / IGNORE_FILE, walk, is_link=ignore_file)
        for name, is_link in found:
            yield from _entry(folder / name, walk, is_link=is_link)


def _with_ignore_file(path: Path, walk: _Walk, *, is_link: bool) -> Generator[Problem, None, _Walk]:
    """The walk below a folder that has a `.hostfwignore`; gives what is wrong with the file."""
    try:
        if is_link and (problem := _bad_link(path, path.stat(), walk)):
            yield problem
            return walk
    except OSError as error:
        yield file_problem(path, f"cannot be read: {reason(error)}")
        return walk
    source = _read(_File(path), walk.owner, quote=False)
    if isinstance(source, Problem):
        yield source
        return walk
    from hostfw.manifest.files.ignore_file import decode_ignore_file

    ignored, problems = decode_ignore_file(source)
    yield from problems
    return walk._replace(ignored=(*walk.ignored, ignored))


def _left_out_problem(path: Path, by: str, walk: _Walk, *, is_folder: bool) -> Iterator[Problem]:
    """The problem of a file that a `.hostfwignore` leaves out: none unless it is hostfw's."""
    if path == walk.top / SETTINGS_FILE:
        yield file_problem(path, f"is left out by {by}, and settings cannot be", hint="name files more narrowly")
    elif not is_folder and path.name.endswith(ENDINGS) and _holds_resources(path):
        yield file_problem(
            path,
            f"is left out by {by}, and holds resources of hostfw",
            hint="name files more narrowly, if it is to be policy of this host",
            severity=Severity.WARNING,
        )


def _holds_resources(path: Path) -> bool:
    from hostfw.host.store.configuration.ignored import holds_resources

    return holds_resources(path)


def _entry(path: Path, walk: _Walk, *, is_link: bool) -> Iterator[_File | Problem]:
    wanted = path.name.endswith(ENDINGS)
    if walk.ignored:
        from hostfw.host.store.configuration.ignored import left_out_by

        is_folder = os.path.isdir(path)  # noqa: PTH112  Path.is_dir raises where a directory above cannot be searched
        by = left_out_by(path, walk.ignored, is_folder=is_folder)
        if by:
            yield from _left_out_problem(path, by, walk, is_folder=is_folder)
            return
    try:
        info = path.stat()
        is_folder = stat.S_ISDIR(info.st_mode)
        if is_link and (wanted or is_folder) and (problem := _bad_link(path, info, walk)):
            yield problem
            return
    except OSError as error:
        # An editor's passing file may vanish; a link that leads nowhere may have been a folder of policies.
        if wanted or path.is_symlink() or error.errno != errno.ENOENT:
            yield file_problem(path, f"cannot be read: {reason(error)}")
        return
    if is_folder:
        yield from _walk_folder(path, walk)
    elif wanted:
        yield _File(path, settings=path.parent == walk.top and path.name == SETTINGS_FILE)
    elif path.name.lower().endswith(ENDINGS):
        yield file_problem(
            path,
            "left out, because its name ends in capitals",
            expected="a name that ends in .yaml or .yml",
            severity=Severity.WARNING,
        )


def _bad_way(config_dir: Path, owner: int) -> Problem | None:
    """The reason why the path to the configuration directory is not trusted; its content is checked with its files."""
    try:
        found = suspicion(config_dir, owner, Path("/"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        return file_problem(config_dir, f"cannot be read: {reason(error)}")
    if found is None or found.path == config_dir.resolve():
        return None
    return file_problem(found.path, found.message, expected=found.expected, hint=found.hint)


def _bad_link(path: Path, info: os.stat_result, walk: _Walk) -> Problem | None:
    """The reason why a symbolic link must not be followed. Raises OSError."""
    if walk.within is not None and not is_below(path, walk.within):
        return leads_out(path, walk.within)
    if walk.owner is not None and (found := suspicion(path, walk.owner, walk.top)):
        return file_problem(found.path, found.message, expected=found.expected, hint=found.hint)
    return file_problem(path, "leads to a file of a kernel file system") if is_made_up(info) else None


def left_out(name: str) -> bool:
    """True if a name is that of an editor's or a package manager's file."""
    return name.startswith(".") or name.endswith(("~", ".rpmnew")) or ".dpkg-" in name


def _read(file: _File, owner: int | None, most_bytes: int | None = None, *, quote: bool = True) -> Source | Problem:
    most_bytes = MAX_FILE_BYTES if most_bytes is None else most_bytes
    path = str(file.path)
    if not path.isprintable():
        return file_problem(file.path, "name holds characters that cannot be printed", hint="rename the file")
    try:
        data = file.stream.read(most_bytes + 1) if file.stream else _read_regular(file.path, owner, most_bytes)
    except OSError as error:
        return file_problem(file.path, f"cannot be read: {reason(error)}")
    if isinstance(data, Problem):
        return data
    if len(data) > most_bytes:
        return file_problem(file.path, "is too big", expected=f"at most {most_bytes >> 20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _not_utf8(path, data, error, quote=quote)
    if text.startswith("\ufeff"):
        return Problem(Position(path, 1, 1), "begins with two byte order marks", "at most one")
    return Source(path, text)


def _read_regular(path: Path, owner: int | None, most_bytes: int) -> bytes | Problem:
    # Looked at before it is opened, since opening a device may act; and again after, since it may have been replaced.
    seen = path.stat()
    if kind := _special(seen):
        return file_problem(path, f"is {kind}, not a file")
    # What is on a disk takes up blocks, unless it is very small; to look at every mount takes a while.
    if seen.st_blocks == 0 and is_made_up(seen):
        return file_problem(path, "is made up by the kernel, and not a file on a disk")
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        info = os.fstat(descriptor)
        if kind := _special(info):
            return file_problem(path, f"is {kind}, not a file")
        return distrust(path, info, owner) or _all_of(file, info.st_size, most_bytes)


def _all_of(file: BinaryIO, size: int, most_bytes: int) -> bytes:
    """The content of a file, up to a byte more than it may have: to read so many at once would allocate them."""
    data = file.read(min(size, most_bytes) + 1)
    if len(data) <= size:
        return data
    # It has grown since its size was told.
    return data + file.read(most_bytes + 1 - len(data))


def _special(info: os.stat_result) -> str:
    match stat.S_IFMT(info.st_mode):
        case stat.S_IFREG:
            return ""
        case stat.S_IFDIR:
            return "a directory"
        case stat.S_IFIFO:
            return "a pipe"
        case stat.S_IFSOCK:
            return "a socket"
        case _:
            return "a device"


def distrust(path: Path, info: os.stat_result, owner: int | None) -> Problem | None:
    """The reason why a file or folder is not trusted, where it has to belong to `owner`."""
    if owner is None:
        return None
    if info.st_uid != owner:
        return file_problem(path, f"belongs to user {info.st_uid}, who is not root", hint=f"chown root: {path}")
    if info.st_mode & OTHERS_MAY_WRITE:
        who = "everyone" if info.st_mode & stat.S_IWOTH else "its group"
        return file_problem(path, f"is writable by {who}", expected="writable by root alone", hint=f"chmod go-w {path}")
    return None


def _not_utf8(path: str, data: bytes, error: UnicodeDecodeError, *, quote: bool) -> Problem:
    before = data[: error.start]
    line_start = before.rfind(b"\n") + 1
    position = Position(path, before.count(b"\n") + 1, len(before[line_start:].decode("utf-8-sig")) + 1)
    if data.startswith(_UTF32_MARKS):
        return Problem(position, "is UTF-32 text", "UTF-8 text", f"iconv -f UTF-32 -t UTF-8 {path}")
    if data.startswith(_UTF16_MARKS):
        return Problem(position, "is UTF-16 text", "UTF-8 text", f"iconv -f UTF-16 -t UTF-8 {path}")
    byte = f"byte 0x{data[error.start]:02x}" if quote else "a byte"
    return Problem(position, f"{byte} is not UTF-8", "UTF-8 text")


def _printable(text: str) -> str:
    """A text of one line without control characters, whatever bytes a file's name has."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
