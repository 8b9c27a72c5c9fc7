"""Parts of a dispatch to many: none is too big, none is forgotten, and one more changes one."""

from hypothesis import given
from hypothesis import strategies as st

from hostfw.compile.layout.parts import Place, by_beginning, by_prefix
from hostfw.model.values import FAMILIES, Family, mask_of

_NAMES = st.text(alphabet="ab0-", min_size=1, max_size=6)


@given(names=st.sets(_NAMES, max_size=60), most=st.integers(min_value=1, max_value=8))
def test_each_name_is_in_the_one_part_that_it_begins_like(names: set[str], most: int) -> None:
    """No name of another part begins so, unless the part is that name alone."""
    parts = by_beginning(sorted(names), most)

    assert sorted(name for part in parts for name in part.names) == sorted(names)
    assert all(len(part.names) <= most for part in parts)
    for part in parts:
        assert all(name.startswith(part.beginning) for name in part.names)
        if part.is_one:
            assert part.names == (part.beginning,)
        else:
            others = (name for other in parts if other is not part and not other.is_one for name in other.names)
            assert not any(name.startswith(part.beginning) for name in others)


def test_names_that_others_begin_with_come_first() -> None:
    """The first rule that matches decides: "a" is told before all that begin with "a" is."""
    parts = by_beginning(["a", "a1", "a2", "a22", "b"], 1)

    assert [(part.beginning, part.is_one) for part in parts] == [(name, True) for name in ("a", "a1", "a2", "a22", "b")]
    assert [part.beginning for part in by_beginning(["veth1", "veth10", "veth11", "veth2"], 3)] == ["veth1", "veth2"]


def test_one_name_more_changes_one_part() -> None:
    """Until it is too big."""
    names = [f"veth{number}" for number in range(1000)]
    before, after = by_beginning(sorted(names), 128), by_beginning(sorted([*names, "veth1000"]), 128)

    assert len(before) <= 16
    assert len({part.names for part in after} - {part.names for part in before}) == 1


_PLACES = st.sets(st.tuples(st.sampled_from(("br0", "br1")), st.integers(min_value=0, max_value=300)), max_size=60)


@given(places=_PLACES, family=st.sampled_from(FAMILIES), most=st.integers(min_value=1, max_value=8))
def test_each_place_is_in_the_part_of_its_first_bits(places: set[Place], family: Family, most: int) -> None:
    """No part is too big; fewer bits would leave one that is."""
    found = by_prefix(sorted(places), family, most)
    if found is None:
        return

    length, parts = found
    assert sorted(place for part in parts.values() for place in part) == sorted(places)
    assert max(map(len, parts.values())) <= most
    assert all(address & mask_of(family, length) == prefix for prefix, part in parts.items() for _, address in part)
    wider = {address & mask_of(family, length - 1) for _, address in places}
    sizes = [sum(address & mask_of(family, length - 1) == prefix for _, address in places) for prefix in wider]
    assert max(sizes) > most


def test_places_that_no_bits_tell_apart_are_in_no_parts() -> None:
    """One address behind many bridges, and addresses of which most would be a part of their own."""
    assert by_prefix([(f"br{number}", 1) for number in range(9)], Family.V4, 8) is None
    far = [("br0", number << 20) for number in range(400)]
    assert by_prefix(sorted([*far, *(("br0", (400 << 20) + number) for number in range(9))]), Family.V4, 8) is None
    assert by_prefix([("br0", 1)], Family.V4, 8) is None
