"""Feeds: texts of addresses, one a line, read by the million.

A line is an address, a prefix, whose bits beyond its length are masked off as in network sets, or a range of addresses;
`#` and `;` begin a comment, blanks and empty lines mean nothing. The C library reads thousands of lines in one go, in
0.3 µs a line; the lines of a piece that holds anything wrong are read one by one, and each problem has its place.

Whoever wrote the Feed may have named a file that they must not read. So a problem repeats a few characters of a list,
and nothing at all of a file that is no list.
"""

import re
import struct
import sys
from array import array
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import chain, repeat
from socket import AF_INET, AF_INET6, inet_pton

from hostfw.manifest.scalars.net_texts import form_hint, ipv4_of, is_mapped, loose_cidr, range_cidrs, says_mapped
from hostfw.model.kinds.sets import Feed
from hostfw.model.positions import Position
from hostfw.model.prefixes import Cidrs, CidrSet, cidr_set, packed_cidrs, unpacked
from hostfw.model.problems import Problem, Severity
from hostfw.model.resources import Resources
from hostfw.model.sources import Source
from hostfw.model.values import Family, mask_of
from hostfw.model.wording import quoted

LINES_AT_ONCE = 8192
MOST_PROBLEMS = 20
"""Most problems that are reported of one file: a file of another form is wrong in every line."""
SHOWN_CHARACTERS = 16
"""Characters of a wrong word that a problem repeats: an IPv4 address and a little more."""

_EXPECTED = "an address or prefix a line, such as 192.0.2.7 or 2001:db8::/32"
_NOT_SHOWN = "look at the file yourself: content that is not a list is not shown"
_LENGTHS = {family: {str(length): length for length in range(family.bits + 1)} for family in Family}
_MASKS = {family: [mask_of(family, length) for length in range(family.bits + 1)] for family in Family}
_MAPPED = 0xFFFF
_COMMENT = re.compile(r"[#;].*")
_BLANKS = " \t\r"
_CONTROLS = re.compile(r"[^\S \t\r\n]|[\x00-\x08\x0e-\x1f\x7f\x80-\x9f]")
"""Characters that no list of addresses in plain text has."""

_Found = defaultdict[tuple[Family, int], list[Collection[int]]]


def filled(resources: Resources, sources: Iterable[Source]) -> tuple[Resources, tuple[Problem, ...]]:
    """The resources with what the files of their Feeds hold, and what is wrong with these.

    A Feed whose file is not among the sources stays empty: that it could not be read is said where it was tried.
    """
    by_path = {source.path: source for source in sources}
    parsed = {feed.file: parse_feed(by_path[feed.file]) for feed in resources.feeds if feed.file in by_path}
    feeds = tuple(
        replace(feed, cidrs=parsed[feed.file][0]) if feed.file in parsed else feed for feed in resources.feeds
    )
    problems = [problem for _, found in parsed.values() for problem in found]
    empty = (feed for feed in feeds if feed.file in parsed and not feed.cidrs and not parsed[feed.file][1])
    problems.extend(
        Problem(feed.path_position, f"the file {quoted(feed.file)} holds no addresses", severity=Severity.WARNING)
        for feed in empty
    )
    return (replace(resources, feeds=feeds) if feeds else resources), tuple(problems)


def parse_feed(source: Source) -> tuple[Cidrs, tuple[Problem, ...]]:
    """The addresses of a feed's text, disjoint, and what is wrong with it.

    A text of which less than half of the lines that were read are addresses is no list, which is one problem.
    """
    found: _Found = defaultdict(list)
    problems: list[Problem] = []
    lines = source.text.removeprefix("\ufeff").split("\n")
    for first in range(0, len(lines), LINES_AT_ONCE):
        piece = lines[first : first + LINES_AT_ONCE]
        if not _read_at_once(piece, found):
            _read_one_by_one(source.path, first, piece, found, problems)
            if len(problems) >= MOST_PROBLEMS:
                break
    del lines
    right = sum(map(len, chain.from_iterable(found.values())))
    # A prefix that only wants to be written otherwise has a hint.
    wrong = sum(not problem.hint for problem in problems)
    if wrong > right or (wrong and _CONTROLS.search(source.text)):
        place = Position(source.path, problems[0].position.line, 1)
        return (), (Problem(place, "the file is not a list of addresses", _EXPECTED, _NOT_SHOWN),)
    cidrs = cidr_set({key: chain.from_iterable(parts) for key, parts in found.items()})
    return unpacked(cidrs), tuple(problems[:MOST_PROBLEMS])


def lost(old: Source, feed: Feed) -> int:
    """The percentage of a feed's content that is gone, if it is more than the feed may lose; otherwise 0."""
    kept = 100 * len(feed.cidrs)
    # A text holds no more than its lines, and to read the old one takes as long as the new.
    # Only a range is more than one prefix.
    if "-" not in old.text and kept >= (100 - feed.max_shrink) * (old.text.count("\n") + 1):
        return 0
    before = len(parse_feed(old)[0])
    return 100 - kept // before if kept < (100 - feed.max_shrink) * before else 0


