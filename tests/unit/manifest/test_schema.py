"""The JSON Schema: it knows every field that is decoded, refuses what it can see, and nothing that decodes."""

import importlib
import json
import os
import pkgutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

import hostfw.manifest
from hostfw.cli.kinds import KINDS
from hostfw.manifest.decode import RESOURCE_KINDS, decode
from hostfw.manifest.fields import Refusal, Shape
from hostfw.manifest.schema.documents import SETTINGS, schema
from hostfw.manifest.schema.values import STRING, schema_of
from hostfw.model.sources import Configuration, Source
from tests.unit.cli_runs import hostfwctl

ROOT = Path(__file__).parents[3]
PUBLISHED = ROOT / "schema" / "hostfw.schema.json"
EXAMPLES = sorted((ROOT / "examples").glob("*/etc/**/*.yaml"))
WHOLE = Draft7Validator(json.loads(json.dumps(schema())))
Json = Any
"""A document as a YAML parser gives it."""


def test_the_published_schema_is_that_of_the_decoders(*, update_golden: bool) -> None:
    """`make schema` writes the file that editors are given."""
    status, out, err = hostfwctl("schema")

    if update_golden:
        PUBLISHED.parent.mkdir(exist_ok=True)
        PUBLISHED.write_text(out)
    assert (status, err) == (0, "")
    assert out == PUBLISHED.read_text(), "`make schema` writes it anew"
    Draft7Validator.check_schema(json.loads(out))


def shapes() -> Iterator[Shape]:
    """Every Shape of a configuration file; facts are none."""
    for module in pkgutil.walk_packages(hostfw.manifest.__path__, "hostfw.manifest."):
        if module.name != "hostfw.manifest.files.facts_file":
            yield from (v for v in vars(importlib.import_module(module.name)).values() if type(v) is Shape)


def mappings(value: object) -> Iterator[Mapping[str, Json]]:
    """Every mapping of the schema that has the noun of a Shape for its title."""
    if isinstance(value, dict):
        if "title" in value and "properties" in value:
            yield value
        for child in value.values():
            yield from mappings(child)
    elif isinstance(value, list):
        for child in value:
            yield from mappings(child)


def test_every_field_that_is_decoded_is_in_the_schema() -> None:
    """And every one that is refused or ignored, and no other."""
    known = {shape.noun: shape for shape in shapes()}
    found = {mapping["title"]: set(mapping["properties"]) for mapping in mappings(schema()["definitions"])}

    assert len(known) > 15
    assert found == {noun: {*s.known, *s.refused, *s.ignored} for noun, s in known.items()}


def test_a_field_of_one_side_only_is_noticed() -> None:
    """A new field of a decoder cannot be forgotten, nor can a field stay behind."""
    shape = Shape("a thing", frozenset(("old", "new")), {"gone": Refusal("it is gone")})

    with pytest.raises(ValueError, match=r"a thing: \['new'\] is in one of decoder and schema only"):
        schema_of(shape, {"old": (STRING, "")})
    with pytest.raises(ValueError, match=r"a thing: \['more'\] is in one"):
        schema_of(shape, {"old": (STRING, ""), "new": (STRING, ""), "more": (STRING, "")})


def test_every_field_is_explained() -> None:
    """Editors show a sentence for each."""
    for mapping in mappings(schema()["definitions"]):
        for name, field in mapping["properties"].items():
            assert field.get("description", "").endswith(".") or field == {"doNotSuggest": True}, (
                mapping["title"],
                name,
            )


def test_every_kind_may_stand_in_a_file() -> None:
    """By itself and in a list; and the settings."""
    kinds = {name for kind in RESOURCE_KINDS for name in (kind, f"{kind}List", "List")}
    document = json.loads(json.dumps(schema()))

    assert {one["$ref"].rpartition("/")[2] for one in document["oneOf"]} == kinds | {SETTINGS}
    assert {kind.name for kind in KINDS} == set(RESOURCE_KINDS)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_example_names_the_schema_and_keeps_it(path: Path) -> None:
    """An editor completes its fields and marks nothing."""
    first = path.read_text().partition("\n")[0]
    documents = list(yaml.safe_load_all(path.read_text()))

    assert first == f"# yaml-language-server: $schema={os.path.relpath(PUBLISHED, path.parent)}"
    assert documents
    assert [error.message for document in documents for error in WHOLE.iter_errors(document)] == []


