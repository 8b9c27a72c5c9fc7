"""Calico's validator: whether whole resources are accepted, apart from the deviations that hostfw decided on."""

import json
from collections.abc import Iterator

from jsonschema import Draft7Validator

from hostfw.manifest.decode import decode
from hostfw.manifest.schema.documents import schema
from hostfw.model.problems import errors
from hostfw.model.sources import Configuration, Source
from hostfw.policy.check.references import check
from tests.conformance.calico_data import Json, table
from tests.conformance.deviations import ACCEPTED, VALIDATOR

TABLES = {"rule": 76, "gnp": 73, "hep": 17, "tier_profile_set": 40, "staged": 26}


def test_every_answer_is_calicos_or_a_deviation() -> None:
    """No case is left out, and no deviation is without its case."""
    found = {_key(name, case) for name, case in _cases() if _is_accepted(case["resource"]) is not case["valid"]}

    assert found == {*VALIDATOR, *ACCEPTED}


def test_hostfw_accepts_nothing_else_that_calico_refuses() -> None:
    """Deviations are on the side of refusing, but for those that are named."""
    accepted = [_key(name, case) for name, case in _cases() if not case["valid"] and _is_accepted(case["resource"])]

    assert set(accepted) == set(ACCEPTED)


def test_the_schema_refuses_nothing_that_hostfw_accepts() -> None:
    """Whatever is valid in Calico and here is valid in an editor; of what is invalid, more is refused than passes."""
    validator = Draft7Validator(schema())
    refused = [(name, case) for name, case in _cases() if not validator.is_valid(case["resource"])]
    invalid = [case for _, case in _cases() if not case["valid"]]

    assert [_key(name, case) for name, case in refused if _is_accepted(case["resource"])] == []
    assert sum(not case["valid"] for _, case in refused) > len(invalid) / 2


def test_the_tables_are_whole() -> None:
    """A table that lost its cases would agree with everything."""
    assert {name: len(table(f"validator_{name}")["cases"]) for name in TABLES} == TABLES


def _cases() -> Iterator[tuple[str, Json]]:
    return ((name, case) for name in TABLES for case in table(f"validator_{name}")["cases"])


def _key(name: str, case: Json) -> tuple[str, str, str]:
    return name, case["resource"]["kind"], case["desc"]


def _is_accepted(resource: Json) -> bool:
    """True if a resource has no errors, what it names being there, as Calico's validator assumes."""
    spec = resource.get("spec") or {}
    named = [("Profile", name) for name in spec.get("profiles", ())]
    named += [("Tier", spec["tier"])] if spec.get("tier", "default") != "default" else []
    named_resources = [
        {"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {"name": name}} for kind, name in named
    ]
    text = "\n---\n".join(json.dumps(document) for document in (resource, *named_resources))
    decoded = decode(Configuration(resources=(Source("case.yaml", text),)))
    problems = (*decoded.problems, *check(decoded.resources, decoded.settings))
    return not errors(problems)
