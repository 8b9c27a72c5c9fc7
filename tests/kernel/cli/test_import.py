"""Imported rules in the kernel: the same packets pass by iptables and by the policy that its rules became."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from hostfw.model.values import FAMILIES, ICMP, TCP, UDP
from lab.hostfwctl import Installation
from lab.laboratory import Lab
from lab.namespace import Namespace, run
from lab.packets.probe import DENY_PATIENCE_S, Flow, Verdict, probe

Hostfwctl = Callable[..., CompletedProcess[str]]

RULE_SETS = sorted((Path(__file__).parents[2] / "import/pairs").glob("*.v4"))
_PORTS = ((TCP, 22), (TCP, 25), (TCP, 80), (TCP, 443), (TCP, 3306), (TCP, 5432), (TCP, 8005), (UDP, 53), (UDP, 123))
FLOWS = tuple(
    Flow(*ends, protocol, port, family)
    for family in FAMILIES
    for ends in (("peer", "host"), ("host", "peer"))
    for protocol, port in (*_PORTS, (ICMP, None))
)
_EXEMPT = frozenset({"tcp 22 in", "udp 53 out", "udp 123 out", "tcp 53 out"})
"""Failsafes of hostfw, which no policy closes."""


def _iptables(host: Namespace, program: str, text: str) -> None:
    if shutil.which(program, path="/usr/sbin:/sbin:/usr/bin") is None:
        pytest.skip(f"{program} is not installed")
    run(host, [f"/usr/sbin/{program}"], text=text)


def _allowed(lab: Lab, flows: Sequence[Flow]) -> frozenset[Flow]:
    """The flows that pass; what does not is rejected by some rules, and dropped by ours."""
    return frozenset(one.flow for one in probe(lab, flows, DENY_PATIENCE_S) if one.verdict is Verdict.ALLOWED)


def _is_exempt(flow: Flow) -> bool:
    return f"{str(flow.protocol).lower()} {flow.port} {'in' if flow.destination == 'host' else 'out'}" in _EXEMPT


@pytest.mark.parametrize("rules", RULE_SETS, ids=[path.stem for path in RULE_SETS])
def test_the_same_packets_pass_by_the_rules_and_by_their_import(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, rules: Path
) -> None:
    """Loaded by iptables-restore first, then taken away and imported."""
    v6 = rules.with_suffix(".v6")
    _iptables(lab["host"], "iptables-restore", rules.read_text())
    _iptables(lab["host"], "ip6tables-restore", v6.read_text())
    before = _allowed(lab, FLOWS)
    run(lab["host"], ["nft", "flush", "ruleset"])
    made = hostfwctl("import", "iptables-save", "--ipv4", rules, "--ipv6", v6)
    (installation.config / "imported.yaml").write_text(made.stdout)
    hostfwctl("apply", "--accept-lockout")
    after = _allowed(lab, FLOWS)

    assert before
    assert len(before) < len(FLOWS)
    different = [str(flow) for flow in before ^ after if not _is_exempt(flow)]
    assert not different, made.stderr
