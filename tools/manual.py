"""Fill what the code knows into the sources of the manual pages, for scdoc(1).

    /usr/bin/python3 -m tools.manual docs/man/hostfwctl.1.scd | scdoc >hostfwctl.1

A line of a source that is `@NAME ARGUMENTS@` is replaced by a table of the code: the verbs of hostfwctl, the fields of
a kind, the settings with their defaults. So no verb, field or setting can be missing, or have another name.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from textwrap import dedent

from hostfw.cli.command_line.grammar import Argument, command_line_parts
from hostfw.cli.command_line.verb_table import VERBS
from hostfw.cli.kinds import KINDS
from hostfw.manifest.kinds.refused import API_VERSIONS
from hostfw.manifest.kinds.refused import KINDS as REFUSED_KINDS
from hostfw.manifest.schema.documents import schema
from hostfw.model.settings import CALICO_COMPATIBLE, FailsafePort, Settings

Json = Mapping[str, object]

_DIRECTIVE = re.compile(r"@(?P<name>[a-z-]+)(?P<arguments>(?: [A-Za-z]+)*)@\n?")


def page(source: str) -> str:
    """The source with its tables filled in. Raises KeyError for a table that there is not."""
    lines = (
        _TABLES[found["name"]](*found["arguments"].split()) if (found := _DIRECTIVE.fullmatch(line)) else line
        for line in source.splitlines(keepends=True)
    )
    return "".join(lines)


# ---------------------------------------------------------------------------------------------------------- hostfwctl


def verbs() -> str:
    """Every verb with what its help says."""
    parts = {verb.name: verb for verb in command_line_parts().verbs}
    modules = {verb: verb.load() for verb in VERBS}
    return "\n".join(
        f"## {verb.name}\n\n*hostfwctl* {escaped(f'{verb.name} {module.USAGE}')}\n\n"
        f"{escaped(verb.summary[:1].upper() + verb.summary[1:])}.\n\n{_text(module.HELP.description)}\n"
        f"{''.join(map(_option, (*parts[verb.name].positionals, *parts[verb.name].options)))}"
        f"Exit status:\n\n{_literal(module.HELP.exits)}\nExamples:\n\n{_literal(module.HELP.examples)}"
        for verb, module in modules.items()
    )


def options() -> str:
    """The options of every verb."""
    line = command_line_parts()
    return "".join(map(_option, (*line.common, *line.alone)))


def kinds() -> str:
    """The kinds of resources and what `get` calls them."""
    return "".join(f"- {kind.name} ({', '.join(escaped(name) for name in kind.names)})\n" for kind in KINDS)


def _option(argument: Argument) -> str:
    flags = ", ".join(f"*{escaped(flag)}*" for flag in argument.flags)
    term = " ".join(part for part in (flags, f"_{escaped(argument.metavar)}_" if argument.metavar else "") if part)
    return f"{term}\n\t{escaped(argument.help)}.\n\n"


def _text(description: str) -> str:
    """Paragraphs, in which what is indented stays as it is."""
    blocks = re.split(r"\n\n", description.strip("\n"))
    return "".join(
        _literal(dedent(block)) + "\n" if block.startswith("    ") else f"{escaped(' '.join(block.split()))}\n\n"
        for block in blocks
    )


def _literal(text: str) -> str:
    return f"```\n{text.strip(chr(10))}\n```\n"


# ------------------------------------------------------------------------------------------------------------- fields


def fields(definition: str, beyond: str = "") -> str:
    """The fields of a mapping of the schema, those that hostfw refuses and those that it ignores.

    With `beyond` only those that this other mapping does not have.
    """
    known = _fields_of(definition)
    others = {name for name, value in _fields_of(beyond).items() if not _is_refused(value)} if beyond else ()
    required = _shape(definition).get("required", [])
    taken, refusals, ignored = [], [], []
    for name, value in known.items():
        text = str(value.get("description", ""))
        if name in others or (beyond and _is_refused(value)):
            continue
        if _is_refused(value):
            refusals.append(f"- *{escaped(name)}*: {escaped(text.removeprefix(_REFUSED))}\n")
        elif not text:
            ignored.append(escaped(name))
        else:
            needed = ", required" if isinstance(required, list) and name in required else ""
            taken.append(f"*{escaped(name)}* ({escaped(form(value))}{needed})\n\t{escaped(_sentence(text))}\n\n")
    parts = ["".join(taken)]
    parts += [f"Refused, unless empty:\n\n{''.join(refusals)}\n"] if refusals else []
    parts += [f"Taken without effect, as calicoctl prints them: {', '.join(ignored)}.\n\n"] if ignored else []
    return "".join(parts)


def _sentence(text: str) -> str:
    """A description of its own, where in the schema it goes on from the one before."""
    return text.removeprefix("... ").capitalize() if text.startswith("... ") else text


def refused() -> str:
    """The kinds and versions that others know and hostfw refuses, grouped by the reason."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for name, refusal in (REFUSED_KINDS | API_VERSIONS).items():
        by_reason.setdefault((refusal.reason, refusal.instead), []).append(name)
    return "\n".join(
        f"*{'*, *'.join(map(escaped, names))}*\n\t{escaped(reason[:1].upper() + reason[1:])}"
        f"{escaped(f'; {instead}' if instead else '')}.\n"
        for (reason, instead), names in by_reason.items()
    )


