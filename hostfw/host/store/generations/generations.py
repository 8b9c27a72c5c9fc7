"""Generations that outlive a reboot: the accepted one, and those before it.

    state_dir/accepted                a link to the accepted generation: the one thing that changes
    state_dir/last-good.nft           a link to its script, which the boot loads without us
    state_dir/generations/000012/     ruleset.nft, generation.json, sources.json and its parts; never edited
                                      where something expires: lasting.nft, which the boot loads outside of `expires`
                                      governance.json: what it governs, written anew as the host changes
    state_dir/scripts/                the scripts of late, which those in the generations are links to

Files that generations share are hard links, so only changed ones are written. A generation is written to a new folder,
made durable, and then accepted by renaming one link, so script and sources always agree and a crash leaves the old
generation or the new. Reading reports broken files and goes on.
"""

import errno
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from hostfw.host.store.atomic_files import (
    folder_aside,
    link_atomically,
    remove_leftovers,
    sync_directory,
    write_new,
)
from hostfw.host.store.codec import (
    Unreadable,
    counts_of,
    garbage,
    is_there,
    load_json,
    names_in,
    reading,
    saving,
    to_json,
    unreadable,
)
from hostfw.host.store.generations.governance import GOVERNANCE, governance_json
from hostfw.host.store.generations.scripts import (
    EXPIRES,
    LastingScript,
    about_lasting,
    load_lasting,
    load_script,
    save_lasting,
    save_script,
)
from hostfw.host.store.generations.sources import load_parts, parts_of, save_parts, stored_parts
from hostfw.model.host.governance import NOTHING_GOVERNED, Governance
from hostfw.model.problems import Problem
from hostfw.model.settings import HISTORY_LIMIT
from hostfw.model.sources import Configuration
from hostfw.model.time.moments import moment_of

_ACCEPTED = "accepted"
_LAST_GOOD = "last-good.nft"
_GENERATIONS = "generations"
_RULESET = "ruleset.nft"
_SCRIPTS = "scripts"
_GENERATION = "generation.json"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A generation that may be put into force without reading /etc: its script, and the sources it came from.

    The script is empty where it was found damaged; the sources compile to it again. `history_limit` is how many
    generations are kept once it is accepted, itself among them. `lasting` is what the boot loads instead once something
    has expired, None where nothing does.
    """

    id: str
    applied_at: datetime
    configuration: Configuration
    script: str
    counts: tuple[tuple[str, int], ...] = ()
    history_limit: int = HISTORY_LIMIT
    lasting: LastingScript | None = None

    def script_at(self, now: datetime) -> str:
        """The script that may be put into force at a moment; empty where it was found damaged."""
        if self.lasting is None or self.applied_at <= now < self.lasting.until:
            return self.script
        return self.lasting.script


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored generation as a list shows it, without its script and sources."""

    number: int
    id: str
    applied_at: datetime
    counts: tuple[tuple[str, int], ...] = ()


def save_accepted(
    state_dir: Path, generation: Accepted, governance: Governance = NOTHING_GOVERNED, *, anew: bool = False
) -> int:
    """Make a generation the accepted one, durably, and give its number; otherwise as `store_generation`."""
    number = store_generation(state_dir, generation, governance, anew=anew)
    accept_generation(state_dir, number)
    return number


def store_generation(
    state_dir: Path, generation: Accepted, governance: Governance = NOTHING_GOVERNED, *, anew: bool = False
) -> int:
    """Write a generation down with its record, durably, without accepting it, and give its number.

    Raises StateError.

    With `anew` nothing of what is stored is trusted to be as it was written.
    """
    script = generation.script.encode()
    digest = sha256(script).hexdigest()
    parts = parts_of(generation.configuration)
    about = to_json(
        id=generation.id,
        applied_at=generation.applied_at.isoformat(),
        ruleset_sha256=digest,
        configuration=parts.digest,
        history_limit=generation.history_limit,
        counts=dict(generation.counts),
        **about_lasting(generation.lasting),
    )
    folder = state_dir / _GENERATIONS
    with saving("the generation", state_dir):
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        remove_leftovers(state_dir)
        remove_leftovers(folder)
        with folder_aside(folder / "new") as aside:
            save_script(state_dir / _SCRIPTS / f"{digest}.nft", aside / _RULESET, script)
            save_lasting(aside, generation.lasting, generation.applied_at)
            known = (
                {} if anew else stored_parts(generation_folder(state_dir, number) for number in generations(state_dir))
            )
            save_parts(aside, parts, known)
            write_new(aside / _GENERATION, about)
            write_new(aside / GOVERNANCE, governance_json(governance))
            sync_directory(aside)
            number = _number(state_dir, aside)
        sync_directory(folder)
    with suppress(Unreadable):
        # One more than are kept: the oldest has its turn once this one is accepted.
        _prune(state_dir, generation.history_limit + 1)
    return number


