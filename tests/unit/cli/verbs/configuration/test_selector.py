"""`hostfwctl selector`: canonical forms, matches, and mistakes with their place."""

import json

import pytest

from tests.unit.cli_runs import hostfwctl

ANSWERED = [
    ("a selector", ["role=='web'&&!has(retired)"], 0, '(role == "web" && !has(retired))\n', ""),
    ("a blank one", [""], 0, "all()\n", ""),
    ("a match", ["role in {'web', 'db'}", "--label", "role=web"], 0, 'role in {"db", "web"}\nmatch\n', ""),
    (
        "no match, for want of the second label",
        ["role == 'web' && has(env)", "--label", "role=web"],
        10,
        '(role == "web" && has(env))\nno match\n',
        "",
    ),
    (
        "all of several labels",
        ["has(env) && role != 'db'", "--label", "role=web", "--label", "env="],
        0,
        '(has(env) && role != "db")\nmatch\n',
        "",
    ),
    (
        "one that manifests have elsewhere",
        ["global()"],
        0,
        "global()\n",
        "warning: global() is refused in the selector of a policy, and in that of a rule\n",
    ),
]


@pytest.mark.parametrize(("arguments", "status", "out", "err"), [c[1:] for c in ANSWERED], ids=[c[0] for c in ANSWERED])
def test_a_selector_has_a_canonical_form_and_matches_or_not(
    arguments: list[str], status: int, out: str, err: str
) -> None:
    """The status is the answer for scripts."""
    assert hostfwctl("selector", *arguments) == (status, out, err)


WRONG = [
    (
        "an assignment",
        ["role = 'web'"],
        3,
        """\
selector:1:6: the selector does not parse: a single "="
   1 | role = 'web'
     |      ^
     expected: ==
""",
    ),
    (
        "too much of it",
        ["a" * 1025],
        3,
        f"""\
selector:1:1025: the selector has 1025 characters
   1 | …{"a" * 51}
     | {" " * 51}^
     expected: at most 1024
""",
    ),
    (
        "a label without a value",
        ["all()", "--label", "a"],
        2,
        'hostfwctl: --label is "a"\n  hint: expected KEY=VALUE\n',
    ),
    (
        "a label twice",
        ["all()", "--label", "a=b", "--label", "a=c"],
        2,
        "hostfwctl: the label a is given twice\n  hint: expected each label once\n",
    ),
]


@pytest.mark.parametrize(("arguments", "status", "err"), [c[1:] for c in WRONG], ids=[c[0] for c in WRONG])
def test_a_mistake_is_told_with_its_place(arguments: list[str], status: int, err: str) -> None:
    """A caret points at it, as in a manifest."""
    assert hostfwctl("selector", *arguments) == (status, "", err)


@pytest.mark.parametrize(
    ("label", "message"), [("a b=c", 'the key of --label is "a b"'), ("a=b c", 'the label a is "b c"')]
)
def test_what_no_label_is_is_refused(label: str, message: str) -> None:
    """With the form that keys and values have."""
    status, out, err = hostfwctl("selector", "all()", "--label", label)

    assert (status, out) == (2, "")
    assert err.startswith(f"hostfwctl: {message}\n  hint: expected ")


def test_programs_get_documents() -> None:
    """Valid or not, matched or not asked."""
    match = json.loads(hostfwctl("selector", "has(a)", "--label", "a=b", "-o", "json").out)
    unasked = json.loads(hostfwctl("selector", "has(a)", "-o", "json").out)
    status, out, _ = hostfwctl("selector", "has(a", "-o", "json")
    invalid = json.loads(out)

    assert match == {
        "apiVersion": "hostfw.io/v1",
        "kind": "SelectorResult",
        "valid": True,
        "canonical": "has(a)",
        "labels": {"a": "b"},
        "matches": True,
    }
    assert unasked["matches"] is None
    assert (status, invalid["valid"], invalid["problem"]["column"]) == (3, False, 6)
