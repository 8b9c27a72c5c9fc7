"""Mistakes in manifests, settings and facts, with the full text of their problems.

The cases are text files: `### ` and the form that wraps the text, the text, and behind `> ` the problems. To add one,
write the form and the text, run with --update-golden, and read what it says.
"""

from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from hostfw.manifest.files.facts_file import decode_facts
from hostfw.model.problems import Problem
from hostfw.model.sources import Source
from tests.unit.builders.policy_texts import CALICO, HOSTFW, decoded, manifest, mistakes, policy, rule

CASES = Path(__file__).parents[2] / "data/mistakes"
FILES = sorted(CASES.glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_mistake_is_told_in_full(path: Path, update_golden: bool) -> None:
    """Place, message, what was expected, and a hint; all of a text's mistakes at once."""
    written = path.read_text()
    told = "\n".join(f"### {form}\n{text}\n{_told(form, text)}" for form, text in _cases(written))

    if update_golden:
        path.write_text(told)
    assert told == written


def test_there_are_mistakes_in_every_form() -> None:
    """An empty folder would agree with everything."""
    assert [path.stem for path in FILES] == [
        "cluster-policies",
        "envelopes",
        "facts",
        "kinds",
        "nft-rules",
        "policies",
        "rules",
        "settings",
    ]
    assert all(len(list(_cases(path.read_text()))) > 8 for path in FILES)


LIMITS = [
    (rule(f"action: Allow, source: {{nets: [{', '.join(['10.0.0.0/8'] * 257)}]}}"), "nets has 257 items", "256"),
    (rule(f"action: Allow, protocol: TCP, source: {{ports: [{', '.join(['1'] * 51)}]}}"), "ports has 51 items", "50"),
    (policy(f"{{egress: [{', '.join(['{action: Log}'] * 1025)}]}}"), "egress has 1025 items", "1024"),
    (policy(f"{{selector: has({'x' * 1020})}}"), "selector has 1025 characters", "1024"),
    (
        manifest("Tier", metadata=f"annotations: {{a: {'x' * 2**18}}}"),
        "metadata.annotations has 262145 bytes",
        "262144",
    ),
]


@pytest.mark.parametrize(("text", "message", "limit"), LIMITS, ids=[limit for _, _, limit in LIMITS])
def test_what_is_too_much_is_refused_with_the_limit(text: str, message: str, limit: str) -> None:
    """Calico's limits."""
    (problem,) = decoded(text).problems

    assert (problem.message, problem.expected) == (message, f"at most {limit}")


def test_names_that_are_too_long_are_shortened_in_messages() -> None:
    """A name of 254 characters would hide what was expected."""
    (problem,) = decoded(policy(name="x" * 254)).problems

    assert problem.message == f'metadata.name is "{"x" * 60}..."'


EXACT = [
    ("{selector: a = 'b'}", "4:20"),
    ("{selector: \"ä = 'b'\"}", "4:19"),
    ("{selector: 'a = ''b'''}", "4:21"),
    ("\n  selector: a\n    = 'b'", "5:13"),
    ("\n  selector: >-\n    a = 'b'", "5:13"),
    ("\n  selector: |\n    a == 'b'", "5:13"),
    ("{selector: \"a\\x20= 'b'\"}", "4:18"),
]


@pytest.mark.parametrize(("spec", "where"), EXACT)
def test_a_selectors_mistake_is_at_its_character_where_the_file_shows_it(spec: str, where: str) -> None:
    """And at the selector's beginning where line breaks or escapes stand between."""
    assert [told.split()[0] for told in mistakes(policy(spec))] == [where]


def _cases(content: str) -> Iterator[tuple[str, str]]:
    for case in content.removeprefix("### ").split("\n### "):
        form, *lines = case.splitlines()
        yield form, "\n".join(takewhile(lambda line: not line.startswith("> "), lines)).rstrip("\n")


def _told(form: str, text: str) -> str:
    lines = [f"> {line}\n" for problem in _problems(form, text) for line in _lines(problem)]
    assert lines, f"there is nothing wrong with {text}"
    return "".join(lines)


def _problems(form: str, text: str) -> tuple[Problem, ...]:
    match form:
        case "facts":
            return decode_facts(Source("facts.yaml", text))[1]
        case "settings":
            return decoded(settings=text).problems
        case "file":
            return decoded(text).problems
        case "rule":
            return decoded(rule(text)).problems
        case "policy":
            return decoded(policy(text)).problems
    version = HOSTFW if form in ("Feed", "InterfaceGroup", "NftRules") else CALICO
    return decoded(manifest(form, text, version=version)).problems


def _lines(problem: Problem) -> Iterator[str]:
    yield f"{problem.position.line}:{problem.position.column} {problem.message}"
    if problem.expected:
        yield f"    expected: {problem.expected}"
    if problem.hint:
        yield f"    hint: {problem.hint}"
