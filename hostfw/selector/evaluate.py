"""Selectors: the expressions over labels that choose HostEndpoints and GlobalNetworkSets."""

from collections.abc import Mapping

from hostfw.selector.nodes import (
    All,
    And,
    Comparison,
    Global,
    Has,
    In,
    Not,
    NotIn,
    Operator,
    Or,
    Selector,
)
from hostfw.selector.parser import SelectorError, parse

__all__ = ["Selector", "SelectorError", "canonical", "matches", "parse"]


def matches(selector: Selector, labels: Mapping[str, str]) -> bool:
    """True if a label set is selected."""
    match selector:
        case Comparison(label, operator, value):
            actual = labels.get(label)
            if actual is None:
                return operator is Operator.DIFFERS
            return _compare(operator, actual, value)
        case And(operands):
            return all(matches(operand, labels) for operand in operands)
        case Or(operands):
            return any(matches(operand, labels) for operand in operands)
        case Has(label):
            return label in labels
        case In(label, values):
            return labels.get(label) in values
        case NotIn(label, values):
            return labels.get(label) not in values
        case Not(operand):
            return not matches(operand, labels)
        case All() | Global():
            return True


def canonical(selector: Selector) -> str:
    """The one text of a selector, the same as Calico's: what is equal but for spelling has the same."""
    match selector:
        case All():
            return "all()"
        case Global():
            return "global()"
        case Has(label):
            return f"has({label})"
        case Comparison(label, operator, value):
            return f"{label} {operator} {_quoted(value)}"
        case In(label, values):
            return f"{label} in {_set_text(values)}"
        case NotIn(label, values):
            return f"{label} not in {_set_text(values)}"
        case Not(operand):
            return f"!{canonical(operand)}"
        case And(operands):
            return f"({' && '.join(map(canonical, operands))})"
        case Or(operands):
            return f"({' || '.join(map(canonical, operands))})"


def _compare(operator: Operator, actual: str, value: str) -> bool:
    match operator:
        case Operator.EQUALS:
            return actual == value
        case Operator.DIFFERS:
            return actual != value
        case Operator.CONTAINS:
            return value in actual
        case Operator.STARTS_WITH:
            return actual.startswith(value)
        case Operator.ENDS_WITH:
            return actual.endswith(value)


def _quoted(value: str) -> str:
    # A string knows no escapes, so one that holds a double quote came in single quotes and cannot hold any of those.
    return f"'{value}'" if '"' in value else f'"{value}"'


def _set_text(values: frozenset[str]) -> str:
    return "{" + ", ".join(_quoted(value) for value in sorted(values)) + "}"
