"""Sources to resources: every document of every file decoded, and everything that is wrong said at once."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import NamedTuple

from hostfw.manifest.fields import Reader, Shape, described, did_you_mean, fields, items, one_of, text
from hostfw.manifest.kinds.endpoint import (
    decode_endpoint,
    decode_group,
    decode_namespaced_set,
    decode_network_set,
)
from hostfw.manifest.kinds.metadata import Traits, decode_metadata
from hostfw.manifest.kinds.policy import (
    decode_network_policy,
    decode_policy,
    decode_profile,
    decode_staged_network_policy,
    decode_staged_policy,
    decode_tier,
)
from hostfw.manifest.kinds.refused import API_VERSIONS, KINDS
from hostfw.manifest.kinds.seldom import (
    decode_cluster_policy,
    decode_feed,
    decode_kubernetes_policy,
    decode_namespace,
    decode_nft_rules,
    decode_workload,
)
from hostfw.manifest.scalars.name_forms import (
    NAMESPACE_NAME,
    NETWORK_POLICY_NAME,
    POLICY_NAME,
    SUBDOMAIN,
    TIER_NAME,
    NameForm,
)
from hostfw.manifest.yaml.nodes import Mapping, Node, Scalar, documents, is_null
from hostfw.model.api_versions import CALICO_V3, CLUSTER_POLICY_V1, HOSTFW_V1, KUBERNETES_V1, NETWORKING_V1
from hostfw.model.kinds.metadata import Metadata
from hostfw.model.problems import Problem, in_order
from hostfw.model.resources import (
    Resource,
    Resources,
)
from hostfw.model.settings import Settings
from hostfw.model.sources import IGNORE_FILE, Configuration, Source
from hostfw.model.wording import quoted
from hostfw.selector.namespaces import NAME_LABELS, NAMESPACE_LABEL


class Decoded(NamedTuple):
    """A configuration as far as it could be read.

    With errors among the problems the resources are incomplete: good for finding more problems, never to enforce.
    `sources` are the files one by one.
    """

    settings: Settings
    resources: Resources
    problems: tuple[Problem, ...] = ()
    sources: tuple["DecodedSource", ...] = ()


class DecodedSource(NamedTuple):
    """The content of one file, and its problems."""

    source: Source
    resources: tuple[Resource, ...]
    problems: tuple[Problem, ...]


@dataclass(slots=True, eq=False, repr=False)
class DecodeCache:
    """Results of the last decoding, by path, and of all files together."""

    sources: dict[str, DecodedSource] = field(default_factory=dict)
    configuration: Configuration = field(default_factory=Configuration)
    decoded: Decoded | None = None


def decode(configuration: Configuration, cache: DecodeCache | None = None) -> Decoded:
    """The settings and resources of a configuration, each kind sorted by name, and every problem with its position.

    With a cache, files that are as they were the last time are not decoded again: their resources are the same
    objects.
    """
    if cache is None:
        return _decode(configuration, DecodeCache())
    same = configuration.resources == cache.configuration.resources
    if cache.decoded is None or not same or configuration.settings != cache.configuration.settings:
        cache.decoded = _decode(configuration, cache)
        cache.configuration = configuration
    return cache.decoded


def _decode(configuration: Configuration, cache: DecodeCache) -> Decoded:
    problems: list[Problem] = []
    settings = Settings()
    if configuration.settings is not None:
        from hostfw.manifest.settings import decode_settings

        settings, settings_problems = decode_settings(configuration.settings)
        problems += settings_problems
    found: list[Resource] = []
    selectors: set[str] = set()
    known, cache.sources = cache.sources, {}
    for source in configuration.resources:
        decoded = known.get(source.path)
        if decoded is None or decoded.source != source:
            decoded = _perhaps_foreign(decode_source(source, selectors))
        cache.sources[source.path] = decoded
        found += decoded.resources
        problems += decoded.problems
    return Decoded(settings, Resources.of(found), in_order(problems), tuple(cache.sources.values()))


_NO_TRAITS = Traits()
_WITH_RULES = Traits(denies=True)
_NAMESPACED_RULES = Traits(denies=True, namespaced=True)


class ResourceKind(NamedTuple):
    """The decoder of a kind, the form of its names, and what its metadata may say."""

    api_version: str
    name_form: NameForm
    decode: Callable[[Reader, Metadata, Node], Resource]
    traits: Traits = _NO_TRAITS
    written: str = ""
    """The kind as manifests say it, where another API has one of that name."""


RESOURCE_KINDS = {
    "ClusterNetworkPolicy": ResourceKind(CLUSTER_POLICY_V1, SUBDOMAIN, decode_cluster_policy, _WITH_RULES),
    "Feed": ResourceKind(HOSTFW_V1, SUBDOMAIN, decode_feed, Traits(reserved=NAMESPACE_LABEL)),
    "GlobalNetworkPolicy": ResourceKind(CALICO_V3, POLICY_NAME, decode_policy, _WITH_RULES),
    "GlobalNetworkSet": ResourceKind(CALICO_V3, SUBDOMAIN, decode_network_set, Traits(reserved=NAMESPACE_LABEL)),
    "HostEndpoint": ResourceKind(CALICO_V3, SUBDOMAIN, decode_endpoint, Traits(noun="a HostEndpoint")),
    "InterfaceGroup": ResourceKind(HOSTFW_V1, SUBDOMAIN, decode_group, Traits(noun="an InterfaceGroup")),
    "KubernetesNetworkPolicy": ResourceKind(
        NETWORKING_V1, SUBDOMAIN, decode_kubernetes_policy, _NAMESPACED_RULES, "NetworkPolicy"
    ),
    "Namespace": ResourceKind(
        KUBERNETES_V1, NAMESPACE_NAME, decode_namespace, Traits(noun="a Namespace", named_by=NAME_LABELS)
    ),
    "NetworkPolicy": ResourceKind(CALICO_V3, NETWORK_POLICY_NAME, decode_network_policy, _NAMESPACED_RULES),
    "NetworkSet": ResourceKind(
        CALICO_V3, SUBDOMAIN, decode_namespaced_set, Traits(reserved=NAMESPACE_LABEL, namespaced=True)
    ),
    "NftRules": ResourceKind(HOSTFW_V1, SUBDOMAIN, decode_nft_rules),
    "Profile": ResourceKind(CALICO_V3, SUBDOMAIN, decode_profile, _WITH_RULES),
    "StagedGlobalNetworkPolicy": ResourceKind(CALICO_V3, POLICY_NAME, decode_staged_policy, _WITH_RULES),
    "StagedNetworkPolicy": ResourceKind(
        CALICO_V3, NETWORK_POLICY_NAME, decode_staged_network_policy, _NAMESPACED_RULES
    ),
    "Tier": ResourceKind(CALICO_V3, TIER_NAME, decode_tier, Traits(noun="a Tier")),
    "WorkloadEndpoint": ResourceKind(
        CALICO_V3, SUBDOMAIN, decode_workload, Traits(noun="a WorkloadEndpoint", namespaced=True)
    ),
}

_WRITTEN = {(kind.written, kind.api_version): name for name, kind in RESOURCE_KINDS.items() if kind.written}
KINDS_WRITTEN = tuple(sorted({kind.written or name for name, kind in RESOURCE_KINDS.items()}))
"""The kinds as manifests say them."""

LIST = "List"
_ENVELOPE = frozenset(("apiVersion", "kind", "metadata"))
RESOURCE_SHAPE = Shape(
    "a resource",
    _ENVELOPE | {"spec"},
    ignored=frozenset(("status",)),
    elsewhere=dict.fromkeys(("name", "labels", "annotations"), "it belongs into metadata"),
)
RESOURCE_LIST_SHAPE = Shape("a list of resources", _ENVELOPE | {"items"})


def decode_source(source: Source, selectors: set[str] | None = None) -> DecodedSource:
    """The resources of one file; `selectors` are texts that are known to parse."""
    problems: list[Problem] = []
    reader = Reader(
        source.path, source.text.removeprefix("\ufeff"), problems, set() if selectors is None else selectors
    )
    resources = [resource for root in documents(source, problems) for resource in _decode_document(reader, root)]
    return DecodedSource(source, tuple(resources), tuple(problems))


def _perhaps_foreign(decoded: DecodedSource) -> DecodedSource:
    """A file of a configuration; the first problem of one that has nothing of hostfw's says what to do about that."""
    source, resources, problems = decoded
    if not problems or resources or any(version in source.text for version in (CALICO_V3, HOSTFW_V1)):
        return decoded
    problem = problems[0]
    name = PurePath(problem.position.path).name
    keep_out = f"if {name} is not a file of hostfw, write its name into {IGNORE_FILE} beside it"
    told = replace(problem, hint=f"{problem.hint}; {keep_out}" if problem.hint else keep_out)
    return decoded._replace(problems=(told, *problems[1:]))


