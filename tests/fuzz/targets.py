"""Properties of every reader: one function for each, which raises where a property does not hold.

A text may be anything that bytes can be: what is no UTF-8 arrives as lone surrogates.
"""

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from unicodedata import category

import yaml

from hostfw.audit import log_prefix as prefix
from hostfw.audit.packet_event import packet_event
from hostfw.audit.packet_headers import Headers, headers
from hostfw.build.candidate import Candidate, check_candidate
from hostfw.cli.output.annotate import annotated
from hostfw.cli.output.documents import json_text
from hostfw.cli.output.problems import report
from hostfw.compile.ruleset import compile_plan
from hostfw.journal.packet_entry import event_of, fields
from hostfw.manifest.encode import manifest
from hostfw.manifest.files.facts_file import decode_facts, facts_document
from hostfw.manifest.files.feed_file import MOST_PROBLEMS, parse_feed
from hostfw.manifest.scalars.net_texts import is_mapped, loose_cidr, says_mapped
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.problems import Problem, errors
from hostfw.model.sources import Configuration, Source
from hostfw.model.values import Action, Cidr, Family, host_cidr, parse_address
from hostfw.nft.object_text import render
from hostfw.policy.resolve.plan import resolve
from hostfw.selector.evaluate import Selector, SelectorError, canonical, matches, parse
from tests.fuzz.seeds import (
    SOME_RESOURCES,
    facts_seeds,
    feed_seeds,
    prefix_seeds,
    record_seeds,
    resource_seeds,
    selector_seeds,
    settings_seeds,
)
from tests.fuzz.words import (
    FACTS_WORDS,
    FEED_WORDS,
    PACKET_WORDS,
    PREFIX_WORDS,
    RESOURCE_WORDS,
    SELECTOR_WORDS,
    SETTINGS_WORDS,
    YAML_WORDS,
)
from tests.unit.builders.event_builders import known

FREE_SECONDS = 1.0
SECONDS_PER_CHARACTER = 1 / 4_000
"""Processor time that one text may take: a hundred times what the slowest of its length needs."""


@dataclass(frozen=True, slots=True)
class Target:
    """A reader of texts: what must hold, texts to begin with, and words that a mutation may put in.

    `longest` is how many characters a mutated text has at most: long ones find no more, only more slowly.
    """

    name: str
    holds: Callable[[str], None]
    seeds: Callable[[], tuple[str, ...]]
    words: tuple[str, ...]
    longest: int = 4_000


def check(target: Target, text: str) -> float:
    """Hold a target to what must hold for a text; the seconds of processor time that it took."""
    began = time.process_time()
    target.holds(text)
    took = time.process_time() - began
    allowed = FREE_SECONDS + len(text) * SECONDS_PER_CHARACTER
    assert took <= allowed, f"{took:.1f} seconds for {len(text)} characters"
    return took


LABEL_SETS: tuple[dict[str, str], ...] = ({}, {"a": "b"}, {"a": "", "b": "a"}, {"role": "web", "has": "in"})


def selector_holds(text: str) -> None:
    """A refused text has a position; a parsed one has a canonical text that selects the same and is its own."""
    selector = _parsed(text)
    if isinstance(selector, SelectorError):
        assert 0 <= selector.offset <= len(text)
        assert selector.message
        return
    once = canonical(selector)
    again = parse(once)
    assert canonical(again) == once
    negated = parse(f"!{once}")
    for labels in LABEL_SETS:
        selected = matches(selector, labels)
        assert matches(again, labels) is selected
        assert matches(negated, labels) is not selected


def _parsed(text: str) -> Selector | SelectorError:
    try:
        return parse(text)
    except SelectorError as error:
        return error


def resources_hold(text: str) -> None:
    """A file of resources: every problem lies within it; what is valid reads back from its manifests."""
    configuration = Configuration(resources=(Source("any.yaml", text),))
    candidate = _candidate(configuration)
    if candidate.is_valid:
        documents = [manifest(resource) for resource in candidate.resources.all()]
        encoded = yaml.dump_all(documents, Dumper=_DUMPER, allow_unicode=True, sort_keys=False)
        again = check_candidate(Configuration(resources=(Source("again.yaml", encoded),)))
        assert not errors(again.problems), again.problems
        assert [manifest(resource) for resource in again.resources.all()] == documents


