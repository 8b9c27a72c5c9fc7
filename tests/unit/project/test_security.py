"""docs/security.md promises nothing that no test holds."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/security.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


def test_the_page_names_its_tests() -> None:
    """Whole, as pytest takes them; none is cut or misspelt so that it would not be looked for."""
    assert len(NAMED) > 50
    assert len(re.findall(r"tests/[\w/]+\.py::", PAGE)) == len(re.findall(r"`tests/[\w/]+\.py::\w+`", PAGE))


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_each_test_that_a_promise_names_exists(file: str, name: str) -> None:
    """A promise whose test was renamed or removed is no longer held by anything that one can find."""
    path = ROOT / file
    assert path.is_file(), file
    functions = {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}

    assert name in functions


def test_each_promise_has_a_test() -> None:
    """Every point under a heading of what is believed of whom names one; the two lists at the ends are no promises."""
    sections = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]
    promising = [s for s in sections if s.partition("\n")[0] not in ("What is protected", "What is out of scope")]
    points = [point for section in promising for point in re.split(r"^\* ", section, flags=re.MULTILINE)[1:]]

    assert len(points) > 20
    assert [point for point in points if "::" not in point] == []


def test_reporters_find_the_way() -> None:
    """From the front page and back."""
    assert "(SECURITY.md)" in (ROOT / "README.md").read_text()
    assert "(docs/security.md)" in (ROOT / "SECURITY.md").read_text()
    assert "(../SECURITY.md)" in PAGE
