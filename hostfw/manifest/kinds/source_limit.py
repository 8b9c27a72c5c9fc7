"""The field `limitPerSource` of a rule: how many connections a source may begin, and have at a time."""

import re
from collections.abc import Mapping as Dictionary

from hostfw.manifest.fields import (
    Reader,
    Shape,
    described,
    fields,
    integer,
    text,
)
from hostfw.manifest.yaml.nodes import Mapping, Node, Scalar, ScalarKind, scalar_kind
from hostfw.model.kinds.source_limit import MOST_CONNECTIONS, Rate, SourceLimit, Unit
from hostfw.model.values import Action, Direction
from hostfw.model.wording import quoted, shortened

FIELD = "limitPerSource"
SOURCE_LIMIT_SHAPE = Shape("the limit of each source", frozenset(("newConnections", "maxConnections")))
RATE_EXPECTED = f"a number from 1 to {MOST_CONNECTIONS} and a unit: 6/minute, 10/second, 100/hour"
RATE_PATTERN = rf"^[1-9][0-9]{{0,4}}/({'|'.join(Unit)})$"
"""The form of a rate, for the JSON Schema."""
_MEANT = r"\s*([0-9]{1,9})\s*(?:/|per)\s*([a-zA-Z]+)\s*\Z"
_UNITS = {
    "s": Unit.SECOND,
    "sec": Unit.SECOND,
    "m": Unit.MINUTE,
    "min": Unit.MINUTE,
    "h": Unit.HOUR,
    "hr": Unit.HOUR,
    **{str(unit): unit for unit in Unit},
    **{f"{unit}s": unit for unit in Unit},
}


def decode_source_limit(
    reader: Reader, found: Dictionary[str, Node], action: Action | None, what: str
) -> SourceLimit | None:
    """The limit of a rule, which has to be an Allow of ingress; `what` is the name of its direction."""
    node = found.get(FIELD)
    if node is None:
        return None
    if isinstance(node, Scalar):
        meant = f"newConnections: {rate_meant(node.text) or '6/minute'}"
        if scalar_kind(node) is ScalarKind.INTEGER:
            meant = f"newConnections: {node.text}/minute}}, or {FIELD}: {{maxConnections: {node.text}"
        hint = f"write {FIELD}: {{{meant}}}"
        reader.report(node, f"{FIELD} is {quoted(node.text)}", "a mapping with newConnections or maxConnections", hint)
        return None
    if action not in (None, Action.ALLOW):
        reader.report(node, f"{FIELD} in a rule with action: {action}", "action: Allow", _DENIES_BEYOND)
    if what == Direction.EGRESS:
        reader.report(node, f"{FIELD} in an egress rule: what goes out has one source", f"{FIELD} in ingress")
    limit = fields(reader, node, SOURCE_LIMIT_SHAPE)
    rate = _rate(reader, limit.get("newConnections"), f"{FIELD}.newConnections")
    most = integer(reader, limit.get("maxConnections"), f"{FIELD}.maxConnections", 1, MOST_CONNECTIONS)
    if not limit and isinstance(node, Mapping):
        reader.report(node, f"{FIELD} limits nothing", "newConnections: 6/minute, or maxConnections: 20")
    return SourceLimit(rate, most) if (rate, most) != (None, None) else None


_DENIES_BEYOND = "an Allow with a limit denies what is beyond it"


def _rate(reader: Reader, node: Node | None, what: str) -> Rate | None:
    if isinstance(node, Scalar) and scalar_kind(node) is ScalarKind.INTEGER:
        hint = f"write {shortened(node.text)}/minute; {FIELD} has maxConnections for connections at a time"
        reader.report(node, f"{what} is {described(node)}", RATE_EXPECTED, hint)
        return None
    value = text(reader, node, what)
    if node is None or value is None:
        return None
    meant = rate_meant(value)
    if meant is not None and str(meant) == value:
        return meant
    hint = f"did you mean {quoted(str(meant))}?" if meant is not None else ""
    reader.report(node, f"{what} is {quoted(value)}", RATE_EXPECTED, hint)
    return None


def rate_meant(value: str) -> Rate | None:
    """The rate of `6/minute`, and of other ways to write it, such as `6/min`; None for what is none."""
    found = re.match(_MEANT, value)
    if found is None:
        return None
    unit, count = _UNITS.get(found[2].lower()), int(found[1])
    return Rate(count, unit) if unit is not None and 1 <= count <= MOST_CONNECTIONS else None
