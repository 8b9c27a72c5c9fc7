"""Addresses and prefixes."""

import pytest

from hostfw.model.values import Cidr, Family, parse_address, parse_cidr


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


def test_a_prefix_covers_its_addresses() -> None:
    """The mask decides, and a host prefix holds one address."""
    net = Cidr(Family.V4, 0x0A000000, 8)

    assert net.contains(0x0AFFFFFF)
    assert not net.contains(0x0B000000)
    assert Cidr(Family.V4, 1, 32).is_host
