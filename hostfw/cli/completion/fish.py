"""Completion for fish 3.6 and later."""

from collections.abc import Iterator

from hostfw.cli.command_line.grammar import Argument, CommandLine
from hostfw.cli.completion.values import Values, flags_with_values, kind_words, values_of

_HEAD = """\
# fish completion for hostfwctl, as `hostfwctl completion fish` prints it

# The verb and its arguments so far: words that are neither options nor the values of some.
function __hostfwctl_given
    set -l skip 0
    for word in (commandline -opc)[2..]
        if test $skip = 1
            set skip 0
        else if contains -- $word {flags}
            set skip 1
        else if not string match --quiet -- '-*' $word
            echo $word
        end
    end
end

function __hostfwctl_verb
    set -l given (__hostfwctl_given)
    contains -- "$given[1]" $argv
end

# Whether the word at the cursor is this argument of this verb, counted from 1.
function __hostfwctl_argument
    set -l given (__hostfwctl_given)
    test "$given[1]" = $argv[1]; and test (count $given) -eq $argv[2]
end

function __hostfwctl_names
    set -l kind $argv[1]
    if test -z "$kind"
        set -l given (__hostfwctl_given)
        set kind $given[2]
    end
    hostfwctl get $kind -o name 2>/dev/null | string replace --regex '.*/' ''
end

complete -c hostfwctl -f
"""


def fish_completion(line: CommandLine) -> str:
    """The script that fish loads."""
    return _HEAD.format(flags=" ".join(flags_with_values(line))) + "".join(f"{each}\n" for each in _commands(line))


def _commands(line: CommandLine) -> Iterator[str]:
    for verb in line.verbs:
        yield _complete("not __hostfwctl_given | string length -q", f"-a {verb.name}", verb.summary)
    for argument in line.common:
        yield _complete("", _option(argument, ""), argument.help)
    for argument in line.alone:
        yield _complete("", _option(argument, ""), argument.help)
    for verb in line.verbs:
        for option in verb.options:
            yield _complete(f"__hostfwctl_verb {verb.name}", _option(option, verb.name), option.help)
        for number, argument in enumerate(verb.positionals, 1):
            condition = f"__hostfwctl_argument {verb.name} {number}"
            if values_of(argument) is Values.KINDS:
                for word, meaning in kind_words(verb.name):
                    yield _complete(condition, f"-a {word}", meaning)
            elif words := _words(argument):
                yield _complete(condition, f"-a {_quoted(words)}", argument.help)


def _option(argument: Argument, verb: str) -> str:
    flags = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in argument.flags)
    match values_of(argument):
        case _ if not argument.takes_value:
            return flags
        case Values.FILES:
            return f"{flags} -r -F"
        case Values.KINDS:
            return f"{flags} -x -a {_quoted(' '.join(word for word, _ in kind_words(verb)))}"
        case _:
            words = _words(argument)
            return f"{flags} -x -a {_quoted(words)}" if words else f"{flags} -x"


def _words(argument: Argument) -> str:
    """The fish expression that yields the completions of an argument."""
    match values_of(argument):
        case Values.CHOICES:
            return " ".join(argument.choices)
        case Values.FILES:
            return "(__fish_complete_path (commandline -ct))"
        case Values.DIRECTORIES:
            return "(__fish_complete_directories (commandline -ct))"
        case Values.INTERFACES:
            return "(__fish_print_interfaces)"
        case Values.NAMES:
            return "(__hostfwctl_names)"
        case Values.POLICIES:
            return "(__hostfwctl_names gnp)"
        case _:
            return ""


def _complete(condition: str, what: str, text: str) -> str:
    when = f" -n {_quoted(condition)}" if condition else ""
    return f"complete -c hostfwctl{when} {what} -d {_quoted(text)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