POLICY = {"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": "a"}}
ENDPOINT = {"apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint", "metadata": {"name": "a"}}
GROUP = {"apiVersion": "hostfw.io/v1", "kind": "InterfaceGroup", "metadata": {"name": "a"}}
FEED = {"apiVersion": "hostfw.io/v1", "kind": "Feed", "metadata": {"name": "a"}}


def policy(**spec: Json) -> Json:
    """A policy."""
    return {**POLICY, "spec": spec}


def rule(**fields: Json) -> Json:
    """A policy with one rule."""
    return policy(ingress=[{"action": "Allow", **fields}])


def endpoint(**fields: Json) -> Json:
    """A HostEndpoint on a node."""
    return {**ENDPOINT, "spec": {"node": "a", "interfaceName": "eth0", **fields}}


REFUSED: list[tuple[str, Json]] = [
    ("a field misspelt", policy(selectr="all()")),
    ("a field of the spec at the top", {**POLICY, "selector": "all()"}),
    ("an unknown kind", {**POLICY, "kind": "GlobalNetworkPolcy"}),
    ("the version of another kind", {**POLICY, "apiVersion": "hostfw.io/v1"}),
    ("a kind without a version", {"kind": "GlobalNetworkPolicy", "metadata": {"name": "a"}}),
    ("a name in capitals", {**POLICY, "metadata": {"name": "Web"}}),
    ("no name", {**POLICY, "metadata": {}}),
    ("an action in lower case", policy(ingress=[{"action": "allow"}])),
    ("no action", policy(ingress=[{"protocol": "TCP"}])),
    ("a mapping for a list", policy(ingress={"action": "Allow"})),
    ("a protocol in lower case", rule(protocol="tcp")),
    ("a port without a protocol", rule(destination={"ports": [80]})),
    ("a port too high", rule(protocol="TCP", destination={"ports": [65536]})),
    ("a range with a dash", rule(protocol="TCP", destination={"ports": ["80-90"]})),
    ("a net without a length", rule(source={"nets": ["10.0.0.1"]})),
    ("a net that is none", rule(source={"nets": ["10.0.0.256/32"]})),
    ("ICMP without a protocol", rule(icmp={"type": 8})),
    ("an ICMP code without a type", rule(protocol="ICMP", icmp={"code": 0})),
    ("a field that Kubernetes gives a meaning to", rule(source={"serviceAccounts": {"names": ["a"]}})),
    ("global() in a selector", policy(selector="global()")),
    ("preDNAT without applyOnForward", policy(preDNAT=True)),
    ("an order in quotes", policy(order="10")),
    ("an unknown direction", policy(types=["ingress"])),
    ("a direction twice", policy(types=["Ingress", "Ingress"])),
    ("a HostEndpoint without an interface", {**ENDPOINT, "spec": {"node": "a"}}),
    ("a HostEndpoint without a spec", ENDPOINT),
    ("an interface name too long", endpoint(interfaceName="a" * 16)),
    ("a prefix for an address", endpoint(expectedIPs=["10.0.0.0/8"])),
    ("a label value that is a number", {**POLICY, "metadata": {"name": "a", "labels": {"a": 1}}}),
    ("a label key with a blank", {**POLICY, "metadata": {"name": "a", "labels": {"a b": "c"}}}),
    ("a group without a match", {**GROUP, "spec": {"match": []}}),
    ("an entry without a condition", {**GROUP, "spec": {"match": [{}]}}),
    ("a percentage without its sign", {**GROUP, "kind": "Feed", "spec": {"path": "a", "maxShrink": 50}}),
    ("an external Feed with a file", {**FEED, "spec": {"external": True, "path": "a"}}),
    ("a Feed of a file with a size", {**FEED, "spec": {"path": "a", "size": 5}}),
    ("a timeout without a unit", {**FEED, "spec": {"external": True, "timeout": "10"}}),
    ("a Feed of a url of another scheme", {**FEED, "spec": {"url": "ftp://a.example/l"}}),
    ("a Feed of a url and a path", {**FEED, "spec": {"url": "https://a.example/l", "path": "a"}}),
    ("a Feed of names with a digest", {**FEED, "spec": {"hostnames": ["a.example"], "sha256": "0" * 64}}),
    ("a Feed of nothing", {**FEED, "spec": {"external": False}}),
    ("a setting misspelt", {"loopbak": "exempt"}),
    ("a setting with another word", {"loopback": "police"}),
    ("a failsafe that is none", {"failsafe": {"inbound": ["tcp:ssh"]}}),
]


