"""Names, labels and annotations."""

import re
from typing import NamedTuple

from hostfw.manifest.fields import Blank, Reader, Refusal, Shape, did_you_mean, entries, fields, given, text
from hostfw.manifest.scalars.name_forms import LABEL_KEY_EXPECTED, LABEL_VALUE, NAMESPACE_NAME, NameForm, is_label_key
from hostfw.manifest.yaml.nodes import Mapping, Node
from hostfw.model.kinds.metadata import (
    ANNOTATIONS,
    BEFORE_FAILSAFES,
    DOMAIN,
    EXPIRES,
    LOG,
    UNRECORDED,
    Labels,
    Metadata,
)
from hostfw.model.time.moments import moment_of
from hostfw.model.wording import all_of, quoted
from hostfw.selector.namespaces import DEFAULT_NAMESPACE

ANNOTATIONS_LIMIT = 256 * 1024
"""The bytes that the keys and values of all annotations of a resource may have together, as in Kubernetes."""

_RFC_3339 = r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)"
_EXPIRES_EXPECTED = "a moment with its time zone (RFC 3339), such as 2030-01-31T12:00:00Z, from 1970 to 9998"

_EXPIRING = (
    f"{EXPIRES} on a policy, a Profile, a GlobalNetworkSet, a NetworkSet or a Feed",
    "let the policies that allow something expire",
)

_ACTING = frozenset((EXPIRES, LOG, BEFORE_FAILSAFES))
"""Annotations without which a resource does something else."""

_SERVER_FIELDS = frozenset(
    (
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    )
)
"""Metadata that an API server adds to exported manifests; accepted and ignored."""

METADATA_SHAPE = Shape(
    "metadata",
    frozenset(("name", "labels", "annotations")),
    {"namespace": Refusal("the kind belongs to no namespace", "leave it out", Blank.TEXT)},
    ignored=_SERVER_FIELDS,
)
NAMESPACED_METADATA_SHAPE = Shape(
    "metadata", frozenset(("name", "namespace", "labels", "annotations")), ignored=_SERVER_FIELDS
)


class Traits(NamedTuple):
    """The traits of a kind that its metadata show; `reserved` is a label that it may not carry.

    One with a `noun` cannot expire: an interface would be ungoverned, or packets would go past the end of a tier.
    `denies` is whether it has rules. A `namespaced` one belongs to a namespace, `default` unless it names another. The
    labels of `named_by` have its name for their value, if they are given.
    """

    reserved: str = ""
    noun: str = ""
    denies: bool = False
    namespaced: bool = False
    named_by: tuple[str, ...] = ()


def decode_metadata(
    reader: Reader,
    node: Node | None,
    start: Node,
    form: NameForm,
    traits: Traits,
) -> Metadata | None:
    """The metadata of a resource whose document begins at `start`; None if it has no usable name."""
    if node is None:
        reader.report(start, "metadata is missing", "metadata with a name")
        return None
    found = fields(reader, node, NAMESPACED_METADATA_SHAPE if traits.namespaced else METADATA_SHAPE)
    name = required_name(reader, found.get("name"), "metadata.name", form, node) if isinstance(node, Mapping) else None
    labelled = labels(reader, found.get("labels"), "metadata.labels", traits.reserved)
    for label, value in labelled if name else ():
        if label in traits.named_by and value != name:
            reader.report(found["labels"], f"the label {label} is {quoted(value)}", f"{quoted(name or '')}, its name")
    annotated = annotations(reader, found.get("annotations"), "metadata.annotations", traits.noun, denies=traits.denies)
    namespace = ""
    if traits.namespaced:
        given_one = formed_name(reader, given(found, "namespace"), "metadata.namespace", NAMESPACE_NAME)
        namespace = given_one or DEFAULT_NAMESPACE
    return Metadata(name, labelled, annotated, reader.at(start), namespace) if name else None