def accept_generation(state_dir: Path, number: int) -> None:
    """Make a stored generation the accepted one, durably, and let the oldest go. Raises StateError.

    A generation from the same files as the one before, but for what Feeds name, takes its place in the history:
    interfaces that come and go, and lists that are updated, leave what a person may want to go back to.
    """
    previous = accepted_number(state_dir)
    with saving("the accepted generation", state_dir):
        link_atomically(state_dir / _ACCEPTED, f"{_GENERATIONS}/{number:06}")
        link_atomically(state_dir / _LAST_GOOD, f"{_ACCEPTED}/{_RULESET}")
        sync_directory(state_dir)
    with suppress(Unreadable):
        # What cannot be read now stays for longer.
        about = _about(state_dir, number)
        if previous not in (None, number) and _is_same(state_dir, previous, about):
            _remove(state_dir, previous)
        _prune(state_dir, about.history_limit)


def finish_accepting(state_dir: Path, *, sync: bool) -> None:
    """Do what a failure of `accept_generation` may have left undone, and with `sync` have it durable in any case.

    Raises StateError.
    """
    way = f"{_ACCEPTED}/{_RULESET}"
    with saving("the accepted generation", state_dir):
        leads_there = os.path.islink(state_dir / _LAST_GOOD) and str((state_dir / _LAST_GOOD).readlink()) == way  # noqa: PTH114  as `lexists` here
        if not leads_there:
            link_atomically(state_dir / _LAST_GOOD, way)
        if sync or not leads_there:
            sync_directory(state_dir)


def forget_generation(state_dir: Path, number: int) -> None:
    """Let a stored generation go that another has taken the place of, unless it is accepted. What fails is left."""
    with suppress(Unreadable):
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
    """The stored generations, oldest first; damaged ones are left out. Raises Unreadable."""
    found = (
        (number, load_json(generation_folder(state_dir, number) / _GENERATION)[0]) for number in generations(state_dir)
    )
    return tuple(stored for number, about in found if (stored := _stored(number, about)) is not None)


def load_accepted(state_dir: Path, *, with_scripts: bool = True) -> tuple[Accepted | None, tuple[Problem, ...]]:
    """The accepted generation, or None if there is none yet or, with problems, none that can be read."""
    try:
        return read_accepted(state_dir, with_scripts=with_scripts)
    except Unreadable as error:
        return None, (unreadable(state_dir / _ACCEPTED, error),)


def read_accepted(state_dir: Path, *, with_scripts: bool = True) -> tuple[Accepted | None, tuple[Problem, ...]]:
    """The same, for those who must not take what cannot be read now for damaged. Raises Unreadable."""
    folder = state_dir / _ACCEPTED
    return _loaded(folder, with_scripts=with_scripts) if is_there(folder) else (None, ())


def accepted_stamp(state_dir: Path) -> tuple[int, ...]:
    """A stamp that changes whenever another generation is accepted; empty where there is none."""
    try:
        info = (state_dir / _ACCEPTED / _GENERATION).stat()
    except OSError:
        return ()
    return info.st_dev, info.st_ino, info.st_mtime_ns, info.st_size


def load_generation(state_dir: Path, number: int) -> tuple[Accepted | None, tuple[Problem, ...]]:
    """A stored generation, or None and the reason."""
    folder = generation_folder(state_dir, number)
    try:
        return _loaded(folder)
    except Unreadable as error:
        return None, (unreadable(folder, error),)