@pytest.mark.parametrize("document", [c[1] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_a_mistake_that_can_be_seen_is_refused(document: Json) -> None:
    """By the schema, and by the decoders as well."""
    assert not WHOLE.is_valid(document)
    assert problems(document) != ()


NAMESPACE: Json = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}, "spec": {"finalizers": ["x"]}}
ACCEPTED: list[tuple[str, Json]] = [
    ("a Feed of a url", {**FEED, "spec": {"url": "https://a.example/l", "sha256": "https://a/b", "maxSize": "16Mi"}}),
    ("a Feed of names", {**FEED, "spec": {"hostnames": ["a.example"]}}),
    ("an external Feed", {**FEED, "spec": {"external": True, "size": 5, "timeout": "10m"}}),
    ("a Feed of a file that says that it is not external", {**FEED, "spec": {"external": False, "path": "a"}}),
    ("nothing but a name", POLICY),
    ("nulls in the place of fields", policy(order=None, ingress=None, types=None, selector=None)),
    ("what means nothing", policy(tier="", namespaceSelector="", ingress=[])),
    ("refused fields without a value", rule(http=None, source={"services": None, "serviceAccounts": None})),
    ("names of ports without a protocol", rule(destination={"ports": ["http", "x-11"]})),
    ("numbers in quotes", rule(protocol="6", destination={"ports": ["80", "8000:8080"]})),
    ("leading zeros of a length", rule(source={"nets": ["10.0.0.0/08", "192.0.2.0/024"]})),
    ("IPv6 in every spelling", rule(source={"nets": ["::/0", "2001:DB8::/032", "64:ff9b::192.0.2.0/120"]})),
    ("an empty ICMP match", rule(protocol=1, icmp={})),
    ("global() where it may stand", rule(source={"notSelector": "global()", "namespaceSelector": " global() "})),
    ("what an API server adds", {**POLICY, "metadata": {"name": "a", "uid": "x", "generation": 3}, "status": {}}),
    ("a list", {"apiVersion": "hostfw.io/v1", "kind": "InterfaceGroupList", "items": []}),
    ("a list of several kinds", {"apiVersion": "v1", "kind": "List", "items": [POLICY, NAMESPACE]}),
    (
        "items that leave out what the list says",
        {**POLICY, "kind": "GlobalNetworkPolicyList", "metadata": {"x": 1}, "items": [{"metadata": {"name": "a"}}]},
    ),
    ("a HostEndpoint by addresses", {**ENDPOINT, "spec": {"node": "a", "expectedIPs": ["10.0.0.1", "fd00::1"]}}),
    ("no settings at all", {}),
    ("failsafes in every form", {"failsafe": {"inbound": "tcp:22, udp:[fd00::/8]:68", "outbound": [53, {"port": 1}]}}),
    ("no failsafes", {"failsafe": "none"}),
    ("a mask", {"packetMarks": 0x30000000, "compatibility": "calico"}),
]


@pytest.mark.parametrize("document", [c[1] for c in ACCEPTED], ids=[c[0] for c in ACCEPTED])
def test_what_decodes_is_not_refused(document: Json) -> None:
    """However unusual it looks."""
    assert [told for told in problems(document) if ": warning: " not in told] == []
    assert [error.message for error in WHOLE.iter_errors(document)] == []


def problems(document: Json) -> tuple[str, ...]:
    """The decoders' problems of a document, which is the settings if it has no kind."""
    source = Source("case.yaml", json.dumps(document))
    is_settings = "kind" not in document
    configuration = Configuration(settings=source) if is_settings else Configuration(resources=(source,))
    return tuple(map(str, decode(configuration).problems))


@pytest.mark.parametrize("word", [*(kind.names[0] for kind in KINDS), "settings"])
def test_the_schema_of_one_kind_stands_alone(word: str) -> None:
    """It has every definition that it refers to, and refuses the other kinds."""
    status, out, err = hostfwctl("schema", word)

    document = json.loads(out)
    Draft7Validator.check_schema(document)
    references = {text.removeprefix("#/definitions/") for text in out.split('"') if text.startswith("#/")}
    assert (status, err) == (0, "")
    assert references == set(document["definitions"])
    assert Draft7Validator(document).is_valid(POLICY) is (word == "gnp")


def test_a_schema_of_no_kind_is_refused() -> None:
    """With the kinds that there are."""
    assert hostfwctl("schema", "setings") == (
        2,
        "",
        'hostfwctl: unknown kind "setings"\n  hint: did you mean "settings"?\n',
    )
