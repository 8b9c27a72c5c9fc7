"""NftRules in the kernel: they come first, change and deny packets, and nothing wrong with one is put into force."""

from collections.abc import Callable
from subprocess import CompletedProcess

import pytest

from hostfw.model.values import TCP, UDP, Family
from lab.hostfwctl import Installation, hostfwctl, install
from lab.laboratory import Lab
from lab.namespace import Namespace, run
from lab.packets.probe import ALLOW_PATIENCE_S, DENY_PATIENCE_S, Flow, Verdict, probe
from tests.kernel.web_policy import OPEN, web_policy

Hostfwctl = Callable[..., CompletedProcess[str]]
FAMILIES = [Family.V4, Family.V6]


def nft_rules(hook: str, *rules: str, name: str = "own", more: str = "") -> str:
    """A manifest of NftRules."""
    items = "\n".join(f"    - '{rule}'" for rule in rules)
    return f"""\
---
apiVersion: hostfw.io/v1
kind: NftRules
metadata: {{name: {name}}}
spec:
  hook: {hook}
{more}  rules:
{items}
"""


def _apply(installation: Installation, hostfwctl: Hostfwctl, text: str, *words: str) -> CompletedProcess[str]:
    (installation.config / "policy.yaml").write_text(text)
    return hostfwctl("apply", "--accept-lockout", *words)


def _verdict(lab: Lab, flow: Flow, patience_s: float = ALLOW_PATIENCE_S) -> Verdict:
    return probe(lab, (flow,), patience_s)[0].verdict


@pytest.mark.parametrize("family", FAMILIES)
def test_a_rule_denies_what_policy_allows_and_the_rest_stays_allowed(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, family: Family
) -> None:
    """A random payload test, which no policy can say, of what comes in and of what goes out."""
    _apply(installation, hostfwctl, OPEN + nft_rules("input", "udp dport 9999 @th,0,16 > 0 drop"))
    assert _verdict(lab, Flow("peer", "host", UDP, 9999, family), DENY_PATIENCE_S) is Verdict.DROPPED
    assert _verdict(lab, Flow("peer", "host", UDP, 9998, family)) is Verdict.ALLOWED
    _apply(installation, hostfwctl, OPEN + nft_rules("output", "udp dport { 9999, 9997 } reject"))
    assert _verdict(lab, Flow("peer", "host", UDP, 9999, family)) is Verdict.ALLOWED
    assert _verdict(lab, Flow("host", "peer", UDP, 9999, family), DENY_PATIENCE_S) is not Verdict.ALLOWED
    assert _verdict(lab, Flow("host", "peer", UDP, 9998, family)) is Verdict.ALLOWED
    _apply(installation, hostfwctl, OPEN)
    assert _verdict(lab, Flow("host", "peer", UDP, 9999, family)) is Verdict.ALLOWED


@pytest.mark.parametrize("family", FAMILIES)
def test_a_rule_lets_in_what_no_policy_allows(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, family: Family
) -> None:
    """Explain says that it may."""
    text = web_policy(80) + nft_rules("input", "tcp dport 9999 tcp option maxseg exists accept")
    _apply(installation, hostfwctl, text)
    assert _verdict(lab, Flow("peer", "host", TCP, 9999, family)) is Verdict.ALLOWED
    assert _verdict(lab, Flow("peer", "host", TCP, 9998, family), DENY_PATIENCE_S) is Verdict.DROPPED
    said = " ".join(hostfwctl("explain", "192.0.2.2", "host:9999", check=False).stdout.split())
    assert "nft NftRules own (" in said
    assert "may accept it at input: not modelled" in said


