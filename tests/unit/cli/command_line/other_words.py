"""Lines that people type behind `hostfwctl` (tests/data/other_words): what each asks for, and the command for it."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parents[3] / "data/other_words"
_COMMAND = re.compile(r"`((?:hostfwctl|systemctl|man) [^`]*)`")
_HEAD = re.compile(r"\[(?P<asks>opens|closes|reads|changes)(?: (?P<program>\S+))?\]\Z")


class Line(NamedTuple):
    """A line as typed; what it asks for; whose words they are; and the command that does it, `does` for itself."""

    typed: str
    asks: str
    program: str
    command: str
    place: str

    @property
    def words(self) -> list[str]:
        """The words as a shell makes them."""
        return shlex.split(self.typed)


def lines() -> tuple[Line, ...]:
    """All lines of all files."""
    return tuple(line for path in sorted(FOLDER.glob("*.txt")) for line in _of(path))


def _of(path: Path) -> Iterator[Line]:
    asks, program = "", ""
    for number, text in enumerate(path.read_text().splitlines(), 1):
        head = _HEAD.fullmatch(text)
        if head is not None:
            asks, program = head["asks"], head["program"] or ""
        elif text and not text.startswith("#"):
            typed, arrow, command = text.rpartition(" => ")
            assert arrow, f"{path}:{number}: no command"
            yield Line(typed.strip(), asks, program, command.strip(), f"{path.stem}:{number}")


def commands(text: str) -> list[str]:
    """The commands that a text names, in its order."""
    return _COMMAND.findall(" ".join(text.split()))


def effect(command: str) -> str:
    """The effect of a command on the host: it opens or closes something, changes another thing, or reads."""
    program, verb, *rest = shlex.split(command)
    if program == "systemctl":
        return (
            "reads" if verb.startswith(("is-", "status", "show", "cat")) else "opens" if verb == "stop" else "changes"
        )
    if program == "man" or {"--dry-run", "--help"} & {verb, *rest}:
        return "reads"
    if verb in ("allow", "unblock", "disable") or (verb == "remove" and rest[:1] == ["deny"]):
        return "opens"
    if verb in ("deny", "lockdown") or (verb == "remove" and rest[:1] == ["allow"]):
        return "closes"
    listed = verb in ("set", "feed") and rest[:1] in ([], ["list"])
    changing = ("apply", "init", "remove", "set", "feed", "confirm", "rollback", "reload", "promote")
    return "changes" if verb in changing and not listed and (verb != "init" or rest) else "reads"
