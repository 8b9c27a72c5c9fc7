"""Lookups in maps of thousands of keys, in parts: keys whose first bits are alike.

No map is ever edited, so one of ten thousand keys would be written, parsed and loaded anew for each that comes, goes or
leads elsewhere, which takes longer than everything else of a change. Divided, it is that of a part, and the short map
that leads to the parts. A packet pays one lookup more, in a map that fits into the processor's nearest cache, and
another one where most keys are close to each other. What changes together is often of neighbours, so of few parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import xor

from hostfw.compile.layout.ranking.widths import PORTS, width_of
from hostfw.compile.table_builder import TableBuilder
from hostfw.nft.objects import Element, ElementType, KeyType
from hostfw.nft.rules import Field, Goto, Jump, Key, Rule, Verdict, Vmap

RANK_BITS = 16
_FEW_PARTS = 16
_KEYS_A_PART = 64
"""Keys of a part on average where there are many: each is a chain, and an element of the map that leads to it."""
_TOO_BIG = 2
"""A part of so many times the keys that it is to have is divided again."""

Elements = Sequence[tuple[Element, Verdict]]


@dataclass(frozen=True, slots=True)
class MapLookup:
    """Looks up a key of these fields in a map of a title, by `lead` where that leads to a part.

    With a goto, packets meet in a part what stands behind the lookup as well.
    """

    title: str
    fields: tuple[Field, ...]
    lead: type[Goto | Jump]

    def rules(self, builder: TableBuilder, elements: Elements, rest: Sequence[Rule] = ()) -> list[Rule]:
        """The lookup in a map of these elements, which are in order, or in one of its parts; then the rest."""
        return self._rules(builder, self.title, elements, builder.costs.whole_map, rest)

    def _rules(
        self, builder: TableBuilder, title: str, elements: Elements, whole: int, rest: Sequence[Rule]
    ) -> list[Rule]:
        place, mask = (0, 0) if len(elements) <= whole else self._dividing(builder, elements)
        if not mask:
            return [self._asked(builder, title, elements), *rest]
        most = _TOO_BIG * builder.costs.part_of_map
        behind = rest if self.lead is Goto else ()
        leading: list[tuple[Element, Verdict]] = []
        for beginning, those in _parts(elements, place, mask):
            part = f"{title}/{beginning // (mask & -mask)}"
            leading.append((beginning, self.lead(builder.chain(part, self._rules(builder, part, those, most, behind)))))
        key = self.fields[place].key
        name = builder.verdict_map(f"{title}/parts", _type(key), tuple(leading))
        return [Rule((), (Vmap(key, name, mask=mask),)), *rest]

    def _dividing(self, builder: TableBuilder, elements: Elements) -> tuple[int, int]:
        """The place of the first field that divides some elements, and a mask of its first bits that do; 0 if none."""
        for place, field in enumerate(self.fields):
            width = RANK_BITS if field.key is Key.SCRATCH else width_of(builder.family, field.key)
            bits = width if field.length is None else field.length
            length = dividing_bits(sorted(_values(elements, place)), width, bits, builder.costs.part_of_map)
            if length:
                return place, (1 << width) - (1 << width - length)
        return 0, 0

    def _asked(self, builder: TableBuilder, title: str, elements: Elements) -> Rule:
        kinds = tuple(_type(field.key) for field in self.fields)
        of: KeyType = kinds if len(kinds) > 1 else kinds[0]
        name = builder.verdict_map(title, of, tuple(elements))
        if len(self.fields) > 1:
            return Rule((), (Vmap(self.fields, name),))
        (field,) = self.fields
        return Rule((), (Vmap(field.key, name, field.length),))


def dividing_bits(values: Sequence[int], width: int, bits: int, most: int) -> int:
    """As few first bits as leave at most so many of some values in each part; 0 where they are not worth their parts.

    The values are in order, and numbers of `width` bits, of which the first `bits` count. Equal ones stay together,
    however many they are; where most parts would be of a few values, parts are as big as they have to be.
    """
    while most < len(values):
        # Of so many in a row and one more, the first and the last must be in two parts.
        closest: int = min(map(xor, values, values[most:]))
        length = min(width - closest.bit_length() + 1, bits)
        number = len({value >> width - length for value in values})
        if 1 < number <= max(_FEW_PARTS, len(values) // _KEYS_A_PART):
            return length
        most *= 2
    return 0


def _parts(elements: Elements, place: int, mask: int) -> list[tuple[int, list[tuple[Element, Verdict]]]]:
    """The elements by the bits of a mask that they have in one field, in order."""
    parts: dict[int, list[tuple[Element, Verdict]]] = {}
    for value, element in zip(_values(elements, place), elements, strict=True):
        parts.setdefault(value & mask, []).append(element)
    return sorted(parts.items())


def _values(elements: Elements, place: int) -> list[int]:
    """The numbers in one field of all keys, which are of addresses, ports or ranks."""
    first = elements[0][0]
    if isinstance(first, tuple):
        return [key[place] for key, _ in elements]  # type: ignore[index, misc]
    return [key for key, _ in elements]  # type: ignore[misc]


def _type(key: Key) -> ElementType:
    if key is Key.SCRATCH:
        return ElementType.MARK
    return ElementType.PORT if key in PORTS else ElementType.ADDRESS
