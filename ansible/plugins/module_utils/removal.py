# Copyright: the hostfw authors
# SPDX-License-Identifier: GPL-2.0-or-later
"""Policies and HostEndpoints that a configuration would take away from a host, by name."""

from __future__ import annotations

FEW = 4
"""Of so few resources of a kind any may go, or get other names, as long as there are some; as hostfwctl has it."""
MOST_NAMES = 5
"""Most resources that a message names."""

_NOUNS = {"GlobalNetworkPolicy": ("policy", "policies"), "HostEndpoint": ("HostEndpoint", "HostEndpoints")}


def resources(files, load_all):
    """The names of the policies and HostEndpoints in files (path to bytes), by kind.

    `load_all` is a YAML loader of all documents of a text, which raises ValueError for what is none. A file that it
    refuses counts as one without resources: hostfwctl says what is wrong with it.
    """
    found = {kind: set() for kind in _NOUNS}
    for resource in _all(files, load_all):
        if resource.get("kind") in found and isinstance(resource.get("metadata"), dict):
            found[resource["kind"]].add(str(resource["metadata"].get("name")))
    return found


def lost_addresses(old, new, nodes, load_all):
    """The addresses of these nodes that HostEndpoints name in `old` and not in `new` (path to bytes), by node."""
    before, after = _addresses(old, load_all), _addresses(new, load_all)
    lost = {node: sorted(before.get(node, set()) - after.get(node, set())) for node in nodes}
    return {node: addresses for node, addresses in lost.items() if addresses}


def _addresses(files, load_all):
    found = {}
    for resource in _all(files, load_all):
        spec = resource.get("spec")
        if resource.get("kind") == "HostEndpoint" and isinstance(spec, dict):
            said = spec.get("expectedIPs")
            addresses = said if isinstance(said, list) else []
            found.setdefault(str(spec.get("node")), set()).update(str(address) for address in addresses)
    return found


def _all(files, load_all):
    """Every resource in files; one that is no YAML counts as one without resources."""
    for path, data in files.items():
        if not path.endswith((".yaml", ".yml")):
            continue
        try:
            documents = list(load_all(data))
        except ValueError:
            continue
        for document in documents:
            yield from _resources(document)


def _resources(document):
    """A resource, or those of a list."""
    if not isinstance(document, dict):
        return []
    items = document.get("items")
    if str(document.get("kind")).endswith("List") and isinstance(items, list):
        return [item for item in items if isinstance(item, dict)]
    return [document]


def refusal(old, new, share):
    """The reason why a configuration removes too much, or nothing; `old` and `new` are as `resources` gives them.

    Too much is every policy, or more than `share` percent of the names of a kind. Other names of as many resources are
    a removal too: they are those of another fleet.
    """
    if not new["GlobalNetworkPolicy"]:
        return "it holds no policy: a directory that is empty, of a wrong checkout, or of settings alone"
    lines = []
    for kind, (one, many) in _NOUNS.items():
        gone = sorted(old[kind] - new[kind])
        had = len(old[kind])
        if had and (not new[kind] or (had > FEW and len(gone) * 100 > had * share)):
            more = f" and {len(gone) - MOST_NAMES} more" if len(gone) > MOST_NAMES else ""
            names = ", ".join(gone[:MOST_NAMES]) + more
            lines.append(f"it would remove {len(gone)} of {had} {one if had == 1 else many}: {names}")
    return "\n".join(lines)