def _decode_document(reader: Reader, root: Node) -> list[Resource]:
    if not isinstance(root, Mapping):
        reader.report(root, f"the document is {described(root)}", "a resource: apiVersion, kind, metadata and spec")
        return []
    head = _head(root)
    if _is_list_of_any(head):
        return _decode_list_of_any(reader, root, head)
    name = _kind_name(reader, root, head)
    if name is None:
        return []
    item_kind = name.removesuffix(LIST)
    _check_version(reader, root, head, *_versions(item_kind))
    if name == item_kind:
        return _decode_resource(reader, root, RESOURCE_KINDS[name])
    found = fields(reader, root, RESOURCE_LIST_SHAPE)
    resources: list[Resource] = []
    for item in items(reader, found.get("items"), "items"):
        resources += decode_item(reader, item, item_kind)
    return resources


def _is_list_of_any(head: dict[str, Node]) -> bool:
    kind = head.get("kind")
    return isinstance(kind, Scalar) and kind.text == LIST


def _decode_list_of_any(reader: Reader, root: Mapping, head: dict[str, Node]) -> list[Resource]:
    """The resources of a `v1` List, as kubectl writes it: each item says what it is, and none is a list itself."""
    _check_version(reader, root, head, KUBERNETES_V1)
    found = fields(reader, root, RESOURCE_LIST_SHAPE)
    resources: list[Resource] = []
    for item in items(reader, found.get("items"), "items"):
        if isinstance(item, Mapping) and _is_list_of_any(_head(item)):
            reader.report(item, "the item is a List itself", "a resource")
        else:
            resources += _decode_document(reader, item)
    return resources


