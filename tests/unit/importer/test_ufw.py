"""The files of ufw, which become the chains that it would load."""

from pathlib import Path

import pytest

from hostfw.importer.iptables.ufw import DEFAULTS, RULES, SETTINGS, read_ufw
from hostfw.importer.policy import as_policy
from hostfw.importer.reading import Reading
from hostfw.importer.text import policy_text
from hostfw.model.sources import Source
from hostfw.model.values import FAMILIES, Family
from tests.unit.cli_runs import hostfwctl


def tree(*rules: str, rules6: tuple[str, ...] = (), before: tuple[str, ...] = (), **settings: str) -> dict[str, Source]:
    """The files of a ufw that is enabled, with rules of its user."""
    defaults = {"IPV6": "yes", "DEFAULT_INPUT_POLICY": '"DROP"', "MANAGE_BUILTINS": "no", **settings}
    enabled = defaults.pop("ENABLED", "yes")
    texts = {
        DEFAULTS: "# settings\n" + "".join(f"{name}={value}\n" for name, value in defaults.items()),
        SETTINGS: f"ENABLED={enabled}\n",
    }
    for family in FAMILIES:
        prefix = "ufw" if family is Family.V4 else "ufw6"
        user = rules if family is Family.V4 else rules6
        chains = "".join(f":{prefix}-{{0}}-{hook} - [0:0]\n" for hook in ("input", "output", "forward"))
        own = before if family is Family.V4 else ()
        listed = (own, (), ("### RULES ###", "", *(rule.format(prefix) for rule in user)))
        for name, place, lines in zip(RULES[family], ("before", "after", "user"), listed, strict=True):
            texts[name] = "*filter\n" + chains.format(place) + "".join(f"{line}\n" for line in lines) + "COMMIT\n"
    return {name: Source(name, text) for name, text in texts.items()}


def policy(readings: tuple[Reading, ...], name: str) -> list[str]:
    """The rules of one policy, each in a line."""
    assert not [problem for one in readings for problem in one.problems]
    text = policy_text(as_policy([one.rules for one in readings]), "test").partition(f"name: {name}")[2]
    return [
        line.strip().removeprefix("- ") for line in text.partition("---")[0].splitlines() if line.startswith("  - {")
    ]


def test_rules_of_the_user_come_into_the_chains_of_ufw() -> None:
    """For each family its own, between what ufw lets in before and its policy at the end."""
    rule = "-A {}-user-input -p tcp --dport 22 -j ACCEPT"
    found = read_ufw(tree(rule, rules6=(rule,), before=("-A ufw-before-input -s 10.0.0.0/8 -j ACCEPT",)))

    assert policy(found, "inbound")[:2] == [
        "{action: Allow, source: {nets: [10.0.0.0/8]}}",
        "{action: Allow, protocol: TCP, destination: {ports: [22]}}",
    ]
    assert policy(found, "outbound") == [
        "{action: Allow, protocol: TCP}",
        "{action: Allow, protocol: UDP}",
        "{action: Allow}",
    ]


def test_an_inserted_rule_comes_first() -> None:
    """As `-I` does, which ufw writes for its chain of logging, and people in before.rules."""
    lines = ("-A ufw-before-input -p tcp --dport 22 -j ACCEPT", "-I ufw-before-input -s 192.0.2.1 -j DROP")

    assert policy(read_ufw(tree(before=lines)), "inbound")[0] == "{action: Deny, source: {nets: [192.0.2.1/32]}}"


def test_a_chain_that_a_later_file_declares_begins_anew() -> None:
    """`iptables-restore --noflush` empties it."""
    lines = (":ufw-user-input - [0:0]", "-A ufw-user-input -p tcp --dport 9 -j ACCEPT")
    found = policy(read_ufw(tree("-A {}-user-input -p tcp --dport 22 -j ACCEPT", before=lines)), "inbound")

    assert [rule for rule in found if "ports: [9]" in rule] == []
    assert "{action: Allow, ipVersion: 4, protocol: TCP, destination: {ports: [22]}}" in found


