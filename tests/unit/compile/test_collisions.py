"""Names that are digests of contents: two contents of one name refuse a generation, with a sentence."""

from dataclasses import replace

import pytest

from hostfw.build.candidate import check_candidate
from hostfw.build.generation import Generation, GenerationCache, build
from hostfw.build.refused import Refused
from hostfw.compile import object_names
from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.sources import Configuration, Source
from hostfw.model.values import Family
from hostfw.nft.objects import Set
from tests.unit.builders.policy_texts import manifest, policy

ENDPOINT = manifest("HostEndpoint", "{interfaceName: eth0}", "eth0")
RULE = "{{action: Allow, source: {{selector: a == '{}'}}}}"
SETS = [
    manifest(
        "GlobalNetworkSet", f"{{nets: [{', '.join(f'10.{n}.{i}.0/24' for i in range(0, 99, 2))}]}}", f"s{n}", label
    )
    for n, label in ((1, "labels: {a: one}"), (2, "labels: {a: two}"))
]


def test_two_contents_of_one_name_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no traceback; a build after it has the right ones."""
    rules = policy(f"{{ingress: [{RULE.format('one')}, {RULE.format('two')}]}}")
    candidate = check_candidate(Configuration(None, (Source("1.yaml", "---\n".join((ENDPOINT, *SETS, rules))),)))
    facts, cache = HostFacts("host", (Interface("eth0", 2),)), GenerationCache()

    def one_name(contents: Set, _: Family) -> Set:
        return replace(contents, name="nets/24-0")

    with monkeypatch.context() as patched:
        patched.setattr(object_names, "named_set", one_name)
        refused = build(candidate, facts, cache)

    assert isinstance(refused, Refused)
    (problem,) = [one for one in refused.problems if "digest" in one.message]
    assert problem.message == "two parts of the ruleset come to the one name nets/24-0, which is made of a digest"
    assert problem.hint == "change a rule of either: nobody meets this by accident"
    assert isinstance(build(candidate, facts, cache), Generation)
