"""Words and options that our own verbs do not take."""

from collections.abc import Sequence

from hostfw.cli.other_words.hints import (
    COUNTERS,
    DROPS,
    EDIT,
    FOLLOW,
    LOCKDOWN,
    POLICIES,
    RELOAD,
    REMOVE,
    RESET,
    UNBLOCK,
    ZERO,
    is_address,
    is_plain,
    is_rule,
    quick_rule,
)
from hostfw.model.values import Action

HARMLESS = frozenset(
    (
        *("--permanent", "--now", "--yes", "-y", "--assume-yes", "--batch", "--non-interactive", "--noninteractive"),
        *("--numeric", "-n", "--no-pager", "--line-numbers", "--force", "-w", "--wait", "--sudo", "--immediate"),
        *("--runtime", "--persistent", "--save", "--no-reload", "--server-side", "--all-namespaces", "-A", "--all"),
    )
)
"""Options that ask for no more than what happens without them, or for less care."""
_NO_NAMESPACES = "`hostfwctl get gnp`: there are no namespaces"
_PREVIEW = "`hostfwctl diff` shows what would change, and changes nothing"
_ACCEPT = "the message of what is refused says which --accept option does it: `hostfwctl {} --help` lists them"
_WORD_OPTIONS = {
    **dict.fromkeys(("--for", "--timeout", "--duration", "--ttl", "--expires", "--time", "--expire"), "for"),
    **dict.fromkeys(("--from", "--source", "--src", "-s"), "from"),
    **dict.fromkeys(("--on", "--interface", "--iface", "-i"), "on"),
    **dict.fromkeys(("--port", "--dport"), "port"),
    **dict.fromkeys(("--proto", "--protocol", "-p"), "proto"),
}
"""Options of quick rules that are words here."""

_STRAY: dict[str, tuple[str, ...]] = {
    "validate": ("`hostfwctl validate -f {}`",),
    "compile": ("`hostfwctl compile -f {}`",),
    "diff": ("`hostfwctl diff -f {}`",),
    "apply": ("`hostfwctl apply --add -f {}`",),
    "counters": ("`hostfwctl counters --policy {}`", COUNTERS),
    "exposure": ("`hostfwctl exposure` lists every service",),
    "lockdown": ("`hostfwctl lockdown --for {}`", "`hostfwctl deny {}`; lockdown is about everything", LOCKDOWN),
    "unblock": ("`hostfwctl remove deny {}`; unblock is about everything", UNBLOCK),
    "status": ("`hostfwctl rules`",),
    "rules": ("`hostfwctl rules`",),
    "history": ("`hostfwctl rollback --to {}` goes back to a generation", "`hostfwctl history` lists all of them"),
    "rollback": (
        "`hostfwctl rollback --to {}`",
        "`hostfwctl rollback --to NUMBER`; `hostfwctl history` has the numbers",
    ),
    "confirm": ("`hostfwctl confirm`",),
    "drops": (
        "`hostfwctl drops --since {}`",
        "`hostfwctl drops --src {}`; --dst for the other end",
        "`hostfwctl drops --policy {}`",
        DROPS,
    ),
    "reload": ("`hostfwctl apply --add -f {}`", RELOAD),
    "interfaces": ("`hostfwctl interfaces` lists all of them",),
    "doctor": ("`hostfwctl doctor` looks at everything",),
    "init": ("`hostfwctl init --write` writes the proposal",),
    "version": ("`hostfwctl version`",),
    "disable": (
        "`hostfwctl remove allow {}`; disable is about everything",
        "`hostfwctl disable --help` says what it removes",
    ),
}
"""The probable meaning of an unknown word, by verb: the first that is a command with that word, or the last."""
_OF_FILES = frozenset(("validate", "compile", "diff", "apply", "reload"))
"""Verbs for which an unknown word is a file, if it looks like one."""

