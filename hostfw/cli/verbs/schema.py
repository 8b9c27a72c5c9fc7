"""`hostfwctl schema`: the JSON Schema of configuration files, for editors."""

from hostfw.cli.kinds import KIND_NAMES, find_kind
from hostfw.cli.options import Options
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.documents import json_text
from hostfw.cli.parser import closest
from hostfw.manifest.schema.documents import SETTINGS, schema


def run(options: Options, console: Console) -> ExitCode:
    """Print the schema of all that a file may hold, or of one kind."""
    kind: str | None = None
    if options.kind:
        found = find_kind(options.kind)
        kind = SETTINGS if options.kind.lower() == SETTINGS.lower() else found.name if found else None
        if kind is None:
            names = (*KIND_NAMES, SETTINGS.lower())
            hint = closest(options.kind, names) or f"one of {', '.join(names)}"
            console.complain(f'unknown kind "{options.kind}"', hint)
            return ExitCode.USAGE
    console.data(json_text(schema(kind)))
    return ExitCode.DONE
