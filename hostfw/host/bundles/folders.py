"""Folders of bundles: state_dir/bundles/NUMBER/, one of which the link config_dir/bundle leads to.

state_dir/bundles/NUMBER/      the files of a bundle, complete as soon as it is there; never edited
state_dir/bundles/NUMBER.all/  the same with the endpoints of all hosts, where these are separate
state_dir/bundles/endpoints/   files with endpoints, by digest, that those were made of
state_dir/bundles/next.hostfw  the bundle that was fetched last
state_dir/bundles/state.json   what is known of bundles here (`state.py`)
state_dir/bundles/status.json  the record for others (`cli/fleet/bundles/status.py`)
config_dir/bundle              the link: its change is the one moment at which the configuration becomes another

A folder is written beside its place and renamed, so a kill leaves it as a whole or not at all.
"""

import fcntl
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from hostfw.host.errors import HostError
from hostfw.host.store.atomic_files import (
    folder_aside,
    link_atomically,
    remove_leftovers,
    sync_directory,
    write_atomically,
    write_new,
)
from hostfw.host.store.codec import saving

FOLDER = "bundles"
LINK = "bundle"
NEXT = "next.hostfw"
ENDPOINTS = "endpoints"
ALL = ".all"
"""Ends the name of the folder of a bundle with the endpoints of all hosts."""


def bundles_folder(state_dir: Path) -> Path:
    """The folder of all bundles, made if it is not there. Raises StateError."""
    found = state_dir / FOLDER
    with saving("bundles", found):
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        found.mkdir(mode=0o700, exist_ok=True)
    return found


@contextmanager
def only_one_pull(state_dir: Path) -> Iterator[None]:
    """Hold the right to pull bundles. Raises HostError if another process is at it."""
    path = bundles_folder(state_dir) / "lock"
    with saving("the lock of bundles", path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise HostError("another process is pulling a bundle", "wait for it, and run it again") from error
        yield
    finally:
        os.close(descriptor)


def folder_name(number: int, *, all_endpoints: bool) -> str:
    """The name of the folder of a bundle."""
    return f"{number}{ALL}" if all_endpoints else str(number)


def linked_folder(config_dir: Path, state_dir: Path) -> str | None:
    """The folder of the bundle that the configuration directory leads to, None if it leads to none.

    Raises HostError where something else has the name of the link.
    """
    link = config_dir / LINK
    try:
        target = Path(os.readlink(link))  # noqa: PTH115  as the link has it
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HostError(f"{link} is not a link that hostfw made", "move it away; bundles are to be there") from error
    if target.parent != (state_dir / FOLDER).absolute() or not _is_folder(target.name):
        raise HostError(f"{link} leads to {target}, where hostfw keeps no bundles", f"remove the link: rm {link}")
    return target.name


def _is_folder(name: str) -> bool:
    return name.removesuffix(ALL).isdecimal()


def unpack(state_dir: Path, folder: str, files: Mapping[str, bytes]) -> Path:
    """Write the files of a bundle into its folder, durably and as a whole. Raises StateError."""
    place = bundles_folder(state_dir) / folder
    with saving(f"bundle {folder.removesuffix(ALL)}", place):
        remove_leftovers(place.parent)
        if files_of(state_dir, folder) == dict(files):
            # It may be what the configuration directory leads to.
            return place
        shutil.rmtree(place, ignore_errors=True)
        with folder_aside(place) as aside:
            folders = {aside}
            for path, content in files.items():
                file = aside / path
                file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                folders.update(parent for parent in file.parents if parent.is_relative_to(aside))
                write_new(file, content)
            for made in folders:
                sync_directory(made)
            aside.rename(place)
        sync_directory(place.parent)
    return place


def switch(config_dir: Path, state_dir: Path, folder: str) -> None:
    """Let the configuration directory lead to a bundle from one moment to the next, durably. Raises StateError."""
    with saving("the link to the bundle", config_dir / LINK):
        config_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        remove_leftovers(config_dir)
        link_atomically(config_dir / LINK, str((state_dir / FOLDER / folder).absolute()))
        sync_directory(config_dir)


def forget_others(state_dir: Path, *keep: str | None) -> None:
    """Remove the folders of all bundles but some. What cannot be removed is tried again the next time."""
    with suppress(OSError):
        for path in bundles_folder(state_dir).iterdir():
            if _is_folder(path.name) and path.name not in keep:
                shutil.rmtree(path, ignore_errors=True)


def files_of(state_dir: Path, folder: str) -> dict[str, bytes]:
    """The files of a bundle that was unpacked, by path; none where it is not there. Raises OSError."""
    top = state_dir / FOLDER / folder
    return {
        str(path.relative_to(top)): path.read_bytes()
        for parent, _, names in os.walk(top)
        for path in sorted(Path(parent) / name for name in names)
    }


def keep_endpoints(state_dir: Path, digest: str, data: bytes) -> None:
    """Keep a file with endpoints for the next bundle that has it. Raises StateError."""
    with saving("the endpoints of a bundle"):
        folder = bundles_folder(state_dir) / ENDPOINTS
        folder.mkdir(mode=0o700, exist_ok=True)
        write_atomically(folder / digest, data)


def read_endpoints(state_dir: Path, digest: str) -> bytes | None:
    """The file with endpoints of a digest as it was kept, None where none can be read."""
    try:
        return (state_dir / FOLDER / ENDPOINTS / digest).read_bytes()
    except OSError:
        return None


def forget_endpoints(state_dir: Path, keep: Collection[str]) -> None:
    """Remove all files with endpoints but some. What cannot be removed is tried again the next time."""
    with suppress(OSError):
        for path in (state_dir / FOLDER / ENDPOINTS).iterdir():
            if path.name not in keep:
                path.unlink()


def keep_fetched(state_dir: Path, data: bytes) -> None:
    """Keep what was fetched, so that a server need not send it again. Raises StateError."""
    with saving("the bundle that was fetched"):
        write_atomically(bundles_folder(state_dir) / NEXT, data)


def read_fetched(state_dir: Path) -> bytes | None:
    """The bundle that was kept, None where none can be read."""
    try:
        return (state_dir / FOLDER / NEXT).read_bytes()
    except OSError:
        return None
