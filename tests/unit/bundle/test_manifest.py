"""Manifests: one text for each, and a sentence for what none may say."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hostfw.bundle.manifest import (
    MOST_FILES,
    BundleError,
    EndpointFile,
    File,
    Manifest,
    SeparateEndpoints,
    Wave,
    manifest_of,
    manifest_text,
    mistake,
)
from tests.unit.builders.bundle_builders import manifest

GOOD = manifest(7, {"a.yaml": b"kind: A\n"}, waves=(Wave(0, "canary"), Wave(60, "all", 10)), most_failed=3)
DIGEST = "0" * 64


def test_a_manifest_is_what_its_text_says() -> None:
    """In both directions."""
    assert manifest_of(manifest_text(GOOD)) == GOOD
    assert manifest_of(manifest_text(manifest(1, {"a.yaml": b""}))).waves == ()


WRONG: list[tuple[str, Manifest, str]] = [
    ("no files", replace(GOOD, files=()), "it has 0 files"),
    (
        "too many files",
        replace(GOOD, files=(File("a", 0, DIGEST),) * (MOST_FILES + 1)),
        "not sorted",
    ),
    ("number 0", replace(GOOD, number=0), "its number is not one from 1"),
    ("a huge number", replace(GOOD, number=2**60), "its number is not one from 1"),
    ("a bad name", replace(GOOD, name="a b"), "its name has other characters"),
    ("a file twice", replace(GOOD, files=(File("a", 0, DIGEST),) * 2), "its paths are not sorted"),
    (
        "a file in a file",
        replace(GOOD, files=(File("a", 0, DIGEST), File("a/b", 0, DIGEST))),
        "of a file and of a folder",
    ),
    ("a negative size", replace(GOOD, files=(File("a", -1, DIGEST),)), "a number is below 0"),
    ("a bad digest", replace(GOOD, files=(File("a", 0, "00"),)), "a digest is none"),
    ("waves out of order", replace(GOOD, waves=(Wave(9, "b"), Wave(0, "a"))), "its waves are not sorted"),
    ("a share of nobody", replace(GOOD, waves=(Wave(0, "a", 0),)), "one of its waves is none"),
    ("a wave next year", replace(GOOD, waves=(Wave(400 * 86_400, "a"),)), "one of its waves is none"),
    ("more than all failed", replace(GOOD, most_failed=101), "no percentage"),
]


@pytest.mark.parametrize(("wrong", "says"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_no_manifest_may_say_is_refused_although_it_is_signed(wrong: Manifest, says: str) -> None:
    """A signer's tool may be broken, or not hostfw."""
    assert mistake(wrong)
    with pytest.raises(BundleError, match=says):
        manifest_of(manifest_text(wrong))


def _without(name: str) -> bytes:
    fields = json.loads(manifest_text(GOOD))
    del fields[name]
    return json.dumps(fields, indent=1, sort_keys=True).encode() + b"\n"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 100_000,
        manifest_text(GOOD)[:-1],
        manifest_text(GOOD) + b"\n",
        manifest_text(GOOD).replace(b": 7", b": 7.0"),
        manifest_text(GOOD).replace(b'"number": 7', b'"number": 7, "number": 7'),
        manifest_text(GOOD).replace(b"2030", b"1930"),
        *map(_without, ("format", "name", "number", "created", "files", "waves", "most_failed", "least_confirmed")),
    ],
)
def test_any_other_text_is_no_manifest(text: bytes) -> None:
    """Even one that means the same."""
    with pytest.raises(BundleError, match="was not written by hostfw"):
        manifest_of(text)


def test_a_manifest_of_later_says_so() -> None:
    """The host is too old for it, and nothing is wrong with the bundle."""
    with pytest.raises(BundleError, match="of a newer hostfw"):
        manifest_of(manifest_text(GOOD).replace(b'"format": 1', b'"format": 3'))


SEPARATE = SeparateEndpoints(("0" * 64, "1" * 64), EndpointFile("2" * 64, 10), EndpointFile("3" * 64, 20))


def test_separate_endpoints_are_signed_with_the_rest() -> None:
    """In a format that an older hostfw refuses, since it would have no endpoint at all."""
    text = manifest_text(replace(GOOD, endpoints=SEPARATE))
    assert b'"format": 2' in text
    assert manifest_of(text).endpoints == SEPARATE
    assert b"endpoints" not in manifest_text(GOOD)
    for old, new in (
        (b'"format": 2', b'"format": 1'),
        (b'"endpoints"', b'"endpaints"'),
        (b'"size": 20', b'"size": "20"'),
    ):
        with pytest.raises(BundleError, match="was not written by hostfw"):
            manifest_of(text.replace(old, new))


@pytest.mark.parametrize(
    "separate",
    [
        replace(SEPARATE, pages=()),
        replace(SEPARATE, pages=("0" * 64,) * 1025),
        replace(SEPARATE, pages=("0" * 63,)),
        replace(SEPARATE, whole=EndpointFile("../../etc/passwd", 1)),
        replace(SEPARATE, policies=EndpointFile("2" * 64, -1)),
        replace(SEPARATE, policies=EndpointFile("2" * 64, 2**40)),
    ],
)
def test_separate_endpoints_that_cannot_be_are_refused(separate: SeparateEndpoints) -> None:
    """Digests become paths and URLs."""
    with pytest.raises(BundleError, match="what it says of endpoints is wrong"):
        manifest_of(manifest_text(replace(GOOD, endpoints=separate)))


def test_the_time_of_creation_has_no_zone_but_utc() -> None:
    """Whoever made it, wherever."""
    assert b'"created": "2030-06-01T10:00:00Z"' in manifest_text(
        replace(GOOD, created=datetime.fromisoformat("2030-06-01T12:00:00+02:00"))
    )
    assert manifest_of(manifest_text(GOOD)).created.tzinfo is UTC or GOOD.created == datetime(2030, 1, 1, tzinfo=UTC)
