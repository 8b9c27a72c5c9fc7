"""`hostfwctl completion`: what a shell needs to complete hostfwctl's verbs, options and values."""

from hostfw.cli.completion.bash import bash_completion
from hostfw.cli.completion.fish import fish_completion
from hostfw.cli.completion.zsh import zsh_completion
from hostfw.cli.grammar import command_line_parts
from hostfw.cli.options import Options
from hostfw.cli.output.console import Console, ExitCode

_SHELLS = {"bash": bash_completion, "fish": fish_completion, "zsh": zsh_completion}


def run(options: Options, console: Console) -> ExitCode:
    """Print the script for a shell."""
    console.data(_SHELLS[options.shell](command_line_parts()).removesuffix("\n"))
    return ExitCode.DONE
