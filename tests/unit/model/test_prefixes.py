"""Prefixes by the hundred thousand: what the packed form holds, against the plain one."""

from ipaddress import ip_address, ip_network
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostfw.model.prefixes import (
    PACKED_FROM,
    CidrSet,
    PackedAddresses,
    cidr_set,
    difference,
    pack,
    packed_cidrs,
    union,
    unpacked,
)
from hostfw.model.values import FAMILIES, Cidr, Family, mask_of, parse_cidr


@st.composite
def cidrs(draw: st.DrawFn) -> Cidr:
    """A prefix, near enough to others that they cover each other."""
    family = draw(st.sampled_from(FAMILIES))
    length = draw(st.sampled_from((0, 8, 24, family.bits - 1, family.bits)))
    address = draw(st.integers(0, 7)) | draw(st.integers(0, 3)) << family.bits - 8
    return Cidr(family, address & mask_of(family, length), length)


def nets(*texts: str) -> list[Cidr]:
    """The prefixes of texts."""
    found = [parse_cidr(text) for text in texts]
    return [cidr for cidr in found if cidr is not None]


@given(st.lists(cidrs()), st.sampled_from(FAMILIES), st.integers(0, 2**32 - 1))
def test_the_set_covers_what_its_prefixes_cover(given_cidrs: list[Cidr], family: Family, address: int) -> None:
    """Whatever is left out as covered, or comes twice."""
    expected = any(cidr.family is family and cidr.contains(address) for cidr in given_cidrs)

    assert packed_cidrs(given_cidrs).covers(family, address) is expected


@given(st.lists(cidrs()))
def test_the_prefixes_are_disjoint_sorted_and_some_of_those_given(given_cidrs: list[Cidr]) -> None:
    """None is made up, none is covered by another, each comes once."""
    found = packed_cidrs(given_cidrs)
    listed = list(found)

    assert listed == sorted(set(listed))
    assert len(listed) == len(found)
    assert set(listed) <= set(given_cidrs)
    assert not any(
        one != other and one.family is other.family and one.length <= other.length and one.contains(other.address)
        for one in listed
        for other in listed
    )


@given(st.lists(cidrs()), st.lists(cidrs()))
def test_the_union_of_sets_is_the_set_of_all(one: list[Cidr], other: list[Cidr]) -> None:
    """Packed or not."""
    assert union((packed_cidrs(one), tuple(other))) == packed_cidrs((*one, *other))


def test_two_halves_stay_two() -> None:
    """Their whole would be a lookup of its own for every packet."""
    halves = nets("192.0.2.0/25", "192.0.2.128/25")

    assert list(packed_cidrs(halves)) == halves


@pytest.mark.parametrize(
    ("family", "texts", "data"),
    [
        (Family.V4, ("1.2.3.4", "192.0.2.255"), "01020304 c00002ff"),
        (Family.V6, ("::1", "2001:db8::a"), "00000000000000000000000000000001 20010db800000000000000000000000a"),
    ],
)
def test_addresses_are_packed_in_network_byte_order(family: Family, texts: tuple[str, ...], data: str) -> None:
    """As the kernel holds them, and they come back as they went."""
    values = [int(ip_address(text)) for text in texts]
    packed = pack(family, values)

    assert packed == PackedAddresses(family, bytes.fromhex(data))
    assert list(packed) == values
    assert len(packed) == 2
    assert values[0] in packed
    assert values[0] + 1 not in packed
    assert -1 not in packed
    assert 2**200 not in packed
    assert "1.2.3.4" not in packed


def test_few_prefixes_are_a_tuple() -> None:
    """So small feeds and sets are laid out like any others."""
    hosts = [int(address) for address in ip_network("10.0.0.0/16").hosts()]
    many = cidr_set({(Family.V4, 32): hosts[:PACKED_FROM], (Family.V6, 64): [0]})

    assert unpacked(many) is many
    assert isinstance(many.of(Family.V4), CidrSet)
    assert many.of(Family.V6) == (Cidr(Family.V6, 0, 64),)
    assert unpacked(cidr_set({(Family.V4, 32): hosts[1:PACKED_FROM]})) == tuple(
        Cidr(Family.V4, address, 32) for address in hosts[1:PACKED_FROM]
    )


@given(st.sets(st.integers(0, 300)), st.sets(st.integers(0, 300)), st.sampled_from((4, 16)))
def test_a_difference_leads_from_one_content_to_the_other(one: set[int], other: set[int], width: int) -> None:
    """Added and deleted keys, or nothing where they are more than a quarter of the longer content."""
    old, new = (b"".join(n.to_bytes(width, "big") for n in sorted(numbers)) for numbers in (one, other))
    found = difference(old, new, width)

    if found is None:
        assert len(one ^ other) * 4 > max(len(one), len(other))
        return
    came, went = ({int.from_bytes(data[n : n + width], "big") for n in range(0, len(data), width)} for data in found)
    assert (came, went) == (other - one, one - other)


def test_ten_in_a_million_are_found_at_once() -> None:
    """Wherever they are."""
    numbers = range(0, 4_000_000, 4)
    old = pack(Family.V4, numbers).data
    extra = [1, 5, 400_001, 400_002, 3_999_999, *range(4_000_000, 4_000_005)]
    new = pack(Family.V4, sorted((*numbers[1:], *extra))).data
    started = perf_counter()
    found = difference(old, new, 4)

    assert found == (pack(Family.V4, extra).data, pack(Family.V4, [0]).data)
    assert perf_counter() - started < 1