def settings_hold(text: str) -> None:
    """The settings file, beside resources that settings can make questionable."""
    _candidate(Configuration(Source("hostfw.yaml", text), (Source("some.yaml", SOME_RESOURCES),)))


def facts_hold(text: str) -> None:
    """The facts file: facts or problems, and facts read back."""
    source = Source("facts.yaml", text)
    facts, problems = decode_facts(source)
    _placed(problems, Configuration(resources=(source,)))
    assert (facts is None) is bool(problems)
    if facts is not None:
        assert decode_facts(Source("again.json", json_text(facts_document(facts)))) == (facts, ())


def _is_mapped(word: str, cidr: Cidr) -> bool:
    """True of IPv4 addresses in the form of IPv6, by what they are or by how a prefix is written."""
    return is_mapped(cidr) or ("/" in word and says_mapped(word))


def feed_holds(text: str) -> None:
    """The file of a Feed: what is read in one go is what each line is when read by itself; no list is shown."""
    cidrs, problems = parse_feed(Source("feed.txt", text))
    text = text.removeprefix("\ufeff")
    lines = text.split("\n")
    words = [word for line in lines if (word := re.split("[#;]", line)[0].strip(" \t\r"))]
    read = [cidr for word in words if (cidr := loose_cidr(word)) is not None and not _is_mapped(word, cidr)]
    wrong = [word for word in words if loose_cidr(word) is None]
    is_plain = not any((c.isspace() or category(c) == "Cc") and c not in " \t\r\n" for c in text)
    if len(wrong) > len(read) or (wrong and not is_plain):
        (problem,) = problems
        assert (cidrs, problem.message, problem.position.column) == ((), "the file is not a list of addresses", 1)
        return
    for problem in problems:
        _, line, column = problem.position
        assert len(problem.message) < 80, problem
        assert lines[line - 1][column - 1 :].strip(" \t\r"), problem
    assert len(problems) == min(len(words) - len(read), MOST_PROBLEMS)
    if len(problems) < MOST_PROBLEMS:
        v4, v6 = _merged(read)
        assert _merged(cidrs) == (v4, v6)
        size = sum(network.num_addresses for network in v4) + sum(network.num_addresses for network in v6)
        assert _size(cidrs) == size, "prefixes overlap"


def _merged(cidrs: Iterable[Cidr]) -> tuple[list[IPv4Network], list[IPv6Network]]:
    both = tuple(cidrs)
    v4 = [IPv4Network((cidr.address, cidr.length)) for cidr in both if cidr.family is Family.V4]
    v6 = [IPv6Network((cidr.address, cidr.length)) for cidr in both if cidr.family is Family.V6]
    return list(collapse_addresses(v4)), list(collapse_addresses(v6))


def _size(cidrs: Iterable[Cidr]) -> int:
    return sum(1 << cidr.family.bits - cidr.length for cidr in cidrs)


def ruleset_holds(text: str) -> None:
    """A valid file of resources has a ruleset on any host, and the same one each time."""
    configuration = Configuration(resources=(Source("any.yaml", text),))
    candidate = check_candidate(configuration)
    if not candidate.is_valid:
        return
    for facts in _HOSTS:
        plan, problems = resolve(candidate.resources, candidate.settings, facts)
        _placed(problems, configuration)
        if not errors(problems):
            assert render(compile_plan(plan)) == render(compile_plan(plan))


def report_holds(text: str) -> None:
    """Whatever is wrong with a file can be shown, with the lines of it, and does a terminal no harm."""
    configuration = Configuration(resources=(Source("any.yaml", text),))
    problems = check_candidate(configuration).problems
    for line in (*report(problems, configuration), *annotated(problems, configuration)):
        assert not _UNFIT.search(line), line


