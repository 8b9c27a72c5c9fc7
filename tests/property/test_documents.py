"""Manifests and facts read back, and no text whatever makes a decoder raise."""

import json
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from hostfw.manifest.decode import decode
from hostfw.manifest.encode import manifest
from hostfw.manifest.files.facts_file import decode_facts, facts_document
from hostfw.manifest.schema.documents import schema
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.kinds.metadata import SelectorText
from hostfw.model.problems import Problem, Severity
from hostfw.model.resources import Resource
from hostfw.model.settings import Settings
from hostfw.model.sources import Configuration, Source
from hostfw.model.values import Learned
from hostfw.policy.check.references import check
from hostfw.selector.evaluate import Selector, SelectorError, canonical, matches, parse
from tests.property.generators.resources import addresses, few, resources, selectors, without_positions, words

SCHEMA = Draft7Validator(schema())


@given(resource=resources)
def test_a_manifest_decodes_to_the_resource_it_was_made_of(resource: Resource) -> None:
    """As YAML, as JSON, and in a list."""
    document = manifest(resource)
    listed = {"apiVersion": document["apiVersion"], "kind": f"{document['kind']}List", "items": [document]}
    texts = (
        yaml.safe_dump(document),
        yaml.safe_dump(document, allow_unicode=True),
        json.dumps(document, ensure_ascii=False),
    )

    for text in (*texts, yaml.safe_dump(listed)):
        decoded, problems = _decoded(text)
        # An address that no interface has is kept, and warned of.
        assert (decoded, [one for one in problems if one.severity is Severity.ERROR]) == (resource, [])


@given(resource=resources)
def test_a_manifest_keeps_the_schema(resource: Resource) -> None:
    """By itself and in a list: what editors go by refuses nothing that can be written."""
    document = manifest(resource)
    listed = {"apiVersion": document["apiVersion"], "kind": f"{document['kind']}List", "items": [document]}

    assert [error.message for one in (document, listed) for error in SCHEMA.iter_errors(one)] == []


def _with_learned(interface: Interface) -> st.SearchStrategy[Interface]:
    """The interface, any of its addresses and its default route being what neighbours say."""
    ways = st.lists(st.none() | st.sampled_from(Learned), min_size=len(interface.addresses), max_size=9)
    routes = st.sets(st.sampled_from(Learned)) if interface.default_route else st.just(set[Learned]())
    return st.builds(
        lambda ways, makers: replace(
            interface,
            learned=tuple(
                sorted((c, how) for c, how in dict(zip(interface.addresses, ways, strict=False)).items() if how)
            ),
            default_route_learned=tuple(sorted(makers)),
            networks=interface.addresses,
            networks_learned=tuple(
                sorted((c, how) for c, how in dict(zip(interface.addresses, ways, strict=False)).items() if how)
            ),
        ),
        ways,
        routes,
    )


@given(
    facts=st.builds(
        HostFacts,
        words,
        st.lists(
            st.builds(
                Interface,
                words,
                st.integers(1, 2**31 - 1),
                few(words),
                words | st.just(""),
                st.integers(0, 2**32 - 1),
                st.none() | words,
                few(addresses),
                st.booleans(),
                st.booleans(),
                st.just(()),
            ).flatmap(_with_learned),
            unique_by=lambda interface: interface.name,
            max_size=3,
        ).map(tuple),
        st.dictionaries(words, st.integers(0, 2**32 - 1), max_size=3).map(lambda groups: tuple(groups.items())),
        words,
        words,
    )
)
def test_a_facts_document_decodes_to_the_facts_it_was_made_of(facts: HostFacts) -> None:
    """As YAML and as JSON."""
    document = facts_document(facts)

    for text in (yaml.safe_dump(document, sort_keys=False), json.dumps(document)):
        assert decode_facts(Source("facts", text)) == (facts, ())


