"""What outlives a reboot: the accepted generation, and those before it.

    state_dir/accepted                a link to the accepted generation: the one thing that changes
    state_dir/last-good.nft           a link to its script, which the boot loads without us
    state_dir/generations/000012/     ruleset.nft, sources.json, generation.json; never edited

A generation is written aside, made durable, and then accepted by renaming one link, so that script and sources
always agree and a crash leaves the old generation or the new. Reading tolerates anything and says what is wrong.
"""

import errno
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from hostfw.host.files import folder_aside, link_atomically, remove_leftovers, sync_directory, write_atomically
from hostfw.host.stored import (
    counts_of,
    garbage,
    is_text,
    load_json,
    load_text,
    saving,
    time_of,
    to_json,
    to_json_of_many,
)
from hostfw.model.problems import Problem, Severity
from hostfw.model.sources import Configuration, Source

KEEP_GENERATIONS = 10
"""How many generations are kept, the accepted one among them."""

_ACCEPTED = "accepted"
_LAST_GOOD = "last-good.nft"
_GENERATIONS = "generations"
_RULESET = "ruleset.nft"
_SOURCES = "sources.json"
_GENERATION = "generation.json"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A generation that may be put into force without reading /etc: its script, and the sources it came from.

    The script is empty where it was found damaged; the sources compile to it again.
    """

    id: str
    applied_at: datetime
    configuration: Configuration
    script: str
    counts: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored generation as a list shows it, without its script and sources."""

    number: int
    id: str
    applied_at: datetime
    counts: tuple[tuple[str, int], ...] = ()


def save_accepted(state_dir: Path, generation: Accepted) -> int:
    """Make a generation the accepted one, durably, and give its number. Raises StateError."""
    number = store_generation(state_dir, generation)
    accept_generation(state_dir, number)
    return number


def store_generation(state_dir: Path, generation: Accepted) -> int:
    """Write a generation down, durably, without accepting it, and give its number. Raises StateError."""
    files = {
        _RULESET: generation.script.encode(),
        _SOURCES: to_json_of_many(
            settings=_sourceto_json(generation.configuration.settings),
            resources=[_sourceto_json(source) for source in generation.configuration.resources],
            feeds=[_sourceto_json(source) for source in generation.configuration.feeds],
        ),
        _GENERATION: to_json(
            id=generation.id,
            applied_at=generation.applied_at.isoformat(),
            ruleset_sha256=sha256(generation.script.encode()).hexdigest(),
            counts=dict(generation.counts),
        ),
    }
    folder = state_dir / _GENERATIONS
    with saving("the generation", state_dir):
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        remove_leftovers(state_dir)
        remove_leftovers(folder)
        with folder_aside(folder / "new") as aside:
            for name, data in files.items():
                write_atomically(aside / name, data)
            number = _number(state_dir, aside)
        sync_directory(folder)
    # One more than are kept: the oldest has its turn once this one is accepted.
    _prune(state_dir, KEEP_GENERATIONS + 1)
    return number


def accept_generation(state_dir: Path, number: int) -> None:
    """Make a stored generation the accepted one, durably, and let the oldest go. Raises StateError.

    A generation from the same sources as the one before takes its place in the history: links that come and go
    leave what a person may want to go back to.
    """
    previous = accepted_number(state_dir)
    with saving("the accepted generation"):
        link_atomically(state_dir / _ACCEPTED, f"{_GENERATIONS}/{number:06}")
        link_atomically(state_dir / _LAST_GOOD, f"{_ACCEPTED}/{_RULESET}")
        sync_directory(state_dir)
    if previous not in (None, number) and _same_sources(state_dir, previous, number):
        _remove(state_dir, previous)
    _prune(state_dir, KEEP_GENERATIONS)


def forget_generation(state_dir: Path, number: int) -> None:
    """Let a stored generation go that another has taken the place of, unless it is accepted. What fails is left."""
    if accepted_number(state_dir) != number:
        _remove(state_dir, number)


def forget_accepted(state_dir: Path) -> None:
    """Let no generation be the accepted one, durably: no boot loads any, and all stay stored. Raises StateError."""
    with saving("that no generation is accepted"):
        # The link that the boot follows goes first: it must never lead to what is accepted no more.
        for name in (_LAST_GOOD, _ACCEPTED):
            (state_dir / name).unlink(missing_ok=True)
        if state_dir.is_dir():
            sync_directory(state_dir)


def stored_generations(state_dir: Path) -> tuple[Stored, ...]:
    """What is known of the stored generations, oldest first; what cannot be read is left out."""
    found = ((number, load_json(_folder(state_dir, number) / _GENERATION)[0]) for number in generations(state_dir))
    return tuple(stored for number, about in found if (stored := _stored(number, about)) is not None)


def load_accepted(state_dir: Path) -> tuple[Accepted | None, tuple[Problem, ...]]:
    """The accepted generation, or None if there is none yet or, with problems, none that can be read."""
    if not os.path.lexists(state_dir / _ACCEPTED):
        return None, ()
    return _load(state_dir / _ACCEPTED)


