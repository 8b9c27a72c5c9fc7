"""Data for machines: documents with an apiVersion and a kind, as JSON or YAML."""

from collections.abc import Iterable, Mapping

from hostfw.cli.command_line.options import Output
from hostfw.model.api_versions import HOSTFW_V1
from hostfw.model.problems import Problem, Severity, in_order

Document = Mapping[str, object]


def document(kind: str, content: Document) -> Document:
    """Content under the version and kind by which a program knows what it reads.

    Within `hostfw.io/v1` fields are added, never changed or taken away.
    """
    return {"apiVersion": HOSTFW_V1, "kind": kind, **content}


def document_text(content: Document, output: Output) -> str:
    """A document in the form that was asked for, without the last newline."""
    return yaml_text(content) if output is Output.YAML else json_text(content)


def json_text(content: Document) -> str:
    """A document as JSON that people can read as well."""
    import json

    return json.dumps(content, indent=2, ensure_ascii=False)


def yaml_text(content: Document) -> str:
    """A document as YAML, its fields in the order given."""
    import yaml

    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120).removesuffix("\n")


def problem_list(problems: Iterable[Problem]) -> Document:
    """The ProblemList of some problems.

    `line` and `column` count from 1. `expected` and `hint` are empty where there is nothing to say.
    """
    ordered = in_order(problems)
    wrong = sum(problem.severity is Severity.ERROR for problem in ordered)
    return document(
        "ProblemList",
        {
            "summary": {"errors": wrong, "warnings": len(ordered) - wrong},
            "items": [problem_item(problem) for problem in ordered],
        },
    )


def problem_item(problem: Problem) -> Document:
    """One problem as an item of a ProblemList."""
    return {
        "path": problem.position.path,
        "line": problem.position.line,
        "column": problem.position.column,
        "severity": problem.severity.value,
        "message": problem.message,
        "expected": problem.expected,
        "hint": problem.hint,
    }
