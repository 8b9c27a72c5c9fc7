"""Imported rule sets mean the same: chains as the kernel walks them, as one list, and as policy."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostfw.importer.comparison import compare
from hostfw.importer.iptables_save import read_iptables
from hostfw.importer.policy import as_policy
from hostfw.importer.rule_set import Hook
from hostfw.importer.text import policy_text
from hostfw.manifest.decode import decode
from hostfw.model.settings import Failsafe, NeighbourDiscovery, Settings
from hostfw.model.sources import Configuration, Source
from hostfw.model.values import Family

BARE = Settings(failsafe=Failsafe((), ()), neighbour_discovery=NeighbourDiscovery.POLICED)
"""Without what hostfw lets through by itself, so that nothing may differ."""
_CHAINS = ("INPUT", "OUTPUT", "FORWARD", "one", "two", "three")
_TARGETS = ("ACCEPT", "DROP", "REJECT", "RETURN", "LOG")
_NETS = {
    Family.V4: ("10.0.0.0/8", "10.1.0.0/255.255.0.0", "192.0.2.7", "192.0.2.0/24,198.51.100.0/24", "0.0.0.0/0"),
    Family.V6: ("2001:db8::/32", "2001:db8::7", "fd00::/8,2001:db8:1::/48", "::/0"),
}
_MATCHES = (
    "-p tcp --dport 22",
    "-p tcp -m multiport --dports 80,443,8000:8010",
    "-p udp --sport 53",
    "-p tcp ! --dport 1:1023",
    "! -p udp",
    "-p esp",
    "-p 47",
    "-m conntrack --ctstate NEW",
    "-m state --state RELATED,ESTABLISHED",
    "-m conntrack ! --ctstate INVALID",
    "-m addrtype --dst-type MULTICAST",
    "-m addrtype ! --dst-type LOCAL",
    "-m comment --comment 'a \"word\"'",
    "-p tcp --tcp-flags SYN,RST,ACK,FIN SYN",
    "-m limit --limit 3/min",
)


@st.composite
def rule_sets(draw: st.DrawFn, family: Family) -> str:
    """Draw what iptables-save could print; chains jump only to later ones, so that none is a loop."""
    lines = ["*filter", *(f":{hook} {draw(st.sampled_from(('ACCEPT', 'DROP')))} [0:0]" for hook in Hook)]
    lines += [f":{name} - [0:0]" for name in _CHAINS[3:]]
    for place, chain in enumerate(_CHAINS):
        later = _CHAINS[max(place + 1, 3) :]
        for _ in range(draw(st.integers(0, 5))):
            words: list[str] = [draw(st.sampled_from(("", *_MATCHES)))]
            sides: list[str] = draw(st.lists(st.sampled_from(("-s", "! -s", "-d", "! -d")), max_size=1))
            words += [f"{side} {draw(st.sampled_from(_NETS[family]))}" for side in sides]
            if draw(st.booleans()):
                side = "-o" if chain == "OUTPUT" else "-i"
                named = draw(st.sampled_from(("eth0", "eth1", "eth+", "tun+", "lo", "+")))
                words.append(f"{draw(st.sampled_from(('', '! ')))}{side} {named}")
            target = f"-j {draw(st.sampled_from(_TARGETS))}"
            jumps = draw(st.booleans())
            if later and jumps:
                target = f"{draw(st.sampled_from(('-j', '-g')))} {draw(st.sampled_from(later))}"
            lines.append(" ".join(("-A", chain, *words, target)))
    return "\n".join((*lines, "COMMIT", ""))


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example])
@given(v4=rule_sets(Family.V4), v6=rule_sets(Family.V6), seed=st.integers(0, 2**32))
def test_an_import_denies_and_allows_what_the_rules_did(v4: str, v6: str, seed: int) -> None:
    """Every packet at the edges of the rules, and the text is the policy that was compared."""
    readings = read_iptables([(Family.V4, [Source("v4", v4)]), (Family.V6, [Source("v6", v6)])])
    assert not any(reading.problems for reading in readings)
    imported = as_policy([reading.rules for reading in readings])
    decoded = decode(Configuration(resources=(Source("imported.yaml", policy_text(imported, "test")),)))

    assert not decoded.problems
    found = compare([reading.rules for reading in readings], decoded.resources, BARE, packets=400, seed=seed)
    assert found.alike == found.packets, policy_text(imported, "test")