_OPTIONS: dict[tuple[str, str], str] = {
    **dict.fromkeys((("apply", name) for name in ("--dry-run", "--check", "--test", "--diff", "--plan")), _PREVIEW),
    **dict.fromkeys((("reload", name) for name in ("--dry-run", "--check", "--test", "-t")), _PREVIEW),
    **dict.fromkeys(
        (("rollback", name) for name in ("--dry-run", "--check")), "`hostfwctl history` lists the generations"
    ),
    ("init", "--dry-run"): "`hostfwctl init` without --write changes nothing",
    ("init", "--print"): "`hostfwctl init` without --write changes nothing",
    ("init", "--force"): f"`hostfwctl init` prints the proposal; {EDIT}",
    ("validate", "--dry-run"): "`hostfwctl validate` changes nothing",
    **dict.fromkeys(
        (("apply", name) for name in ("--confirm", "--timeout", "--rollback", "--try", "--test-for", "--revert")),
        "`hostfwctl apply --confirm-within 5m` rolls the change back unless it is confirmed",
    ),
    **dict.fromkeys((("validate", name) for name in ("--file", "-c", "--config")), "`hostfwctl validate -f {}`"),
    **dict.fromkeys((("lockdown", name) for name in ("end", "stop", "release", "disable")), UNBLOCK),
    **dict.fromkeys((("apply", name) for name in ("--file", "-k", "--kustomize")), "`hostfwctl apply --add -f {}`"),
    **dict.fromkeys((("rules", name) for name in ("add", "allow", "insert")), "`hostfwctl allow --help` says how"),
    **dict.fromkeys((("rules", name) for name in ("delete", "remove", "del", "rm")), REMOVE),
    **dict.fromkeys((("rules", name) for name in ("reset", "flush", "clear")), RESET),
    **dict.fromkeys((("counters", name) for name in ("all", "list", "show")), COUNTERS),
    **dict.fromkeys((("counters", name) for name in ("zero", "reset", "clear", "--reset", "--zero", "-z")), ZERO),
    ("counters", "-w"): "`hostfwctl counters --rate 10s` shows what is counted now",
    ("status", "verbose"): "`hostfwctl status -v`",
    ("status", "--verbose=2"): "`hostfwctl status -v`",
    ("rules", "verbose"): "`hostfwctl rules -v`",
    ("drops", "since"): "`hostfwctl drops --since {}`",
    ("drops", "follow"): FOLLOW,
    **dict.fromkeys((("drops", name) for name in ("-f", "-F", "--tail", "--watch", "-w")), FOLLOW),
    ("drops", "top"): "`hostfwctl drops --top`",
    ("drops", "from"): "`hostfwctl drops --src {}`",
    ("drops", "by"): "`hostfwctl drops --policy {}`",
    ("drops", "-n"): "`hostfwctl drops --count {}`",
    ("drops", "--lines"): "`hostfwctl drops --count {}`",
    ("drops", "--limit"): "`hostfwctl drops --count {}`",
    ("drops", "-S"): "`hostfwctl drops --since {}`",
    ("drops", "--today"): "`hostfwctl drops --since today`",
    ("drops", "--yesterday"): "`hostfwctl drops --since yesterday`",
    ("drops", "--source"): "`hostfwctl drops --src {}`",
    ("drops", "--from"): "`hostfwctl drops --src {}`",
    ("drops", "--to"): "`hostfwctl drops --dst {}`",
    ("drops", "--all"): DROPS,
    ("drops", "clear"): f"the journal keeps its time: {DROPS}",
    ("history", "--limit"): "`hostfwctl history`",
    ("get", "-n"): _NO_NAMESPACES,
    ("get", "-A"): _NO_NAMESPACES,
    ("get", "--namespace"): _NO_NAMESPACES,
    ("get", "--all-namespaces"): _NO_NAMESPACES,
    ("get", "-w"): FOLLOW,
    ("get", "--watch"): FOLLOW,
    ("get", "-l"): "`hostfwctl selector SELECTOR` shows what a selector matches",
    ("get", "--selector"): "`hostfwctl selector SELECTOR` shows what a selector matches",
    ("get", "--show-labels"): "`hostfwctl get gnp -o wide`",
    ("lockdown", "off"): UNBLOCK,
    ("lockdown", "status"): "`hostfwctl status` says whether there is a lockdown",
    ("lockdown", "--off"): UNBLOCK,
    ("lockdown", "on"): "`hostfwctl lockdown`",
    ("confirm", "no"): "`hostfwctl rollback`",
    ("disable", "--now"): "`hostfwctl disable --help` says what it removes",
    ("disable", "--force"): "`hostfwctl disable --help` says what it removes",
    ("disable", "--yes"): "`hostfwctl disable --help` says what it removes",
    ("remove", "--all"): RESET,
    ("exposure", "--port"): "`hostfwctl exposure` lists every service",
    ("explain", "--src"): "`hostfwctl explain SRC DST:PORT`",
    ("explain", "--port"): "`hostfwctl explain SRC DST:PORT`",
    ("get", "rules"): POLICIES,
    ("version", "--short"): "`hostfwctl version`",
    ("version", "--client"): "`hostfwctl version`",
}
"""Words and options that mean something of their own, by verb."""


def meant(verb: str, unknown: Sequence[str], arguments: Sequence[str] = ()) -> str:
    """The command that was probably meant by words which a verb does not take."""
    first, *others = unknown
    name, _, value = first.partition("=")
    known = _OPTIONS.get((verb, name))
    if known is not None:
        given = " ".join([value, *others] if value else others)
        if known is _PREVIEW and verb == "apply" and "--add" not in arguments:
            return _preview(arguments)
        return known.format(given or ("FILE" if "-f {}" in known else "TIME"))
    if verb in ("allow", "deny", "remove"):
        return _quick(verb, unknown, arguments)
    if name == "--force":
        return _ACCEPT.format(verb)
    if first.startswith("-"):
        return _without(verb, unknown, arguments) or _help(verb, name)
    if verb in _OF_FILES and not {".", "/"} & set(first):
        return f"leave {first} out: `hostfwctl {verb}`; a file is named by -f"
    if not _STRAY.get(verb):
        return _help(verb, "")
    told = [hint.format(" ".join(unknown)) for hint in _STRAY[verb]]
    return next(filter(is_a_command, told[:-1]), told[-1])


