"""Problems as people read them: where and what, the line of the file with a caret, what was expected, what to do.

    policies/web.yaml:7:3: unknown field "selectr"
       7 |   selectr: all()
         |   ^
         expected: one of applyOnForward, egress, ...
         hint: did you mean "selector"?

The first line has the form that editors and CI systems find places by.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from hostfw.cli.output.console import Style, painted
from hostfw.cli.output.terminal import glyph_width, printable, wrapped
from hostfw.model.positions import LINE_BREAK
from hostfw.model.problems import Problem, Severity, errors, in_order
from hostfw.model.sources import Configuration, Source
from hostfw.model.wording import counted

WIDTH = 100
"""The most columns of a source line that are shown; of a longer one, those around the caret."""

_LEAST_ROOM = 20
_TAB = 8
_MARGIN = "     "
_CUT = "…"


def report(
    problems: Iterable[Problem],
    configuration: Configuration,
    *,
    colour: bool = False,
    width: int | None = None,
    whole: bool = False,
) -> Iterator[str]:
    """Every problem in order, each with the line of the manifest that it is about, and with `whole` with all names.

    Lines of the files that Feeds name are not shown: whoever wrote the Feed may have named what they must not read.
    """
    by_path = {source.path: source for source in manifests(configuration)}

    @cache
    def lines_at(path: str) -> list[str]:
        return lines_of(by_path[path]) if path in by_path else []

    for problem in in_order(problems):
        lines = lines_at(problem.position.path)
        number = problem.position.line
        line = lines[number - 1] if 0 < number <= len(lines) else None
        yield from problem_lines(problem, line, colour=colour, width=width)
        if whole and problem.more:
            yield from wrapped(printable(f"{_MARGIN}and: {', '.join(problem.more)}"), width, f"{_MARGIN}  ")


def problem_lines(
    problem: Problem, line: str | None, *, colour: bool = False, width: int | None = None
) -> Iterator[str]:
    """One problem; `line` is the line of the file that it is about, or None where there is none to show.

    Without a `width` of a terminal each sentence is one line, as editors and CI systems want it.
    """
    is_warning = problem.severity is Severity.WARNING
    style = Style.WARNING if is_warning else Style.ERROR
    where, label = f"{printable(place(problem))}:", " warning:" if is_warning else ""
    head, *more = wrapped(printable(f"{where}{label} {problem.message}"), width, "  ")
    if head.startswith(f"{where}{label}"):
        styled = label.replace("warning:", painted("warning:", style, on=colour))
        head = f"{painted(where, Style.WHERE, on=colour)}{styled}{head[len(where + label) :]}"
    yield from (head, *more)
    if line is not None and line.strip():
        number = f"{problem.position.line:4}"
        room = WIDTH if width is None else max(min(WIDTH, width - len(number) - len(" | ")), _LEAST_ROOM)
        shown, offset = excerpt(line, problem.position.column, room)
        yield f"{number} | {shown}".rstrip()
        yield f"{' ' * len(number)} | {' ' * offset}{painted('^', style, on=colour)}"
    for what, text in (("expected", problem.expected), ("hint", problem.hint)):
        if text:
            first, *more = wrapped(printable(f"{_MARGIN}{what}: {text}"), width, f"{_MARGIN}  ")
            yield f"{_MARGIN}{painted(f'{what}:', Style.FAINT, on=colour)}{first[len(f'{_MARGIN}{what}:') :]}"
            yield from more


def place(problem: Problem) -> str:
    """`path:line:column`, or as much of it as there is."""
    position = problem.position
    if not position.path:
        return "hostfw"
    return str(position) if position.line else position.path


def excerpt(line: str, column: int, width: int = WIDTH) -> tuple[str, int]:
    """A line of a file as a terminal shows it, at most `width` wide, and how many columns lie before the caret.

    `column` counts characters from 1, as YAML does. Tabs become blanks, and wide characters take two columns.
    """
    at = min(max(column - 1, 0), len(line))
    # Of a line of megabytes, no more than could be shown is looked at.
    first, last = max(at - 2 * width, 0), at + 2 * width
    glyphs = _glyphs(line[first:last])
    widths = [sum(map(glyph_width, glyph)) for glyph in glyphs]
    at -= first
    is_cut = first > 0 or last < len(line)
    if not is_cut and sum(widths) <= width:
        return "".join(glyphs), sum(widths[:at])

    start = at
    before = 0
    while start > 0 and before + widths[start - 1] <= width // 2:
        start -= 1
        before += widths[start]
    end = start
    total = 0
    while end < len(glyphs) and total + widths[end] <= width - 2:
        total += widths[end]
        end += 1
    head = _CUT if first + start > 0 else ""
    tail = _CUT if first + end < len(line) else ""
    return f"{head}{''.join(glyphs[start:end])}{tail}", len(head) + before


def _glyphs(line: str) -> list[str]:
    """The glyphs of each character; a tab is as many blanks as lead to the next multiple of eight."""
    glyphs: list[str] = []
    offset = 0
    for character in line:
        glyph = " " * (_TAB - offset % _TAB) if character == "\t" else printable(character)
        glyphs.append(glyph)
        offset += sum(map(glyph_width, glyph))
    return glyphs


def lines_of(source: Source) -> list[str]:
    """The lines of a manifest as positions count them, without their ends."""
    return LINE_BREAK.split(source.text)


def manifests(configuration: Configuration) -> tuple[Source, ...]:
    """The YAML files of a configuration, the settings first."""
    settings = (configuration.settings,) if configuration.settings else ()
    return (*settings, *configuration.resources)


def tally(problems: Sequence[Problem]) -> str:
    """The numbers of problems and of files that have them."""
    wrong = errors(problems)
    warnings = len(in_order(problems)) - len(wrong)
    files = len({problem.position.path for problem in problems})
    counts = [counted(len(wrong), "problem")] if wrong else []
    counts.extend([counted(warnings, "warning")] if warnings else [])
    return f"{' and '.join(counts)} in {counted(files, 'file')}" if counts else "no problems"
