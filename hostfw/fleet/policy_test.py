"""PolicyTest: what a repository says of connections of its fleet, decoded and judged.

apiVersion: hostfw.io/v1
kind: PolicyTest
metadata: {name: database}
spec:
  connections:
  - {from: role == 'application', to: role == 'database', ports: [tcp/5432], allowed: true}
  - {from: role != 'application', to: role == 'database', ports: [tcp/5432], allowed: false}
  - {from: 203.0.113.0/24, to: role == 'web', ports: [tcp/443], allowed: true}
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hostfw.exposure.wording import decision_text
from hostfw.fleet.members import Member, Place
from hostfw.fleet.reach import FleetReach, Service, pairs, side_of
from hostfw.manifest.fields import Reader, Shape, boolean, choice, fields, items, text
from hostfw.manifest.scalars.nets import is_mistaken, unless_mapped
from hostfw.manifest.yaml.nodes import Mapping, Node, documents
from hostfw.model.api_versions import HOSTFW_V1
from hostfw.model.host.services import port_text
from hostfw.model.positions import Position
from hostfw.model.problems import Problem, in_order
from hostfw.model.sources import Source
from hostfw.model.values import SCTP, TCP, UDP, Cidr, address_text, host_cidr, parse_address, parse_cidr
from hostfw.selector.evaluate import Selector, matches
from hostfw.selector.parser import SelectorError, parse

KIND = "PolicyTest"
_TOP = Shape("the file", frozenset(("apiVersion", "kind", "metadata", "spec")))
_METADATA = Shape("metadata", frozenset(("name",)))
_SPEC = Shape("spec", frozenset(("connections",)))
_CONNECTION = Shape("a connection", frozenset(("from", "to", "ports", "allowed", "why")))
_PROTOCOLS = {protocol.name.lower(): protocol.number for protocol in (TCP, UDP, SCTP)}
_PORT = re.compile(r"([a-z]+)/([1-9][0-9]{0,4})\Z")
_LAST_PORT = 65_535
_MOST_SHOWN = 20
"""Most connections of one expectation that are told."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """One sentence of a PolicyTest: connections from somebody to some hosts are all allowed, or all denied.

    `source` is a selector of HostEndpoints, or a prefix of addresses that need not be of the fleet.
    """

    test: str
    source: Selector | Cidr
    target: Selector
    services: tuple[Service, ...]
    allowed: bool
    text: str
    position: Position


@dataclass(frozen=True, slots=True)
class TestResult:
    """An expectation with the connections that are otherwise, as sentences; `asked` is how many were looked at."""

    expectation: Expectation
    asked: int
    otherwise: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """True if there was something to look at, and all of it is as expected."""
        return self.asked > 0 and not self.otherwise


def parse_service(said: str) -> Service | None:
    """A service as `tcp/443`, or None where a text is none."""
    match = _PORT.match(said)
    if match is None or match[1] not in _PROTOCOLS or int(match[2]) > _LAST_PORT:
        return None
    return _PROTOCOLS[match[1]], int(match[2])


def decode_tests(source: Source) -> tuple[tuple[Expectation, ...], tuple[Problem, ...]]:
    """The expectations of a file, and every mistake in it with its position."""
    reader = Reader(source.path, source.text.removeprefix("\ufeff"))
    found = tuple(
        expectation for root in documents(source, reader.problems) for expectation in _of_document(reader, root)
    )
    if not found and not reader.problems:
        reader.problems.append(Problem(Position(source.path, 1, 1), "the file has no connections", f"a {KIND}"))
    return found, in_order(reader.problems)


def judged(expectations: Iterable[Expectation], members: Iterable[Member], known: FleetReach) -> Iterator[TestResult]:
    """Each expectation with what is otherwise."""
    places = [place for member in members for place in member.places]
    for expectation in expectations:
        targets = [place for place in places if matches(expectation.target, place.labels)]
        asked, otherwise = 0, list[str]()
        for service in expectation.services:
            for number, wrong in _asked(expectation, service, places, targets, known):
                asked += number
                if wrong:
                    otherwise.append(wrong)
        yield TestResult(expectation, asked, _first(sorted(dict.fromkeys(otherwise))))


def _asked(
    expectation: Expectation, service: Service, places: list[Place], targets: list[Place], known: FleetReach
) -> Iterator[tuple[int, str]]:
    """For each connection 1, and a sentence where it is otherwise than expected."""
    source = expectation.source
    if isinstance(source, Cidr):
        for target in (place for place in targets if place.family is source.family):
            step = known.from_net(source, target, service, allowed=expectation.allowed)
            said = f"{source} -> {_at(target)}:{port_text(*service)} is "
            verdict = "not allowed as a whole" if expectation.allowed else "allowed in part or as a whole"
            yield 1, f"{said}{verdict} by {decision_text(step)} ({side_of(step)})" if step is not None else ""
        return
    for place, target in pairs((place for place in places if matches(source, place.labels)), targets):
        answer = known.between(place, target, service)
        said = f"{_at(place)} -> {_at(target)}:{port_text(*service)} is {'allowed' if answer.allowed else 'denied'}"
        wrong = answer.allowed is not expectation.allowed
        yield 1, f"{said} by {decision_text(answer.step)} ({side_of(answer.step)})" if wrong else ""


def _at(place: Place) -> str:
    return f"{place.host} ({address_text(place.family, place.address)})"


def _first(texts: list[str]) -> tuple[str, ...]:
    more = len(texts) - _MOST_SHOWN
    return (*texts[:_MOST_SHOWN], *((f"and {more} more",) if more > 0 else ()))


def _of_document(reader: Reader, root: Node) -> Iterator[Expectation]:
    found = fields(reader, root, _TOP)
    if not isinstance(root, Mapping):
        return
    for name, value in (("apiVersion", HOSTFW_V1), ("kind", KIND)):
        if name in found:
            choice(reader, found[name], name, {value: value})
        else:
            reader.report(root, f"{name} is missing", value)
    metadata = fields(reader, found.get("metadata"), _METADATA)
    test = text(reader, metadata.get("name"), "name")
    if not test:
        reader.report(found.get("metadata", root), "name is missing", "metadata: {name: ...}")
    spec = fields(reader, found.get("spec"), _SPEC)
    if "connections" not in spec:
        reader.report(found.get("spec", root), "connections is missing", "a list of connections")
    for node in items(reader, spec.get("connections"), "connections"):
        expectation = _connection(reader, node, test or "")
        if expectation is not None:
            yield expectation


def _connection(reader: Reader, node: Node, test: str) -> Expectation | None:
    found = fields(reader, node, _CONNECTION)
    before = len(reader.problems)
    for name in ("from", "to", "ports", "allowed"):
        if name not in found and isinstance(node, Mapping):
            reader.report(node, f"{name} is missing", "from, to, ports and allowed")
    said_from, said_to = (text(reader, found.get(name), name) for name in ("from", "to"))
    source = _source(reader, found.get("from"), said_from)
    target = _selector(reader, found.get("to"), said_to)
    services = tuple(
        service
        for item in items(reader, found.get("ports"), "ports")
        if (service := _service(reader, item)) is not None
    )
    if "ports" in found and not services and len(reader.problems) == before:
        reader.report(found["ports"], "ports is empty", "ports such as tcp/443")
    allowed = boolean(reader, found.get("allowed"), "allowed")
    if len(reader.problems) > before or source is None or target is None or allowed is None:
        return None
    ports = ", ".join(port_text(*service) for service in services)
    sentence = f"{said_from} -> {said_to}: {ports} {'allowed' if allowed else 'denied'}"
    return Expectation(test, source, target, services, allowed, sentence, reader.at(node))


def _service(reader: Reader, node: Node) -> Service | None:
    said = text(reader, node, "a port")
    service = parse_service(said) if said is not None else None
    if said is not None and service is None:
        reader.report(node, f'"{said}" is not a port', "a protocol and a port, such as tcp/443")
    return service


def _source(reader: Reader, node: Node | None, said: str | None) -> Selector | Cidr | None:
    if node is None or said is None:
        return None
    address = parse_address(said)
    net = host_cidr(*address) if address else parse_cidr(said)
    if net is None:
        return _selector(reader, node, said)
    return None if is_mistaken(reader, node, "from", net) else unless_mapped(reader, node, "from", net)


def _selector(reader: Reader, node: Node | None, said: str | None) -> Selector | None:
    if node is None or said is None:
        return None
    try:
        return parse(said)
    except SelectorError as error:
        reader.report(node, f'"{said}" is no selector: {error.message}', error.expected or "a selector")
        return None
