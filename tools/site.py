"""Build the documentation as a site: the pages of docs/, and reference pages that the code fills.

    python3 -m tools.site [DIRECTORY]        the site (default: build/site); takes mkdocs-material

What mkdocs reads is laid out in `build/site-work` first: docs/ as it is, the pages about the project, the manual
pages as Markdown, and tables of exit statuses and metrics. A link to a page becomes a link within the site, one to
another file of the repository its name; one to nothing is an error, and so is every warning of mkdocs.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

from tools.manual import page
from tools.reference import exit_statuses, metrics

ROOT = Path(__file__).parents[1]
CONFIGURATION = ROOT / "docs/site.yml"
_PROJECT = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
_LINK = re.compile(r"(?P<text>!?\[[^\]\n]*\])\((?P<target>[^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LOG = "hostfw-audit.7.md"
"""The manual page that is docs/audit.md; the site has that."""
_MANUALS = {f"{path.stem}.md": path for path in sorted((ROOT / "docs/man").glob("*.scd")) if f"{path.stem}.md" != _LOG}


class SiteError(Exception):
    """A page that leads to nothing, or a site that mkdocs does not build; the message says which."""


def main() -> int:
    """Build the site into the directory that the command line names. Returns the exit status."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/site"
    try:
        build(target.resolve(), ROOT / "build/site-work")
    except SiteError as error:
        print(f"docs: {error}", file=sys.stderr)
        return 1
    return 0


def build(target: Path, work: Path) -> None:
    """Lay out the pages in `work` and have mkdocs build them, with every warning as an error. Raises SiteError."""
    lay_out(work)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(work / "mkdocs.yml")]
    done = subprocess.run(
        [*command, "--site-dir", str(target)],
        capture_output=True,
        text=True,
        check=False,
        # Else the theme advertises its successor on standard error.
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    if done.returncode != 0:
        raise SiteError(f"mkdocs does not build the site:\n{done.stderr}{done.stdout}")


def lay_out(work: Path) -> None:
    """Write every page, by the path that it has in the site, and mkdocs' configuration. Raises SiteError."""
    shutil.rmtree(work, ignore_errors=True)
    texts = {f"source/{path}": text for path, text in pages().items()}
    texts["mkdocs.yml"] = CONFIGURATION.read_text(encoding="utf-8")
    pictures = {f"source/{path.relative_to(ROOT / 'docs')}": path for path in (ROOT / "docs").rglob("*.svg")}
    texts |= {place: path.read_text(encoding="utf-8") for place, path in pictures.items()}
    for path, text in texts.items():
        place = work / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """Every page of the site in Markdown, by its path there. Raises SiteError."""
    written = {str(path.relative_to(ROOT)): path for path in sorted((ROOT / "docs").rglob("*.md"))}
    written |= {name: ROOT / name for name in _PROJECT}
    places = {name: _place(name) for name in written}
    made = {places[name]: _linked(path.read_text(encoding="utf-8"), name, places) for name, path in written.items()}
    made |= {f"reference/{name}": markdown(page(path.read_text("utf-8"))) for name, path in _MANUALS.items()}
    made["reference/exit-statuses.md"] = exit_statuses()
    made["reference/metrics.md"] = metrics()
    return made


def _place(name: str) -> str:
    return name.removeprefix("docs/")


# -------------------------------------------------------------------------------------------------------------- links


def _linked(text: str, name: str, places: Mapping[str, str]) -> str:
    """The text with links that hold within the site."""
    parts: list[str] = []
    end = 0
    for fence in _FENCED.finditer(text):
        parts += (_LINK.sub(lambda link: _link(link, name, places), text[end : fence.start()]), fence[0])
        end = fence.end()
    return "".join((*parts, _LINK.sub(lambda link: _link(link, name, places), text[end:])))


def _link(link: re.Match[str], name: str, places: Mapping[str, str]) -> str:
    target, hash_, anchor = link["target"].partition("#")
    if ":" in target or not target:
        return link[0]
    repository_path = normpath(str(PurePosixPath(name).parent / target))
    here = str(PurePosixPath(_place(name)).parent)
    if repository_path in places:
        return f"{link['text']}({relpath(places[repository_path], here)}{hash_}{anchor})"
    if repository_path.startswith("docs/reference/"):
        return link[0]
    if not (ROOT / repository_path).exists():
        raise SiteError(f"{name}: the link {link['target']} leads to nothing")
    if link["text"].startswith("!"):
        return link[0]
    return f"{link['text'][1:-1]} (`{repository_path}`)" if repository_path not in link["text"] else link["text"][1:-1]


# ------------------------------------------------------------------------------------------------------ manual pages


def markdown(manual: str) -> str:
    """A manual page for scdoc(1), with its tables filled in, as Markdown."""
    return "".join(_lines(manual))


def _lines(manual: str) -> Iterator[str]:
    title, _, rest = manual.partition("\n")
    yield f"# {title}\n"
    is_literal, is_definition = False, False
    for line in rest.splitlines():
        if line.startswith("```"):
            is_literal = not is_literal
            yield f"{line}\n"
        elif is_literal:
            yield f"{line}\n"
        elif line.startswith("\t"):
            text = _inline(line.strip("\t"))
            yield f"    {text}\n" if is_definition else f":   {text}\n"
            is_definition = True
        else:
            is_definition = False
            yield f"{_outer(line)}\n"


def _outer(line: str) -> str:
    """A line that is neither literal nor the text of a term."""
    heading = re.fullmatch(r"(#+) (.*)", line)
    if heading:
        words = heading[2].capitalize() if heading[2].isupper() else heading[2]
        return f"#{heading[1]} {_inline(words)}"
    if line.startswith(". "):
        return f"1. {_inline(line[2:])}"
    if line.startswith("- "):
        return f"- {_inline(line[2:])}"
    indent = len(line) - len(line.lstrip(" "))
    return f"{'    ' if indent else ''}{_inline(line.strip())}"


_TOKEN = re.compile(r"\\(?P<plain>.)|(?P<bold>\*)|(?P<italic>(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))|(?P<text>[^\\*_]+|_)")
_REFERENCE = re.compile(r"<strong>(?P<name>[a-z.-]+)</strong>\((?P<section>\d)\)")


def _inline(text: str) -> str:
    """Emphasis of scdoc as that of HTML, and the rest as plain text; names of our own manual pages are links."""
    parts: list[str] = []
    is_open = {"b": False, "i": False}
    for token in _TOKEN.finditer(text):
        if token["bold"] or token["italic"]:
            tag = "b" if token["bold"] else "i"
            is_open[tag] = not is_open[tag]
            element = {"b": "strong", "i": "em"}[tag]
            parts.append(f"<{'' if is_open[tag] else '/'}{element}>")
        else:
            parts.append(_plain(token["plain"] or token["text"]))
    parts += [f"</{element}>" for tag, element in (("i", "em"), ("b", "strong")) if is_open[tag]]
    return _REFERENCE.sub(_manual_link, "".join(parts))


def _plain(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|~])", lambda found: f"&#{ord(found[1])};", text)


def _manual_link(reference: re.Match[str]) -> str:
    name = f"{reference['name']}.{reference['section']}.md"
    if name == _LOG:
        return f"[{reference[0]}](../audit.md)"
    return f"[{reference[0]}]({name})" if name in _MANUALS else reference[0]


if __name__ == "__main__":
    sys.exit(main())
