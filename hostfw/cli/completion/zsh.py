"""Completion for zsh 5.9: a function to autoload, of specifications for `_arguments` (zshcompsys(1))."""

from collections.abc import Iterator

from hostfw.cli.command_line.grammar import Argument, CommandLine, VerbParts
from hostfw.cli.completion.values import Values, kind_words, values_of

_SCRIPT = """\
#compdef hostfwctl
# zsh completion for hostfwctl, as `hostfwctl completion zsh` prints it

_hostfwctl_verbs() {{
    local -a verbs=(
{verbs}
    )
    _describe -t verbs verb verbs
}}

_hostfwctl_kinds() {{
    local -a kinds=(
{kinds}
    )
    [[ $1 == schema ]] && kinds+=({schema})
    _describe -t kinds kind kinds
}}

_hostfwctl_names() {{
    local -a names
    names=(${{(f)"$(hostfwctl get $1 -o name 2>/dev/null)"}})
    names=(${{names##*/}})
    _wanted names expl name compadd -a names
}}

_hostfwctl_interfaces() {{
    local -a links
    links=(/sys/class/net/*(N:t))
    _wanted interfaces expl interface compadd -a links
}}

_hostfwctl() {{
    local curcontext=$curcontext context state line expl ret=1
    local -A opt_args
    local -a common=(
{common}
    )
    _arguments -C $common \\
{alone}
        '1: :_hostfwctl_verbs' \\
        '*:: :->arguments' && ret=0
    [[ $state == arguments ]] || return ret
    local verb=$line[1]
    case $verb in
{cases}
    esac
    [[ $state == name ]] && _hostfwctl_names $line[1] && ret=0
    return ret
}}

_hostfwctl "$@"
"""


def zsh_completion(line: CommandLine) -> str:
    """The function that zsh loads from a file called `_hostfwctl`."""
    schema_only = kind_words("schema")[len(kind_words("")) :]
    return _SCRIPT.format(
        verbs="\n".join(f"        {_quoted(f'{verb.name}:{verb.summary}')}" for verb in line.verbs),
        kinds="\n".join(f"        {_quoted(f'{word}:{meaning}')}" for word, meaning in kind_words("")),
        schema=" ".join(_quoted(f"{word}:{meaning}") for word, meaning in schema_only),
        common="\n".join(f"        {spec}" for argument in line.common for spec in _option(argument)),
        alone="\n".join(f"        {spec} \\" for argument in line.alone for spec in _option(argument)),
        cases="\n".join(_case(verb) for verb in line.verbs),
    )


def _case(verb: VerbParts) -> str:
    specs = [spec for option in verb.options for spec in _option(option)]
    specs.append("'(-h --help)'{-h,--help}'[explain it]'")
    specs += [_positional(number, argument) for number, argument in enumerate(verb.positionals, 1)]
    body = " \\\n".join(f"                {spec}" for spec in specs)
    return f"        {verb.name})\n            _arguments -C $common \\\n{body} && ret=0\n            ;;"


def _option(argument: Argument) -> Iterator[str]:
    value = f":{_plain(argument.metavar)}:{_action(argument)}" if argument.takes_value else ""
    text = f"[{_plain(argument.help)}]{value}"
    for flag in argument.flags:
        # A long option takes its value after = as well.
        stuck = "=" if argument.takes_value and flag.startswith("--") else ""
        excluded = "*" if argument.repeatable else f"({' '.join(argument.flags)})"
        yield _quoted(f"{excluded}{flag}{stuck}{text}")


def _positional(number: int, argument: Argument) -> str:
    colon = "::" if argument.optional else ":"
    return _quoted(f"{number}{colon}{_plain(argument.metavar)}:{_action(argument)}")


def _action(argument: Argument) -> str:
    """The completion action of a value. After a space `_arguments` passes our arguments and none of its own."""
    match values_of(argument):
        case Values.NOTHING:
            return " "
        case Values.CHOICES:
            return f"({' '.join(argument.choices)})"
        case Values.FILES:
            return "_files"
        case Values.DIRECTORIES:
            return "_files -/"
        case Values.INTERFACES:
            return " _hostfwctl_interfaces"
        case Values.KINDS:
            return " _hostfwctl_kinds $verb"
        case Values.NAMES:
            return "->name"
        case Values.POLICIES:
            return " _hostfwctl_names gnp"


def _plain(text: str) -> str:
    r"""A text in a specification, where \, :, [ and ] have a meaning."""
    for special in "\\:[]":
        text = text.replace(special, f"\\{special}")
    return text


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
