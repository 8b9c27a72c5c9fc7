"""The answer to the last `apply` of a command that ran by itself: run_dir/answer.json, which ends with the boot.

A configuration compiles to the same on a host that is the same. While all that it was compiled from is as the basis of
an answer says, the answer holds, and ten thousand policies need not be decoded and compiled to say it again.
"""

import os
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cache
from hashlib import sha256
from pathlib import Path

import hostfw
from hostfw.host.store.atomic_files import write_atomically
from hostfw.host.store.codec import StateError, Unreadable, load_json, saving, to_json
from hostfw.host.store.generations.decoded import decoder_mark

_FILE = "answer.json"


@dataclass(frozen=True, slots=True)
class Basis:
    """Everything that a generation comes from, as digests.

    `program` is of the code that compiles, `configuration` of all texts, `facts` of the host, `governance` of what is
    on record as governed, and `links` of the interface indices that our sets hold. `takes_name` is whether the node may
    take the name that the host has now.
    """

    program: str
    configuration: str
    facts: str
    governance: str
    links: str
    takes_name: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer on its basis: the id of the generation, what the settings call the node, and the reply as JSON."""

    basis: Basis
    id: str
    node: str | None
    reply: object


def save_answer(run_dir: Path, answer: Answer) -> None:
    """Keep an answer; where a disk does not take it there is none."""
    path = run_dir / _FILE
    basis = {field.name: getattr(answer.basis, field.name) for field in fields(Basis)}
    try:
        with saving("the answer"):
            write_atomically(path, to_json(id=answer.id, node=answer.node, basis=basis, reply=answer.reply))
    except (OSError, StateError):
        forget_answer(run_dir)


def load_answer(run_dir: Path) -> Answer | None:
    """The answer that is kept, None if there is none that can be read."""
    with suppress(Unreadable):
        match load_json(run_dir / _FILE)[0]:
            case {"format": 1, "id": str(id_), "node": str() | None as node, "basis": dict(basis), "reply": reply}:
                names = [field.name for field in fields(Basis)]
                if sorted(basis) == sorted(names) and all(isinstance(value, str) for value in basis.values()):
                    return Answer(Basis(**basis), id_, node, reply)
    return None


def forget_answer(run_dir: Path) -> None:
    """Let the answer go."""
    with suppress(OSError):
        (run_dir / _FILE).unlink(missing_ok=True)


def digest(value: object) -> str:
    """A digest of a value of plain words, numbers, tuples and dataclasses of such."""
    return sha256(repr(value).encode("utf-8", "surrogatepass")).hexdigest()


@cache
def program_mark() -> str:
    """A mark of all our code, which changes with every release and every edit of it."""
    found = [decoder_mark()]
    for folder, _, names in os.walk(Path(hostfw.__file__).parent):
        for name in names:
            if name.endswith(".py"):
                info = os.stat(os.path.join(folder, name))  # noqa: PTH116, PTH118  400 files, at every apply
                found.append(f"{folder}/{name} {info.st_size} {info.st_mtime_ns}")
    return sha256("\n".join(sorted(found)).encode("utf-8", "surrogateescape")).hexdigest()[:16]
