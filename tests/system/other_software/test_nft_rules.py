"""NftRules on whole hosts, with the nft of each release: applied, in force before the service, and put back."""

from lab.hosts.host import Host
from tests.system.street import eventually

RULES = """\
apiVersion: hostfw.io/v1
kind: NftRules
metadata: {name: own}
spec:
  hook: input
  rules:
    - tcp flags syn tcp option maxseg size 1-65535 counter
    - 'udp dport vmap { 9999 : drop, 9998 : continue }'
"""


def _listed(host: Host, family: str = "ip") -> str:
    listed = host.run(["nft", "list", "table", family, "hostfw"]).stdout
    return listed.partition("chain nft/own.")[2].partition("}\n")[0]


def test_they_are_checked_applied_booted_and_put_back(host: Host) -> None:
    """By nft 1.0.6 and 1.1.3; one that nft refuses is told with its line, in the journal as well."""
    host.write("/etc/hostfw/own-rules.yaml", RULES.replace("counter", "countre", 1))
    refused = host.run(["hostfwctl", "apply"], check=False)
    assert refused.returncode == 3
    assert "own-rules.yaml:7:7: nft refuses the rule" in " ".join(refused.stderr.split())
    assert _listed(host) == ""

    host.write("/etc/hostfw/own-rules.yaml", RULES)
    assert "may cut the host off" in host.run(["hostfwctl", "apply"], check=False).stderr
    host.run(["hostfwctl", "apply", "--accept-lockout"])
    for family in ("ip", "ip6"):
        assert "9999 : drop" in _listed(host, family)

    host.run(["systemctl", "stop", "hostfw"])
    host.run(["nft", "delete", "table", "ip", "hostfw"])
    host.run(["systemctl", "restart", "hostfw-boot"])
    assert "9999 : drop" in _listed(host)

    host.run(["systemctl", "start", "hostfw"])
    chain = _listed(host).split()[0]
    host.run(["nft", "flush", "chain", "ip", "hostfw", f"nft/own.{chain}"])
    assert eventually(lambda: "9999 : drop" in _listed(host), 10) is not None
