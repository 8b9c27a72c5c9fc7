"""The labels that a selector requires, by which most selectors need no evaluation over a few label sets."""

from hostfw.selector.nodes import All, And, Comparison, Global, Has, In, Not, NotIn, Operator, Or, Selector

RequiredLabels = frozenset[tuple[str, str | None]]
"""Labels with values, None for whatever value."""


def required_labels(selector: Selector) -> RequiredLabels | None:
    """Of these a label set has one at least if a selector selects it; None if one that has nothing may be selected."""
    match selector:
        case All() | Global() | Not() | NotIn() | Comparison(operator=Operator.DIFFERS):
            return None
        case Comparison(label, Operator.EQUALS, value):
            return frozenset(((label, value),))
        case Has(label) | Comparison(label):
            return frozenset(((label, None),))
        case In(label, values):
            return frozenset((label, value) for value in values)
        case And(operands):
            known = [one for one in map(required_labels, operands) if one is not None]
            return min(known, key=len, default=None)
        case Or(operands):
            every = [one for one in map(required_labels, operands) if one is not None]
            return frozenset().union(*every) if len(every) == len(operands) else None
