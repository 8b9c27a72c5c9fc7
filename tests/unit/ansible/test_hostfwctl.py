"""The Ansible collection's modules on hostfwctl's documents."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

_PATH = Path(__file__).parents[3] / "ansible/plugins/module_utils/hostfwctl.py"
_SPEC = spec_from_file_location("ansible_hostfwctl", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
hostfwctl = module_from_spec(_SPEC)
_SPEC.loader.exec_module(hostfwctl)

_PROBLEM = {"path": "web.yaml", "line": 7, "column": 3, "message": "unknown field", "expected": "egress", "hint": ""}


class _Module:
    """Enough of an AnsibleModule, which notes what it was to run."""

    def __init__(self, answer: tuple[int, str, str]) -> None:
        self.params = {"hostfwctl": "/usr/bin/hostfwctl"}
        self.answer = answer
        self.calls: list[tuple[list[str], str | None]] = []

    def run_command(self, command: list[str], cwd: str | None, environ_update: dict[str, str]) -> tuple[int, str, str]:
        """Note the command and answer."""
        assert environ_update == {"LC_ALL": "C.UTF-8"}
        self.calls.append((command, cwd))
        return self.answer


def test_a_verb_is_asked_for_its_document_in_a_directory() -> None:
    """Without colours, whatever the environment says."""
    module = _Module((0, '{"result": "applied"}', ""))

    assert hostfwctl.run_json(module, "apply", "-f", ".", cwd="/etc/hostfw.staging") == (0, {"result": "applied"}, "")
    assert module.calls == [
        (["/usr/bin/hostfwctl", "--color=never", "apply", "-f", ".", "-o", "json"], "/etc/hostfw.staging")
    ]


@pytest.mark.parametrize(
    ("why", "document", "err", "expected"),
    [
        ("problems have places", {"problems": [_PROBLEM]}, "x", "web.yaml:7:3: unknown field\n    expected: egress"),
        ("a failure has a hint", {"message": "no", "hint": "do", "inForce": "old"}, "x", "no\ndo\nold"),
        ("a change that was rolled back has a reason", {"reason": "too late"}, "", "too late"),
        (
            "what is in force and not saved",
            {"result": "applied", "saved": False, "warnings": ["the disk is full"], "problems": [_PROBLEM]},
            "x",
            "the disk is full",
        ),
        ("no document", {}, " hostfwctl: wrong\n", "hostfwctl: wrong"),
        ("nothing at all", {}, "", "hostfwctl said nothing"),
    ],
)
def test_a_complaint_is_in_the_words_of_hostfwctl(
    why: str, document: dict[str, object], err: str, expected: str
) -> None:
    """As a person would have read it on the host."""
    assert hostfwctl.complaint(document, err) == expected, why


@pytest.mark.parametrize("text", ["", "Traceback", "[1]", "null"])
def test_what_is_no_document_is_an_empty_one(text: str) -> None:
    """A module that expects fields finds none, and says what stderr said."""
    assert hostfwctl.parse(text) == {}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            '{"items": [{"name": "web", "labels": {"app": "web"}}, {"interface": "ve-x", "state": "unidentified"}]}',
            ["web"],
        ),
        ('{"items": []}', []),
        ('{"items": 7}', []),
        ("hostfwctl: there is no verb workloads", []),
    ],
)
def test_the_workloads_of_a_host_are_those_with_a_name(tmp_path: Path, answer: str, expected: list[str]) -> None:
    """An older hostfw knows none, and one that is not there neither."""
    module = _Module((0, answer, ""))
    module.params["hostfwctl"] = str(tmp_path / "hostfwctl")
    assert hostfwctl.workloads(module, "/etc/hostfw") == []

    (tmp_path / "hostfwctl").touch()
    assert [one["name"] for one in hostfwctl.workloads(module, "/etc/hostfw")] == expected
    (call,) = module.calls
    assert call[0][1:] == ["--color=never", "--config-dir", "/etc/hostfw", "workloads", "-o", "json"]
