"""Label selectors of Kubernetes, and the selectors that mean the same."""

from collections.abc import Iterator

from hostfw.manifest.fields import Reader, Shape, choice, fields, items, one_of, text
from hostfw.manifest.kinds.metadata import labels
from hostfw.manifest.scalars.name_forms import LABEL_KEY_EXPECTED, LABEL_VALUE, is_label_key
from hostfw.manifest.scalars.scalars import each, each_once
from hostfw.manifest.yaml.nodes import Node
from hostfw.model.kinds.kubernetes import LabelOperator, LabelRequirement, LabelSelector
from hostfw.model.wording import quoted
from hostfw.selector.evaluate import canonical
from hostfw.selector.nodes import Comparison, Has, In, Not, NotIn, Operator, Selector

LABEL_SELECTOR_SHAPE = Shape("a label selector", frozenset(("matchLabels", "matchExpressions")))
REQUIREMENT_SHAPE = Shape("an item of matchExpressions", frozenset(("key", "operator", "values")))
OPERATORS = {operator.value: operator for operator in LabelOperator}
WITH_VALUES = (LabelOperator.IN, LabelOperator.NOT_IN)


def label_selector(reader: Reader, node: Node | None) -> LabelSelector | None:
    """A label selector; None where it is absent, which is not the same as an empty one."""
    if node is None:
        return None
    found = fields(reader, node, LABEL_SELECTOR_SHAPE)
    return LabelSelector(
        labels(reader, found.get("matchLabels"), "matchLabels"),
        each(reader, items(reader, found.get("matchExpressions"), "matchExpressions"), "matchExpressions", _one),
        reader.at(node),
    )


def _one(reader: Reader, node: Node, _what: str) -> LabelRequirement | None:
    found = fields(reader, node, REQUIREMENT_SHAPE)
    key = text(reader, found.get("key"), "key")
    if "key" not in found:
        reader.report(node, "key is missing", "the key of a label")
    elif key is not None and not is_label_key(key):
        reader.report(found["key"], f"key is {quoted(key)}", LABEL_KEY_EXPECTED)
    operator = choice(reader, found.get("operator"), "operator", OPERATORS)
    if "operator" not in found:
        reader.report(node, "operator is missing", one_of(OPERATORS))
    given = items(reader, found.get("values"), "values")
    values = each_once(reader, given, "values", _value)
    if operator in WITH_VALUES and not given:
        reader.report(found.get("values", node), f"{operator} without values", "at least one value")
    elif operator is not None and operator not in WITH_VALUES and given:
        reader.report(found["values"], f"{operator} with values", "no values", "leave them out, or write In or NotIn")
    return None if key is None or operator is None else LabelRequirement(key, operator, values)


def _value(reader: Reader, node: Node, what: str) -> str | None:
    value = text(reader, node, f"an item of {what}")
    if value is not None and not LABEL_VALUE.fits(value):
        reader.report(node, f"{what} has {quoted(value)}", f"{LABEL_VALUE.expected}, or nothing")
        return None
    return value


def terms(selector: LabelSelector | None, prefix: str = "") -> Iterator[str]:
    """The selectors that hold together where a label selector does; `prefix` stands before each label."""
    if selector is None:
        return
    for key, value in selector.match_labels:
        yield canonical(Comparison(f"{prefix}{key}", Operator.EQUALS, value))
    for requirement in selector.match_expressions:
        yield canonical(_expression(requirement, f"{prefix}{requirement.key}"))


def _expression(requirement: LabelRequirement, label: str) -> Selector:
    match requirement.operator:
        case LabelOperator.IN:
            return In(label, frozenset(requirement.values))
        case LabelOperator.NOT_IN:
            return NotIn(label, frozenset(requirement.values))
        case LabelOperator.EXISTS:
            return Has(label)
        case LabelOperator.DOES_NOT_EXIST:
            return Not(Has(label))
