"""Imports of rule sets as people publish them: the very policy, and all that is said of it."""

from pathlib import Path

import pytest

from hostfw.importer.policy import as_policy
from hostfw.importer.text import policy_text
from tests.golden.test_golden import compare
from tests.import_sets import SETS, readings

HERE = Path(__file__).parent / "import"


@pytest.mark.parametrize("name", SETS)
def test_a_set_becomes_the_very_policy(name: str, *, update_golden: bool) -> None:
    """Each rule under its origin, and at the end what policy cannot say."""
    read = readings(SETS[name])
    assert not [problem for one in read for problem in one.problems]
    imported = as_policy([one.rules for one in read])
    notes = dict.fromkeys((*(note for one in read for note in one.notes), *imported.notes))
    said = "".join(f"# {note.position.file_line}: {note.message}\n" for note in notes)
    compare(HERE / f"{name}.txt", f"{policy_text(imported, name)}---\n{said}", update_golden=update_golden)