def form(value: Json) -> str:
    """The form of a value, in a few words."""
    return either(_forms(value))


def either(words: Iterable[str]) -> str:
    """One of some words."""
    *most, last = dict.fromkeys(words)
    return f"{', '.join(most)} or {last}" if most else last


def _forms(value: Json) -> Iterator[str]:
    choices, words = value.get("anyOf"), value.get("enum")
    if isinstance(choices, list):
        forms = [form for each in choices if each != {"type": "null"} for form in _forms(each)]
        # A number in quotes is as good as one without.
        yield from (each for each in forms if each != _TEXT or len(set(forms)) == 1)
    elif "$ref" in value:
        name = str(value["$ref"]).rpartition("/")[2]
        yield from (_NAMES[name],) if name in _NAMES else _forms(_definitions()[name])
    elif isinstance(words, list):
        yield from (str(word) for word in words if word)
    else:
        kind = value.get("type")
        yield _form_of(kind[0] if isinstance(kind, list) else kind, value)


def _form_of(kind: object, value: Json) -> str:
    match kind:
        case "array":
            most = f", at most {value['maxItems']}" if "maxItems" in value else ""
            return "an empty list" if value.get("maxItems") == 0 else f"list: {form(_mapping(value['items']))}{most}"
        case "boolean":
            return "true or false"
        case "integer":
            return f"{value['minimum']} to {value['maximum']}"
        case "number":
            return "number"
        case "object":
            return "mapping of texts"
        case _:
            return _TEXT


_REFUSED = "Refused: "
_TEXT = "text"
_NAMES = {
    "annotations": "mapping of texts",
    "endpointPort": "mappings, see below",
    "entity": "mapping, see SOURCE AND DESTINATION",
    "failsafe": "text or mapping, see below",
    "failsafePorts": "list, or texts separated by commas",
    "icmp": "mapping, see below",
    "interfaceMatch": "mappings, see below",
    "labels": "mapping of texts",
    "logging": "mapping, see below",
    "metrics": "mapping, see below",
    "ruleMetadata": "mapping",
    "rules": "list: mappings, see RULES",
    "unmanagedInterfaces": "mapping, see below",
}
"""Names of fields that have a section of their own."""


@cache
def _definitions() -> Mapping[str, Json]:
    return {name: _mapping(value) for name, value in _mapping(schema()["definitions"]).items()}


def _is_refused(value: Json) -> bool:
    return str(value.get("description", "")).startswith(_REFUSED)


def _shape(definition: str) -> Json:
    """The mapping of a definition, or the one among its choices."""
    value = _definitions()[definition]
    choices = value.get("anyOf")
    shapes = [each for each in (value, *(choices if isinstance(choices, list) else ())) if "properties" in each]
    return shapes[0] if shapes else {}