def prefix_holds(text: str) -> None:
    """The prefix of a log record: a tag or nothing, and a tag is what its own prefix decodes to."""
    tag = prefix.decode(text)
    if tag is None:
        return
    assert str(tag)
    if not text.isascii():
        return
    again = prefix.encode(tag)
    assert len(again) <= prefix.MAX_PREFIX_BYTES
    read = prefix.decode(again)
    assert read is not None
    assert prefix.encode(read) == again


def record_holds(text: str) -> None:
    """A log record, its prefix on the first line and then the packet: an event that says no more than is known."""
    written, _, rest = text.partition("\n")
    payload = bytes(ord(character) & 0xFF for character in rest)
    tag = prefix.decode(written)
    for family in (None, *Family):
        packet = headers(payload, family)
        event = packet_event(written, packet, ("eth0", ""), _MOMENT, _KNOWN)
        if event is None:
            assert tag is None or tag.action is not Action.DENY
            continue
        assert tag is not None
        # What a packet holds changes nothing of what is said of the rule.
        bare = packet_event(written, Headers(), ("eth0", ""), _MOMENT, _KNOWN)
        assert bare == replace(event, packet=Headers())
        assert (event.origin != "") <= (tag in _KNOWN.rules)
        assert (event.policy, event.tier) in ((tag.policy, tag.tier), _KNOWN.policies.get(_key(tag), ("", ""))[::-1])
        entry = fields(event)
        assert not _UNFIT.search(entry["MESSAGE"].encode(errors="replace").decode()), entry
        again = event_of(entry)
        assert again is not None
        assert fields(again) == entry


def _key(tag: prefix.LogTag) -> tuple[bool, str, str]:
    return tag.staged, tag.tier, tag.policy


_MOMENT = datetime(2030, 1, 1, tzinfo=UTC)
_KNOWN = known()
_UNFIT = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that steer a terminal, or change the direction of its text."""

_DUMPER = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

LINE_BREAK = re.compile("\r\n|[\r\n]")
"""Line ends as editors and positions count them."""


def _candidate(configuration: Configuration) -> Candidate:
    candidate = check_candidate(configuration)
    _placed(candidate.problems, configuration)
    return candidate


def _placed(problems: Iterable[Problem], configuration: Configuration) -> None:
    """Every problem has a message, and a place in one of the files or none at all."""
    settings = () if configuration.settings is None else (configuration.settings,)
    lines = {source.path: LINE_BREAK.split(source.text) for source in (*settings, *configuration.resources)}
    for problem in problems:
        path, line, column = problem.position
        assert problem.message
        if path or line or column:
            assert 1 <= line <= len(lines[path]), problem
            assert 1 <= column <= len(lines[path][line - 1]) + 1, problem


def _host(node: str, *names: str) -> HostFacts:
    addresses = [parse_address(text) for text in ("192.0.2.1", "2001:db8::1")]
    found = tuple([host_cidr(*address) for address in addresses if address])
    interfaces = [Interface(name, index, addresses=found) for index, name in enumerate(names, 1)]
    return HostFacts(node, tuple(interfaces))


_HOSTS = (_host("web1", "lo", "eth0", "eth1"), _host("elsewhere"))

TARGETS = {
    target.name: target
    for target in (
        Target("selector", selector_holds, selector_seeds, SELECTOR_WORDS, 400),
        Target("resources", resources_hold, resource_seeds, YAML_WORDS + RESOURCE_WORDS),
        Target("settings", settings_hold, settings_seeds, YAML_WORDS + SETTINGS_WORDS),
        Target("facts", facts_hold, facts_seeds, YAML_WORDS + FACTS_WORDS),
        Target("feed", feed_holds, feed_seeds, FEED_WORDS, 600),
        Target("ruleset", ruleset_holds, resource_seeds, YAML_WORDS + RESOURCE_WORDS),
        Target("report", report_holds, resource_seeds, YAML_WORDS + RESOURCE_WORDS),
        Target("prefix", prefix_holds, prefix_seeds, PREFIX_WORDS, 200),
        Target("record", record_holds, record_seeds, PREFIX_WORDS + PACKET_WORDS, 400),
    )
}
