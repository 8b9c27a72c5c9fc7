"""Boots with another firewall's service, and with a /var that comes from the network."""

from lab.hosts.host import Host
from tests.system.street import OPEN, Street, connects, eventually

# What Debian ships as /etc/nftables.conf.
_NFTABLES_CONF = """\
#!/usr/sbin/nft -f

flush ruleset

table inet filter {
\tchain input { type filter hook input priority filter; }
}
"""


def test_nftables_service_flushes_before_us(off_host: Host, street: Street) -> None:
    """Its `flush ruleset` comes first at every boot, so that ours stands, without the daemon too."""
    host = off_host
    host.write("/etc/nftables.conf", _NFTABLES_CONF, 0o755)
    host.run(["systemctl", "enable", "--quiet", "nftables"])
    host.run(["systemctl", "mask", "--quiet", "hostfw"])

    with street.knocking(host) as knocks:
        host.start()
        assert eventually(lambda: connects(street.peer, OPEN), 10) is not None

    assert knocks.sent > 100
    assert knocks.through == ()
    tables = host.run(["nft", "list", "tables"]).stdout.splitlines()
    assert sorted(tables) == ["table inet filter", "table ip hostfw", "table ip6 hostfw"]
    assert "last good" in host.property_of("hostfw-boot", "StatusText")


def test_a_var_on_the_network_makes_no_cycle(off_host: Host, street: Street) -> None:
    """It is mounted after the network, which waits for the boot unit: that must not wait for the mount."""
    host = off_host
    host.write("/etc/fstab", "server:/var /var nfs _netdev,nofail,x-systemd.mount-timeout=2s 0 0\n")

    with street.knocking(host) as knocks:
        host.start()
        assert eventually(lambda: connects(street.peer, OPEN), 20) is not None

    assert knocks.through == ()
    assert "cycle" not in host.journal("--boot")
    assert "var.mount" in host.property_of("hostfw", "Requires")
    assert "var.mount" not in host.property_of("hostfw-boot", "After")
    assert host.property_of("hostfw-boot", "ActiveState") == "active"
