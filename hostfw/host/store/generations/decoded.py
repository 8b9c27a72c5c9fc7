"""Stored files as they were decoded, beside their texts: a copy that may be deleted at any time.

    state_dir/decoded/<part>.<decoder>      the content of each file of a part (`parts.sources`), in their order:
                                            without its policies, and behind that these

Ten thousand policies take seconds to decode from YAML, and a tenth of that from here. A copy is used only for the texts
that its name is a digest of, by the decoder that made it, and if it is whole: it begins with the SHA-256 of its rest.
Otherwise the texts are decoded. It is a pickle, since nothing else of Python's own builds so many objects in the time;
nothing but the values of `hostfw.model` is built from it, and none is read that others than root could have written.
"""

import os
import pickle
import stat
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import NamedTuple

import hostfw
from hostfw.host.store.configuration.path_trust import OTHERS_MAY_WRITE
from hostfw.host.store.generations.sources import Part
from hostfw.model.problems import Problem
from hostfw.model.resources import Resource
from hostfw.model.settings import Settings

_FOLDER = "decoded"
_LAYOUT = 2
"""The number of the way in which a part lies in its file."""
_DIGEST_BYTES = 32
_DECODING = ("manifest", "model", "selector")
"""The packages that decide what a text is decoded to."""
_VALUES = "hostfw.model."
_POLICY = "Policy"
"""The end of the names of the kinds that nearly everything is; which interfaces are governed can be told without."""


class FileContent(NamedTuple):
    """The content of one file: settings of the settings file, else resources; and its problems."""

    settings: Settings | None
    resources: tuple[Resource, ...] = ()
    problems: tuple[Problem, ...] = ()


def save_decoded(
    state_dir: Path, parts: Iterable[Part], content_of: Callable[[str], FileContent], known: Collection[str]
) -> None:
    """Keep the content of files by their parts, and let go what is of no part that is stored (`known`).

    What a disk does not take, or pickle, is left out.
    """
    folder = state_dir / _FOLDER
    with suppress(OSError, pickle.PicklingError, RecursionError, MemoryError):
        decoder = decoder_mark()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = {path.name for path in folder.iterdir()}
        wanted = {_file_name(part.name, decoder): part for part in parts}
        for name, part in wanted.items():
            if name not in there:
                _write(folder / name, _pickled(tuple(content_of(source.path) for source in part.sources)))
        for name in there - wanted.keys() - {_file_name(part, decoder) for part in known}:
            (folder / name).unlink(missing_ok=True)


def load_decoded(state_dir: Path, parts: Iterable[Part], *, policies: bool = True) -> Mapping[str, FileContent]:
    """The content of files by their path, as far as it is kept, all of it or what else there is than `policies`."""
    folder, decoder = state_dir / _FOLDER, decoder_mark()
    found: dict[str, FileContent] = {}
    for part in parts:
        contents = _unpickled(folder / _file_name(part.name, decoder), policies=policies)
        if contents is not None and len(contents) == len(part.sources):
            found.update(zip((source.path for source in part.sources), contents, strict=True))
    return found