def required_name(reader: Reader, node: Node | None, what: str, form: NameForm, parent: Node) -> str | None:
    """A name that must be there and have a form."""
    if node is None:
        reader.report(parent, f"{what} is missing", form.expected)
        return None
    return formed_name(reader, node, what, form)


def formed_name(reader: Reader, node: Node | None, what: str, form: NameForm) -> str | None:
    """A name that has a form."""
    value = text(reader, node, what)
    if node is None or value is None or form.fits(value):
        return value
    hint = f"did you mean {quoted(value.lower())}?" if form.fits(value.lower()) else ""
    reader.report(node, f"{what} is {quoted(value)}", form.expected, hint)
    return None


def labels(reader: Reader, node: Node | None, what: str, reserved: str = "") -> Labels:
    """Labels, sorted by key."""
    found: list[tuple[str, str]] = []
    for key_text, key, value in entries(reader, node, what):
        if not is_label_key(key_text):
            reader.report(key, f"{what} has the key {quoted(key_text)}", LABEL_KEY_EXPECTED)
            continue
        if key_text in _ACTING:
            reader.report(key, f"{key_text} is a label here", "an annotation", "write it below annotations")
        if key_text == reserved:
            reader.report(key, f"the label {key_text} is Kubernetes' own", "", "choose another label")
        value_text = text(reader, value, f"the label {key_text}")
        if value_text is None:
            continue
        if LABEL_VALUE.fits(value_text):
            found.append((key_text, value_text))
        else:
            reader.report(value, f"the label {key_text} is {quoted(value_text)}", f"{LABEL_VALUE.expected}, or nothing")
    return tuple(sorted(found))


def annotations(
    reader: Reader, node: Node | None, what: str, lasting: str = "", *, denies: bool = False, of_rule: bool = False
) -> Labels:
    """Annotations, sorted by key; their values are free. Kubernetes has the form of a key hold for its lower case.

    Those of hostfw's own domain mean something, so that none may be misspelt. `lasting` is a noun for what cannot
    expire, and `denies` whether denials may be theirs.
    """
    found: list[tuple[str, str]] = []
    for key_text, key, value in entries(reader, node, what):
        if not is_label_key(key_text.lower()):
            reader.report(key, f"{what} has the key {quoted(key_text)}", LABEL_KEY_EXPECTED)
            continue
        if key_text.lower().startswith(f"{DOMAIN}/") and key_text not in ANNOTATIONS:
            meant = did_you_mean(key_text, ANNOTATIONS)
            reader.report(key, f"unknown annotation {quoted(key_text)}", f"one of {all_of(ANNOTATIONS)}", meant)
            continue
        value_text = text(reader, value, f"the annotation {key_text}")
        if value_text is None:
            continue
        found.append((key_text, value_text))
        if key_text == BEFORE_FAILSAFES and of_rule:
            reader.report(key, "a rule does not come before failsafes", f"{BEFORE_FAILSAFES} on a GlobalNetworkPolicy")
        elif key_text == EXPIRES and lasting:
            reader.report(key, f"{lasting} does not expire", *_EXPIRING)
        elif key_text == LOG and not denies:
            reader.report(key, f"{LOG} where nothing is denied", f"{LOG} on a policy, a Profile, or a rule of either")
        elif key_text == LOG and value_text != UNRECORDED:
            reader.report(value, f"the annotation {LOG} is {quoted(value_text)}", UNRECORDED)
        elif key_text == EXPIRES and not _is_moment(value_text):
            reader.report(value, f"the annotation {EXPIRES} is {quoted(value_text)}", _EXPIRES_EXPECTED)
    size = sum(len(part.encode("utf-8", "replace")) for pair in found for part in pair)
    if node is not None and size > ANNOTATIONS_LIMIT:
        reader.report(node, f"{what} has {size} bytes", f"at most {ANNOTATIONS_LIMIT}")
    return tuple(sorted(found))


def _is_moment(text: str) -> bool:
    return re.fullmatch(_RFC_3339, text, re.ASCII) is not None and moment_of(text.upper()) is not None