@pytest.mark.parametrize(("policy_of_ufw", "last"), [("DROP", []), ("REJECT", []), ("ACCEPT", ["{action: Allow}"])])
def test_the_policies_of_ufw_are_the_ends_of_its_chains(policy_of_ufw: str, last: list[str]) -> None:
    """From /etc/default/ufw, with quotes or without."""
    found = policy(read_ufw(tree(DEFAULT_INPUT_POLICY=policy_of_ufw)), "inbound")
    assert [rule for rule in found if "protocol" not in rule and "Allow" in rule] == last


def test_settings_that_matter_are_told() -> None:
    """An ufw that is off, one that closes IPv6, and a policy that is none."""
    rule = "-A {}-user-input -p tcp --dport 22 -j ACCEPT"
    off = read_ufw(tree(rule, rules6=(rule,), ENABLED="no", IPV6="no", MANAGE_BUILTINS="yes"))
    told = "\n".join(f"{note.position.file_line}: {note.message}" for one in off for note in one.notes)

    assert f"{SETTINGS}:1: ufw is not enabled" in told
    assert f"{DEFAULTS}:2: IPv6 is closed" in told
    assert "(MANAGE_BUILTINS); hostfw never does" in told
    assert policy(off, "inbound")[0] == "{action: Allow, ipVersion: 4, protocol: TCP, destination: {ports: [22]}}"
    (problem,) = read_ufw(tree(DEFAULT_INPUT_POLICY="MAYBE"))[0].problems
    assert (problem.position.line, problem.message) == (3, "MAYBE is not a policy of ufw")


def test_a_limit_becomes_one_of_each_source() -> None:
    """The rules that ufw writes for `ufw limit 22/tcp`: six tries in thirty seconds are one too many."""
    lines = (
        "-A {}-user-input -p tcp --dport 22 -m conntrack --ctstate NEW -m recent --set",
        "-A {}-user-input -p tcp --dport 22 -m recent --update --seconds 30 --hitcount 6 -j {}-user-limit",
        "-A {}-user-input -p tcp --dport 22 -j {}-user-limit-accept",
        "-A {}-user-limit -m limit --limit 3/minute -j LOG",
        "-A {}-user-limit -j REJECT",
        "-A {}-user-limit-accept -j ACCEPT",
    )
    found = read_ufw(tree(*(line.replace("{}", "ufw") for line in lines)))

    limited = "{action: Allow, ipVersion: 4, protocol: TCP, limitPerSource: {newConnections: 5/minute}, "
    assert limited + "destination: {ports: [22]}}" in policy(found, "inbound")
    told = [note.message for note in found[0].notes if "recent" in note.message]
    assert len(told) == 1
    assert told[0].startswith(
        "in place of 5 connections in 30 seconds (those that it denies are counted too) of a source"
    )


def test_the_verb_reads_a_tree(tmp_path: Path) -> None:
    """A copy of another host's, of which something may be missing."""
    assert hostfwctl("import", "ufw", "--root", tmp_path).status == 1
    for name, source in tree("-A {}-user-input -p tcp --dport 80 -j ACCEPT").items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source.text)
    given = ("--root", tmp_path, "--config-dir", tmp_path / "none", "--packets", "500")

    ran = hostfwctl("import", "ufw", *given)
    (tmp_path / "imported.yaml").write_text(ran.out)

    assert ran.status == 0
    assert "then `ufw disable`" in ran.err
    assert hostfwctl("validate", "-f", tmp_path / "imported.yaml").status == 0
    (tmp_path / "etc/ufw/user.rules").unlink()
    ran = hostfwctl("import", "ufw", *given)
    assert ran.status == 3
    assert "etc/ufw/user.rules" in ran.err
