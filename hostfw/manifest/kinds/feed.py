"""Feed: where the addresses come from and how many may vanish at once, or how many other programs may put in."""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from hostfw.manifest.fields import Reader, Shape, boolean, described, fields, integer, items, text
from hostfw.manifest.scalars.name_forms import SUBDOMAIN
from hostfw.manifest.scalars.scalars import each_once
from hostfw.manifest.yaml.nodes import Node, Scalar
from hostfw.model.kinds.feed_sources import DOWNLOAD_BYTES, EXTERNAL_SIZE, Download, External
from hostfw.model.kinds.metadata import Metadata
from hostfw.model.kinds.sets import DOWNLOADS, Feed
from hostfw.model.positions import NOWHERE
from hostfw.model.wording import quoted

FEED_SHAPE = Shape(
    "the spec of a Feed",
    frozenset(("path", "maxShrink", "external", "of", "size", "timeout", "url", "hostnames", "sha256", "maxSize")),
)
TIMEOUT = re.compile(r"([1-9][0-9]{0,7})([smhd])\Z")
"""The time that a member stays, such as 10m."""
LARGEST_SIZE = 1_000_000
PERCENT = re.compile(r"(0|[1-9][0-9]?|100)%\Z")
_DEFAULT_MAX_SHRINK = 50
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST_S = 366 * 86_400
URL = re.compile(r"(https?://[A-Za-z0-9._:\[\]-]+([/?][!-~]*)?|file:///[!-~]+)\Z")
HOSTNAME = re.compile(
    r"([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?\Z"
)
LONGEST_HOSTNAME = 254
SHA256 = re.compile(r"[0-9a-fA-F]{64}\Z")
MAX_SIZE = re.compile(r"([1-9][0-9]{0,5})(Ki|Mi)\Z")
MOST_HOSTNAMES = 32
LONGEST_NAME = 200
"""Characters of the name of a Feed that is downloaded, which is part of names of files and units."""
_LARGEST_BYTES = 64 * 1024 * 1024
_BYTES = {"Ki": 1024, "Mi": 1024 * 1024}
_LONGEST_URL = 2000
_OF_FILES = ("path", "maxShrink", "url", "hostnames", "sha256", "maxSize")
_OF_EXTERNAL = ("of", "size", "timeout")
_SOURCES = ("path", "url", "hostnames")
_OF_URLS = ("sha256", "maxSize")


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
    given = [name for name in _SOURCES if name in found]
    for name in given[1:]:
        reader.report(found[name], f"{name} is given beside {given[0]}", f"one of {', '.join(_SOURCES)}")
    if given[:1] in (["url"], ["hostnames"]):
        return _downloaded(reader, metadata, found, given[0])
    for name in _OF_URLS:
        if name in found:
            reader.report(found[name], f"{name} is given for a Feed that is not downloaded", f"{name} only with url")
    path_node = found.get("path")
    path = text(reader, path_node, "path")
    if path_node is None:
        reader.report(
            spec,
            "path is missing",
            "the path of a file, absolute or from the folder of this one, or external: true for a set without a file",
            "url: is where hostfw is to download it",
        )
    elif path is not None and (not path or not path.isprintable()):
        reader.report(path_node, f"path is {quoted(path)}", "the path of a file")
    elif path is not None and path.startswith(f"{DOWNLOADS}/"):
        reader.report(path_node, f"path is {quoted(path)}, where hostfw keeps downloads", "a path elsewhere, or url")
    at = NOWHERE if path_node is None else reader.at(path_node)
    return Feed(metadata, path or "", _max_shrink(reader, found.get("maxShrink")), at)


def _downloaded(reader: Reader, metadata: Metadata, found: dict[str, Node], source: str) -> Feed:
    """A Feed with a url or hostnames. Answers of a resolver grow and shrink, so no loss of them is too much."""
    at = reader.at(found[source])
    if len(metadata.name) > LONGEST_NAME:
        reader.report(found[source], f"the name of this Feed has {len(metadata.name)} characters", f"{LONGEST_NAME}")
    if source == "url":
        download = Download(
            _url(reader, found["url"], "url"),
            sha256=_sha256(reader, found.get("sha256")),
            most_bytes=_max_size(reader, found.get("maxSize")),
        )
        return Feed(metadata, "", _max_shrink(reader, found.get("maxShrink")), at, download=download)
    for name in (*_OF_URLS, "maxShrink"):
        if name in found:
            reader.report(found[name], f"{name} is given for a Feed of hostnames", f"{name} only with a file or url")
    hostnames = tuple(dict.fromkeys(_hostnames(reader, found["hostnames"])))
    return Feed(metadata, "", 100, at, download=Download(hostnames=hostnames))


def _url(reader: Reader, node: Node, field: str) -> str:
    found = text(reader, node, field)
    if found is None:
        return ""
    if len(found) > _LONGEST_URL or not URL.match(found) or not _has_port(found):
        reader.report(
            node,
            f"{field} is {quoted(found)}",
            "a URL that begins with https://, http:// or file:///",
            "no user or password in it: everybody on this host would see them" if "@" in found else "",
        )
        return ""
    return found


def _has_port(url: str) -> bool:
    """True if the port of a URL is one, or left out."""
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _sha256(reader: Reader, node: Node | None) -> str:
    if node is None:
        return ""
    found = text(reader, node, "sha256")
    if found is None or SHA256.match(found):
        return (found or "").lower()
    if "://" in found:
        return _url(reader, node, "sha256")
    reader.report(
        node, f"sha256 is {quoted(found)}", "64 hexadecimal digits, or the URL of a file that begins with them"
    )
    return ""


def _max_size(reader: Reader, node: Node | None) -> int:
    if node is None:
        return DOWNLOAD_BYTES
    match = MAX_SIZE.match(node.text) if isinstance(node, Scalar) else None
    size = int(match[1]) * _BYTES[match[2]] if match is not None else 0
    if match is None or size > _LARGEST_BYTES:
        reader.report(node, f"maxSize is {described(node)}", "a number and Ki or Mi, such as 16Mi, up to 64Mi")
        return DOWNLOAD_BYTES
    return size


def _hostnames(reader: Reader, node: Node) -> Iterable[str]:
    listed = items(reader, node, "hostnames")
    if not listed or len(listed) > MOST_HOSTNAMES:
        reader.report(node, f"hostnames has {len(listed)} names", f"1 to {MOST_HOSTNAMES} names of hosts")
        return
    yield from each_once(reader, listed, "hostnames", _hostname)


def _hostname(reader: Reader, item: Node, _what: str) -> str | None:
    name = text(reader, item, "a hostname")
    if name is None:
        return None
    if len(name) <= LONGEST_HOSTNAME and HOSTNAME.match(name):
        return name.lower().rstrip(".")
    reader.report(item, f"the hostname is {quoted(name)}", "the name of a host, such as mirror.example.org")
    return None


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
