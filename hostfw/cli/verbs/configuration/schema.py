"""`hostfwctl schema`: the JSON Schema of configuration files, for editors."""

from argparse import ArgumentParser

from hostfw.cli.command_line.options import Options
from hostfw.cli.kinds import KIND_NAMES, find_kind
from hostfw.cli.other_words.calico import kind_hint
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import json_text
from hostfw.cli.output.help_page import Page
from hostfw.manifest.schema.documents import SETTINGS, schema

USAGE = "[KIND]"
HELP = Page(
    """\
Print a JSON Schema (draft-07) of all that a configuration file may hold, or of one
KIND: those of `get`, and `settings` for hostfw.yaml. Editors that speak YAML complete
and check files by it; its first line in a file may be

    # yaml-language-server: $schema=/path/to/hostfw.schema.json

What a schema cannot see, such as names that must exist, `validate` does.""",
    """\
hostfwctl schema > hostfw.schema.json
hostfwctl schema gnp""",
    """\
0  printed
2  there is no such kind""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    parser.add_argument(
        "kind", metavar="KIND", nargs="?", default="", help="a kind as of `get`, or settings (default: all)"
    )


def run(options: Options, console: Console) -> ExitCode:
    """Print the schema of all that a file may hold, or of one kind."""
    kind: str | None = None
    if options.kind:
        found = find_kind(options.kind)
        kind = SETTINGS if options.kind.lower() == SETTINGS.lower() else found.name if found else None
        if kind is None:
            names = (*KIND_NAMES, SETTINGS.lower())
            console.complain(f'unknown kind "{options.kind}"', kind_hint(options.kind, names))
            return ExitCode.USAGE
    console.data(json_text(schema(kind)))
    return ExitCode.DONE
