"""The file `.hostfwignore`: which YAML files and folders below its folder are no files of hostfw.

A configuration directory is often a git tree, with pipelines, documentation and templates beside policy. A line is a
pattern, in a small part of the form of `gitignore(5)`: a name at any depth (`mkdocs.yml`, `*.tpl.yaml`), a path from
the folder of the file where there is a `/` before the end (`/values.yaml`, `ci/*.yml`), folders alone where there is
one at the end (`ci/`), `**` for any number of folders, `#` for comments. No `!` includes again what a line leaves out.
"""

import re
from dataclasses import dataclass

from hostfw.model.positions import LINE_BREAK, Position
from hostfw.model.problems import Problem
from hostfw.model.sources import Source


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
    for number, line in enumerate(LINE_BREAK.split(source.text), 1):
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
        return "what a line leaves out, no other line can include again with !"
    if any(character in text for character in "\\[]"):
        return "this line has [, ] or a backslash, which no pattern here may have"
    if not text.strip("/*"):
        return "this line would leave out everything"
    return ""


def _expression(text: str) -> str:
    """Make a regular expression for the relative paths that a pattern means, which is quick for every path.

    What stands between two stars is looked for from the left, and the first place where it fits is as good as any
    other. An atomic group keeps to it; otherwise a long name is tried in more ways than anyone can wait for.
    """
    path = text.rstrip("/")
    parts = [part for part in path.split("/") if part]
    if "/" not in path:
        parts.insert(0, "**")
    runs: list[list[str]] = [[]]
    for part in parts:
        if part == "**":
            runs.append([])
        else:
            runs[-1].append(_component(part))
    first, *more = ("/".join(run) for run in runs)
    if not more:
        return first
    start = f"{first}/" if first else ""
    between = "".join(f"(?>(?:[^/]*/)*?{run}/)" for run in more[:-1] if run)
    return f"{start}{between}{f'(?:[^/]*/)*{more[-1]}' if more[-1] else '.*'}"


def _component(part: str) -> str:
    """Make the expression for one name, which is followed by a slash or by the end."""
    pieces = [re.escape(piece).replace(r"\?", "[^/]") for piece in re.split(r"\*+", part)]
    first, *more = pieces
    if not more:
        return first
    return "".join((first, *(f"(?>[^/]*?{piece})" for piece in more[:-1]), f"[^/]*{more[-1]}"))
