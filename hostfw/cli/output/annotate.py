"""A file as its author wrote it, with the problems in place: a mark at the line's end, and what it means below."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain

from hostfw.cli.output.problems import lines_of, manifests, place
from hostfw.cli.output.terminal import printable
from hostfw.model.problems import Problem, Severity, in_order
from hostfw.model.sources import Configuration, Source

_FOOTERS = ((Severity.ERROR, "E", "Errors"), (Severity.WARNING, "W", "Warnings"))


def annotated(problems: Iterable[Problem], configuration: Configuration) -> Iterator[str]:
    """Every manifest that has a problem, annotated; then the problems of Feeds' files and of what could not be read."""
    by_path: defaultdict[str, list[Problem]] = defaultdict(list)
    for problem in in_order(problems):
        by_path[problem.position.path].append(problem)
    for source in manifests(configuration):
        if source.path in by_path:
            yield from annotated_file(source, lines_of(source), by_path.pop(source.path))
    yield from (f"# {printable(f'{place(p)}: {_sentence(p)}')}" for p in chain.from_iterable(by_path.values()))


def annotated_file(source: Source, lines: list[str], problems: Iterable[Problem]) -> Iterator[str]:
    """The lines of one file, marked `# E1` for its first error and `# W1` for its first warning, and a footer."""
    marks: defaultdict[int, list[str]] = defaultdict(list)
    footers: dict[Severity, list[str]] = {severity: [] for severity, _, _ in _FOOTERS}
    letters = {severity: letter for severity, letter, _ in _FOOTERS}
    for problem in problems:
        _, number, column = problem.position
        footer = footers[problem.severity]
        mark = f"{letters[problem.severity]}{len(footer) + 1}"
        marks[number].append(mark)
        footer.append(f"#   {mark}: line {number}, column {column}: {_sentence(problem)}")

    yield f"# {printable(source.path)}"
    for number, line in enumerate(lines[:-1] if lines[-1] == "" else lines, start=1):
        shown = "\t".join(map(printable, line.split("\t")))
        yield f"{shown}  # {', '.join(marks[number])}" if number in marks else shown
    for severity, _, title in _FOOTERS:
        if footers[severity]:
            yield f"# {title}:"
            yield from map(printable, footers[severity])
    yield ""


def _sentence(problem: Problem) -> str:
    """The problem, the expectation and the next step in one line."""
    expected = f"; expected {problem.expected}" if problem.expected else ""
    hint = f" ({problem.hint})" if problem.hint else ""
    return f"{problem.message}{expected}{hint}"
