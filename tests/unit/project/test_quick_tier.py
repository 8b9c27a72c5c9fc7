"""The definition of `make quick`: all tests of three tiers but the slow ones, which everything else runs."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[3]
CONFTEST = ROOT / "tests" / "conftest.py"


def test_quick_leaves_out_the_slow_tests_and_nothing_else_does() -> None:
    """The one line with the switch is that of `make quick`; `make test`, which CI runs, has none."""
    lines = [line.split() for line in (ROOT / "Makefile").read_text().splitlines() if "--quick" in line]

    (words,) = lines
    assert words[:4] == ["PYTHONDONTWRITEBYTECODE=", "$(PYTEST)", "-q", "--quick"]
    assert words[4:] == ["$(FORGET)", "--numprocesses=auto", "tests/unit", "tests/golden", "tests/property"]
    assert "make --no-print-directory test\n" in (ROOT / ".ci" / "run").read_text()
    marked = re.findall(
        r"-m ('[^']*'|\S+)", re.sub(r"-m (pytest|venv|pip|hostfw|tools|lab|bench)\b", "", _recipe("test"))
    )
    assert marked == ["'not alone'", "alone"], "together all of them"
    assert "slow" not in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize(
    ("marker", "listed", "switch", "runs"),
    [
        ("slow", False, "--quick", False),
        ("", True, "--quick", False),
        ("", False, "--quick", True),
        ("slow", True, "", True),
        ("slow", True, "--update-slow", False),
        ("", True, "--update-slow", True),
    ],
)
def test_the_switch_skips_a_slow_test_with_the_reason(
    request: pytest.FixtureRequest, marker: str, *, listed: bool, switch: str, runs: bool
) -> None:
    """As a skip, which the table at the end counts; who times the tests anew runs those that are listed."""
    conftest = request.config.pluginmanager.get_plugin(str(CONFTEST))
    assert conftest is not None
    marks: list[pytest.MarkDecorator] = []
    item = SimpleNamespace(
        path=ROOT / "tests" / "unit" / "test_any.py",
        nodeid=conftest.SLOW_TESTS.read_text().splitlines()[0] if listed else "tests/unit/test_any.py::test_it",
        get_closest_marker=lambda name: name == marker,
        add_marker=marks.append,
    )
    config = SimpleNamespace(getoption=lambda name: name == switch)

    conftest.pytest_collection_modifyitems(config, [item])

    assert [mark.kwargs["reason"] for mark in marks] == ([] if runs else [conftest.SLOW])


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_pages_say_what_quick_leaves_out(page: str) -> None:
    """A developer who has seen it pass knows what has not run."""
    [line] = [line for line in (ROOT / page).read_text().splitlines() if line.startswith("make quick ")]

    assert "slow" in line


def _recipe(target: str) -> str:
    """The lines that a target runs."""
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("target", ["kernel", "attacks"])
def test_a_tier_alone_tries_as_many_examples_as_in_make_test(target: str) -> None:
    """`make kernel` and `make attacks` tried as few as `make quick`, so what they passed could fail in CI."""
    makefile = (ROOT / "Makefile").read_text()

    assert "FULL := $(PYTEST) --hypothesis-profile=full\n" in makefile
    assert f"$(FULL) tests/{target};" in _recipe(target)
    for run in (
        "-m 'not alone' $(addprefix tests/,$(HOSTS) $(NAMESPACES))",
        "-m alone $(addprefix tests/,$(HOSTS) $(NAMESPACES))",
    ):
        [line] = [line for line in _recipe("test").splitlines() if run in line]
        assert "$(FULL)" in line
