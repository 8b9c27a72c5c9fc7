"""NetworkSets in `hostfwctl set` and in quick rules, and the sets of a configuration without its policies."""

from pathlib import Path

import pytest

from hostfw.build.candidate import check_candidate
from hostfw.build.sets_alone import sets_of
from hostfw.model.sources import Configuration, Source
from tests.unit.cli_runs import UPLINK, WEB, Machine, machine
from tests.unit.engine.trial.test_trial import lets_in

V3 = "apiVersion: projectcalico.org/v3\n"


def network_set(namespace: str, net: str, label: str = "set: guests") -> str:
    """A NetworkSet `guests` of a namespace."""
    return (
        f"{V3}kind: NetworkSet\nmetadata: {{name: guests, namespace: {namespace}, labels: {{{label}}}}}\n"
        f"spec: {{nets: [{net}]}}\n"
    )


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A host with a NetworkSet of one namespace and its namesake of another."""
    made = machine(tmp_path, monkeypatch)
    made.write(
        uplink=UPLINK, web=WEB, shop=network_set("shop", "192.0.2.0/24"), bank=network_set("bank", "198.51.100.0/24")
    )
    assert made.hostfwctl("apply").status == 0
    return made


def test_a_quick_rule_selects_the_network_set_of_one_namespace(host: Machine) -> None:
    """And not its namesake; the same words take it away."""
    said = host.hostfwctl("allow", "tcp/8080", "from", "shop/guests")

    assert said.status == 0, said
    assert "projectcalico.org/namespace == 'shop' && set == 'guests'" in said.out
    explained = [host.hostfwctl("explain", source, "host:8080").out for source in ("192.0.2.7", "198.51.100.7")]
    assert [text.partition(" ")[0] for text in explained] == ["allowed", "denied"]
    assert host.hostfwctl("remove", "allow", "tcp/8080", "from", "shop/guests").status == 0


@pytest.mark.parametrize(
    ("change", "name", "message"),
    [
        ({}, "guests", 'there is no GlobalNetworkSet or Feed "guests"'),
        ({"bank": ""}, "guests", ""),
        ({"shop": network_set("shop", "192.0.2.0/24", "")}, "shop/guests", '"shop/guests" has no labels'),
        (
            {"bank": network_set("shop", "192.0.2.0/24").replace("name: guests", "name: others")},
            "shop/guests",
            'has the labels of "shop/others"',
        ),
    ],
    ids=["of two namespaces", "of one namespace", "no labels", "labels of another"],
)
def test_a_name_alone_is_enough_where_one_namespace_has_it(
    host: Machine, change: dict[str, str], name: str, message: str
) -> None:
    """Labels that do not tell one set from the others are refused."""
    host.write(**change)
    assert host.hostfwctl("apply").status == 0

    said = host.hostfwctl("deny", "from", name)

    assert said.status == (1 if message else 0), said
    assert message in said.err


def test_members_of_a_network_set_are_listed_and_changed_in_its_file(host: Machine) -> None:
    """The refusal names that file, with the next step."""
    listed = host.hostfwctl("set", "list").out
    assert "shop/guests" in listed
    assert "bank/guests" in listed
    assert "192.0.2.0/24" in host.hostfwctl("set", "list", "shop/guests").out

    for verb in ("add", "del"):
        refused = host.hostfwctl("set", verb, "shop/guests", "192.0.2.7")
        assert refused.status == 1
        assert "shop.yaml:1" in refused.err
        assert "`hostfwctl apply`" in refused.err


FILES = (
    Source("a.yaml", f"{WEB}---\n{network_set('shop', '192.0.2.0/24')}---\n# A comment\n{WEB.replace('web', 'other')}"),
    Source("b.yaml", WEB.replace("name: web", "name: third")),
    Source(
        "c.yaml", f'---\n{V3}kind: "Global\\x4eetworkSet"\nmetadata: {{name: odd}}\nspec: {{nets: [192.0.2.1]}}\n...\n'
    ),
    Source("d.yaml", "apiVersion: hostfw.io/v1\nkind: Feed\nmetadata: {name: bans}\nspec: {external: true}\n"),
    Source("e.yaml", f"%YAML 1.1\n---\n{V3}kind: GlobalNetworkSet\nmetadata: {{name: e}}\nspec: {{nets: []}}\n"),
    Source(
        "f.yaml", f"{V3}kind: Namespace\nmetadata: {{name: shop, labels: {{a: b}}}}\n".replace(V3, "apiVersion: v1\n")
    ),
)


def test_sets_are_the_same_without_the_policies() -> None:
    """At the same lines, whatever stands around them; no policy is decoded that has a document of its own."""
    configuration = Configuration(None, FILES)
    whole = check_candidate(configuration).resources

    alone = sets_of(configuration)

    assert alone.every_set == whole.every_set
    assert alone.namespaced_sets == whole.namespaced_sets
    assert alone.namespaces == whole.namespaces
    assert [one.metadata.name for one in whole.every_set] == ["e", "odd", "bans"]
    assert alone.policies == ()
    assert len(whole.policies) == 3


def test_the_list_of_sets_tells_what_is_held_beside_policies(host: Machine) -> None:
    """Although policies are not decoded for it."""
    host.write(web=WEB)
    assert host.hostfwctl("apply").status == 0
    assert lets_in(host, 80)

    assert host.hostfwctl("set", "list").out.count("guests") == 2
