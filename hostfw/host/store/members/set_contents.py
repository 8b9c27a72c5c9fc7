"""Contents of sets that are edited in place, kept in the run directory by their digest: run_dir/sets/0123456789abcdef.

Nothing depends on it: where it is missing or damaged, the set is loaded in full.
"""

from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from hostfw.host.store.atomic_files import remove_leftovers, write_atomically

_FOLDER = "sets"


def load_content(run_dir: Path, digest: str) -> bytes | None:
    """The content of a digest, the first digits of its SHA-256, or None if it is not known."""
    try:
        data = (run_dir / _FOLDER / digest).read_bytes()
    except OSError:
        return None
    return data if digest and sha256(data).hexdigest().startswith(digest) else None


def save_contents(run_dir: Path, contents: Mapping[str, bytes]) -> None:
    """Keep these contents by their digests, and no others. What the disk refuses is left."""
    folder = run_dir / _FOLDER
    with suppress(OSError):
        if contents:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for digest, data in contents.items():
            if not (folder / digest).exists():
                write_atomically(folder / digest, data)
        if folder.is_dir():
            remove_leftovers(folder)
            for path in folder.iterdir():
                # What begins with a dot is being written, by a writer of another namespace.
                if path.name not in contents and not path.name.startswith("."):
                    path.unlink()
