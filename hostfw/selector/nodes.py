"""Selectors as a tree of frozen nodes."""

from dataclasses import dataclass
from enum import StrEnum


class Operator(StrEnum):
    """The comparisons of a label with one string, in their canonical spelling."""

    EQUALS = "=="
    DIFFERS = "!="
    CONTAINS = "contains"
    STARTS_WITH = "starts with"
    ENDS_WITH = "ends with"


@dataclass(frozen=True, slots=True)
class All:
    """`all()`: every label set."""


@dataclass(frozen=True, slots=True)
class Global:
    """`global()`: what is in no namespace, where it stands for a `namespaceSelector`; else every label set."""


@dataclass(frozen=True, slots=True)
class Has:
    """`has(label)`: the label is there, whatever its value."""

    label: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """`label == "value"` and its kin. Only `!=` holds where the label is absent."""

    label: str
    operator: Operator
    value: str


@dataclass(frozen=True, slots=True)
class In:
    """`label in {...}`: the label is there and has one of the values."""

    label: str
    values: frozenset[str]


@dataclass(frozen=True, slots=True)
class NotIn:
    """`label not in {...}`: the label is absent or has none of the values."""

    label: str
    values: frozenset[str]


@dataclass(frozen=True, slots=True)
class Not:
    """`!operand`."""

    operand: "Selector"


@dataclass(frozen=True, slots=True)
class And:
    """Two or more operands joined by `&&`."""

    operands: "tuple[Selector, ...]"


@dataclass(frozen=True, slots=True)
class Or:
    """Two or more operands joined by `||`."""

    operands: "tuple[Selector, ...]"


Selector = All | Global | Has | Comparison | In | NotIn | Not | And | Or
