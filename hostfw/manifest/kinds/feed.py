"""Feed: where the file is and how much of it may vanish at once, or how much other programs may put in."""

import re

from hostfw.manifest.fields import Reader, Shape, boolean, described, fields, integer, quoted, text
from hostfw.manifest.name_forms import SUBDOMAIN
from hostfw.manifest.yaml.nodes import Node, Scalar
from hostfw.model.kinds.metadata import Metadata
from hostfw.model.kinds.sets import EXTERNAL_SIZE, External, Feed
from hostfw.model.positions import NOWHERE

FEED_SHAPE = Shape("the spec of a Feed", frozenset(("path", "maxShrink", "external", "of", "size", "timeout")))
TIMEOUT = re.compile(r"([1-9][0-9]{0,7})([smhd])\Z")
"""The time that a member stays, such as 10m."""
LARGEST_SIZE = 1_000_000
PERCENT = re.compile(r"(0|[1-9][0-9]?|100)%\Z")
_DEFAULT_MAX_SHRINK = 50
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST_S = 366 * 86_400
_OF_FILES, _OF_EXTERNAL = ("path", "maxShrink"), ("of", "size", "timeout")


def decode_feed(reader: Reader, metadata: Metadata, spec: Node) -> Feed:
    """A Feed without what its file holds."""
    found = fields(reader, spec, FEED_SHAPE)
    is_external = boolean(reader, found.get("external"), "external")
    for name in _OF_FILES if is_external else _OF_EXTERNAL:
        if name in found:
            hint = "" if is_external else "an external one has no file: external: true in place of path"
            reader.report(
                found[name],
                f"{name} is given for a Feed that {'other programs fill' if is_external else 'has a file'}",
                f"{name} only {'without' if is_external else 'with'} external: true",
                hint,
            )
    if is_external:
        return Feed(metadata, "", path_position=reader.at(found["external"]), external=_external(reader, found))
    path_node = found.get("path")
    path = text(reader, path_node, "path")
    if path_node is None:
        reader.report(
            spec,
            "path is missing",
            "the path of a file, absolute or from the folder of this one, or external: true for a set without a file",
        )
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


def _external(reader: Reader, found: dict[str, Node]) -> External:
    size_node, timeout_node = found.get("size"), found.get("timeout")
    size = None if size_node is None else integer(reader, size_node, "size", 1, LARGEST_SIZE)
    of_node = found.get("of")
    of = text(reader, of_node, "of") or ""
    if of_node is not None and not SUBDOMAIN.fits(of):
        reader.report(of_node, f"of is {quoted(of)}", "the name of a GlobalNetworkSet or Feed")
    at = NOWHERE if of_node is None else reader.at(of_node)
    return External(EXTERNAL_SIZE if size is None else size, _timeout_s(reader, timeout_node), of, at)


def _timeout_s(reader: Reader, node: Node | None) -> int | None:
    if node is None:
        return None
    match = TIMEOUT.match(node.text) if isinstance(node, Scalar) else None
    seconds = int(match[1]) * _UNITS_S[match[2]] if match is not None else 0
    if match is None or seconds > _LONGEST_S:
        reader.report(node, f"timeout is {described(node)}", "a number and s, m, h or d, such as 10m, up to a year")
        return None
    return seconds