def decode_item(reader: Reader, item: Node, kind_name: str) -> list[Resource]:
    """An item of a list of one kind; it may leave out the apiVersion and kind, which the list gives."""
    if isinstance(item, Mapping):
        head = _head(item)
        written = RESOURCE_KINDS[kind_name].written or kind_name
        if "kind" in head and text(reader, head["kind"], "kind") not in (None, written):
            reader.report(head["kind"], f"the item is no {written}", written, "list one kind at a time")
            return []
        if "apiVersion" in head:
            _check_version(reader, item, head, RESOURCE_KINDS[kind_name].api_version)
    return _decode_resource(reader, item, RESOURCE_KINDS[kind_name])


def _decode_resource(reader: Reader, root: Node, kind: ResourceKind) -> list[Resource]:
    found = fields(reader, root, RESOURCE_SHAPE)
    if not isinstance(root, Mapping):
        return []
    metadata = decode_metadata(reader, found.get("metadata"), root, kind.name_form, kind.traits)
    resource = kind.decode(reader, metadata or _NAMELESS, found.get("spec") or Mapping(root.mark))
    return [resource] if metadata is not None else []


_NAMELESS = Metadata("")
"""Stands in for metadata that could not be read, so that the spec's problems are found all the same."""


def _head(root: Mapping) -> dict[str, Node]:
    """The values of `apiVersion` and `kind`, which say how to read the rest."""
    head: dict[str, Node] = {}
    for key, value in root.pairs():
        if isinstance(key, Scalar) and key.text in ("apiVersion", "kind") and not is_null(value):
            head.setdefault(key.text, value)
    return head


def _kind_name(reader: Reader, root: Mapping, head: dict[str, Node]) -> str | None:
    """The name of a kind that is decoded, or of a list of it."""
    node = head.get("kind")
    if node is None:
        reader.report(root, "kind is missing", one_of(KINDS_WRITTEN))
        return None
    name = text(reader, node, "kind")
    if name is None:
        return None
    item_kind, version = name.removesuffix(LIST), _version_text(head)
    if name in KINDS_WRITTEN or item_kind in KINDS_WRITTEN:
        return name.replace(item_kind, _WRITTEN.get((item_kind, version), item_kind), 1)
    refusal = KINDS.get(item_kind) or API_VERSIONS.get(version)
    if refusal is not None:
        reader.report(node, f"kind {quoted(name)} is refused: {refusal.reason}", "", refusal.instead)
    else:
        reader.report(node, f"unknown kind {quoted(name)}", one_of(KINDS_WRITTEN), did_you_mean(name, KINDS_WRITTEN))
    return None


def _version_text(head: dict[str, Node]) -> str:
    node = head.get("apiVersion")
    return node.text if isinstance(node, Scalar) else ""


def _versions(kind_name: str) -> tuple[str, ...]:
    """The version of a kind, and those of others that manifests call the same."""
    return (RESOURCE_KINDS[kind_name].api_version, *(version for kind, version in _WRITTEN if kind == kind_name))


def _check_version(reader: Reader, root: Mapping, head: dict[str, Node], *known: str) -> None:
    node, expected = head.get("apiVersion"), one_of(known)
    if node is None:
        reader.report(root, "apiVersion is missing", expected)
        return
    version = text(reader, node, "apiVersion")
    if version is None or version in known:
        return
    refusal = API_VERSIONS.get(version)
    why = f", which is refused: {refusal.reason}" if refusal else ""
    reader.report(node, f"apiVersion is {quoted(version)}{why}", expected)
