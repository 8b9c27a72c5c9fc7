"""The file `.hostfwignore`: which YAML files and folders below its folder are no files of hostfw.

A configuration directory is often a git tree, with pipelines, documentation and templates beside policy. A line is a
pattern, in a small part of the form of `gitignore(5)`: a name at any depth (`mkdocs.yml`, `*.tpl.yaml`), a path from
the folder of the file where there is a `/` before the end (`/values.yaml`, `ci/*.yml`), folders alone where there is
one at the end (`ci/`), `**` for any number of folders, `#` for comments. Nothing is taken back with `!`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from hostfw.model.positions import Position
from hostfw.model.problems import Problem
from hostfw.model.sources import Source

IGNORE_FILE = ".hostfwignore"
"""The name of the file."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One line of a file: an expression for a path relative to its folder, and whether it is for folders alone."""

    expression: re.Pattern[str]
    folders_only: bool
    line: int


@dataclass(frozen=True, slots=True)
class IgnoreFile:
    """The patterns of one file, which stands in a folder."""

    path: str
    patterns: tuple[Pattern, ...] = ()

    def line_for(self, relative: str, *, is_folder: bool) -> int | None:
        """The number of the first line that a path below the folder of the file matches; None if none does."""
        return next(
            (
                pattern.line
                for pattern in self.patterns
                if (is_folder or not pattern.folders_only) and pattern.expression.fullmatch(relative)
            ),
            None,
        )


def decode_ignore_file(source: Source) -> tuple[IgnoreFile, tuple[Problem, ...]]:
    """The patterns of a file, and the lines of it that are no pattern.

    No line is quoted: whoever placed the file may have made it lead to another.
    """
    patterns: list[Pattern] = []
    problems: list[Problem] = []
    for number, line in enumerate(source.text.splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        why = _refusal(text)
        if why:
            problems.append(Problem(Position(source.path, number, 1), why, "a name or a path, with * and ? in it"))
        else:
            patterns.append(Pattern(re.compile(_expression(text), re.DOTALL), text.endswith("/"), number))
    return IgnoreFile(source.path, tuple(patterns)), tuple(problems)


def _refusal(text: str) -> str:
    """The reason why a line is no pattern, empty if it is one."""
    if text.startswith("!"):
        return "what a line leaves out cannot be taken back with ! here"
    if any(character in text for character in "\\[]"):
        return "this line has [, ] or a backslash, which no pattern here may have"
    if not text.strip("/*"):
        return "this line would leave out everything"
    return ""


def _expression(text: str) -> str:
    """A regular expression for the relative paths that a pattern means."""
    path = text.rstrip("/")
    anchored = "/" in path
    parts = [part for part in path.split("/") if part]
    return ("" if anchored else "(?:.*/)?") + "".join(_parts(parts))


def _parts(parts: list[str]) -> Iterator[str]:
    last = len(parts) - 1
    for number, part in enumerate(parts):
        if part == "**":
            yield ".*" if number == last else "(?:.*/)?"
        else:
            words = {"*": "[^/]*", "?": "[^/]"}
            yield "".join(words.get(character, re.escape(character)) for character in part)
            yield "/" if number < last else ""
