"""The site of the documentation: every page has its place, every link leads somewhere, and mkdocs builds it."""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from posixpath import normpath

import pytest
import yaml

from hostfw.cli.command_line.verb_table import VERBS
from tests.unit.project.documentation import ROOT
from tools import site
from tools.reference import every_metric, exit_statuses
from tools.site import CONFIGURATION, SiteError, build, markdown, pages

PAGES = pages()
_LINK = re.compile(r"\]\((?P<target>[^)#\s:]+)(?:#[^)]*)?\)")


def _places(nav: object) -> Iterator[str]:
    match nav:
        case str():
            yield nav
        case list():
            for entry in nav:
                yield from _places(entry)
        case dict():
            for entry in nav.values():
                yield from _places(entry)


def test_every_page_has_one_place_in_the_navigation() -> None:
    """Decisions are reached through their list."""
    found = list(_places(yaml.safe_load(CONFIGURATION.read_text())["nav"]))

    assert sorted(found) == sorted(path for path in PAGES if not path.startswith("adr/0"))


def test_every_link_within_the_site_leads_to_a_page() -> None:
    """Also where mkdocs is not there to say so."""
    astray = [
        f"{path}: {link['target']}"
        for path, text in PAGES.items()
        for link in _LINK.finditer(re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL))
        if normpath(str(PurePosixPath(path).parent / link["target"])) not in (*PAGES, "terminal.svg")
    ]

    assert astray == []


def test_a_link_to_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And names the page."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("[there](not-there.md)\n")
    monkeypatch.setattr(site, "ROOT", tmp_path)
    monkeypatch.setattr(site, "_PROJECT", ())

    with pytest.raises(SiteError, match=r"docs/index\.md: the link not-there\.md leads to nothing"):
        pages()


def test_mkdocs_builds_the_site_without_a_warning(tmp_path: Path) -> None:
    """With every page as HTML, and the picture."""
    if find_spec("mkdocs") is None or find_spec("material") is None:
        pytest.skip("mkdocs-material is not installed: pip install -r requirements-docs.txt")

    build(tmp_path / "site", tmp_path / "work")

    made = {str(path.relative_to(tmp_path / "site")) for path in (tmp_path / "site").rglob("*.html")}
    assert {re.sub(r"README$", "index", path.removesuffix(".md")) + ".html" for path in PAGES} <= made
    assert (tmp_path / "site/terminal.svg").read_text() == (ROOT / "docs/terminal.svg").read_text()


# --------------------------------------------------------------------------------------------------------- reference


def test_a_manual_page_becomes_markdown() -> None:
    """Headings, terms with their text, lists, literal blocks, emphasis, and links to our own pages."""
    manual = (
        "hostfw.yaml(5)\n\n# NAME\n\n*bold* _italic_ a\\_b and <x>\n\n*term*\n\tits text,\n\tin two lines.\n\n"
        "- *item*\n\n. first\n\n```\n*as it is*\n```\n\n*hostfwctl*(1), *hostfw-audit*(7), *nft*(8)\n"
    )

    assert markdown(manual) == (
        "# hostfw.yaml(5)\n\n## Name\n\n<strong>bold</strong> <em>italic</em> a&#95;b and &lt;x&gt;\n\n"
        "<strong>term</strong>\n:   its text,\n    in two lines.\n\n- <strong>item</strong>\n\n1. first\n\n"
        "```\n*as it is*\n```\n\n[<strong>hostfwctl</strong>(1)](hostfwctl.1.md), "
        "[<strong>hostfw-audit</strong>(7)](../audit.md), <strong>nft</strong>(8)\n"
    )


def test_the_reference_has_every_verb_and_its_exit_statuses() -> None:
    """Each verb ends with 0 at least, and statuses that wrap in the help are one row."""
    text = exit_statuses()
    sections = dict(re.findall(r"^## (\w+)\n\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))

    assert list(sections) == [verb.name for verb in VERBS]
    assert [name for name, rows in sections.items() if "\n| 0 | " not in rows] == []
    assert [line for line in text.splitlines() if line.startswith("|") and line.count("|") < 3] == []


def test_the_reference_has_every_metric() -> None:
    """Those that the service's own module names, each once, with its labels."""
    source = (ROOT / "hostfw/daemon/metrics/text.py").read_text()
    called = re.findall(r'_(?:gauge|total|moment|info|samples|traffic)\(\s*f?"([a-z_]+)"', source)
    words = re.findall(r'_Metric\("hostfw_([a-z_]+)"', source)
    names = [metric.name.removeprefix("hostfw_") for metric in every_metric()]

    assert len(names) == len(set(names)) > 20
    assert [name for name in (*called, *words) if not any(each.startswith(name) for each in names)] == []
    assert {metric.name: metric.labels for metric in every_metric()}["hostfw_drop_packets_total"] == (
        *("reason", "direction", "tier"),
        "family",
    )
