"""A boot with a kernel of its own: modules come when rules need them, and the network card when it comes."""

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.hosts.host import Host, debian
from lab.hosts.image import Release
from lab.hosts.package import install_package
from lab.hosts.virtual import EXTRA, booted, why_no_emulator
from tests.system.street import (
    HOST6,
    OPEN,
    POLICY,
    Street,
    configure,
    connects,
    eventually,
    listen,
    start_service,
)

BOOT_S = 300
REPORT = 5557
"""Whoever connects has the machine say on its console how its boot went, and switch itself off."""

_REPORT_SOCKET = f"[Socket]\nListenStream=[::]:{REPORT}\n[Install]\nWantedBy=sockets.target\n"
_REPORT_SERVICE = """\
[Service]
Type=oneshot
StandardOutput=tty
TTYPath=/dev/ttyS1
ExecStart=/bin/sh /root/report
"""
_REPORT = """\
when() { systemctl show --value --property="$2" "$1"; }
echo "knocked: $(ls /var/tmp | grep -c knocked-4444)"
echo "boot: $(when hostfw-boot ActiveEnterTimestampMonotonic)"
echo "network-pre: $(when network-pre.target ActiveEnterTimestampMonotonic)"
echo "networkd: $(when systemd-networkd ExecMainStartTimestampMonotonic)"
echo "service: $(when hostfw ActiveState)"
echo "failed: $(systemctl --failed --no-legend --plain | cut -d ' ' -f 1 | tr '\\n' ' ')"
echo "modules: $(cut -d ' ' -f 1 /proc/modules | grep -E '^nf|^nft' | tr '\\n' ' ')"
echo "said: $(when hostfw-boot StatusText)"
echo "tables: $(nft list tables | tr '\\n' ' ')"
echo end: of report
systemctl --no-block poweroff
"""


@pytest.fixture
def machine(release: Release, street: Street, package: Path, soak: bool) -> Iterator[Host]:
    """A host that is off, with a kernel, hostfw and a policy that was accepted."""
    if platform.machine() != "x86_64":
        pytest.skip("the emulated machine is x86-64")
    if (unable := why_no_emulator()) is not None:
        pytest.skip(unable)
    if release is not Release.TRIXIE and not soak:
        pytest.skip("takes minutes: make soak")
    with debian(release, "early", [street.uplink()], extra=EXTRA) as host:
        listen(host)
        host.write("/etc/systemd/system/report.socket", _REPORT_SOCKET)
        host.write("/etc/systemd/system/report.service", _REPORT_SERVICE)
        host.write("/root/report", _REPORT)
        host.run(["systemctl", "enable", "--quiet", "report.socket"])
        host.run(["systemctl", "mask", "--quiet", "serial-getty@ttyS0.service"])
        install_package(host, package)
        configure(host, POLICY.replace(str(OPEN), f"{OPEN}, {REPORT}"))
        start_service(host)
        host.power_off()
        yield host


@pytest.mark.parametrize("spoil", ["", "rm -r /var/lib/hostfw"], ids=["as it was", "without a state"])
def test_nothing_gets_in_while_a_kernel_boots(machine: Host, street: Street, spoil: str, soak: bool) -> None:
    """From power-on to the report no knock gets through, and the rules were there before the network was."""
    if spoil and not soak:
        pytest.skip("takes minutes: make soak")
    machine.run(["sh", "-c", spoil])
    opened = 22 if spoil else OPEN

    with street.knocking(machine) as knocks, booted(machine) as virtual:
        assert eventually(lambda: connects(street.peer, opened), BOOT_S, every_s=0.2) is not None, virtual.console()
        assert eventually(lambda: connects(street.peer, opened, HOST6), 10) is not None
        told = {}
        if not spoil:
            assert connects(street.peer, REPORT)
            told = _told(virtual.told("end: of report", 120))

    assert knocks.sent > 1000
    assert knocks.through == ()
    if told:
        assert (told["knocked"], told["failed"]) == ("0", "")
        assert 0 < int(told["boot"]) <= int(told["network-pre"]) <= int(told["networkd"])
        assert {"nf_tables", "nf_conntrack", "nft_ct"} <= set(told["modules"].split())
        assert told["tables"] == "table ip hostfw table ip6 hostfw"
        assert told["said"].startswith("The last good ruleset is in force")


def _told(report: str) -> dict[str, str]:
    """The lines of the report, by their first words."""
    lines = (line.partition(":") for line in report.splitlines())
    return {name: text.strip() for name, _, text in lines}
