"""The JSON Schema of configuration files, for editors and for whoever checks manifests without hostfw.

Draft 7, which the YAML language server and every validator know. What a schema cannot see (references, overlapping
addresses, whether a selector parses) only `decode` and `check` do.
"""

from collections.abc import Iterator, Mapping, Sequence

from hostfw.manifest.decode import LIST, RESOURCE_KINDS, RESOURCE_LIST_SHAPE, RESOURCE_SHAPE, ResourceKind
from hostfw.manifest.scalars.name_forms import NETWORK_POLICY_NAME, POLICY_NAME, SUBDOMAIN, TIER_NAME
from hostfw.manifest.schema.kubernetes import kubernetes_definitions
from hostfw.manifest.schema.resources import definitions, metadata
from hostfw.manifest.schema.settings import settings_definitions
from hostfw.manifest.schema.values import Fields, Json, listed, name, ref, schema_of, words
from hostfw.model.api_versions import KUBERNETES_V1

DRAFT = "http://json-schema.org/draft-07/schema#"
SETTINGS = "Settings"

_SPECS = {
    "ClusterNetworkPolicy": "clusterPolicySpec",
    "Feed": "feedSpec",
    "GlobalNetworkPolicy": "policySpec",
    "GlobalNetworkSet": "networkSetSpec",
    "HostEndpoint": "endpointSpec",
    "InterfaceGroup": "groupSpec",
    "KubernetesNetworkPolicy": "podPolicySpec",
    "Namespace": "namespaceSpec",
    "NetworkPolicy": "networkPolicySpec",
    "NetworkSet": "networkSetSpec",
    "NftRules": "nftRulesSpec",
    "Profile": "profileSpec",
    "StagedGlobalNetworkPolicy": "stagedPolicySpec",
    "StagedNetworkPolicy": "stagedNetworkPolicySpec",
    "Tier": "tierSpec",
    "WorkloadEndpoint": "workloadSpec",
}
"""The definition of each kind's spec."""

_NEED_A_SPEC = ("ClusterNetworkPolicy", "Feed", "HostEndpoint", "InterfaceGroup", "NftRules", "WorkloadEndpoint")
"""The kinds with required fields in it."""


def schema(kind: str | None = None) -> Json:
    """The schema of one document: of a kind, of the settings (`Settings`), or of any of them."""
    documents, parts = _documents(), _parts()
    known = {**documents, **parts}
    if kind is None:
        either = [ref(document) for document in documents]
        return {"$schema": DRAFT, "title": "a document of hostfw", "oneOf": either, "definitions": known}
    return {"$schema": DRAFT, "title": kind, **ref(kind), "definitions": dict(_reachable(kind, known))}


def _documents() -> dict[str, Json]:
    """The documents that are allowed: a resource, a list of resources of one kind, or the settings."""
    documents: dict[str, Json] = {}
    for kind, decoded in RESOURCE_KINDS.items():
        documents[kind] = {"allOf": [ref(_item(kind))], "required": ["apiVersion", "kind"]}
        documents[kind + LIST] = _list(kind, decoded)
    return {**documents, LIST: _list_of_any(list(RESOURCE_KINDS)), SETTINGS: ref("settings")}


def _parts() -> dict[str, Json]:
    """The parts of documents."""
    items = {_item(kind): _resource(kind, decoded) for kind, decoded in RESOURCE_KINDS.items()}
    forms = {
        _metadata(decoded): metadata(name(decoded.name_form), namespaced=decoded.traits.namespaced)
        for decoded in RESOURCE_KINDS.values()
    }
    return {**items, **forms, **definitions(), **kubernetes_definitions(), **settings_definitions()}


def _item(kind: str) -> str:
    """The definition of a resource as an item of a list, which says the version and kind for it."""
    return f"{kind}Item"


def _metadata(decoded: ResourceKind) -> str:
    """The definition of metadata with the names of a kind."""
    if decoded.traits.namespaced:
        return {NETWORK_POLICY_NAME: "networkPolicyMetadata", SUBDOMAIN: "namespacedMetadata"}[decoded.name_form]
    return {POLICY_NAME: "policyMetadata", SUBDOMAIN: "metadata", TIER_NAME: "tierMetadata"}[decoded.name_form]


def _resource(kind: str, decoded: ResourceKind) -> Json:
    fields: Fields = {
        "apiVersion": (words([decoded.api_version]), "The version of the kind."),
        "kind": (words([decoded.written or kind]), "The kind of the resource."),
        "metadata": (ref(_metadata(decoded)), "Its name, labels and annotations."),
        "spec": (ref(_SPECS[kind]), "What it says."),
    }
    return schema_of(RESOURCE_SHAPE, fields, ("metadata", "spec") if kind in _NEED_A_SPEC else ("metadata",))


def _list(kind: str, decoded: ResourceKind) -> Json:
    fields: Fields = {
        "apiVersion": (words([decoded.api_version]), "The version of the kind."),
        "kind": (words([(decoded.written or kind) + LIST]), "The kind of the list."),
        "metadata": ({}, "Without a meaning."),
        "items": (listed(ref(_item(kind))), "The resources."),
    }
    return schema_of(RESOURCE_LIST_SHAPE, fields, ("apiVersion", "kind"))


def _list_of_any(kinds: Sequence[str]) -> Json:
    """The List of kubectl, whose items say themselves what they are."""
    fields: Fields = {
        "apiVersion": (words([KUBERNETES_V1]), "The version of the kind."),
        "kind": (words([LIST]), "The kind of the list."),
        "metadata": ({}, "Without a meaning."),
        "items": (listed({"oneOf": [ref(kind) for kind in kinds]}), "Resources of any kinds."),
    }
    return schema_of(RESOURCE_LIST_SHAPE, fields, ("apiVersion", "kind"))


def _reachable(kind: str, known: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    """The definitions that a kind needs, itself among them."""
    wanted = [kind]
    for definition in wanted:
        yield definition, known[definition]
        wanted.extend(name for name in dict.fromkeys(_references(known[definition])) if name not in wanted)


def _references(value: object) -> Iterator[str]:
    match value:
        case Mapping():
            for key, child in value.items():
                if key == "$ref":
                    yield str(child).rpartition("/")[2]
                else:
                    yield from _references(child)
        case list() | tuple():
            for child in value:
                yield from _references(child)
