"""Elements of sets of addresses, read back: by columns of a message, whatever is among them."""

import sys
from collections.abc import Iterator, Sequence
from random import Random
from types import FrameType

import pytest

from hostfw.host.netlink.messages import ATTRIBUTE, NFGENMSG
from hostfw.host.nftables.nf_tables import KernelSet
from hostfw.host.nftables.sets.set_digests import UNREADABLE, digest_of
from hostfw.model.prefixes import PACKED_FROM, PackedAddresses
from hostfw.model.values import FAMILIES, Family
from hostfw.nft.object_text import elements_digest
from hostfw.nft.objects import ElementType, Set

_A_MESSAGE = 250
_NESTED = 0x8000


def _element(key: bytes, flags: int = _NESTED, more: bytes = b"") -> bytes:
    value = ATTRIBUTE.pack(ATTRIBUTE.size + len(key), 1) + key
    content = ATTRIBUTE.pack(ATTRIBUTE.size + len(value), 1 | flags) + value + more
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(content), 1 | flags) + content


def _messages(elements: Sequence[bytes]) -> Iterator[bytes]:
    for first in range(0, len(elements), _A_MESSAGE):
        data = b"".join(elements[first : first + _A_MESSAGE])
        yield NFGENMSG.pack(2, 0, 0) + ATTRIBUTE.pack(ATTRIBUTE.size + len(data), 3 | _NESTED) + data


def _set(family: Family) -> KernelSet:
    key_type = 7 if family is Family.V4 else 8
    return KernelSet("nets", 1, 0, key_type, family.bits // 8, None)


def _keys(family: Family, count: int) -> list[bytes]:
    random = Random(1)
    return [one.to_bytes(family.bits // 8, "big") for one in random.sample(range(1 << 32), count)]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("count", [0, 1, 7, PACKED_FROM - 1, PACKED_FROM, PACKED_FROM + 600])
@pytest.mark.parametrize("flags", [_NESTED, 0])
def test_what_is_read_back_has_the_digest_of_what_was_written(family: Family, count: int, flags: int) -> None:
    """In any order, whether or not nested attributes are flagged as such."""
    keys = _keys(family, count)
    ordered = sorted(keys)
    packed = PackedAddresses(family, b"".join(ordered))
    elements = tuple(int.from_bytes(key, "big") for key in ordered) if count < PACKED_FROM else packed

    found = digest_of(family, _set(family), _messages([_element(key, flags) for key in keys]))

    assert found == elements_digest(Set("", ElementType.ADDRESS, elements), family)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_element_that_is_more_than_an_address_is_none_of_ours(family: Family) -> None:
    """It has a timeout, another attribute in the place of its key, or a key of another width."""
    plain = [_element(key) for key in _keys(family, 100)]
    other = bytearray(plain[50])
    for place in range(ATTRIBUTE.size * 3):
        other[place] ^= 0x11
        assert digest_of(family, _set(family), _messages([*plain[:50], bytes(other), *plain[51:]])) == UNREADABLE
        other[place] ^= 0x11
    timeout = _element(_keys(family, 1)[0], more=ATTRIBUTE.pack(12, 4) + bytes(8))
    for strange in (timeout, _element(bytes(8))):
        assert digest_of(family, _set(family), _messages([*plain, strange])) == UNREADABLE


@pytest.mark.parametrize("family", FAMILIES)
def test_a_message_is_looked_at_as_a_whole(family: Family) -> None:
    """Not element by element: some calls for each message, and one to put all keys in order."""
    messages = list(_messages([_element(key) for key in _keys(family, 100 * _A_MESSAGE)]))
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        digest_of(family, _set(family), messages)
    finally:
        sys.setprofile(None)

    assert calls < 100 * 100 + (100 * _A_MESSAGE + 1_000 if family is Family.V6 else 0), calls