def _preview(arguments: Sequence[str]) -> str:
    """The comparison with the files that `apply` was given."""
    places = [place for place, word in enumerate(arguments[:-1]) if word in ("-f", "--filename")]
    files = [arguments[place + 1] for place in places if is_plain([arguments[place + 1].lstrip("/")])]
    return _PREVIEW.replace("diff`", "".join(["diff", *(f" -f {file}" for file in files), "`"]))


def is_a_command(hint: str) -> bool:
    """True if the first command of a hint is one that means something."""
    from hostfw.cli.command_line.argument_parser import UsageError, parsed

    words = hint.split("`")[1].split()[1:]
    if not is_plain([word.lstrip("-") for word in words]):
        return False
    rest = [word for word in words if word != "--dry-run"]
    back = rest[0] == "remove"
    verb, said = (rest[1:2] or [""])[0] if back else rest[0], rest[2:] if back else rest[1:]
    if verb in ("allow", "deny") and said:
        # A name could be that of a set, and rarely is.
        named = verb == "allow" and not back
        return (named or any(map(str.isdigit, "".join(said)))) and is_rule(Action(verb.title()), said)
    if words[0] == "drops" and "--policy" in words and is_address(words[-1]):
        return False
    try:
        _, unknown = parsed(words)
    except UsageError:
        return False
    return not unknown


def missing(verb: str, arguments: Sequence[str]) -> str:
    """The command that was probably meant where an argument is missing, empty where nothing is known."""
    unknown = [word for word in arguments[1:] if word.startswith("-")]
    known = [_OPTIONS[verb, word.partition("=")[0]] for word in unknown if (verb, word.partition("=")[0]) in _OPTIONS]
    if known:
        return known[0]
    if verb == "explain" and len(arguments) == 2:
        from hostfw.cli.kinds import find_kind

        if find_kind(arguments[1].partition(".")[0]) is not None:
            return "`hostfwctl schema` prints the JSON Schema, `man hostfw-resources` explains the fields"
        return "`hostfwctl explain SRC DST:PORT` says what happens to a packet"
    if verb == "describe" and len(arguments) == 2 and is_plain(arguments[1:]):
        return _described(arguments[1])
    return _quick(verb, unknown, arguments) if unknown and verb in ("allow", "deny", "remove") else ""


def _described(word: str) -> str:
    """The answer to `describe` with a kind alone, or with a name alone."""
    from hostfw.cli.kinds import find_kind

    if find_kind(word) is not None:
        return f"`hostfwctl get {word}` lists the names"
    return f"`hostfwctl describe gnp {word}` for a policy, hep for a HostEndpoint; `hostfwctl get --help` has all kinds"


def _help(verb: str, option: str) -> str:
    """The option that is spelled like it, and where all of them are."""
    from difflib import get_close_matches

    page = f"`hostfwctl {verb} --help` lists its options"
    near = get_close_matches(option, _options_of(verb), n=1, cutoff=0.75) if option.startswith("--") else []
    return f'did you mean "{near[0]}"? {page}' if near else page


def _options_of(verb: str) -> list[str]:
    from hostfw.cli.command_line.grammar import command_line_parts

    parts = command_line_parts()
    own = next(of.options for of in parts.verbs if of.name == verb)
    return [flag for argument in (*own, *parts.common) for flag in argument.flags if flag.startswith("--")]


def _without(verb: str, unknown: Sequence[str], arguments: Sequence[str]) -> str:
    """The command without options that ask for nothing, where that is all that is too much."""
    rest = [word for word in arguments if word not in unknown]
    if not all(word in HARMLESS for word in unknown) or rest[:1] != [verb]:
        return ""
    hint = f"leave {' '.join(unknown)} out: `hostfwctl {' '.join(rest)}`"
    return hint if is_plain([word.lstrip("-/") for word in rest]) and is_a_command(hint) else ""


def _quick(verb: str, unknown: Sequence[str], arguments: Sequence[str]) -> str:
    """The quick rule with its options as the words that they are here."""
    words: list[str] = []
    reason: list[str] = []
    rest = list(arguments[1:])
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name in _WORD_OPTIONS or name in ("--comment", "-m", "--zone", "--message", "--description"):
            value = value if equals else (rest.pop(0) if rest else "")
            if name in _WORD_OPTIONS:
                words += [_WORD_OPTIONS[name], value]
            elif name == "--zone" and value not in ("public", ""):
                words += ["on", "ENDPOINT"]
            elif name != "--zone" and is_plain([value]):
                reason = ["--reason", value]
        elif name not in HARMLESS:
            words.append(f"{name}{equals}{value}")
    back = verb == "remove"
    if back and words and words[0] not in ("allow", "deny"):
        return f"`hostfwctl remove {' '.join(words)}`" if words and is_plain(words) else REMOVE
    action = Action((words.pop(0) if back else verb).title()) if words else None
    known = quick_rule(action, words, removed=back)
    if not known:
        return _help(verb, unknown[0].partition("=")[0])
    return f"{known[:-1]} {' '.join(reason)}`" if reason and not back else known