def accepted_stamp(state_dir: Path) -> tuple[int, ...]:
    """What is another whenever another generation is accepted, or none where there is none."""
    try:
        info = (state_dir / _ACCEPTED / _GENERATION).stat()
    except OSError:
        return ()
    return info.st_dev, info.st_ino, info.st_mtime_ns, info.st_size


def load_generation(state_dir: Path, number: int) -> tuple[Accepted | None, tuple[Problem, ...]]:
    """A stored generation, or None and the reason."""
    return _load(_folder(state_dir, number))


def generations(state_dir: Path) -> tuple[int, ...]:
    """The numbers of the stored generations, oldest first."""
    try:
        names = [path.name for path in (state_dir / _GENERATIONS).iterdir()]
    except OSError:
        return ()
    return tuple(sorted(int(name) for name in names if name.isascii() and name.isdigit()))


def accepted_number(state_dir: Path) -> int | None:
    """The number of the accepted generation, None if there is none."""
    try:
        return int((state_dir / _ACCEPTED).readlink().name)
    except (OSError, ValueError):
        return None


def _load(folder: Path) -> tuple[Accepted | None, tuple[Problem, ...]]:
    about, about_problems = load_json(folder / _GENERATION, required=True)
    sources, source_problems = load_json(folder / _SOURCES, required=True)
    if about_problems or source_problems:
        return None, about_problems + source_problems
    configuration = _configuration(sources)
    if configuration is None:
        return None, (garbage(folder / _SOURCES),)
    match about:
        case {"format": 1, "id": str(id_), "applied_at": str(applied_at), "ruleset_sha256": str(digest)} if (
            when := time_of(applied_at)
        ) is not None:
            script, problems = _script(folder / _RULESET, digest)
            return Accepted(id_, when, configuration, script, counts_of(about)), problems
        case _:
            return None, (garbage(folder / _GENERATION),)


def _script(path: Path, digest: str) -> tuple[str, tuple[Problem, ...]]:
    """The script, or with a warning nothing: its sources can be compiled again."""
    text, problems = load_text(path, required=True)
    if text is not None and sha256(text.encode()).hexdigest() == digest:
        return text, ()
    return "", tuple(replace(problem, severity=Severity.WARNING) for problem in problems or (garbage(path),))


def _stored(number: int, about: object) -> Stored | None:
    match about:
        case {"format": 1, "id": str(id_), "applied_at": str(applied_at)} if (when := time_of(applied_at)) is not None:
            return Stored(number, id_, when, counts_of(about))
        case _:
            return None


def _configuration(data: object) -> Configuration | None:
    match data:
        case {"format": 1, "settings": settings, "resources": list(resources), **more}:
            found, feeds = _sources(resources), _sources(more.get("feeds", []))
            if found is not None and feeds is not None and (settings is None or _source(settings) is not None):
                return Configuration(_source(settings), found, feeds)
    return None


def _sources(data: object) -> tuple[Source, ...] | None:
    found = [_source(item) for item in data] if isinstance(data, list) else [None]
    known = tuple(source for source in found if source is not None)
    return known if len(known) == len(found) else None


def _source(data: object) -> Source | None:
    match data:
        case {"path": str(path), "text": str(text)} if is_text(path) and is_text(text):
            return Source(path, text)
        case _:
            return None


def _sourceto_json(source: Source | None) -> dict[str, str] | None:
    return {"path": source.path, "text": source.text} if source else None


def _folder(state_dir: Path, number: int) -> Path:
    return state_dir / _GENERATIONS / f"{number:06}"


def _same_sources(state_dir: Path, one: int, other: int) -> bool:
    paths = [_folder(state_dir, number) / _SOURCES for number in (one, other)]
    try:
        sizes = {path.stat().st_size for path in paths}
        return len(sizes) == 1 and paths[0].read_bytes() == paths[1].read_bytes()
    except OSError:
        return False


def _number(state_dir: Path, aside: Path) -> int:
    """Give a complete generation the next number: another writer in this state directory may have taken it."""
    while True:
        number = max(generations(state_dir), default=0) + 1
        try:
            aside.rename(_folder(state_dir, number))
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        else:
            return number


def _prune(state_dir: Path, most: int) -> None:
    """Let the oldest go, but never the accepted one."""
    accepted = accepted_number(state_dir)
    others = [known for known in generations(state_dir) if known != accepted]
    for old in others[: max(len(others) - most + 1, 0)]:
        _remove(state_dir, old)


def _remove(state_dir: Path, number: int) -> None:
    """Remove a stored generation: out of sight first, so that no half of one is ever found. What fails is left."""
    with suppress(OSError):
        aside = _folder(state_dir, number).rename(state_dir / _GENERATIONS / f".{number:06}.tmp")
        shutil.rmtree(aside)
