"""The configuration files and the commands that the documentation shows, by where they stand."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).parents[3]
_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_SETTINGS_PAGE = "hostfw.yaml.5.scd"
_OF_OTHERS = "bin_path: /usr/lib/hostfw/crowdsec-bouncer"
"""The first line of a file of another program."""
_KEY = re.compile(r"[\w./-]+")
"""A key of a mapping; a line of a shell may be read as one with spaces in it."""
_FRAGMENT = "[...]"
"""The mark of an omission in a block that shows a form, and is not a file."""


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


def unseen() -> tuple[str, ...]:
    """Blocks that look like configuration and that nothing reads, by page and number; recipes are read as a whole."""
    pages = [
        ROOT / "README.md",
        *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.parent.name != "recipes"),
        *sorted((ROOT / "docs/man").glob("*.scd")),
    ]
    read = {each.text for each in shown()}
    return tuple(
        f"{page.name}-{number}"
        for page in pages
        for number, match in enumerate(_FENCE.finditer(page.read_text()))
        if match["text"] not in read
        and not any(word in match["text"] for word in (_FRAGMENT, _OF_OTHERS))
        and _is_yaml(match["language"], match["text"])
    )


def _is_yaml(language: str, text: str) -> bool:
    """True for a block that says so, and for one without a language that is a mapping, or a list of mappings."""
    if language:
        return language in ("yaml", "yml")
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        return False
    items = found if isinstance(found, list) else [found]
    return any(isinstance(item, dict) and all(_KEY.fullmatch(str(key)) for key in item) for item in items)


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
