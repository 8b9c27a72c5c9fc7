"""Completion for bash 5.2, without the bash-completion package's helpers, which change between releases."""

from collections.abc import Iterable, Iterator
from shlex import quote

from hostfw.cli.command_line.grammar import Argument, CommandLine, VerbParts
from hostfw.cli.completion.values import Values, flags_with_values, kind_words, values_of

_SCRIPT = """\
# bash completion for hostfwctl, as `hostfwctl completion bash` prints it
# shellcheck shell=bash

# Offer those of the words that begin as the one at the cursor. `compgen -W` would expand them: a word is what it is.
_hostfwctl_words() {{
    local word
    COMPREPLY=()
    for word in "$@"; do
        [[ $word != "$cur"* ]] || COMPREPLY+=("$word")
    done
}}

# Offer words that somebody else chose, such as names of interfaces, quoted for the command line.
_hostfwctl_foreign() {{
    local word
    local -a quoted=()
    for word in "$@"; do
        printf -v word %q "$word"
        quoted+=("$word")
    done
    _hostfwctl_words "${{quoted[@]}}"
}}

_hostfwctl_files() {{
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -f -- "$cur")
}}

_hostfwctl_directories() {{
    compopt -o filenames
    mapfile -t COMPREPLY < <(compgen -d -- "$cur")
}}

_hostfwctl_names() {{
    local -a names=()
    mapfile -t names < <(hostfwctl get "$1" -o name 2>/dev/null)
    _hostfwctl_foreign "${{names[@]##*/}}"
}}

_hostfwctl_interfaces() {{
    local link
    local -a links=()
    for link in /sys/class/net/*; do
        [[ ! -L $link ]] || links+=("${{link##*/}}")
    done
    _hostfwctl_foreign "${{links[@]}}"
}}

_hostfwctl() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD - 1]}} verb='' i
    local -a given=()
    # bash takes the = of --option=value for a word.
    if [[ $cur == = ]]; then
        cur=''
    elif [[ $prev == = ]]; then
        prev=${{COMP_WORDS[COMP_CWORD - 2]}}
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${{COMP_WORDS[i]}} in
            {flags})
                [[ ${{COMP_WORDS[i + 1]}} == = ]] && ((i++))
                ((i++))
                ;;
            -* | = | :) ;;
            *) if [[ $verb ]]; then given+=("${{COMP_WORDS[i]}}"); else verb=${{COMP_WORDS[i]}}; fi ;;
        esac
    done
    COMPREPLY=()
    _hostfwctl_value || _hostfwctl_word
}}

# The value of the option before the cursor; fails if there is none.
_hostfwctl_value() {{
    case $verb/$prev in
{values}
        *) return 1 ;;
    esac
}}

# An option, the verb, or one of its arguments.
_hostfwctl_word() {{
    if [[ $cur == -* ]]; then
        case $verb in
{options}
            *) _hostfwctl_words {top} ;;
        esac
    elif [[ ! $verb ]]; then
        _hostfwctl_words {verbs}
    else
        case $verb/${{#given[@]}} in
{positionals}
        esac
    fi
}}

complete -F _hostfwctl hostfwctl
"""


def bash_completion(line: CommandLine) -> str:
    """The script that bash sources."""
    common = " ".join(_flags(line.common))
    return _SCRIPT.format(
        flags=" | ".join(flags_with_values(line)),
        values="\n".join(_values(line)),
        options="\n".join(
            f"            {verb.name}) _hostfwctl_words {' '.join(_flags(verb.options))} {common} --help ;;"
            for verb in line.verbs
        ),
        top=f"{common} {' '.join(_flags(line.alone))}",
        verbs=" ".join(verb.name for verb in line.verbs),
        positionals="\n".join(case for verb in line.verbs for case in _positionals(verb)),
    )


def _flags(arguments: Iterable[Argument]) -> Iterator[str]:
    for argument in arguments:
        yield from argument.flags


def _values(line: CommandLine) -> Iterator[str]:
    """The cases of `verb/option`, those of every verb first."""
    owned = [("*", argument) for argument in line.common]
    owned += [(verb.name, argument) for verb in line.verbs for argument in verb.options]
    for owner, argument in owned:
        if argument.takes_value:
            cases = " | ".join(f"{owner}/{flag}" for flag in argument.flags)
            yield f"        {cases}) {_command(argument, owner)} ;;"


def _positionals(verb: VerbParts) -> Iterator[str]:
    """The cases of `verb/number of arguments before`; verbs whose -f takes many paths go on with paths."""
    for number, argument in enumerate(verb.positionals):
        if values_of(argument) is not Values.NOTHING:
            yield f"            {verb.name}/{number}) {_command(argument, verb.name)} ;;"
    if not verb.positionals and any(values_of(option) is Values.FILES for option in verb.options):
        yield f"            {verb.name}/*) _hostfwctl_files ;;"


def _command(argument: Argument, verb: str) -> str:
    match values_of(argument):
        case Values.NOTHING:
            return ":"
        case Values.CHOICES:
            return f"_hostfwctl_words {' '.join(map(quote, argument.choices))}"
        case Values.FILES:
            return "_hostfwctl_files"
        case Values.DIRECTORIES:
            return "_hostfwctl_directories"
        case Values.INTERFACES:
            return "_hostfwctl_interfaces"
        case Values.KINDS:
            return f"_hostfwctl_words {' '.join(quote(word) for word, _ in kind_words(verb))}"
        case Values.NAMES:
            return '_hostfwctl_names "${given[0]}"'
        case Values.POLICIES:
            return "_hostfwctl_names gnp"
