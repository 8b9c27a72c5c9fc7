"""Collects the objects of one table while it is laid out; equal content becomes one object."""

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from hostfw.compile import object_names as names
from hostfw.compile.incremental.objects_in_use import ObjectsInUse
from hostfw.compile.layout.costs import CostModel
from hostfw.compile.layout.cuts.by_address import ShortLists
from hostfw.compile.layout.shared_suffix import own_rules
from hostfw.compile.program import ProgramRule
from hostfw.model.host.interface_names import is_safe_name
from hostfw.model.plan import ExternalSet, LinkNetworks
from hostfw.model.prefixes import EDITED_IN_PLACE_FROM, PACKED_FROM, Cidrs, CidrSet, PackedAddresses, pack
from hostfw.model.values import Cidr, Family
from hostfw.nft.objects import (
    BaseChain,
    Chain,
    Dynamic,
    Element,
    ElementType,
    Hook,
    KeyType,
    Priority,
    Set,
    Table,
    VerdictMap,
)
from hostfw.nft.rules import Accept, Drop, Rule, SetRef, Verdict

_Named = TypeVar("_Named", Set, VerdictMap, Chain)
_Denying = tuple[tuple[Cidr, ...], tuple[Rule, ...]]


class DigestCollisionError(Exception):
    """Two different contents came to one name. The generation is refused: a name must mean one thing."""