def read_generation(
    state_dir: Path, number: int, *, with_scripts: bool = True
) -> tuple[Accepted | None, tuple[Problem, ...]]:
    """The same, for those who must not take what cannot be read now for damaged. Raises Unreadable."""
    return _loaded(generation_folder(state_dir, number), with_scripts=with_scripts)


def generations(state_dir: Path) -> tuple[int, ...]:
    """The numbers of the stored generations, oldest first. Raises Unreadable."""
    names = names_in(state_dir / _GENERATIONS)
    return tuple(sorted(int(name) for name in names if name.isascii() and name.isdigit()))


def accepted_number(state_dir: Path) -> int | None:
    """The number of the accepted generation, None if there is none. Raises Unreadable."""
    try:
        with reading(state_dir / _ACCEPTED):
            return int((state_dir / _ACCEPTED).readlink().name)
    except (OSError, ValueError):
        return None


def accepted_until(state_dir: Path) -> datetime | None:
    """The moment at which something of the accepted generation expires that allows anything; None for never.

    Raises Unreadable.
    """
    path = state_dir / _ACCEPTED / EXPIRES
    try:
        with reading(path):
            _, last = path.read_text().split()
        return datetime.fromtimestamp(int(last), UTC)
    except (OSError, ValueError, OverflowError):
        return None


def _loaded(folder: Path, *, with_scripts: bool = True) -> tuple[Accepted | None, tuple[Problem, ...]]:
    about, about_problems = load_json(folder / _GENERATION, required=True)
    configuration, source_problems = load_parts(folder)
    if about_problems or configuration is None:
        return None, about_problems + source_problems
    match about:
        case {"format": 1, "id": str(id_), "applied_at": str(applied_at), "ruleset_sha256": str(digest)} if (
            when := moment_of(applied_at)
        ) is not None:
            known = (id_, when, configuration)
            more = (counts_of(about), _history_limit(about))
            if not with_scripts:
                return Accepted(*known, "", *more), ()
            script, problems = load_script(folder / _RULESET, digest)
            return Accepted(*known, script, *more, load_lasting(folder, about)), problems
        case _:
            return None, (garbage(folder / _GENERATION),)


def _stored(number: int, about: object) -> Stored | None:
    match about:
        case {"format": 1, "id": str(id_), "applied_at": str(applied_at)} if (
            when := moment_of(applied_at)
        ) is not None:
            return Stored(number, id_, when, counts_of(about))
        case _:
            return None


def generation_folder(state_dir: Path, number: int) -> Path:
    """The folder of a stored generation."""
    return state_dir / _GENERATIONS / f"{number:06}"


class _About(NamedTuple):
    """Data for the history: a digest of a generation's files, and the number of generations to keep."""

    configuration: str
    history_limit: int


def _about(state_dir: Path, number: int) -> _About:
    """The data of a stored generation; older ones have it in their files."""
    data, _ = load_json(generation_folder(state_dir, number) / _GENERATION)
    match data:
        case {"configuration": str(configuration)}:
            return _About(configuration, _history_limit(data))
        case _:
            found, _ = load_parts(generation_folder(state_dir, number))
            return _About(parts_of(found).digest if found is not None else "", _history_limit(data))


def _is_same(state_dir: Path, number: int, about: _About) -> bool:
    return bool(about.configuration) and _about(state_dir, number).configuration == about.configuration


def _history_limit(about: object) -> int:
    match about:
        case {"history_limit": int(limit)} if limit > 0:
            return limit
        case _:
            return HISTORY_LIMIT


def _number(state_dir: Path, aside: Path) -> int:
    """Give a complete generation the next number: another writer in this state directory may have taken it."""
    while True:
        number = max(generations(state_dir), default=0) + 1
        try:
            aside.rename(generation_folder(state_dir, number))
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
        aside = generation_folder(state_dir, number).rename(state_dir / _GENERATIONS / f".{number:06}.tmp")
        shutil.rmtree(aside)
