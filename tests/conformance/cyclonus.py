"""Cyclonus' oracle: 230 cases of Kubernetes NetworkPolicy with the verdict of every pod to every pod.

A pod is a workload behind an interface of its own. What no policy selects is allowed, by a profile.
"""

import gzip
import json
import os
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from hostfw.manifest.decode import decode
from hostfw.model.resources import Resources
from hostfw.model.sources import Configuration, Source

Json = Any
"""The content of Kubernetes' own JSON."""

ALLOW_THE_REST = "projectcalico-default-allow"
SERVED = tuple(product((80, 81), ("TCP", "UDP", "SCTP")))

_DATA = Path(os.environ.get("HOSTFW_CONFORMANCE", Path(__file__).parents[2].parent / "shared/conformance"))
_CASES = _DATA / "cyclonus.json.gz"


def cyclonus_cases() -> Json:
    """The cases, each with its steps; skips the test where they are not there."""
    if not _CASES.exists():
        pytest.skip(f"{_CASES} is not there (HOSTFW_CONFORMANCE names its folder)")
    with gzip.open(_CASES) as file:
        return json.load(file)


def pods(step: Json) -> list[str]:
    """The pods of a step as its verdicts name them, in order."""
    return [f"{pod['NS']}/{pod['Name']}" for pod in step["Pods"]]


def resources(step: Json, places: list[tuple[str, str]]) -> Resources:
    """The resources of a step; `places` are the node and the interface of each of its pods.

    Namespaces, pods and policies go through the reader of manifests, the policies as the oracle has them.
    """
    documents = [
        *(_namespace(name, labels) for name, labels in step["Namespaces"].items()),
        *(_workload(pod, *place) for pod, place in zip(step["Pods"], places, strict=True)),
        *(
            {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"} | _named(policy, number)
            for number, policy in enumerate(step["Policies"])
        ),
    ]
    listed = {"apiVersion": "v1", "kind": "List", "items": documents}
    decoded = decode(Configuration(None, (Source("step.yaml", json.dumps(listed)),)))
    assert decoded.problems == ()
    return decoded.resources


def _named(policy: Json, number: int) -> Json:
    """A policy under a name of its own: cases have several of one name, one after the other."""
    metadata = {**policy["metadata"], "name": f"{policy['metadata']['name']}-{number}"}
    return {"metadata": metadata, "spec": policy["spec"]}


def _namespace(name: str, labels: Json) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _workload(pod: Json, node: str, interface: str) -> Json:
    return {
        "apiVersion": "projectcalico.org/v3",
        "kind": "WorkloadEndpoint",
        "metadata": {"name": pod["Name"], "namespace": pod["NS"], "labels": pod["Labels"]},
        "spec": {
            "node": node,
            "interfaceName": interface,
            "ipNetworks": [pod["IP"]],
            "profiles": [ALLOW_THE_REST],
            "ports": [
                {"name": f"serve-{port}-{protocol.lower()}", "protocol": protocol, "port": port}
                for port, protocol in SERVED
            ],
        },
    }