class TableBuilder:
    """One table in the making. Every method returns the name or the reference that rules use."""

    def __init__(self, family: Family, costs: CostModel, objects: ObjectsInUse | None = None) -> None:
        """An empty table of a family, to be laid out by a cost model; `objects` has the objects of earlier ones."""
        self.family = family
        self.costs = costs
        self._objects = ObjectsInUse(family) if objects is None else objects
        self._counters: set[str] = set()
        self._base_chains: list[BaseChain] = []
        self.short_lists = ShortLists(family, costs.dispatched_prefixes)
        self._made: dict[Hashable, str] = {}
        self._denying: dict[tuple[int, bool], tuple[ProgramRule, _Denying]] = {}
        self._edited_in_place: set[str] = set()
        self._network_refs: dict[LinkNetworks, tuple[SetRef, ...]] = {}
        self._address_refs: dict[tuple[Cidrs, str], tuple[SetRef, ...]] = {}

    def counters(self, names: Iterable[str]) -> None:
        """Named counters, which are there even where no packet can reach them; those that rules name are anyway."""
        self._counters.update(names)

    def chain(self, purpose: str, rules: Iterable[Rule]) -> str:
        """A chain of this content."""
        return self._add(self._objects.chains, names.chain(purpose, rules, self.family))

    def nft_rules(self, name: str, rules: Iterable[Rule]) -> str:
        """The chain of NftRules of a name."""
        return self._add(self._objects.chains, names.nft_rules(name, rules, self.family))

    def own_rules(self, rules: Sequence[Rule], tail: Sequence[Rule]) -> Sequence[Rule] | None:
        """The rules in front of a tail that is there anyway, None where they have to be told with it."""
        return own_rules(rules, tail, self._objects.returning)

    @property
    def chains(self) -> Mapping[str, Chain]:
        """Every chain that was made, of this table or an earlier one of the same store, by name."""
        return self._objects.chains

    @property
    def maps(self) -> Mapping[str, VerdictMap]:
        """Every verdict map that was made, by name."""
        return self._objects.maps

    @property
    def before_translation(self) -> dict[int | None, dict[str, str]]:
        """Chains and maps for the destination before translation, by protocol and name of those for that of now."""
        return self._objects.before_translation

    @property
    def last_translated(self) -> dict[Hashable, tuple[str, str]]:
        """The last map of each protocol, purpose and type that was looked through for that, and what it came to."""
        return self._objects.last_translated

    def once(self, cause: Hashable, make: Callable[[], str]) -> str:
        """The chain that was made for a cause, made now if it is the first time."""
        if cause not in self._made:
            self._made[cause] = make()
        return self._made[cause]

    def denying(self, rule: ProgramRule, source: bool, make: "Callable[[], _Denying]") -> "_Denying":  # noqa: FBT001
        """The prefixes that a rule denies whatever else a packet is, and the rules that do so, made once."""
        known = self._denying.get((id(rule), source))
        if known is None:
            # The rule is kept, so that its identity stays its own.
            known = self._denying[id(rule), source] = rule, make()
        return known[1]

    def base_chain(
        self, hook: Hook, rules: list[Rule], priority: Priority = Priority.FILTER, *, policy_drop: bool = False
    ) -> None:
        """The chain of a hook; its last rule carries the digest of them all, to be read back from the kernel.

        No packet gets past that last rule: the next generation is put behind it before it takes over.
        """
        undecided = Rule((), (Drop() if policy_drop else Accept(),))
        ends = () if not rules or rules[-1].is_final else (undecided,)
        self._base_chains.append(BaseChain(hook, priority, policy_drop, names.signed((*rules, *ends), self.family)))

    def address_sets(self, cidrs: Cidrs, comment: str = "", *, from_feed: bool = False) -> tuple[SetRef, ...]:
        """Hash sets that together hold these prefixes, one set a prefix length, shortest last.

        `comment` is the selector that they stand for; `from_feed` is whether a Feed is among it.
        """
        key = (cidrs, comment)
        if key not in self._address_refs:
            self._address_refs[key] = tuple(
                SetRef(self._address_set(addresses, length, comment, from_feed=from_feed), length)
                for length, addresses in sorted(_by_length(cidrs).items(), reverse=True)
            )
        return self._address_refs[key]

    def external_sets(self, external: ExternalSet) -> tuple[SetRef, ...]:
        """The sets of an external one: of addresses, and of prefixes, which are looked up in a tree."""
        dynamic = Dynamic(external.size, external.timeout_s, external=True)
        comment = names.set_comment(f"external set {external.name}")
        hosts, nets = names.external_sets(external)
        return tuple(
            SetRef(
                self._add(
                    self._objects.sets,
                    Set(name, ElementType.ADDRESS, (), interval=name == nets, comment=comment, dynamic=dynamic),
                ),
                self.family.bits,
            )
            for name in (hosts, nets)
        )

    def key_set(self, purpose: str, kind: ElementType, length: int, values: Sequence[int]) -> SetRef:
        """A hash set of the values of one part of packets, of which so many first bits count."""
        return SetRef(self._set(purpose, kind, tuple(values)), length)

    def port_set(self, ports: tuple[Element, ...]) -> SetRef:
        """A set of port ranges."""
        return SetRef(self._set("ports", ElementType.PORT, ports, interval=True))

    def network_sets(self, networks: LinkNetworks) -> tuple[SetRef, ...]:
        """Hash sets that together hold the networks of interfaces in this family, one a prefix length."""
        if networks not in self._network_refs:
            by_length: defaultdict[int, list[tuple[str, int]]] = defaultdict(list)
            for interface, cidr in networks.networks:
                if cidr.family is self.family and is_safe_name(interface):
                    by_length[cidr.length].append((interface, cidr.address))
            comment = "networks of interfaces"
            self._network_refs[networks] = tuple(
                SetRef(self._set(f"local/{length}", ElementType.NETWORK, tuple(sorted(found)), comment=comment), length)
                for length, found in sorted(by_length.items(), reverse=True)
            )
        return self._network_refs[networks]

    def place_set(self, purpose: str, places: tuple[tuple[str, int], ...]) -> SetRef:
        """A set of addresses, each with the interface that it is behind."""
        name = self.once(("places", purpose, places), lambda: self._set(purpose, ElementType.NETWORK, places))
        return SetRef(name, self.family.bits)

    def socket_set(self, sockets: tuple[Element, ...], comment: str) -> SetRef:
        """A set of address, protocol and port."""
        return SetRef(self._set("sockets", ElementType.SOCKET, sockets, comment=comment))

    def dynamic_set(self, name: str, element_type: ElementType, dynamic: Dynamic) -> str:
        """A set that rules fill. It lives on in the next generation, so its name has to stand for all that it is."""
        return self._add(self._objects.sets, Set(name, element_type, (), dynamic=dynamic))

    def verdict_map(
        self,
        purpose: str,
        element_type: KeyType,
        elements: tuple[tuple[Element, Verdict], ...],
        *,
        interval: bool = False,
    ) -> str:
        """A map from keys to verdicts."""
        ends = (elements[0][0], elements[-1][0]) if elements else ()
        like = purpose, element_type, interval, len(elements), ends
        last = self._objects.maps.get(self._objects.last_maps.get(like, ""))
        if last is not None and last.elements == elements:
            return last.name
        kind = purpose, element_type, interval
        before = self._objects.maps.get(self._objects.last_maps.get(kind, ""))
        contents = VerdictMap("", element_type, elements, interval)
        name = self._add(self._objects.maps, names.named_map(purpose, contents, self.family, before))
        self._objects.last_maps[like] = self._objects.last_maps[kind] = name
        return name

    def table(self) -> Table:
        """The finished table: the counters and what the base chains lead to, everything sorted by name."""
        return self._objects.table(frozenset(self._counters), tuple(self._base_chains))

    def _address_set(self, addresses: Collection[int], length: int, comment: str, *, from_feed: bool) -> str:
        elements: tuple[Element, ...] | PackedAddresses
        if len(addresses) < PACKED_FROM:
            elements = tuple(addresses)
        else:
            elements = addresses if isinstance(addresses, PackedAddresses) else pack(self.family, addresses)
        if from_feed and len(addresses) > EDITED_IN_PLACE_FROM:
            contents = Set(f"nets/{length}", ElementType.ADDRESS, elements, comment=names.set_comment(comment))
            in_place = names.set_edited_in_place(contents, comment, self.family)
            if in_place.name not in self._edited_in_place:
                # Its name says what it is for: what it held in an earlier plan has gone.
                self._edited_in_place.add(in_place.name)
                self._objects.sets[in_place.name] = in_place
            return self._add(self._objects.sets, in_place)
        return self._set(f"nets/{length}", ElementType.ADDRESS, elements, comment=comment)

    def _set(
        self,
        purpose: str,
        element_type: ElementType,
        elements: tuple[Element, ...] | PackedAddresses,
        *,
        interval: bool = False,
        comment: str = "",
    ) -> str:
        contents = Set(purpose, element_type, elements, interval, names.set_comment(comment))
        return self._add(self._objects.sets, names.named_set(contents, self.family))

    def _add(self, objects: dict[str, _Named], item: _Named) -> str:
        """Adds an object under its name, which stands for its content: a second one of that name must be equal."""
        known = objects.setdefault(item.name, item)
        if known is not item and known != item:
            raise DigestCollisionError(item.name)
        return item.name


def _by_length(cidrs: Cidrs) -> Mapping[int, Collection[int]]:
    """The network addresses of prefixes of one family by length, ascending."""
    if isinstance(cidrs, CidrSet):
        return {part.length: part.addresses for part in cidrs.parts}
    found: defaultdict[int, list[int]] = defaultdict(list)
    for cidr in cidrs:
        found[cidr.length].append(cidr.address)
    return found