@cache
def decoder_mark() -> str:
    """A mark of the code that decodes, which changes with every release and every edit of it, and with PyYAML.

    The service asks at its start: a package that is unpacked later has code that it does not run.
    """
    found = [f"{hostfw.__version__} {sys.version} {_LAYOUT}"]
    for package in _DECODING:
        for folder, _, names in os.walk(Path(hostfw.__file__).parent / package):
            paths = (Path(folder, name) for name in names if name.endswith(".py"))
            found += map(_stamp, paths)
    yaml = find_spec("yaml")
    found += [_stamp(Path(yaml.origin))] if yaml is not None and yaml.origin is not None else []
    return sha256("\n".join(sorted(found)).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _stamp(path: Path) -> str:
    info = path.stat()
    return f"{path} {info.st_size} {info.st_mtime_ns}"


def _file_name(part: str, decoder: str) -> str:
    return f"{part.removesuffix('.json')}.{decoder}"


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, as far as that needs no sync: one that a crash cut short is not used."""
    temporary = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        temporary.touch(mode=0o600, exist_ok=False)
        temporary.write_bytes(sha256(data).digest() + data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


class _Pickler(pickle.Pickler):
    """Writes each value as its class and what it is made of, in half the time of the protocol's own way."""

    def reducer_override(self, obj: object) -> tuple[type, tuple[object, ...]]:
        kind = type(obj)
        if kind not in _MADE_OF:
            _MADE_OF[kind] = None if kind is type else _made_of(kind)
        made_of = _MADE_OF[kind]
        return NotImplemented if made_of is None else (kind, made_of(obj))


_MadeOf = Callable[[object], tuple[object, ...]]
_MADE_OF: dict[type, _MadeOf | None] = {}


def _made_of(of: type) -> _MadeOf | None:
    """A function to the arguments that an object of a class is made of; None for a class that pickle knows."""
    if issubclass(of, Enum):
        return lambda member: (member.value,)  # type: ignore[attr-defined]  # of an Enum
    if not is_dataclass(of):
        return None
    names = [field.name for field in fields(of)]
    if not names:
        return lambda _: ()
    values = attrgetter(*names)
    return values if len(names) > 1 else lambda value: (values(value),)


class _Unpickler(pickle.Unpickler):
    """Builds values of `hostfw.model` and of Python's plain types, and calls nothing else."""

    def find_class(self, module_name: str, global_name: str) -> object:
        found = getattr(import_module(module_name), global_name, None) if module_name.startswith(_VALUES) else None
        # Values that are defined there, not what is imported there.
        if not isinstance(found, type) or found.__module__ != module_name:
            raise pickle.UnpicklingError(f"{module_name}.{global_name}")
        return found


def _pickled(contents: tuple[FileContent, ...]) -> bytes:
    buffer = BytesIO()
    pickler = _Pickler(buffer, pickle.HIGHEST_PROTOCOL)
    pickler.dump(tuple((one.settings, *_placed(one.resources, policies=False), one.problems) for one in contents))
    pickler.clear_memo()
    pickler.dump(tuple(_placed(one.resources, policies=True) for one in contents))
    return buffer.getvalue()


def _placed(resources: tuple[Resource, ...], *, policies: bool) -> tuple[tuple[int, ...], tuple[Resource, ...]]:
    """The policies of a file or everything else in it, each with its place."""
    places = tuple(n for n, one in enumerate(resources) if type(one).__name__.endswith(_POLICY) is policies)
    return places, tuple(resources[place] for place in places)


def _together(*parts: tuple[tuple[int, ...], tuple[Resource, ...]]) -> tuple[Resource, ...]:
    """The resources of a file, each at its place."""
    placed = [one for places, resources in parts for one in zip(places, resources, strict=True)]
    return tuple(resource for _, resource in sorted(placed, key=itemgetter(0)))


def _unpickled(path: Path, *, policies: bool) -> tuple[FileContent, ...] | None:
    """The content of the files of a part, None where it is not kept whole."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not _is_ours(os.fstat(descriptor)):
                return None
            digest, data = file.read(_DIGEST_BYTES), file.read()
    except OSError:
        return None
    if sha256(data).digest() != digest:
        return None
    try:
        buffer = BytesIO(data)
        others = _Unpickler(buffer).load()
        behind = _Unpickler(buffer).load() if policies else [((), ())] * len(others)
        return tuple(
            FileContent(settings, _together((places, resources), of_policies), problems)
            for (settings, places, resources, problems), of_policies in zip(others, behind, strict=True)
        )
    except Exception:  # noqa: BLE001  whatever is wrong with a copy, the texts are there
        return None


def _is_ours(info: os.stat_result) -> bool:
    mine = info.st_uid in (0, os.geteuid()) and not info.st_mode & OTHERS_MAY_WRITE
    return mine and stat.S_ISREG(info.st_mode)
