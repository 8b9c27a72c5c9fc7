"""Feeds: lines to addresses, with everything wrong in its place, and what counts as a loss."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostfw.manifest.files.feed_file import LINES_AT_ONCE, MOST_PROBLEMS, content_line, filled, lost, parse_feed
from hostfw.model.kinds.metadata import Metadata
from hostfw.model.kinds.sets import Feed
from hostfw.model.positions import Position
from hostfw.model.prefixes import CidrSet, packed_cidrs
from hostfw.model.resources import Resources
from hostfw.model.sources import Source
from hostfw.model.values import FAMILIES, Cidr, Family, host_cidr, mask_of, parse_address, parse_cidr

FEED = Feed(Metadata("bad"), "bad.txt", path_position=Position("etc/sets/feeds.yaml", 5, 9))


def source(*lines: str) -> Source:
    """A file of lines."""
    return Source("etc/sets/bad.txt", "\n".join(lines))


def nets(*texts: str) -> tuple[Cidr, ...]:
    """The prefixes of texts, each with a length."""
    found = (parse_cidr(text) for text in texts)
    return tuple(cidr for cidr in found if cidr is not None)


FORMS = [
    ("hosts", "192.0.2.1\n198.51.100.7\n", ("192.0.2.1/32", "198.51.100.7/32")),
    ("prefixes", "192.0.2.0/24\n10.0.0.0/8", ("10.0.0.0/8", "192.0.2.0/24")),
    ("both families", "2001:db8::/32\n::1\n192.0.2.1\n", ("192.0.2.1/32", "::1/128", "2001:db8::/32")),
    (
        "comments and blanks",
        "# a list\n\n 192.0.2.1 # one\r\n\t192.0.2.2\t\n#192.0.2.3",
        ("192.0.2.1/32", "192.0.2.2/32"),
    ),
    (
        "comments of the other sign",
        "; a list\n192.0.2.0/25 ; SBL1\n192.0.2.200;a # b\n192.0.2.201#a;b\n;\n",
        ("192.0.2.0/25", "192.0.2.200/32", "192.0.2.201/32"),
    ),
    (
        "ranges",
        "198.51.100.10-198.51.100.20\n2001:db8::1 - 2001:db8::3 ; blanks\n192.0.2.1-192.0.2.1\n192.0.2.9",
        (
            "192.0.2.1/32",
            "192.0.2.9/32",
            "198.51.100.10/31",
            "198.51.100.12/30",
            "198.51.100.16/30",
            "198.51.100.20/32",
            "2001:db8::1/128",
            "2001:db8::2/127",
        ),
    ),
    ("a range of everything", "0.0.0.0-255.255.255.255", ("0.0.0.0/0",)),
    ("bits beyond the length", "192.0.2.7/24\n2001:db8::7/32", ("192.0.2.0/24", "2001:db8::/32")),
    ("what another line covers", "10.1.2.3\n10.0.0.0/8\n10.0.0.0/8\n10.2.0.0/16", ("10.0.0.0/8",)),
    ("a length with a zero in front", "192.0.2.0/024", ("192.0.2.0/24",)),
    ("nothing", "", ()),
]


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in FORMS], ids=[case[0] for case in FORMS])
def test_every_form_of_line_is_read(text: str, expected: tuple[str, ...]) -> None:
    """As network sets have them."""
    assert parse_feed(source(text)) == (nets(*expected), ())


EXPECTED = "an address or prefix a line, such as 192.0.2.7 or 2001:db8::/32"
WRONG = [
    ("192.0.2.9-192.0.2.8", 1, 'the line has "192.0.2.9-192.0...."', EXPECTED, ""),
    ("192.0.2.9-", 1, 'the line has "192.0.2.9-"', EXPECTED, ""),
    ("1.2.3.4-::5", 1, 'the line has "1.2.3.4-::5"', EXPECTED, ""),
    ("1.2.3.4-5", 1, 'the line has "1.2.3.4-5"', EXPECTED, ""),
    ("1.2.3.4/8-1.3.0.0", 1, 'the line has "1.2.3.4/8-1.3.0...."', EXPECTED, ""),
    ("192.0.2.256", 1, 'the line has "192.0.2.256"', EXPECTED, ""),
    ("192.0.2.1\n\n  192.0.2.0/33 # no", 3, 'the line has "192.0.2.0/33"', EXPECTED, ""),
    ("192.0.2.1 192.0.2.2", 1, 'the line has "192.0.2.2" behind an address', EXPECTED, ""),
    ("192.0.2.0/24/8", 1, 'the line has "192.0.2.0/24/8"', EXPECTED, ""),
    ("192.0.2.0/", 1, 'the line has "192.0.2.0/"', EXPECTED, ""),
    ("192.0.2.0/+8", 1, 'the line has "192.0.2.0/+8"', EXPECTED, ""),
    ("192.0.2.0/٨", 1, 'the line has "192.0.2.0/٨"', EXPECTED, ""),
    ("192.168.1", 1, 'the line has "192.168.1"', EXPECTED, ""),
    ("- a list", 1, 'the line has "-"', EXPECTED, ""),
    ("a-word-of-more-than-16-characters and more", 1, 'the line has "a-word-of-more-t..."', EXPECTED, ""),
    ("fe80::1%eth0", 1, 'the line has "fe80::1%eth0"', EXPECTED, ""),
    (
        "::ffff:192.0.2.0/120",
        1,
        "the line has ::ffff:192.0.2.0/120, which no packet carries",
        "an IPv4 prefix",
        "write 192.0.2.0/24",
    ),
    (
        "::ffff:192.0.2.0/24",
        1,
        'the line has "::ffff:192.0.2.0/24", IPv4 in the form of IPv6',
        "an IPv4 prefix",
        "no packet carries it; write 192.0.2.0/24",
    ),
]


@pytest.mark.parametrize(("text", "line", "message", "expected", "hint"), WRONG)
def test_a_wrong_line_has_its_place(text: str, line: int, message: str, expected: str, hint: str) -> None:
    """The line counts from 1, and the column is that of the word."""
    _, (problem,) = parse_feed(source(text, *["192.0.2.9"] * 3))
    shown = message.partition('"')[2].partition('"')[0].removesuffix("...")
    column = text.split("\n")[line - 1].index(shown) + 1 if shown else 1

    assert problem.position == Position("etc/sets/bad.txt", line, column)
    assert (problem.message, problem.expected, problem.hint) == (message, expected, hint)


def test_what_is_right_around_a_wrong_line_is_read() -> None:
    """In its own piece of the file and in others; the number of the line is that in the file."""
    lines = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(3 * LINES_AT_ONCE)]
    lines[LINES_AT_ONCE + 5] = "wrong"
    found, (problem,) = parse_feed(source(*lines))

    assert len(found) == 3 * LINES_AT_ONCE - 1
    assert isinstance(found, CidrSet)
    assert problem.position.line == LINES_AT_ONCE + 6


def test_a_list_with_many_wrong_lines_is_told_of_twenty() -> None:
    """They say it."""
    assert len(parse_feed(source(*["192.0.2.1", "<html>"] * 50_000))[1]) == MOST_PROBLEMS


NO_LISTS = [
    ("a page", ["<html>"] * 100_000),
    ("keys", ["-----BEGIN OPENSSH PRIVATE KEY-----", "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ", "secret"]),
    ("an environment", ["TOKEN=secret\0PATH=/bin\0"]),
    ("addresses, with bytes of a program between them", ["192.0.2.1", "192.0.2.2", "192.0.2.3", "\0secret"]),
    ("passwords, with an address among them", ["root:secret:20000::::::", "192.0.2.1", "daemon:secret:20000::::::"]),
    ("one wrong word", ["secret"]),
    ("what is blank elsewhere", ["192.0.2.1", "\x0c", "\u2028", "192.0.2.2"]),
]


@pytest.mark.parametrize("lines", [case[1] for case in NO_LISTS], ids=[case[0] for case in NO_LISTS])
def test_nothing_is_shown_of_a_file_that_is_no_list(lines: list[str]) -> None:
    """A Feed may name a file that its author must not read, whose content would be printed where its reader looks."""
    found, (problem,) = parse_feed(source(*lines))
    told = f"{problem} {problem.expected} {problem.hint}"

    assert found == ()
    assert problem.message == "the file is not a list of addresses"
    assert not [word for word in ("secret", "html", "BEGIN", "PATH", "root:") if word in told]


@st.composite
def words(draw: st.DrawFn) -> tuple[str, Cidr]:
    """A line, and the prefix that it means."""
    family = draw(st.sampled_from(FAMILIES))
    address = draw(st.integers(0, 2**family.bits - 1).filter(lambda value: value >> 32 != 0xFFFF))
    length = draw(st.integers(0, family.bits))
    cidr = Cidr(family, address & mask_of(family, length), length)
    return draw(
        st.sampled_from(
            ((str(cidr), cidr), (str(host_cidr(family, address)).partition("/")[0], host_cidr(family, address)))
        )
    )


@given(st.lists(words()))
def test_reading_at_once_is_reading_one_by_one(pairs: list[tuple[str, Cidr]]) -> None:
    """A wrong line makes its piece go the slow way, which finds the same."""
    lines = [text for text, _ in pairs]
    quick, none = parse_feed(source(*lines))
    slow, (wrong,) = parse_feed(source("192.0.2.1", *lines, "wrong"))

    assert none == ()
    assert quick == tuple(packed_cidrs(cidr for _, cidr in pairs))
    assert slow == tuple(packed_cidrs((host_cidr(Family.V4, 0xC0000201), *(cidr for _, cidr in pairs))))
    assert wrong.position.line == len(lines) + 2


def test_feeds_are_filled_from_the_sources() -> None:
    """By the path beside the manifest; one whose file was not read stays empty, and an empty file is said."""
    other = replace(FEED, metadata=Metadata("gone"), path="/srv/gone.txt")
    empty = replace(FEED, metadata=Metadata("empty"), path="../empty.txt")
    assert (FEED.file, other.file, empty.file) == ("etc/sets/bad.txt", "/srv/gone.txt", "etc/sets/../empty.txt")

    sources = (source("192.0.2.1"), Source(empty.file, "# nothing today\n"))
    resources, problems = filled(Resources(feeds=(FEED, other, empty)), sources)

    assert [feed.cidrs for feed in resources.feeds] == [(Cidr(Family.V4, 0xC0000201, 32),), (), ()]
    assert [str(problem) for problem in problems] == [
        'etc/sets/feeds.yaml:5:9: warning: the file "etc/sets/../empty.txt" holds no addresses'
    ]


@pytest.mark.parametrize(
    ("before", "now", "max_shrink", "expected"),
    [
        (100, 100, 50, 0),
        (100, 50, 50, 0),
        (100, 49, 50, 51),
        (100, 0, 50, 100),
        (100, 99, 0, 1),
        (100, 0, 100, 0),
        (0, 0, 50, 0),
        (1, 1000, 0, 0),
    ],
)
def test_a_loss_beyond_max_shrink_is_told_in_percent(before: int, now: int, max_shrink: int, expected: int) -> None:
    """Of the elements, not of the lines: comments that go are no loss."""
    old = source(*(f"10.0.0.{n}" for n in range(before)), *["# comment"] * 500)
    cidrs = tuple(host_cidr(*known) for n in range(now) if (known := parse_address(f"10.0.{n >> 8}.{n & 255}")))

    assert lost(old, replace(FEED, max_shrink=max_shrink, cidrs=cidrs)) == expected


def test_a_line_of_many_prefixes_counts_as_many() -> None:
    """A range is one line of text, so the number of lines is no bound of what was there."""
    now = replace(FEED, max_shrink=50, cidrs=nets("192.0.2.1/32", "192.0.2.2/32"))

    assert lost(source("192.0.2.1-192.0.2.254"), now) == 86
    assert lost(source("192.0.2.1-192.0.2.2"), now) == 0


def test_the_line_about_the_content_tells_contents_apart() -> None:
    """`diff` shows it in the place of a million addresses."""
    one, other = (replace(FEED, cidrs=nets(text)) for text in ("192.0.2.1/32", "192.0.2.2/32"))

    assert content_line(one).startswith("# 1 prefixes, digest ")
    assert content_line(one) != content_line(other)


def test_a_byte_order_mark_is_no_part_of_a_feed() -> None:
    """As some editors put before a text."""
    assert parse_feed(Source("list.txt", "\ufeff192.0.2.1\n192.0.2.9\n")) == (nets("192.0.2.1/32", "192.0.2.9/32"), ())