def _fields_of(definition: str) -> Mapping[str, Json]:
    fields_of = _mapping(_shape(definition).get("properties", {}))
    return {name: _mapping(value) for name, value in fields_of.items()}


def _mapping(value: object) -> Json:
    if not isinstance(value, Mapping):
        raise TypeError(f"not a mapping: {value!r}")
    return value


# ----------------------------------------------------------------------------------------------------------- settings


def defaults() -> str:
    """Every setting with its default, and with that of `compatibility: calico`."""
    return "".join(
        f"*{name}*\n\t{usual}{'' if calico == usual else f'; with *compatibility: calico*: {calico}'}\n\n"
        for name, usual, calico in default_rows()
    )


def default_rows() -> Iterator[tuple[str, str, str]]:
    """The settings that have a default, each with it and with that of `compatibility: calico`."""
    for path in leaves():
        if path[0] not in ("apiVersion", "kind", "compatibility"):
            usual, calico = _default(path, Settings()), _default(path, CALICO_COMPATIBLE)
            yield escaped(".".join(path)), escaped(usual), escaped(calico)


def leaves() -> Iterator[tuple[str, ...]]:
    """The path of each setting, those in mappings one by one."""
    known = _definitions()
    for name, value in _fields_of("settings").items():
        if not _is_refused(value):
            below = _fields_of(name) if name in known else {}
            known_below = (field for field, child in below.items() if not _is_refused(child))
            yield from ((name, field) for field in known_below) if below else ((name,),)


_OTHER_NAMES = {"packetMarks": "marks"}


def _default(path: tuple[str, ...], of: Settings) -> str:
    """The value of a setting as a file would give it."""
    value: object = of
    for name in path:
        value = getattr(value, _OTHER_NAMES.get(name) or re.sub("(?=[A-Z])", "_", name).lower())
    match value:
        case None:
            return "the host name" if path == ("node",) else "none"
        case bool():
            return str(value).lower()
        case ():
            return "none"
        case tuple():
            return ", ".join(_port(port) for port in value)
        case _:
            return str(value)


def _port(port: FailsafePort) -> str:
    return str(port).replace(" ", ":")


# ---------------------------------------------------------------------------------------------------------- documents


def document(name: str) -> str:
    """A page of docs/, without its title: of Markdown what such pages have in them."""
    text = (Path(__file__).parents[1] / "docs" / f"{name}.md").read_text(encoding="utf-8")
    blocks = re.split(r"\n\n+", text.strip("\n"))
    return "\n".join(_block(block) for block in blocks[1:])


def _block(block: str) -> str:
    lines = block.split("\n")
    if block.startswith("## "):
        return f"# {block.removeprefix('## ').upper()}\n"
    if block.startswith("    "):
        return _literal(dedent(block))
    if block.startswith("|"):
        rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]
        return "".join(f"{_inline(row[0])}\n\t{_inline(row[1])}\n\n" for row in rows).removesuffix("\n")
    if block.startswith("* "):
        items = re.split(r"\n\* ", block.removeprefix("* "))
        return "".join(f"- {_inline(' '.join(item.split()))}\n" for item in items)
    return f"{_inline(' '.join(lines))}\n"


def _inline(text: str) -> str:
    """Code and what is strong in bold, links by their text."""
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    parts = re.split(r"(`[^`]+`|\*\*.+?\*\*)", text)
    return "".join(f"*{escaped(part.strip('`*'))}*" if part[:1] in ("`", "*") else escaped(part) for part in parts)


# ------------------------------------------------------------------------------------------------------------- shared


def escaped(text: str) -> str:
    """A text that scdoc takes as it is."""
    text = re.sub(r"([\\*_`<>#\[\]|.~])", r"\\\1", text)
    return re.sub(r"^([-+@])", r"\\\1", text)


_TABLES: Mapping[str, Callable[..., str]] = {
    "defaults": defaults,
    "document": document,
    "fields": fields,
    "kinds": kinds,
    "options": options,
    "refused": refused,
    "verbs": verbs,
}


if __name__ == "__main__":
    sys.stdout.write(page(Path(sys.argv[1]).read_text(encoding="utf-8")))
