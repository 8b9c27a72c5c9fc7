"""Feed: where the file is, and how much of it may vanish at once."""

import re

from hostfw.manifest.fields import Reader, Shape, described, fields, quoted, text
from hostfw.manifest.yaml.nodes import Node, Scalar
from hostfw.model.positions import NOWHERE
from hostfw.model.resources import Feed, Metadata

FEED_SHAPE = Shape("the spec of a Feed", frozenset(("path", "maxShrink")))
PERCENT = re.compile(r"(0|[1-9][0-9]?|100)%\Z")
_DEFAULT_MAX_SHRINK = 50


def decode_feed(reader: Reader, metadata: Metadata, spec: Node) -> Feed:
    """A Feed without what its file holds."""
    found = fields(reader, spec, FEED_SHAPE)
    path_node = found.get("path")
    path = text(reader, path_node, "path")
    if path_node is None:
        reader.report(spec, "path is missing", "the path of a file, absolute or from the folder of this one")
    elif path is not None and (not path or not path.isprintable()):
        reader.report(path_node, f"path is {quoted(path)}", "the path of a file")
    at = NOWHERE if path_node is None else reader.at(path_node)
    return Feed(metadata, path or "", _max_shrink(reader, found.get("maxShrink")), at)


def _max_shrink(reader: Reader, node: Node | None) -> int:
    if node is None:
        return _DEFAULT_MAX_SHRINK
    match = PERCENT.match(node.text) if isinstance(node, Scalar) else None
    if match is None:
        reader.report(node, f"maxShrink is {described(node)}", "a percentage from 0% to 100%, such as 50%")
        return _DEFAULT_MAX_SHRINK
    return int(match[1])
