"""Imports of rule sets as people publish them: 10,000 packets are treated as they were."""

import pytest

from hostfw.importer.comparison import PACKETS, compare
from hostfw.importer.policy import as_policy
from hostfw.importer.rule_set import Hook, Verdict
from hostfw.importer.text import policy_text
from hostfw.manifest.decode import decode
from hostfw.model.sources import Configuration, Source
from tests.import_sets import SETS, readings
from tests.property.test_import import BARE


@pytest.mark.parametrize("name", SETS)
def test_a_set_treats_packets_as_it_did(name: str) -> None:
    """All but what is forwarded by where it goes out, which is named, and closed rather than opened."""
    read = readings(SETS[name])
    imported = as_policy([one.rules for one in read])
    decoded = decode(Configuration(resources=(Source("imported.yaml", policy_text(imported, name)),)))
    assert not decoded.problems

    found = compare([one.rules for one in read], decoded.resources, BARE, PACKETS)

    named = any("where it goes out: the rule is left out" in note.message for note in imported.notes)
    different = [one for one in found.differences if not named or one.hook is not Hook.FORWARD]
    assert not different
    assert all(one.before is Verdict.ALLOW for one in found.differences)
