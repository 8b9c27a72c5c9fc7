"""Names, labels and addresses of workloads: what becomes of whatever text an engine has."""

import json

import pytest

from hostfw.manifest.decode import decode_source
from hostfw.manifest.scalars.name_forms import LABEL_VALUE, NAMESPACE_NAME, SUBDOMAIN
from hostfw.manifest.scalars.name_forms import is_label_key as is_key_of_policy
from hostfw.model.kinds.workloads import WorkloadEndpoint
from hostfw.model.sources import Source
from hostfw.workloads.values import (
    MOST_LABELS,
    Workload,
    image_label,
    is_label_key,
    label_value,
    labels_of,
    mac_of,
    manifest,
    name_of,
    named,
    namespace_of,
    networks_of,
    shown,
)

ODD = (
    "",
    " ",
    "-",
    "..",
    ".-.",
    "a" * 300,
    "web_1",
    "Web.Server",
    "a..b",
    "über",
    "日本",
    "a\nb",
    "a\0b",
    "\x1b[31m",
    "\ud800",
    "\u202ea",
    "a/b",
    "a: {b}",
    '"',
    "x" * 10_000_000,
)


def workload(name: str, identity: str = "0123456789abcdef", **more: object) -> Workload:
    """A container behind an interface."""
    fields: dict[str, object] = {
        "identity": identity,
        "wanted_name": name,
        "namespace": "shop",
        "orchestrator": "docker",
        "interface": "veth0",
        "networks": ("10.0.0.2",),
        **more,
    }
    return Workload(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_every_text_becomes_a_name_a_namespace_and_labels_that_policy_takes(text: str) -> None:
    """Or is left out, and the manifest is one that hostfw reads without a problem."""
    labels = labels_of({text: "x", "key": text}, {"name": text, "image": image_label(text)})
    (one,) = named([workload(text, namespace=namespace_of(text), labels=labels, mac=mac_of("02:42:AC:11:00:02"))])

    assert SUBDOMAIN.fits(one.name)
    assert NAMESPACE_NAME.fits(one.namespace)
    assert all(is_key_of_policy(key) and LABEL_VALUE.fits(value) for key, value in labels)
    decoded = decode_source(Source("docker.yaml", manifest(one, "docker")))
    assert decoded.problems == ()
    (endpoint,) = decoded.resources
    assert isinstance(endpoint, WorkloadEndpoint)
    assert endpoint.metadata.labels == labels
    assert shown(text).isascii()
    assert len(shown(text)) < 500


@pytest.mark.parametrize(
    ("text", "name"),
    [("web", "web"), ("shop_web_1", "shop-web-1"), ("Web.Front", "web.front"), ("a.-b-.c", "a.b.c"), ("--", "")],
)
def test_names_are_the_nearest_ones(text: str, name: str) -> None:
    """Small letters, digits, '-' and '.'."""
    assert name_of(text) == name


def test_a_similar_name_takes_nobody_his_own() -> None:
    """Whatever the order in which an engine lists them."""
    first, second, third = workload("a-b", "ffff"), workload("a_b", "0000aaaa11"), workload("A.B", "1111")
    for order in ([first, second, third], [second, third, first]):
        assert {one.identity: one.name for one in named(order)} == {
            "ffff": "a-b",
            "0000aaaa11": "a-b-0000aaaa",
            "1111": "a.b",
        }


def test_many_of_one_name_have_names_of_their_own() -> None:
    """Each by its id."""
    names = [one.name for one in named(workload("Web", f"{number:016x}") for number in range(50))]

    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("web", "web"),
        ("a b/c", "a_b_c"),
        ("/srv/data/", "srv_data"),
        ("", ""),
        ("x" * 63, "x" * 63),
        ("x" * 64, None),
        ("größe", None),
        ("a\tb", None),
        (7, None),
        (None, None),
    ],
)
def test_a_value_is_made_to_fit_or_left_out(value: object, label: str | None) -> None:
    """Long ones are not cut: two that begin alike would become one."""
    assert label_value(value) == label


@pytest.mark.parametrize(
    "key",
    [
        "",
        "a b",
        "/a",
        "a/",
        "A.example/x",
        "pcns.env",
        "projectcalico.org/namespace",
        "app.kubernetes.io/name",
        "x" * 64,
    ],
)
def test_keys_that_tell_namespaces_and_what_is_no_key_are_left_out(key: str) -> None:
    """A container cannot claim the namespace of another one by a label."""
    assert not is_label_key(key)
    assert labels_of({key: "x"}, {}) == ()


def test_own_labels_win_and_many_are_cut() -> None:
    """Own ones are never cut."""
    labels = dict(labels_of({"name": "other", **{f"k{n:04}": "x" for n in range(500)}}, {"name": "web", "engine": "x"}))

    assert labels["name"] == "web"
    assert labels["engine"] == "x"
    assert len(labels) <= MOST_LABELS + 2


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("debian:12", "debian:12"),
        ("ghcr.io/shop/web:1.2@sha256:abc", "web:1.2"),
        ("sha256:0123", ""),
        ("localhost:5000/box", "box"),
    ],
)
def test_an_image_is_known_by_its_last_name(image: str, label: str) -> None:
    """Without its registry and digest."""
    assert image_label(image) == label


def test_only_addresses_that_a_workload_may_have_are_its_own() -> None:
    """Each once; neither everything nor what every host has."""
    texts = (
        "10.0.0.2",
        "10.0.0.2/32",
        "fd00::2",
        "10.0.1.0/28",
        "0.0.0.0/0",
        "::",
        "127.0.0.1",
        "fe80::1",
        "224.0.0.1",
    )
    assert networks_of((*texts, "", None, 7, "x" * 100)) == ("10.0.0.2", "fd00::2", "10.0.1.0/28")
    assert mac_of("02:42:AC:11:00:02") == "02:42:ac:11:00:02"
    assert mac_of("01:00:5e:00:00:01") == mac_of("00:00:00:00:00:00") == ""
    assert mac_of("02:42:ac") == mac_of(None) == mac_of("") == ""


def test_what_is_shown_is_one_short_line() -> None:
    """Whatever it is."""
    assert shown("a\nb") == json.dumps("a\nb")
    assert "\x1b" not in shown("\x1b[31m")
