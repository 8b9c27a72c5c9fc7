"""Expressions of libnftables-json(5) as nft writes them, for people who look for a rule."""

import json
from collections.abc import Mapping
from typing import cast

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

_LONGEST = 240
_PLAIN_META = frozenset({"iif", "iifname", "oif", "oifname"})
_WORDS = {"in": "", "==": "", "!": "! "}


def rule_text(statements: Json) -> str:
    """A rule in a line, cut short where a list is long."""
    listed = statements if isinstance(statements, list) else [statements]
    text = " ".join(" ".join(_statement(one) for one in listed).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _statement(statement: Json) -> str:
    if not isinstance(statement, dict) or len(statement) != 1:
        return value_text(statement)
    ((kind, content),) = statement.items()
    of = cast("Mapping[str, Json]", content) if isinstance(content, dict) else {}
    match kind:
        case "match":
            operator = str(of.get("op", ""))
            left = of.get("left")
            words = {**_WORDS, "==": "== "} if isinstance(left, dict) and "&" in left else _WORDS
            return f"{value_text(left)} {words.get(operator, f'{operator} ')}{value_text(of.get('right'))}"
        case "vmap" | "map":
            return f"{value_text(of.get('key'))} {kind} {value_text(of.get('data'))}"
        case "jump" | "goto":
            return f"{kind} {of.get('target', '')}"
        case "limit" | "quota" | "counter" if isinstance(content, str):
            return f'{kind} name "{content}"'
        case "limit":
            return f"limit rate {'over ' if of.get('inv') else ''}{of.get('rate')}/{of.get('per')}"
        case "ct count":
            return f"ct count {'over ' if of.get('inv') else ''}{of.get('val')}"
        case "log":
            return f'log prefix "{of["prefix"]}"' if "prefix" in of else "log"
        case "set":
            each = of.get("stmt")
            of_each = f" {rule_text(each)}" if isinstance(each, list) and each else ""
            return f"{of.get('op', 'add')} {of.get('set')} {{ {value_text(of.get('elem'))}{of_each} }}"
        case "limit":
            over = "over " if of.get("inv") else ""
            return f"limit rate {over}{of.get('rate')}/{of.get('per')}" if "rate" in of else "limit"
        case "ct count":
            return f"ct count {'over ' if of.get('inv') else ''}{of.get('val')}"
        case "mangle":
            return f"{value_text(of.get('key'))} set {value_text(of.get('value'))}"
        case "xt":
            return " ".join(("xt", str(of.get("type", "")), str(of.get("name", "")))).strip()
        case _:
            return kind


def value_text(value: Json) -> str:
    """A value, a key or a set of values."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return f"{{ {', '.join(_pair(one) for one in value)} }}"
    if isinstance(value, dict) and len(value) == 1:
        ((kind, content),) = value.items()
        of = cast("Mapping[str, Json]", content) if isinstance(content, dict) else {}
        match kind, content:
            case "payload", dict() if "field" in of:
                return f"{of.get('protocol')} {of['field']}"
            case "meta", dict():
                return str(of.get("key")) if of.get("key") in _PLAIN_META else f"meta {of.get('key')}"
            case "ct", dict():
                return " ".join(str(of[key]) for key in ("dir", "family", "key") if key in of).join(("ct ", ""))
            case "fib", dict():
                flags = of.get("flags")
                return f"fib {' . '.join(map(str, flags)) if isinstance(flags, list) else flags} {of.get('result')}"
            case "prefix", dict():
                return f"{value_text(of.get('addr'))}/{of.get('len')}"
            case "range", list():
                return "-".join(value_text(one) for one in content)
            case "concat", list():
                return " . ".join(value_text(one) for one in content)
            case "numgen" | "jhash" | "symhash", dict():
                return " ".join((kind, *(str(of[key]) for key in ("mode",) if key in of), "mod", str(of.get("mod"))))
            case "socket" | "rt" | "osf", dict():
                return f"{kind} {of.get('key', '')}".strip()
            case "tcp option" | "ip option" | "exthdr", dict():
                return " ".join((kind, str(of.get("name", "")), str(of.get("field", "")))).strip()
            case "set", _:
                return value_text(content if isinstance(content, list) else [content])
            case "elem", dict():
                return value_text(of.get("val"))
            case (("&" | "|" | "^" | "<<" | ">>"), list()):
                return f" {kind} ".join(value_text(one) for one in content)
            case (("accept" | "drop" | "continue" | "return"), None):
                return kind
            case (("jump" | "goto"), dict()):
                return f"{kind} {of.get('target')}"
            case _:
                pass
    return json.dumps(value)


def _pair(element: Json) -> str:
    """An element of a set, or of a map with its value."""
    if isinstance(element, list) and len(element) == 2:
        return f"{value_text(element[0])} : {value_text(element[1])}"
    return value_text(element)
