"""Values and mappings as JSON Schema, made of what the decoders go by.

A schema sees the form of a value and not what it means, so it may let pass what decoding refuses; it never refuses what
decoding lets pass. Patterns are in the syntax that ECMA-262 and Python have in common.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from hostfw.manifest.fields import Refusal, Shape
from hostfw.manifest.kinds.rule import LAST_PORT
from hostfw.manifest.scalars.name_forms import ENDPOINT_PORT_NAME, LABEL_VALUE, SUBDOMAIN, NameForm
from hostfw.manifest.scalars.scalars import LAST_PROTOCOL, PROTOCOLS_LIMIT, SELECTOR_LIMIT
from hostfw.model.resources import LOCAL
from hostfw.model.values import NAMED_PROTOCOLS

Json = Mapping[str, object]

Fields = Mapping[str, tuple[Json, str]]
"""The value of each field, and what it is for."""

STRING: Json = {"type": "string"}
BOOLEAN: Json = {"type": "boolean"}
NUMBER: Json = {"type": "number"}
NULL: Json = {"type": "null"}


def words(table: Iterable[str]) -> Json:
    """One of a few words."""
    return {"type": "string", "enum": list(table)}


def whole(first: int, last: int) -> Json:
    """A whole number within bounds."""
    return {"type": "integer", "minimum": first, "maximum": last}


def formed(pattern: str | re.Pattern[str]) -> Json:
    """A string that a pattern matches as a whole."""
    return {"type": "string", "pattern": f"^(?:{_ecma(pattern)})$"}


def name(form: NameForm, *, or_empty: bool = False) -> Json:
    """A name of a form, or an empty one where that means the same as none."""
    pattern = f"(?:{_ecma(form.pattern)})?" if or_empty else form.pattern
    return {**formed(pattern), "maxLength": form.limit}


def listed(item: Json, most: int | None = None) -> Json:
    """A list."""
    return {"type": "array", "items": item} if most is None else {"type": "array", "items": item, "maxItems": most}


def any_of(*choices: Json) -> Json:
    """A schema that allows any of the choices."""
    return {"anyOf": list(choices)}


def ref(definition: str) -> Json:
    """A reference to a definition."""
    return {"$ref": f"#/definitions/{definition}"}


def optional(value: Json) -> Json:
    """A value or null, which is the same as leaving the field out."""
    kind = value.get("type")
    if not isinstance(kind, str):
        return any_of(value, NULL)
    allowed = value.get("enum")
    more = {"enum": [*allowed, None]} if isinstance(allowed, list) else {}
    return {**value, "type": [kind, "null"], **more}


def described(value: Json, text: str) -> Json:
    """A value with what editors show of it."""
    return {"description": text, **value}


def _blank(refusal: Refusal) -> Json:
    """The values with which a refused field may stand, since they mean nothing; `not: {}` is no value at all."""
    values: list[object] = [
        [] if value == () else value for value in (None, False, "", ()) if value in refusal.blank.value
    ]
    return {"enum": values} if values else {"not": {}}


def schema_of(shape: Shape, fields: Fields, required: Sequence[str] = (), **more: object) -> Json:
    """A mapping of a Shape. `more` are rules between its fields.

    A field that a decoder knows and its table does not, or the other way round, is a ValueError.
    """
    if fields.keys() != shape.known:
        raise ValueError(f"{shape.noun}: {sorted(fields.keys() ^ shape.known)} is in one of decoder and schema only")
    properties: dict[str, Json] = {}
    for field, (value, text) in fields.items():
        properties[field] = described(value if field in required else optional(value), text)
    for field, refusal in shape.refused.items():
        text = f"Refused: {refusal.reason}."
        # The last two are for editors: neither offered, nor let stand without a word.
        properties[field] = {"description": text, **_blank(refusal), "doNotSuggest": True, "deprecationMessage": text}
    properties |= {field: {"doNotSuggest": True} for field in sorted(shape.ignored)}
    return {
        "title": shape.noun,
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        **({"required": list(required)} if required else {}),
        **more,
    }


def if_given(field: str, kind: str, then: Json) -> Json:
    """A rule for mappings in which a field has a value of a type, null being none."""
    return {"if": {"required": [field], "properties": {field: {"type": kind}}}, "then": then}


def _ecma(pattern: str | re.Pattern[str]) -> str:
    """A pattern as ECMA-262 has it: without names of groups, and without the end, which `$` is there."""
    text = pattern if isinstance(pattern, str) else pattern.pattern
    return re.sub(r"\(\?P<\w+>", "(?:", text).replace(r"\Z", "")


def _either(*patterns: str) -> str:
    return f"(?:{'|'.join(patterns)})"


_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_V4 = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_V6 = "(?=[^/]*:)[0-9A-Fa-f:.]{2,45}"
_V4_LENGTH = "/0{0,2}(?:3[0-2]|[12]?[0-9])"
_V6_LENGTH = "/0{0,2}(?:12[0-8]|1[01][0-9]|[1-9]?[0-9])"

MAC = formed("[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}")
ADDRESS = formed(_either(_V4, _V6))
NET = formed(_either(_V4 + _V4_LENGTH, _V6 + _V6_LENGTH))
NET_OR_LOCAL = any_of(words((LOCAL,)), NET)
SET_NET = formed(
    _either(f"{_V4}(?:{_V4_LENGTH}|[ \\t]*-[ \\t]*{_V4})?", f"{_V6}(?:{_V6_LENGTH}|[ \\t]*-[ \\t]*{_V6})?")
)
NET_OR_ADDRESS = formed(_either(f"{_V4}(?:{_V4_LENGTH})?", f"{_V6}(?:{_V6_LENGTH})?"))

_PORT_NUMBER = "[1-9][0-9]{0,4}"
PORT_NAME = name(ENDPOINT_PORT_NAME)
PORT = any_of(whole(1, LAST_PORT), formed(f"{_PORT_NUMBER}(?::{_PORT_NUMBER})?"), PORT_NAME)

_PROTOCOL_NUMBER = whole(1, LAST_PROTOCOL), formed("[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5]")
PROTOCOL = any_of(words(NAMED_PROTOCOLS), *_PROTOCOL_NUMBER)
PROTOCOL_LIST: Json = {**listed(PROTOCOL, PROTOCOLS_LIMIT), "minItems": 1, "uniqueItems": True}

_SELECTOR: Json = {"type": "string", "maxLength": SELECTOR_LIMIT}
SELECTOR: Json = {**_SELECTOR, "not": {"type": "string", "pattern": r"global\("}}
SELECTOR_WITH_GLOBAL = _SELECTOR


def _key(domain: str) -> Json:
    return {
        "pattern": f"^(?:{domain}/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?$",
        "maxLength": SUBDOMAIN.limit + len("/") + LABEL_VALUE.limit,
    }


_LABEL_KEY = _key(_ecma(SUBDOMAIN.pattern))
_ANNOTATION_KEY = _key(_ecma(SUBDOMAIN.pattern).replace("a-z", "A-Za-z"))
LABELS: Json = {"type": "object", "propertyNames": _LABEL_KEY, "additionalProperties": name(LABEL_VALUE)}
ANNOTATIONS: Json = {"type": "object", "propertyNames": _ANNOTATION_KEY, "additionalProperties": STRING}
