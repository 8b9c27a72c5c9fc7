"""Frozen values as JSON and back, told by their types: dataclasses, named tuples, tuples, sets, enums and moments.

A dataclass or named tuple is an object whose `type` is its name, so that a union of them says which one it holds.
Decoding checks everything: what does not fit is a CodecError that says where, never a value of the wrong type.
"""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from hashlib import sha256
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from hostfw.model.time.moments import moment_of

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

_TYPE = "type"
_BRIEF = 100
_ON_THE_WIRE = {
    "Baseline": "Evidence",
    "Envelope": "Letter",
    "NoTrial": "NothingPending",
    "RolledBack": "TakenBack",
    "Trial": "Pending",
    "baseline": "evidence",
    "trial": "pending",
}
"""Types and fields that have another name on the wire, where names are an interface and stay."""
_PLAIN = (bool, int, float, str, NoneType)

T = TypeVar("T")


class CodecError(Exception):
    """Some JSON is not what was expected; the message says where and why."""


def brief(value: object) -> str:
    """As much of a value as a message has room for."""
    text = value if isinstance(value, str) else str(value) if isinstance(value, BaseException) else repr(value)
    cut = text if len(text) <= _BRIEF else f"{text[:_BRIEF]}..."
    return cut.encode("utf-8", "backslashreplace").decode()


def wire_name(name: str) -> str:
    """The name of a type or field as it travels."""
    return _ON_THE_WIRE.get(name, name)


def encode(value: object) -> Json:
    """A value as JSON. Raises CodecError for what has no form there."""
    if isinstance(value, Enum):
        return encode(value.value)
    if isinstance(value, datetime):
        return value.isoformat()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    kind: type = type(value)
    names = _field_names(kind)
    if names is not None:
        return {_TYPE: wire_name(kind.__name__)} | {wire_name(name): encode(getattr(value, name)) for name in names}
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if isinstance(value, frozenset):
        return [encode(item) for item in sorted(value)]
    raise CodecError(f"a {type(value).__name__} has no form in JSON")


def decode(expected: type[T] | UnionType, data: Json, where: str = "$") -> T:
    """The value of a type, or of one of a union of types, that some JSON stands for. Raises CodecError."""
    return cast("T", _decode(expected, data, where))


def shape_digest(*expected: object) -> str:
    """A digest of everything that may be in values of these types: names of fields, their types, values of enums.

    Two programs with the same digest understand each other.
    """
    found: dict[type, str] = {}
    for one in expected:
        _note_shape(one, found)
    lines = sorted(f"{wire_name(kind.__name__)}: {shape}\n" for kind, shape in found.items())
    return sha256("".join((*map(_type_name, expected), *lines)).encode()).hexdigest()[:16]


def _note_shape(expected: object, found: dict[type, str]) -> None:
    for argument in get_args(expected):
        _note_shape(argument, found)
    if not get_args(expected) and isinstance(expected, type) and expected not in found:
        _note_class(expected, found)


def _note_class(expected: type, found: dict[type, str]) -> None:
    names = _field_names(expected)
    if names is not None:
        hints, optional = _hints(expected), _optional(expected)
        found[expected] = ", ".join(
            f"{wire_name(name)}{'?' * (name in optional)} {_type_name(hints[name])}" for name in names
        )
        for name in names:
            _note_shape(hints[name], found)
    elif issubclass(expected, Enum):
        found[expected] = repr([member.value for member in expected])


def _type_name(expected: object) -> str:
    """A type in words that do not hang on where it is defined."""
    if arguments := get_args(expected):
        return f"{getattr(get_origin(expected), '__name__', 'Union')}[{', '.join(map(_type_name, arguments))}]"
    return wire_name(getattr(expected, "__name__", repr(expected)))


def _decode(expected: object, data: Json, where: str) -> object:
    origin, arguments = get_origin(expected), get_args(expected)
    if origin in (Union, UnionType):
        return _one_of(arguments, data, where)
    if origin is tuple and not _is_list_of(arguments):
        items = _list(data, where)
        if len(items) != len(arguments):
            raise CodecError(f"{where}: {len(arguments)} items are expected, not {len(items)}")
        return tuple(_decode(arguments[n], item, f"{where}[{n}]") for n, item in enumerate(items))
    if origin in (tuple, frozenset):
        return origin(_items(arguments[0], data, where))
    if not isinstance(expected, type):
        raise CodecError(f"{where}: {expected} cannot be expected")
    return _decode_class(expected, data, where)


