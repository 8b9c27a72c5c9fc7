"""A review of a fleet as a document for programs, as text, as the comment of a pull request, and as a page."""

from collections import Counter
from collections.abc import Iterator
from html import escape

from hostfw.cli.fleet.layout import warnings_of
from hostfw.cli.fleet.review import HostReview, Review
from hostfw.cli.output.documents import Document, document, problem_item
from hostfw.model.host.services import port_text
from hostfw.model.problems import errors
from hostfw.model.wording import counted

_MOST = 20
"""Most lines of one kind that are shown of a host."""
_SIGNS = {"+": "new", "~": "changed", "-": "gone"}
_STYLE = """\
body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#222}table{border-collapse:collapse}
td,th{border:1px solid #ccc;padding:.25rem .6rem;text-align:left;vertical-align:top}th{background:#f4f4f4}
.bad{color:#a00}.good{color:#070}pre{background:#f7f7f7;padding:.5rem;overflow:auto}"""


def review_document(review: Review) -> Document:
    """The FleetReview."""
    return document(
        "FleetReview",
        {
            "valid": review.is_valid,
            "holds": review.holds,
            "compared": review.compared,
            "gone": list(review.gone),
            "hosts": [_host(one) for one in review.hosts],
            "tests": [
                {
                    "test": result.expectation.test,
                    "text": result.expectation.text,
                    "path": result.expectation.position.path,
                    "line": result.expectation.position.line,
                    "holds": result.holds,
                    "asked": result.asked,
                    "otherwise": list(result.otherwise),
                }
                for result in review.results
            ],
            "services": [port_text(*service) for service in review.services],
            "reach": [
                {"from": source, "to": target, "services": [port_text(*service) for service in services]}
                for source, target, services in review.reached
            ],
        },
    )


def _host(one: HostReview) -> Document:
    built = one.host.generation
    return {
        "host": one.host.name,
        "node": built.plan.node if built else None,
        "generation": built.id if built else None,
        "policies": len(built.candidate.resources.enforced) if built else None,
        "interfaces": built.governed_interfaces if built else None,
        "new": one.is_new,
        "differences": [
            {"change": _SIGNS[found.sign.value], "resource": found.what, "lines": list(found.lines)}
            for found in one.differences
        ],
        "closes": [change.in_full for change in one.exposure if change.closes],
        "opens": [change.in_full for change in one.exposure if not change.closes],
        "problems": [problem_item(problem) for problem in one.host.problems],
    }


def summary(review: Review) -> str:
    """The result in one line."""
    refused = sum(one.host.generation is None for one in review.hosts)
    parts = [counted(len(review.hosts), "host")]
    if review.compared:
        parts.append(f"{sum(one.changes for one in review.hosts)} would change")
    parts.extend([f"{refused} refused"] if refused else [])
    if review.results:
        failed = sum(not result.holds for result in review.results)
        parts.append(f"{failed} of {counted(len(review.results), 'test')} failed" if failed else "every test holds")
    return ", ".join(parts)


def text_lines(review: Review) -> Iterator[str]:
    """The review for a terminal: hosts that are alike in what they change together."""
    for group in _groups(review):
        yield f"{', '.join(one.host.name for one in group)}:"
        yield from (f"    {line}" for line in _lines(group[0]))
    for result in review.results:
        if not result.holds:
            said = result.expectation
            yield f"{said.position.file_line}: {said.test}: {said.text}"
            yield from (f"    {line}" for line in result.otherwise or ("matches no connection of the fleet",))
    yield from (f"{name}: no more a host of this fleet" for name in review.gone)
    for source, target, services in review.reached:
        yield f"{source} -> {target}: {', '.join(port_text(*service) for service in services)}"


