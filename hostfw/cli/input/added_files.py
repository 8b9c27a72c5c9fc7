"""`apply -f FILE`: files that are all there is, or that are added to the configuration directory."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from hostfw.build.candidate import Candidate, check_candidate
from hostfw.build.refused import Refused
from hostfw.cli.command_line.options import Options
from hostfw.cli.outcomes import load_accepted_of
from hostfw.cli.output.console import Console
from hostfw.control.messages import Files
from hostfw.engine.checks.lost_policy import MOST_NAMES, missing, named
from hostfw.engine.outcomes import Failed
from hostfw.host.errors import reason
from hostfw.host.store.atomic_files import WriteError, sync_directory, write_atomically
from hostfw.host.store.configuration.feed_files import read_own_feeds
from hostfw.host.store.configuration.files import SETTINGS_FILE, STDIN, read_configuration
from hostfw.manifest.decode import decode
from hostfw.manifest.edits.add import NotAdded, added
from hostfw.model.problems import Problem, errors, in_order
from hostfw.model.settings import Settings
from hostfw.model.sources import Configuration, Source
from hostfw.model.wording import counted

FROM_STDIN = "added.yaml"
"""The name in the configuration directory of what came from standard input."""


@dataclass(frozen=True, slots=True)
class Edit:
    """The configuration directory as it reads with files added, and the files that change."""

    candidate: Candidate
    changed: tuple[Source, ...]


def is_partial(options: Options) -> bool:
    """Tell if `-f` names files and no directory: a directory is always the whole."""
    return bool(options.files) and not any(os.path.isdir(path) for path in options.files)  # noqa: PTH112  as read_paths


def would_leave(options: Options, candidate: Configuration) -> tuple[str, ...]:
    """Name what is accepted and what files alone do not have: it would go out of force if they were the whole."""
    accepted = load_accepted_of(options)
    if accepted is None or not is_partial(options):
        return ()
    before, after = check_candidate(accepted.configuration), check_candidate(candidate)
    settings = before.settings != Settings() and candidate.settings is None
    return (*(["the settings"] if settings else []), *missing(before.resources, after.resources))


def left_out(options: Options, files: Files) -> Refused | Failed | None:
    """Refuse files that would take out of force what they do not have; None if they do not.

    What cannot be read says nothing of what would be left.
    """
    if is_partial(options) and (wrong := unreadable(files)):
        return Refused(wrong)
    names = would_leave(options, files.configuration)
    if not names:
        return None
    return Failed(
        f"{counted(len(names), 'resource')} would go out of force, which the files of -f do not have: {named(names)}",
        f"--add adds the files to {options.config_dir} and applies all of it; --replace uses only these files",
        more=names[MOST_NAMES:],
    )


def unreadable(files: Files) -> tuple[Problem, ...]:
    """The problems of files that cannot be read as resources, each by itself; none where all can."""
    found = in_order((*files.problems, *decode(files.configuration).problems))
    return found if errors(found) else ()


def edit(options: Options, files: Configuration) -> Edit | Refused | Failed:
    """Add files to what the configuration directory holds; nothing is written yet."""
    if not is_partial(options):
        return Failed("--add takes files, and one of -f is a directory", "a directory is the whole: leave out --add")
    own, problems = read_configuration(options.config_dir)
    unread = decode(replace(files, resources=(*own.resources, *files.resources))).problems
    if errors((*problems, *unread)):
        return Refused(in_order((*problems, *unread)))
    if files.settings is not None and own.settings is not None and files.settings.text != own.settings.text:
        return Failed(f"{own.settings.path} is there already", "change the settings there")
    sources = list(own.resources)
    changed: list[Source] = []
    for file in files.resources:
        name = FROM_STDIN if file.path == STDIN else Path(file.path).name
        if not name.endswith((".yaml", ".yml")):
            return Failed(f"{file.path} cannot be added by its name", "call it *.yaml")
        new = added(sources, file, str(options.config_dir / name))
        if isinstance(new, NotAdded):
            return Failed(f"{new.position}: {new.message}", new.hint)
        paths = {source.path for source in new}
        sources = sorted([*(s for s in sources if s.path not in paths), *new], key=lambda s: os.fsencode(s.path))
        changed = [*(source for source in changed if source.path not in paths), *new]
    settings = own.settings
    if settings is None and files.settings is not None:
        settings = Source(str(options.config_dir / SETTINGS_FILE), files.settings.text)
        changed.append(settings)
    whole = replace(own, settings=settings, resources=tuple(sources))
    own_feeds = partial(read_own_feeds, options.config_dir, state_dir=options.state_dir)
    return Edit(check_candidate(whole, problems, own_feeds), tuple(changed))


@contextmanager
def written(sources: Sequence[Source], removed: Sequence[str] = ()) -> Iterator["Undo"]:
    """Write files that change, each with the mode it has, remove others, and give a way to have them as they were.

    Raises WriteError, with nothing changed.
    """
    undo = Undo([])
    try:
        for source in sources:
            undo.write(Path(source.path), source.text.encode())
        for path in removed:
            undo.remove(Path(path))
        yield undo
    except BaseException:
        undo.all()
        raise


def not_undone(left: Sequence[str], console: Console) -> None:
    """Say which files of a change that was refused are still there."""
    for one in left:
        console.complain(one, "it is not in force; `hostfwctl diff` shows the difference")


@dataclass(frozen=True, slots=True)
class Undo:
    """Earlier contents of files that were changed, a path for a link that was removed, None for what did not exist."""

    before: list[tuple[Path, bytes | Path | None, int]]

    def write(self, path: Path, data: bytes) -> None:
        """Write a file, and keep what it held. Raises WriteError."""
        # The file that a symbolic link leads to is what changes.
        path = path.resolve()
        old, mode = _held(path)
        write_atomically(path, data, mode)
        self.before.append((path, old, mode))

    def remove(self, path: Path) -> None:
        """Remove a file, and keep what it held. Raises WriteError."""
        old, mode = _held(path)
        link = path.readlink() if path.is_symlink() else None
        try:
            path.unlink()
        except OSError as error:
            raise WriteError(error.errno, error.strerror, str(path)) from error
        self.before.append((path, old if link is None else link, mode))
        with suppress(OSError):
            sync_directory(path.parent)

    def all(self) -> tuple[str, ...]:
        """Have every file as it was; gives what could not be put back, in words."""
        left: list[str] = []
        while self.before:
            path, held, mode = self.before.pop()
            try:
                match held:
                    case bytes():
                        write_atomically(path, held, mode)
                    case Path():
                        path.symlink_to(held)
                    case None:
                        path.unlink(missing_ok=True)
            except OSError as error:
                left.append(f"{path} could not be put back as it was: {reason(error)}")
            with suppress(OSError):
                sync_directory(path.parent)
        return tuple(left)


def _held(path: Path) -> tuple[bytes | None, int]:
    """The content and the mode of a file, or those of a new one. Raises WriteError."""
    try:
        return path.read_bytes(), path.stat().st_mode & 0o777
    except FileNotFoundError:
        return None, 0o644
    except OSError as error:
        raise WriteError(error.errno, error.strerror, str(path)) from error
