"""Prefixes as the fewest disjoint ones that cover the same addresses."""

from ipaddress import IPv4Network, IPv6Network, collapse_addresses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hostfw.model.values import FAMILIES, Cidr, Family, mask_of, merge
from tests.unit.builders.policy_builders import nets


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("none", (), ()),
        ("equal", ("10.0.0.0/8", "10.0.0.0/8"), ("10.0.0.0/8",)),
        ("covered", ("10.1.0.0/16", "10.0.0.0/8", "10.0.0.1/32"), ("10.0.0.0/8",)),
        ("halves", ("10.0.1.0/24", "10.0.0.0/24"), ("10.0.0.0/23",)),
        ("halves of halves", ("10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/23"), ("10.0.0.0/22",)),
        ("neighbours that are no halves", ("10.0.1.0/24", "10.0.2.0/24"), ("10.0.1.0/24", "10.0.2.0/24")),
        ("everything", ("0.0.0.0/1", "128.0.0.0/1", "8000::/1", "::/1"), ("0.0.0.0/0", "::/0")),
        ("the end of one family and the start of the next", ("255.255.255.255", "::"), ("255.255.255.255", "::")),
    ],
)
def test_merge_leaves_no_overlap_and_joins_halves(name: str, given: tuple[str, ...], expected: tuple[str, ...]) -> None:
    """An interval set with an overlap refuses the whole transaction."""
    assert merge(nets(*given)) == nets(*expected), name


def _cidr(family: Family, address: int, length: int) -> Cidr:
    return Cidr(family, address << family.bits - 6 & mask_of(family, length), length)


@given(st.lists(st.builds(_cidr, st.sampled_from(FAMILIES), st.integers(0, 63), st.integers(0, 6)), max_size=16))
@example([_cidr(Family.V4, 32, 1), _cidr(Family.V4, 0, 1), _cidr(Family.V6, 0, 1)])
def test_merge_agrees_with_the_standard_library(cidrs: list[Cidr]) -> None:
    """`ipaddress.collapse_addresses` says the same."""
    of_v4 = collapse_addresses(IPv4Network(str(c)) for c in cidrs if c.family is Family.V4)
    of_v6 = collapse_addresses(IPv6Network(str(c)) for c in cidrs if c.family is Family.V6)

    assert [str(c) for c in merge(cidrs)] == [str(network) for network in (*of_v4, *of_v6)]
