"""Addresses, prefixes and their merging."""

from ipaddress import collapse_addresses, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostfw.model.values import Cidr, Family, merge, parse_address, parse_cidr

v4 = st.builds(
    lambda address, length: ip_network((address, length), strict=False), st.integers(0, 255), st.integers(24, 32)
)
v6 = st.builds(
    lambda address, length: ip_network((address << 64, length), strict=False), st.integers(1, 64), st.integers(56, 70)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("FD00:0:0::1/64", "fd00::/64"),
        ("::ffff:1.2.3.4/128", "::ffff:1.2.3.4/128"),
    ],
)
def test_prefixes_have_one_spelling(text: str, expected: str) -> None:
    """Host bits vanish and IPv6 is written as RFC 5952 has it."""
    assert expected == str(parse_cidr(text))


@pytest.mark.parametrize(
    "text",
    ["10.0.0.0", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/08x", "fd00::/129", "/8", "", "a/8",
     "10.0.0.0/²", "010.0.0.1/32", "fd00::1%eth0/64", " 10.0.0.0/8", "10.0.0.0/8\n"],
)  # fmt: skip
def test_what_is_no_prefix_is_none(text: str) -> None:
    """Nothing is guessed."""
    assert parse_cidr(text) is None


def test_a_bare_address_tells_its_family() -> None:
    """The colon decides."""
    assert parse_address("192.0.2.1") == (Family.V4, 0xC0000201)
    assert parse_address("2001:db8::1") == (Family.V6, 0x20010DB8 << 96 | 1)
    assert parse_address("192.0.2.1/32") is None


@given(nets=st.lists(st.one_of(v4, v6), max_size=40))
def test_merging_is_what_the_standard_library_calls_collapsing(nets: list[object]) -> None:
    """The fewest disjoint prefixes, sorted, each family by itself."""
    ours = merge(parse_cidr(str(net)) for net in nets)  # type: ignore[misc]

    theirs = [
        str(net)
        for version in (4, 6)
        for net in collapse_addresses([net for net in nets if net.version == version])  # type: ignore[attr-defined]
    ]

    assert theirs == [str(cidr) for cidr in ours]


def test_a_prefix_covers_its_addresses() -> None:
    """The mask decides, and a host prefix holds one address."""
    net = Cidr(Family.V4, 0x0A000000, 8)

    assert net.contains(0x0AFFFFFF)
    assert not net.contains(0x0B000000)
    assert Cidr(Family.V4, 1, 32).is_host