WORDS = st.sampled_from(
    (
        *("apiVersion:", "projectcalico.org/v3", "kind:", "GlobalNetworkPolicy", "HostEndpoint", "Tier", "metadata:"),
        *("name:", "spec:", "ingress:", "- action:", "Allow", "selector:", "all()", "nets:", "ports:", "protocol:"),
        *(
            "\n",
            "\n  ",
            "\n    ",
            "\n---\n",
            "[",
            "]",
            "{",
            "}",
            ",",
            ": ",
            "- ",
            "? ",
            "&a",
            "*a",
            "!!str",
            "!x",
            "<<:",
        ),
        *(
            "|",
            ">-",
            "'",
            '"',
            "\\",
            "#",
            "%",
            "\t",
            "\r\n",
            "\x00",
            "\ufeff",
            "\ud800",
            "\u2028",
            "~",
            "1e999",
            "0x10",
        ),
    )
)
YAMLISH = st.lists(WORDS | st.text(max_size=5), max_size=40).map("".join)


@given(text=YAMLISH)
def test_no_text_makes_a_decoder_raise(text: str) -> None:
    """As resources, as settings and as facts."""
    source = Source("any.yaml", text)
    decoded = decode(Configuration(settings=source, resources=(source,)))

    assert decode_facts(source)[0] is None
    for problem in (*decoded.problems, *check(decoded.resources, decoded.settings)):
        assert problem.position.line >= 1
        assert problem.message


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@given(resource=resources, value=values, data=st.data())
def test_no_value_in_any_place_makes_the_decoder_raise(resource: Resource, value: object, data: st.DataObject) -> None:
    """A valid manifest in which one value, anywhere, is replaced by another."""
    document = json.loads(json.dumps(manifest(resource)))
    place = data.draw(st.sampled_from(_places(document)))
    parent: object = document
    for step in place[:-1]:
        parent = parent[step]  # type: ignore[index]
    parent[place[-1]] = value  # type: ignore[index]

    decoded = decode(Configuration(resources=(Source("any.yaml", yaml.safe_dump(document, allow_unicode=True)),)))

    check(decoded.resources, Settings())
    assert all(problem.position.line >= 1 for problem in decoded.problems)


@given(text=st.text(st.sampled_from("ab_/. \t\n'\"!=&|(){},in"), max_size=30) | st.text(max_size=20))
def test_the_selector_parser_raises_nothing_but_its_own_error(text: str) -> None:
    """Its offset lies within the text, and what parses reads back from its canonical text."""
    selector, offset = _parsed(text)

    assert 0 <= offset <= len(text)
    if selector is not None:
        again = parse(canonical(selector))
        for labels in ({}, {"a": "b"}, {"a": "", "b": "a"}):
            assert matches(again, labels) is matches(selector, labels)


@given(selector=selectors, labels=st.dictionaries(words, words, max_size=3))
def test_a_selector_and_its_canonical_text_select_the_same(selector: SelectorText, labels: dict[str, str]) -> None:
    """Valid ones this time."""
    parsed = parse(selector.text)

    assert matches(parse(canonical(parsed)), labels) is matches(parsed, labels)


@pytest.mark.parametrize("text", ["[" * 100_000, "{a: " * 100_000, "- " * 100_000, "? " * 100_000])
def test_yaml_that_nests_without_end_is_refused_and_not_recursed_into(text: str) -> None:
    """Within the time of a test: libyaml needs hours for it."""
    problems = decode(Configuration(resources=(Source("deep.yaml", text),))).problems

    assert [problem.message for problem in problems] == ["collections nest deeper than 64"]


def _parsed(text: str) -> tuple[Selector | None, int]:
    try:
        return parse(text), 0
    except SelectorError as error:
        return None, error.offset


def _decoded(text: str) -> tuple[Resource | None, tuple[Problem, ...]]:
    decoded = decode(Configuration(resources=(Source("manifest.yaml", text),)))
    found = decoded.resources.all()
    return without_positions(replace(found[0])) if found else None, decoded.problems


def _places(node: object, place: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The paths to every value of a document."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    found = [place] if place else []
    for step, child in children:
        found += _places(child, (*place, step))
    return found