def test_rules_of_every_hook_see_every_packet_of_a_connection(
    routed_lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each hook counts what is forwarded on both ways, and a rule of one IP version is in its table alone."""
    host = routed_lab["host"]
    installation = install(host, tmp_path_factory.mktemp("hostfw"))
    hooks = ("prerouting", "forward", "postrouting")
    texts = [nft_rules(hook, "meta l4proto udp counter", name=f"of-{hook}") for hook in hooks]
    of_one = nft_rules("forward", "ip ttl set 7", name="ttl", more="  ipVersion: 4\n")
    (installation.config / "policy.yaml").write_text("".join((*texts, of_one)))
    hostfwctl(installation, "apply")
    for family in FAMILIES:
        assert _verdict(routed_lab, Flow("inner", "outer", UDP, 9999, family)) is Verdict.ALLOWED
        rules = run(host, ["nft", "list", "table", family.nft, "hostfw"]).stdout
        chains = rules.split("chain nft/of-")[1:]
        assert len(chains) == len(hooks)
        assert all("counter packets 2 " in chain.partition("}")[0] for chain in chains), family
        assert ("ip ttl set 7" in rules) is (family is Family.V4)


def _listed(host: Namespace, chain: str) -> str:
    return run(host, ["nft", "list", "chain", "ip", "hostfw", chain]).stdout


def test_what_nft_refuses_is_said_with_the_line_of_each_rule_and_nothing_changes(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """A wrong word, an object that is not there, a statement that this hook cannot have, and the wrong family."""
    _apply(installation, hostfwctl, OPEN)
    before = run(lab["host"], ["nft", "list", "ruleset"]).stdout
    wrong = ("tcp dprot 80 drop", 'counter name "none"', "masquerade", "ip6 saddr 2001:db8::/32 counter")
    (installation.config / "policy.yaml").write_text(OPEN + nft_rules("input", "counter", *wrong))
    answer = hostfwctl("apply", check=False)
    assert answer.returncode == 3
    first = OPEN.count("\n") + 9
    for number, rule in enumerate(wrong):
        assert f'policy.yaml:{first + number}:7: nft refuses the rule "{rule}"' in " ".join(answer.stderr.split()), rule
    assert "say ipVersion: 6" in " ".join(answer.stderr.split())
    assert run(lab["host"], ["nft", "list", "ruleset"]).stdout == before


def test_a_rule_that_may_cut_the_host_off_needs_a_trial(installation: Installation, hostfwctl: Hostfwctl) -> None:
    """Or somebody who accepts it; what is in force already is not asked about again."""
    (installation.config / "policy.yaml").write_text(OPEN)
    hostfwctl("apply")
    text = OPEN + nft_rules("input", "meta length > 2000 drop")
    (installation.config / "policy.yaml").write_text(text)
    refused = hostfwctl("apply", check=False)
    assert refused.returncode == 1
    assert "may cut the host off" in refused.stderr
    assert "--confirm-within" in refused.stderr
    hostfwctl("apply", "--confirm-within", "60s")
    hostfwctl("confirm", "--console")
    (installation.config / "policy.yaml").write_text(text + "---\n" + web_policy(80).partition("---\n")[2])
    hostfwctl("apply")
    # What only changes packets cuts nobody off.
    (installation.config / "policy.yaml").write_text(OPEN + nft_rules("input", "meta priority set 1:2"))
    hostfwctl("apply")
    back = hostfwctl("rollback", "--to", "2", check=False)
    assert back.returncode == 1
    assert "may cut the host off" in back.stderr
    assert "--confirm-within" not in back.stderr
    hostfwctl("rollback", "--to", "2", "--accept-lockout")


def test_rules_that_count_are_no_drift_and_are_put_back(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """Counters of their own move; a rule that somebody deletes is missed."""
    rules = ("udp dport 9998 counter", "udp dport 9998 limit rate 10/second counter", "meta mark set 0x7")
    _apply(installation, hostfwctl, OPEN + nft_rules("input", *rules))
    assert _verdict(lab, Flow("peer", "host", UDP, 9998, Family.V4)) is Verdict.ALLOWED
    assert hostfwctl("status").returncode == 0
    hostfwctl("diff")
    chain = next(
        word
        for word in run(lab["host"], ["nft", "list", "table", "ip", "hostfw"]).stdout.split()
        if word.startswith("nft/own.")
    )
    run(lab["host"], ["nft", "flush", "chain", "ip", "hostfw", chain])
    assert f"chain {chain} was changed by another program" in " ".join(hostfwctl("status").stdout.split())
    hostfwctl("apply")
    assert "mark set 0x00000007" in _listed(lab["host"], chain)
