"""Removals of policies and HostEndpoints, as the Ansible collection finds them before it applies anything."""

from collections.abc import Iterator, Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
import yaml

_PATH = Path(__file__).parents[3] / "ansible/plugins/module_utils/removal.py"
_SPEC = spec_from_file_location("ansible_removal", _PATH)
assert _SPEC is not None
assert _SPEC.loader is not None
removal = module_from_spec(_SPEC)
_SPEC.loader.exec_module(removal)


def _load_all(data: bytes) -> Iterator[object]:
    try:
        yield from yaml.safe_load_all(data)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _names(policies: int, endpoints: int = 1, prefix: str = "n") -> Mapping[str, set[str]]:
    return {
        "GlobalNetworkPolicy": {f"{prefix}{number}" for number in range(policies)},
        "HostEndpoint": {f"h{number}" for number in range(endpoints)},
    }


def test_resources_are_found_in_every_form_of_a_file() -> None:
    """Several documents, lists, and JSON flow; other kinds, other files and what is no YAML do not count."""
    files = {
        "a.yaml": b"kind: GlobalNetworkPolicy\nmetadata: {name: a}\n---\n---\nkind: Tier\nmetadata: {name: t}\n",
        "b/c.yml": b'{"kind": "List", "items": [{"kind": "HostEndpoint", "metadata": {"name": "h"}}, 1]}',
        "broken.yaml": b"kind: [",
        "text.yaml": b"just a text\n",
        "notes.txt": b"kind: GlobalNetworkPolicy\nmetadata: {name: notes}\n",
        "nameless.yaml": b"kind: GlobalNetworkPolicy\nmetadata: 5\n",
    }

    assert removal.resources(files, _load_all) == {"GlobalNetworkPolicy": {"a"}, "HostEndpoint": {"h"}}


@pytest.mark.parametrize(
    ("why", "old", "new", "expected"),
    [
        ("a new host", _names(0, 0), _names(3), ""),
        ("nothing on a new host", _names(0, 0), _names(0), "it holds no policy"),
        ("nothing where there was something", _names(5), _names(0), "it holds no policy"),
        ("within the share", _names(10), _names(8), ""),
        ("more than the share", _names(10), _names(7), "remove 3 of 10 policies: n7, n8, n9"),
        ("few of them", _names(3), _names(1), ""),
        ("another name for the only one", _names(1), _names(1, prefix="m"), ""),
        ("the only endpoint", _names(1), _names(1, 0), "remove 1 of 1 HostEndpoint: h0"),
        ("as many others", _names(9), _names(9, prefix="m"), "remove 9 of 9 policies: n0, n1, n2, n3, n4 and 4 more"),
        ("endpoints", _names(1, 9), _names(1, 5), "remove 4 of 9 HostEndpoints: h5, h6, h7, h8"),
    ],
)
def test_a_removal_is_refused_by_its_share(
    why: str, old: Mapping[str, set[str]], new: Mapping[str, set[str]], expected: str
) -> None:
    """A fifth of the names of a kind may go, of few more than that, and never all."""
    found = removal.refusal(old, new, 20)

    assert (expected in found) if expected else not found, why


def test_addresses_that_a_node_would_lose_are_found() -> None:
    """Of the nodes that are asked about, over all of their HostEndpoints."""
    form = b'kind: HostEndpoint\nmetadata: {name: %s}\nspec: {node: %s, expectedIPs: ["10.0.0.1", "2001:db8::1"]}\n'
    old = {"a.yaml": form % (b"a", b"a") + b"---\n" + form % (b"b", b"b")}
    new = {"a.yaml": old["a.yaml"].replace(b', "2001:db8::1"', b"")}

    assert removal.lost_addresses(old, new, ["a"], _load_all) == {"a": ["2001:db8::1"]}
    assert removal.lost_addresses(new, old, ["a", "b"], _load_all) == {}
