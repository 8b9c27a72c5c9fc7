"""The configuration files that the documentation shows, by where they stand."""

import re
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


def shown() -> tuple[Shown, ...]:
    """Every block of resources or settings of README, docs and manual pages."""
    pages = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/man").glob("*.scd")))
    return tuple(
        Shown(page.name, number, match["text"], page.name == _SETTINGS_PAGE)
        for page in pages
        for number, match in enumerate(_FENCE.finditer(page.read_text()))
        if _FRAGMENT not in match["text"] and (_is_resources(match["text"]) or page.name == _SETTINGS_PAGE)
    )


def _is_resources(text: str) -> bool:
    return any(line.startswith("apiVersion:") for line in text.splitlines())
