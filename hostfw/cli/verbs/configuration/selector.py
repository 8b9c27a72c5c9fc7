"""`hostfwctl selector`: whether an expression is a selector, its canonical form, and whether it selects some labels."""

from argparse import ArgumentParser
from collections.abc import Iterable, Mapping

from hostfw.cli.command_line.arguments import add_output
from hostfw.cli.command_line.options import Options, Output
from hostfw.cli.output.console import NO_MATCH, Console, ExitCode, Style, painted
from hostfw.cli.output.documents import document, json_text, problem_item
from hostfw.cli.output.help_page import Page
from hostfw.cli.output.problems import problem_lines
from hostfw.cli.output.terminal import printable
from hostfw.manifest.scalars.name_forms import LABEL_KEY_EXPECTED, LABEL_VALUE, is_label_key
from hostfw.manifest.scalars.scalars import SELECTOR_LIMIT
from hostfw.model.positions import Position
from hostfw.model.problems import Problem
from hostfw.selector.evaluate import Selector, SelectorError, canonical, matches, parse

_NOWHERE_BUT = "global() is refused in the selector of a policy, and in that of a rule"


class _LabelError(Exception):
    """An invalid label, and the expected form."""

    def __init__(self, message: str, expected: str) -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected


USAGE = "EXPR [--label KEY=VALUE]... [-o text|json]"
HELP = Page(
    """\
Print the canonical form of a selector, or what is wrong with it and where. With labels
also print whether something with these labels, and no others, is selected.

With -o json this is a document of kind SelectorResult (hostfw.io/v1).""",
    """\
hostfwctl selector "role == 'web' && !has(retired)"
hostfwctl selector "role in {'web', 'db'}" --label role=web --label env=prod""",
    """\
0   a selector; with labels: a match
2   a label is wrong
3   no selector
10  no match""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    parser.add_argument("selector", metavar="EXPR", help="a selector, such as role == 'web'; quote it for the shell")
    parser.add_argument(
        "--label",
        dest="labels",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a label to match; repeatable",
    )
    add_output(parser.add_argument, Output.TEXT, Output.JSON)


def run(options: Options, console: Console) -> ExitCode:
    """Print the canonical form, and with labels whether they are selected; or what is wrong, and where."""
    text = options.selector
    try:
        labels = _labels(options.labels)
    except _LabelError as error:
        console.complain(error.message, f"expected {error.expected}")
        return ExitCode.USAGE
    parsed = _parsed(text)
    if isinstance(parsed, Problem):
        if options.output is Output.JSON:
            console.data(json_text(document("SelectorResult", {"valid": False, "problem": problem_item(parsed)})))
        console.message(*problem_lines(parsed, text, colour=console.colour_err, width=console.width_err))
        return ExitCode.INVALID
    if "global(" in text:
        console.warn(_NOWHERE_BUT)
    is_match = matches(parsed, labels) if options.labels else None
    if options.output is Output.JSON:
        result = {"valid": True, "canonical": canonical(parsed), "labels": labels, "matches": is_match}
        console.data(json_text(document("SelectorResult", result)))
    else:
        console.data(printable(canonical(parsed)))
        if is_match is not None:
            word, style = ("match", Style.GOOD) if is_match else ("no match", Style.ERROR)
            console.data(painted(word, style, on=console.colour_out))
    return NO_MATCH if is_match is False else ExitCode.DONE


def _parsed(text: str) -> Selector | Problem:
    """The selector, held to what a manifest may have."""
    if len(text) > SELECTOR_LIMIT:
        place = Position("selector", 1, SELECTOR_LIMIT + 1)
        return Problem(place, f"the selector has {len(text)} characters", f"at most {SELECTOR_LIMIT}")
    try:
        return parse(text)
    except SelectorError as error:
        place = Position("selector", 1, error.offset + 1)
        return Problem(place, f"the selector does not parse: {error.message}", error.expected)


def _labels(texts: Iterable[str]) -> Mapping[str, str]:
    """The labels that `--label KEY=VALUE` gives. Raises _LabelError."""
    labels: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise _LabelError(f'--label is "{text}"', "KEY=VALUE")
        if not is_label_key(key):
            raise _LabelError(f'the key of --label is "{key}"', LABEL_KEY_EXPECTED)
        if not LABEL_VALUE.fits(value):
            raise _LabelError(f'the label {key} is "{value}"', LABEL_VALUE.expected)
        if key in labels:
            raise _LabelError(f"the label {key} is given twice", "each label once")
        labels[key] = value
    return labels
