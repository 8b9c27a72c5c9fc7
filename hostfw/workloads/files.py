"""The files that a reader writes: one for each workload, renamed into place, and removed when it is gone."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from hostfw.workloads.values import Workload, first_line, manifest

FOLDER_MODE, FILE_MODE = 0o755, 0o644


class WorkloadFolder:
    """The files of one reader in a folder that others write to as well. Raises OSError."""

    def __init__(self, folder: Path, reader: str) -> None:
        """Take over what a reader of that name wrote before."""
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        self._folder = folder
        self._reader = reader
        self._written: dict[str, str] = {}
        for path in folder.glob(f"{reader}.*.yaml"):
            text = _own_text(path, first_line(reader))
            if text is not None:
                self._written[path.name] = text
        for path in folder.glob(f".{reader}.*.new"):
            path.unlink(missing_ok=True)

    def publish(self, workloads: Iterable[Workload]) -> int:
        """Have files of these workloads and of no others; gives how many were written or removed.

        What goes is removed first, so that no interface is two workloads' for a moment.
        """
        wanted = {self._name(one): manifest(one, self._reader) for one in workloads}
        gone = [name for name in self._written if name not in wanted]
        for name in gone:
            (self._folder / name).unlink(missing_ok=True)
            del self._written[name]
        changed = [name for name, text in wanted.items() if self._written.get(name) != text]
        for name in changed:
            self._write(name, wanted[name])
        return len(gone) + len(changed)

    def _name(self, one: Workload) -> str:
        return f"{self._reader}.{one.namespace}.{one.name}.yaml"

    def _write(self, name: str, text: str) -> None:
        self._folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        # Names that begin with a dot are no configuration.
        aside = self._folder / f".{name}.new"
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                os.fchmod(descriptor, FILE_MODE)
                file.write(text)
            aside.rename(self._folder / name)
        except OSError:
            with suppress(OSError):
                aside.unlink()
            raise
        self._written[name] = text


def _own_text(path: Path, first: str) -> str | None:
    """The text of a file that a reader wrote; None for one of somebody else."""
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None
    return text if text.startswith(f"{first}\n") else None
