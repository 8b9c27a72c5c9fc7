"""Paths of the controller, as a person types them to a playbook of the collection."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[3] / "ansible/plugins/module_utils/paths.py"
_SPEC = spec_from_file_location("ansible_paths", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
paths = module_from_spec(_SPEC)
_SPEC.loader.exec_module(paths)


def test_a_relative_path_is_beside_the_playbook_or_where_the_person_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before for whoever has a playbook; what neither place has is named in the person's own."""
    (tmp_path / "site/policies").mkdir(parents=True)
    (tmp_path / "here/policies").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    beside = str(tmp_path / "site")

    assert paths.found_at("policies", beside) == f"{beside}/policies"
    assert paths.found_at("policies", str(tmp_path / "collection")) == str(tmp_path / "here/policies")
    assert paths.found_at("missing", beside) == str(tmp_path / "here/missing")
    assert paths.found_at("report.md") == str(tmp_path / "here/report.md")


def test_an_absolute_path_and_none_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A home directory is written out; an empty text is no directory."""
    monkeypatch.setenv("HOME", "/home/ops")

    assert paths.found_at("/srv/policies", "/site") == "/srv/policies"
    assert paths.found_at("~/policies", "/site") == "/home/ops/policies"
    assert paths.found_at("", "/site") == ""
