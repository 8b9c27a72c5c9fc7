"""`hostfwctl completion`: what a shell needs to complete hostfwctl's verbs, options and values."""

from argparse import ArgumentParser

from hostfw.cli.command_line.grammar import command_line_parts
from hostfw.cli.command_line.options import Options
from hostfw.cli.completion.bash import bash_completion
from hostfw.cli.completion.fish import fish_completion
from hostfw.cli.completion.zsh import zsh_completion
from hostfw.cli.output.console import Console, ExitCode
from hostfw.cli.output.help_page import Page

_SHELLS = {"bash": bash_completion, "fish": fish_completion, "zsh": zsh_completion}


USAGE = "SHELL"
HELP = Page(
    """\
Print a script with which bash, fish or zsh completes verbs, options and their values,
including the names of resources in /etc/hostfw. The Debian package has it in place.""",
    """\
hostfwctl completion bash > /etc/bash_completion.d/hostfwctl
hostfwctl completion fish > ~/.config/fish/completions/hostfwctl.fish
hostfwctl completion zsh > ~/.zfunc/_hostfwctl    # with fpath+=~/.zfunc""",
    """\
0  printed
2  there is no such shell""",
)


def arguments(parser: ArgumentParser) -> None:
    """Give a parser the options and arguments of the verb."""
    parser.add_argument("shell", metavar="SHELL", choices=("bash", "fish", "zsh"), help="bash, fish or zsh")


def run(options: Options, console: Console) -> ExitCode:
    """Print the script for a shell."""
    console.data(_SHELLS[options.shell](command_line_parts()).removesuffix("\n"))
    return ExitCode.DONE
