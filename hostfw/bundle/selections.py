"""Endpoints that are separate from policies: for each node those that its rules ask for, in files that nodes share.

Such a file is named after the digest of its content. The manifest of a bundle, which is signed, has the
digests of all pages; a page has the own endpoints of some nodes, and for each the digest of a selection:

    manifest --> page of the node --> own endpoints
             |                    --> selection: what the rules for its endpoints ask for
             --> selection: what the rules of any policy ask for, for nodes with workloads
             --> selection: all endpoints

So policies and endpoints have one number and one signature, and nobody can mix those of two bundles. Nodes whose rules
ask for the same share one selection. Each selection has at least what its words ask for (`policy.need`): what is in
doubt is in it.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import NamedTuple

from hostfw.bundle.manifest import MOST_PAGES, BundleError, EndpointFile, SeparateEndpoints
from hostfw.manifest.encode import Document, kind_of, manifest
from hostfw.model.kinds.metadata import ENDPOINTS_FOR, Metadata, SelectorText
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.resources import ANY_NODE, GlobalNetworkPolicy, HostEndpoint, Profile, Resources
from hostfw.policy.built_in import DEFAULT_ALLOW_PROFILE
from hostfw.policy.effective_labels import LabelIndex, NamespaceLabels, index_labels, members, selected
from hostfw.policy.need import PORT, canonical_text, words_of
from hostfw.selector.evaluate import parse

NODES_OF_A_PAGE = 32
MOST_WORDS_BYTES = 128 * 1024
"""Above it the words do not fit an annotation: the node takes all endpoints."""

NO_WORDS = "none"
"""Stands for no word at all: no selector is this."""

_Endpoint = HostEndpoint | WorkloadEndpoint


class Selection(NamedTuple):
    """Endpoints as texts by kind and name, and the words that they are complete for; None for all endpoints."""

    words: tuple[str, ...] | None
    endpoints: Mapping[str, str]


class NodeEndpoints(NamedTuple):
    """The own endpoints of a node, and the selection for its rules."""

    own: Mapping[str, str]
    selection: EndpointFile


def endpoint_files_of(resources: Resources) -> tuple[SeparateEndpoints, dict[str, bytes]]:
    """The files of the endpoints of a configuration, by digest, and what the manifest says of them.

    The same resources give the same bytes.
    """
    fleet = _Fleet(resources)
    found = dict[str, bytes]()

    def add(selection: Selection) -> EndpointFile:
        return _add(found, _selection_text(selection))

    whole = add(Selection(None, fleet.texts))
    known = dict[frozenset[str], EndpointFile]()

    def chosen(words: frozenset[str]) -> EndpointFile:
        if words not in known:
            selection = fleet.select(words)
            known[words] = whole if _is_long(selection) else add(selection)
        return known[words]

    nodes = {node: NodeEndpoints(own, chosen(words)) for node, own, words in fleet.nodes()}
    policies = chosen(fleet.every_word)
    count = max(1, min(MOST_PAGES, -(-len(nodes) // NODES_OF_A_PAGE)))
    by_page: list[dict[str, NodeEndpoints]] = [{} for _ in range(count)]
    for node in sorted(nodes):
        by_page[page_of(node, count)][node] = nodes[node]
    pages = tuple(_add(found, _page_text(page)).sha256 for page in by_page)
    return SeparateEndpoints(pages, policies, whole), found


def page_of(node: str, count: int) -> int:
    """The place of the page that has a node, among so many."""
    return int.from_bytes(sha256(node.encode()).digest()[:8]) % count


def read_page(data: bytes, node: str) -> NodeEndpoints | None:
    """The entry of a node in a page whose digest is right; None if it has none. Raises BundleError."""
    match _json(data).get(node):
        case None:
            return None
        case {"own": dict(own), "selection": {"sha256": str(digest), "size": int(size)}}:
            return NodeEndpoints(_texts(own), EndpointFile(digest, size))
        case _:
            raise _unknown()


def read_selection(data: bytes) -> Selection:
    """The selection of a file whose digest is right. Raises BundleError."""
    match _json(data):
        case {"words": None, "endpoints": dict(endpoints)}:
            return Selection(None, _texts(endpoints))
        case {"words": list(words), "endpoints": dict(endpoints)}:
            return Selection(tuple(map(str, words)), _texts(endpoints))
        case _:
            raise _unknown()


def own_text(own: Mapping[str, str], words: Iterable[str]) -> bytes:
    """The own endpoints of a node as a manifest; each says what the others were chosen for."""
    said = "\n".join(words) or NO_WORDS
    return _manifest_text(_with_annotation(text, said) for _, text in sorted(own.items()))


def others_text(selection: Selection, own: Mapping[str, str]) -> bytes:
    """The endpoints of a selection as a manifest, without those that a node has among its own."""
    return _manifest_text(text for key, text in sorted(selection.endpoints.items()) if key not in own)


@dataclass(slots=True)
class _Fleet:
    """The endpoints of all nodes, indexed by what selects them; bit n of a number stands for the n-th endpoint."""

    resources: Resources
    texts: dict[str, str] = field(init=False)
    every_word: frozenset[str] = field(init=False)
    _endpoints: tuple[_Endpoint, ...] = field(init=False)
    _keys: tuple[str, ...] = field(init=False)
    _index: LabelIndex = field(init=False)
    _always: int = field(init=False)
    _asked: dict[str, int] = field(init=False, default_factory=dict)
    _words: tuple[frozenset[str], ...] = field(init=False)

    def __post_init__(self) -> None:
        """Index the endpoints, and read the words of each policy."""
        resources = self.resources
        self._endpoints = resources.every_endpoint
        self._keys = tuple(f"{kind_of(one)}/{one.metadata.full_name}" for one in self._endpoints)
        self.texts = {key: _text(one) for key, one in zip(self._keys, self._endpoints, strict=True)}
        profiles = {one.metadata.name: one for one in (*resources.profiles, DEFAULT_ALLOW_PROFILE)}
        by_namespace = NamespaceLabels(resources)
        self._index = index_labels(by_namespace.of_endpoint(one, profiles) for one in self._endpoints)
        # A host may have the Namespace that is missing here, and so know more labels of these.
        known = {"", *(one.metadata.name for one in resources.namespaces)}
        self._always = _bits(one.metadata.namespace not in known for one in self._endpoints)
        forms = dict[str, str]()

        def canonical_of(text: SelectorText) -> str:
            return forms.get(text.text) or forms.setdefault(text.text, canonical_text(text))

        self._words = tuple(frozenset(word for word, _ in words_of(one, canonical_of)) for one in self._owners())
        self.every_word = frozenset().union(*self._words)

    def nodes(self) -> Iterator[tuple[str, dict[str, str], frozenset[str]]]:
        """Every node that an endpoint names, with its own endpoints and the words of the rules for them."""
        by_node = defaultdict[str, list[int]](list)
        for place, endpoint in enumerate(self._endpoints):
            by_node[endpoint.node].append(place)
        of_every_node = by_node.pop(ANY_NODE, [])
        applying = self._applying()
        known = dict[int, frozenset[str]]()
        for node, named in by_node.items():
            places = [*named, *of_every_node]
            owners = 0
            for place in places:
                owners |= applying[place]
            if owners not in known:
                known[owners] = frozenset().union(*(self._words[owner] for owner in members(owners)))
            yield node, {self._keys[place]: self.texts[self._keys[place]] for place in places}, known[owners]

    def select(self, words: frozenset[str]) -> Selection:
        """The endpoints that some words ask for."""
        bits = self._always
        for word in words:
            bits |= self._asked_for(word)
        keys = sorted(self._keys[place] for place in members(bits))
        return Selection(tuple(sorted(words)), {key: self.texts[key] for key in keys})

    def _owners(self) -> Iterator[GlobalNetworkPolicy | Profile]:
        yield from self.resources.every_policy
        yield from self.resources.profiles

    def _applying(self) -> list[int]:
        """For each endpoint the policies and Profiles that may decide about it, as bits."""
        found = [0] * len(self._endpoints)
        policies = self.resources.every_policy
        for owner, policy in enumerate(policies):
            for place in members(selected(parse(policy.selector.text), self._index)):
                found[place] |= 1 << owner
        profiles = {one.metadata.name: 1 << owner for owner, one in enumerate(self.resources.profiles, len(policies))}
        for place, endpoint in enumerate(self._endpoints):
            for name in endpoint.profiles:
                found[place] |= profiles.get(name, 0)
        return found

    def _asked_for(self, word: str) -> int:
        if word not in self._asked:
            if word.startswith(PORT):
                name = word.removeprefix(PORT)
                self._asked[word] = _bits(any(port.name == name for port in one.ports) for one in self._endpoints)
            else:
                self._asked[word] = selected(parse(word), self._index)
        return self._asked[word]


def _bits(each: Iterable[bool]) -> int:
    return sum(1 << place for place, holds in enumerate(each) if holds)


def _text(endpoint: _Endpoint) -> str:
    """An endpoint as a text of one line; what an earlier bundle said of it does not count."""
    metadata = endpoint.metadata
    annotations = tuple(pair for pair in metadata.annotations if pair[0] != ENDPOINTS_FOR)
    plain = endpoint if annotations == metadata.annotations else _renoted(endpoint, annotations)
    return json.dumps(manifest(plain), sort_keys=True)


def _renoted(endpoint: _Endpoint, annotations: tuple[tuple[str, str], ...]) -> _Endpoint:
    metadata: Metadata = replace(endpoint.metadata, annotations=annotations)
    return replace(endpoint, metadata=metadata)


def _with_annotation(text: str, said: str) -> str:
    document: dict[str, dict[str, Document]] = json.loads(text)
    document["metadata"]["annotations"] = {**document["metadata"].get("annotations", {}), ENDPOINTS_FOR: said}
    return json.dumps(document, sort_keys=True)


def _manifest_text(texts: Iterable[str]) -> bytes:
    return "".join(f"---\n{text}\n" for text in texts).encode()


def _is_long(selection: Selection) -> bool:
    return len("\n".join(selection.words or ()).encode()) > MOST_WORDS_BYTES


def _selection_text(selection: Selection) -> bytes:
    words = None if selection.words is None else list(selection.words)
    return _encoded({"words": words, "endpoints": dict(selection.endpoints)})


def _page_text(page: Mapping[str, NodeEndpoints]) -> bytes:
    return _encoded(
        {
            node: {"own": dict(one.own), "selection": {"sha256": one.selection.sha256, "size": one.selection.size}}
            for node, one in page.items()
        }
    )


def _encoded(content: object) -> bytes:
    return json.dumps(content, indent=0, sort_keys=True).encode() + b"\n"


def _add(found: dict[str, bytes], text: bytes) -> EndpointFile:
    file = EndpointFile(sha256(text).hexdigest(), len(text))
    found[file.sha256] = text
    return file


def _json(data: bytes) -> Mapping[str, object]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _unknown() from error
    if not isinstance(found, dict):
        raise _unknown()
    return found


def _texts(found: Mapping[object, object]) -> dict[str, str]:
    return {str(key): str(text) for key, text in found.items()}


def _unknown() -> BundleError:
    return BundleError("its endpoints were not written by hostfw", "make the bundle with `hostfwctl bundle`")
