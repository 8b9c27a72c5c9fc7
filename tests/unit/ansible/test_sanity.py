"""Rules of ansible-test that need no ansible-test to be held."""

import ast
from pathlib import Path

import pytest

_COLLECTION = Path(__file__).parents[3] / "ansible"
_LICENSED = sorted([*(_COLLECTION / "plugins/modules").glob("*.py"), *(_COLLECTION / "plugins/lookup").glob("*.py")])
_IGNORED = (_COLLECTION / "tests/sanity/ignore-2.19.txt").read_text().splitlines()


def test_each_module_and_lookup_is_excepted_from_the_licence_that_ansible_wants() -> None:
    """The licence of hostfw is version 2 or later; nothing else is excepted."""
    names = [path.relative_to(_COLLECTION) for path in _LICENSED]

    assert sorted(_IGNORED) == sorted(f"{name} validate-modules:missing-gplv3-license" for name in names)


@pytest.mark.parametrize(
    "path", sorted((_COLLECTION / "plugins").rglob("*.py")), ids=lambda path: str(path.relative_to(_COLLECTION))
)
def test_no_name_is_an_underscore(path: Path) -> None:
    """Ansible keeps it for translations."""
    names = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)]

    assert [node.lineno for node in names if node.id == "_"] == []