def _decode_class(expected: type, data: Json, where: str) -> object:
    if expected in _PLAIN:
        # JSON does not tell 90 from 90.0, and True is not a number.
        kind = type(data)
        if isinstance(data, str) and kind is expected and not _is_text(data):
            raise CodecError(f"{where}: this is not text: it has half a character")
        if kind is expected or (expected is float and kind is int):
            return expected(data) if expected is float else data  # type: ignore[arg-type]
        raise CodecError(f"{where}: {expected.__name__} is expected, not {kind.__name__}")
    if issubclass(expected, Enum):
        try:
            return expected(data)
        except ValueError:
            raise CodecError(f"{where}: {brief(repr(data))} is no {expected.__name__}") from None
    if issubclass(expected, datetime):
        moment = moment_of(data) if isinstance(data, str) else None
        if moment is None:
            raise CodecError(f"{where}: {brief(repr(data))} is not a moment")
        return moment
    return _object(expected, data, where)


def _one_of(types: Iterable[object], data: Json, where: str) -> object:
    """The value of the first type of a union that fits; of dataclasses, the one of that name."""
    if data is None and NoneType in types:
        return None
    candidates = [found for found in types if found is not NoneType]
    if isinstance(data, dict) and _TYPE in data:
        named = [found for found in candidates if isinstance(found, type) and wire_name(found.__name__) == data[_TYPE]]
        if not named:
            raise CodecError(f"{where}: a {brief(data[_TYPE])} is not expected here")
        return _decode(named[0], data, where)
    for candidate in candidates:
        try:
            return _decode(candidate, data, where)
        except CodecError:
            continue
    raise CodecError(f"{where}: {type(data).__name__} is not expected here")


def _object(expected: type, data: Json, where: str) -> object:
    names = _field_names(expected)
    if names is None:
        raise CodecError(f"{where}: {expected.__name__} has no form in JSON")
    if not isinstance(data, dict):
        raise CodecError(f"{where}: {wire_name(expected.__name__)} is expected, not {type(data).__name__}")
    if data.get(_TYPE) != wire_name(expected.__name__):
        raise CodecError(f"{where}: {wire_name(expected.__name__)} is expected, not {brief(data.get(_TYPE))}")
    unknown = data.keys() - set(map(wire_name, names)) - {_TYPE}
    if unknown:
        raise CodecError(f"{where}.{brief(min(unknown))}: is not part of {wire_name(expected.__name__)}")
    missing = [wire_name(n) for n in names if wire_name(n) not in data and n not in _optional(expected)]
    if missing:
        raise CodecError(f"{where}.{missing[0]}: is missing")
    hints = _hints(expected)
    found = ((name, wire_name(name)) for name in names)
    values = {n: _decode(hints[n], data[wire], f"{where}.{wire}") for n, wire in found if wire in data}
    return expected(**values)


def _is_text(text: str) -> bool:
    """True if a string can be encoded, as a path at least: JSON allows halves of characters."""
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _items(expected: object, data: Json, where: str) -> Iterable[object]:
    return (_decode(expected, item, f"{where}[{number}]") for number, item in enumerate(_list(data, where)))


def _list(data: Json, where: str) -> list[Json]:
    if not isinstance(data, list):
        raise CodecError(f"{where}: a list is expected, not {type(data).__name__}")
    return data


def _is_list_of(arguments: tuple[object, ...]) -> bool:
    return len(arguments) == 2 and arguments[1] is Ellipsis


@cache
def _field_names(kind: type) -> tuple[str, ...] | None:
    """The fields of a dataclass or named tuple, or None for another type."""
    if is_dataclass(kind):
        return tuple(field.name for field in fields(kind) if field.init)
    names = getattr(kind, "_fields", None)
    return tuple(names) if names is not None and issubclass(kind, tuple) else None


@cache
def _optional(kind: type) -> frozenset[str]:
    if is_dataclass(kind):
        given = (f for f in fields(kind) if f.default is not MISSING or f.default_factory is not MISSING)
        return frozenset(field.name for field in given)
    return frozenset(getattr(kind, "_field_defaults", {}))


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)
