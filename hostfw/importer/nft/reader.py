"""Reader of what `nft -j list ruleset` prints."""

from dataclasses import replace

from hostfw.importer.conditions import Interfaces
from hostfw.importer.nft.keys import Reader
from hostfw.importer.nft.listing import FAMILIES_OF, Listing, listing_of, table_of, unreached
from hostfw.importer.nft.rules import rules_of
from hostfw.importer.notes import Note
from hostfw.importer.reading import Reading, loops, notes_on
from hostfw.importer.rule_set import ForeignRule, ForeignRules, Hook, Jump, Stage
from hostfw.importer.source_limits import with_limits
from hostfw.importer.special_addresses import without_kinds_elsewhere
from hostfw.model.positions import Position
from hostfw.model.problems import in_order
from hostfw.model.sources import Source
from hostfw.model.values import FAMILIES, Family


def read_nft(source: Source) -> tuple[Reading, ...]:
    """The rules that filter, of both families; each chain at a hook is a stage, in the order of priorities.

    What policy cannot say is in it, with the reason; problems refuse the whole.
    """
    return readings_of(listing_of(source), Position(source.path, 0, 0))


def readings_of(listing: Listing, position: Position) -> tuple[Reading, ...]:
    """The rules of the objects of a listing; the position is of what is said of it as a whole."""
    patterns: set[str] = set()
    for family in FAMILIES:
        _chains(listing, Reader(family, Interfaces(), patterns))
    interfaces = Interfaces.told_apart_by(patterns)
    readings = [_reading(listing, position, Reader(family, interfaces)) for family in FAMILIES]
    reached = {chain for reading in readings for chain in _lead_to(reading.rules)}
    first, *others = readings
    return (replace(first, notes=(*first.notes, *unreached(listing, reached))), *others)


def _chains(listing: Listing, reader: Reader) -> dict[str, list[ForeignRule]]:
    found: dict[str, list[ForeignRule]] = {}
    for chain, position, content, text in listing.rules:
        if chain not in listing.left_out and reader.family in FAMILIES_OF[str(content.get("family"))]:
            sets = listing.sets.get(table_of(content), {})
            found.setdefault(chain, []).extend(rules_of(content, position, reader, sets, text))
    return found


def _reading(listing: Listing, position: Position, reader: Reader) -> Reading:
    family = reader.family
    chains = {name: tuple(listed) for name, listed in _chains(listing, reader).items()}
    bases = sorted(base for base in listing.bases if family in base.families)
    stages = {hook: tuple(Stage(base.chain, base.end) for base in bases if base.hook is hook) for hook in Hook}
    rules = with_limits(without_kinds_elsewhere(ForeignRules(family, chains, stages, reader.interfaces)))
    notes = [*listing.notes, *_of_family(position, stages, family), *notes_on(rules)]
    return Reading(rules, tuple(dict.fromkeys(notes)), in_order((*listing.problems, *loops(rules))))


def _of_family(position: Position, stages: dict[Hook, tuple[Stage, ...]], family: Family) -> list[Note]:
    if stages[Hook.INPUT]:
        return []
    message = f"nothing filters IPv{family:d} that comes in: all of it is allowed, as it is now"
    return [Note(position, message)]


def _lead_to(rules: ForeignRules) -> set[str]:
    """The chains that hooks lead to."""
    return {stage.chain for stages in rules.stages.values() for stage in stages} | {
        rule.target.chain for listed in rules.chains.values() for rule in listed if isinstance(rule.target, Jump)
    }
