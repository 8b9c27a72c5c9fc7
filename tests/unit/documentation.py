"""The configuration files and the commands that the documentation shows, by where they stand."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_SETTINGS_PAGE = "hostfw.yaml.5.scd"
_FRAGMENT = "[...]"
"""The mark of an omission in a block that shows a form, and is no file."""


class Shown(NamedTuple):
    """A configuration file that a page shows; `settings` is whether it is a hostfw.yaml."""

    page: str
    number: int
    text: str
    settings: bool

    def __str__(self) -> str:
        return f"{self.page}-{self.number}"


class Typed(NamedTuple):
    """A command line of hostfwctl that a page shows, without the name of the program and what is before it."""

    page: str
    line: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def shown() -> tuple[Shown, ...]:
    """Every block of resources or settings of README, docs and manual pages; recipes.py reads recipes as a whole."""
    pages = (
        ROOT / "README.md",
        *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.parent.name != "recipes"),
        *sorted((ROOT / "docs/man").glob("*.scd")),
    )
    return tuple(
        Shown(page.name, number, match["text"], page.name == _SETTINGS_PAGE)
        for page in pages
        for number, match in enumerate(_FENCE.finditer(page.read_text()))
        if _FRAGMENT not in match["text"] and (_is_resources(match["text"]) or page.name == _SETTINGS_PAGE)
    )


def _is_resources(text: str) -> bool:
    return any(line.startswith("apiVersion:") for line in text.splitlines())


def typed() -> tuple[Typed, ...]:
    """Every command line of hostfwctl in blocks of the pages for users, and within text where it is whole."""
    return tuple(
        Typed(str(path.relative_to(ROOT)), number, words)
        for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
        if path.parent.name != "adr"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for words in _commands(line)
    )


_IN_TEXT = re.compile(r"`(?:sudo )?(hostfwctl [^`]+)`")
_IN_BLOCK = re.compile(r"(?:    )?(?:sudo |ssh (?:-o \S+ )?\S+ (?:sudo )?)?(hostfwctl .*)")
_PLACEHOLDERS = {"NUMBER": "1", "N": "1", "YOUR-ADDRESS": "198.51.100.9", "NAME": "web", "ADDR": "198.51.100.9"}
_FORMS = re.compile(r"\[|\.\.\.|\{\{|\b(?:VERB|SRC|DST|KIND|PATH|WHAT|PEER)\b")
"""Marks of a form, which is no command."""


def _commands(line: str) -> Iterator[tuple[str, ...]]:
    in_block = _IN_BLOCK.fullmatch(line)
    for text in (in_block[1],) if in_block else _IN_TEXT.findall(line):
        command = re.split(r" [|>] |   +(?=[a-z])", text)[0]
        words = [_PLACEHOLDERS.get(word, word) for word in shlex.split(command, comments=True)[1:]]
        if words and not _FORMS.search(" ".join(words)):
            yield tuple(words)