def content_line(feed: Feed) -> str:
    """A summary of a feed's file, on one line that differs for every content."""
    from hashlib import sha256  # OpenSSL takes 3 ms to load, and most verbs compare nothing

    digest = sha256()
    for family, length, addresses in (
        feed.cidrs if isinstance(feed.cidrs, CidrSet) else packed_cidrs(feed.cidrs)
    ).parts:
        digest.update(f"{family}/{length}:{len(addresses)}:".encode() + addresses.data)
    return f"# {len(feed.cidrs)} prefixes, digest {digest.hexdigest()[:12]}"


def _read_at_once(lines: list[str], found: _Found) -> bool:
    """Read lines without looking at each; False, with nothing read, if any of them is wrong or unusual."""
    words = _words(lines)
    ranges = [range_cidrs(word) for word in words if "-" in word]
    if ranges:
        if any(not cidrs or is_mapped(cidrs[0]) or is_mapped(cidrs[-1]) for cidrs in ranges):
            return False
        words = [word for word in words if "-" not in word]
    of_v6 = [word for word in words if ":" in word]
    of_v4 = [word for word in words if ":" not in word] if of_v6 else words
    read: list[tuple[Family, int, Collection[int]]] = []
    try:
        for family, of_family in ((Family.V4, of_v4), (Family.V6, of_v6)):
            prefixes = [word for word in of_family if "/" in word]
            hosts = [word for word in of_family if "/" not in word] if prefixes else of_family
            read.append((family, family.bits, _addresses(family, hosts)))
            read.extend((family, length, values) for length, values in _prefixes(family, prefixes).items())
    except (OSError, KeyError, ValueError):
        return False
    for family, length, values in read:
        found[family, length].append(values)
    for family, address, length in chain.from_iterable(ranges):
        found[family, length].append((address,))
    return True


def _words(lines: list[str]) -> list[str]:
    text = "\n".join(lines)
    if "#" in text or ";" in text:
        lines = [_COMMENT.sub("", line) for line in lines]
    if "#" in text or ";" in text or any(blank in text for blank in _BLANKS):
        lines = [line.strip(_BLANKS) for line in lines]
    return list(filter(None, lines))


def _addresses(family: Family, words: list[str]) -> Sequence[int]:
    """The values of bare addresses. Raises OSError or ValueError for what is none."""
    packed = b"".join(map(inet_pton, repeat(AF_INET if family is Family.V4 else AF_INET6), words))
    if family is Family.V4:
        values = array("I", packed)
        if sys.byteorder == "little":
            values.byteswap()
        return values
    wide = [high << 64 | low for high, low in struct.iter_unpack("!QQ", packed)]
    if any(value >> 32 == _MAPPED for value in wide):
        raise ValueError("an IPv4 address in IPv6's clothes, which has to be looked at")
    return wide


def _prefixes(family: Family, words: list[str]) -> dict[int, list[int]]:
    """The network addresses of prefixes by length. Raises OSError, KeyError or ValueError for what is none."""
    parts = "/".join(words).split("/") if words else []
    if len(parts) != 2 * len(words):
        raise ValueError("a line with two slashes")
    lengths, masks = _LENGTHS[family], _MASKS[family]
    found: defaultdict[int, list[int]] = defaultdict(list)
    for value, length_text in zip(_addresses(family, parts[::2]), parts[1::2], strict=True):
        length = lengths[length_text]
        found[length].append(value & masks[length])
    return found


def _read_one_by_one(path: str, first: int, lines: list[str], found: _Found, problems: list[Problem]) -> None:
    for number, line in enumerate(lines, first + 1):
        word = _COMMENT.sub("", line).strip(_BLANKS)
        cidr = loose_cidr(word) if word else None
        cidrs = range_cidrs(word) if cidr is None and "-" in word else () if cidr is None else (cidr,)
        cidr = next((one for one in (*cidrs[:1], *cidrs[-1:]) if is_mapped(one)), None)
        if cidrs and cidr is None and "/" in word and says_mapped(word):
            # Of a length that was meant for IPv4: as a prefix of IPv6 it would hold half the world.
            place = Position(path, number, line.index(word) + 1)
            message = f"the line has {quoted(word)}, IPv4 in the form of IPv6"
            hint = form_hint(word) or "an IPv4 prefix has at most 32 bits"
            problems.append(Problem(place, message, "an IPv4 prefix", hint))
        elif cidrs and cidr is None:
            for family, address, length in cidrs:
                found[family, length].append((address,))
        elif word:
            place = Position(path, number, line.index(word) + 1)
            if cidr is None:
                problems.append(_wrong(place, word))
            else:
                message = f"the line has {cidr}, which no packet carries"
                problems.append(Problem(place, message, "an IPv4 prefix", f"write {ipv4_of(cidr)}"))


def _wrong(place: Position, text: str) -> Problem:
    """The first word of a line's text that is not an address, or that follows one."""
    words = text.split() or [text]
    if len(words) > 1 and loose_cidr(words[0]) is not None:
        column = place.column + text.index(words[1], len(words[0]))
        message = f"the line has {quoted(words[1], SHOWN_CHARACTERS)} behind an address"
        return Problem(Position(place.path, place.line, column), message, _EXPECTED)
    return Problem(place, f"the line has {quoted(words[0], SHOWN_CHARACTERS)}", _EXPECTED)