def markdown(review: Review) -> str:
    """The comment of a pull request."""
    lines = [f"### hostfw: {summary(review)}", ""]
    failed = [result for result in review.results if not result.holds]
    for result in failed:
        place = result.expectation.position.file_line
        lines.append(f"- ❌ **{_cell(result.expectation.test)}** `{result.expectation.text}` ({place})")
        lines.extend(f"  - {_cell(line)}" for line in result.otherwise or ("matches no connection of the fleet",))
    lines.extend([""] if failed else [])
    for group in _groups(review):
        names = ", ".join(one.host.name for one in group[:_MOST])
        more = f" and {len(group) - _MOST} more" if len(group) > _MOST else ""
        lines.append(f"<details><summary>{counted(len(group), 'host')}: {_cell(names)}{more}</summary>")
        lines.extend(["", "```diff", *_lines(group[0]), "```", "", "</details>", ""])
    if review.gone:
        lines.extend([f"No more of this fleet: {', '.join(review.gone)}", ""])
    if review.reached:
        lines.extend(["| from | to | reaches |", "|---|---|---|"])
        lines.extend(
            f"| {source} | {target} | {', '.join(port_text(*service) for service in services)} |"
            for source, target, services in review.reached
        )
    return "\n".join(lines).rstrip("\n") + "\n"


def page(review: Review) -> str:
    """A page of HTML that needs nothing else: what changes, the tests, and who reaches whom as a matrix."""
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><title>hostfw: the fleet</title>',
            f"<style>{_STYLE}</style></head><body>",
            f"<h1>{escape(summary(review))}</h1>",
            *_tests_html(review),
            *_changes_html(review),
            *_matrix_html(review),
            "</body></html>",
            "",
        )
    )


def _tests_html(review: Review) -> Iterator[str]:
    if not review.results:
        return
    yield "<h2>Tests</h2><table><tr><th>test</th><th>says</th><th>result</th></tr>"
    for result in review.results:
        said = result.expectation
        told = "<br>".join(map(escape, result.otherwise)) or (
            f"{result.asked} connections" if result.asked else "matches no connection of the fleet"
        )
        style = "good" if result.holds else "bad"
        yield f'<tr><td>{escape(said.test)}</td><td>{escape(said.text)}</td><td class="{style}">{told}</td></tr>'
    yield "</table>"


def _changes_html(review: Review) -> Iterator[str]:
    for group in _groups(review):
        yield f"<h2>{escape(', '.join(one.host.name for one in group))}</h2>"
        yield f"<pre>{escape(chr(10).join(_lines(group[0])))}</pre>"


def _matrix_html(review: Review) -> Iterator[str]:
    if not review.services:
        return
    names = [one.host.name for one in review.hosts]
    cells = {(source, target): services for source, target, services in review.reached}
    yield "<h2>Who reaches whom</h2><table><tr><th>from \\ to</th>"
    yield "".join(f"<th>{escape(name)}</th>" for name in names) + "</tr>"
    for source in names:
        row = (
            "<td>-</td>"
            if source == target
            else f"<td>{escape(', '.join(port_text(*one) for one in cells.get((source, target), ())))}</td>"
            for target in names
        )
        yield f"<tr><th>{escape(source)}</th>{''.join(row)}</tr>"
    yield "</table>"


def _groups(review: Review) -> Iterator[list[HostReview]]:
    """The hosts that have something to tell, those that tell the same together; refused ones come first."""
    by_lines: dict[tuple[str, ...], list[HostReview]] = {}
    for one in sorted(review.hosts, key=lambda one: (one.host.generation is not None, one.host.name)):
        lines = tuple(_lines(one))
        if lines:
            by_lines.setdefault(lines, []).append(one)
    yield from by_lines.values()


def _lines(one: HostReview) -> Iterator[str]:
    refused = errors(one.host.problems)
    yield from _first([f"refused: {problem}" for problem in refused])
    if one.is_new:
        yield "new to the fleet: what is open there now is not known"
    yield from _first([f"{found.sign} {found.what}" for found in one.differences])
    for closes, word in ((True, "-"), (False, "+")):
        yield from _first([f"{word} {change.in_full}" for change in one.exposure if change.closes is closes])
    told = Counter(str(problem) for problem in warnings_of(one.host))
    yield from _first([f"{text}" for text in told])


def _first(lines: list[str]) -> Iterator[str]:
    yield from lines[:_MOST]
    if len(lines) > _MOST:
        yield f"and {len(lines) - _MOST} more"


def _cell(text: str) -> str:
    return text.replace("|", "&#124;").replace("<", "&lt;")
