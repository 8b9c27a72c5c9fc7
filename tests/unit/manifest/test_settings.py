"""The settings file: defaults, every key, Calico's forms of failsafes, and the word that brings Calico's behaviour."""

import pytest

from hostfw.manifest.settings import decode_settings
from hostfw.model.settings import (
    CALICO_COMPATIBLE,
    CALICO_FAILSAFE_INBOUND,
    CALICO_FAILSAFE_OUTBOUND,
    FAILSAFE_INBOUND,
    FAILSAFE_OUTBOUND,
    DenyAction,
    Failsafe,
    FailsafePort,
    InvalidPackets,
    LockoutCheck,
    Logging,
    Loopback,
    Metrics,
    NeighbourDiscovery,
    PacketMarks,
    ReversePathFilter,
    Settings,
    Unmanaged,
    UnmanagedInterfaces,
)
from hostfw.model.sources import Source
from hostfw.model.values import SCTP, TCP, UDP
from tests.unit.builders.policy_builders import net

EVERYTHING = """\
apiVersion: hostfw.io/v1
kind: Settings
node: web1.example.org
failsafe:
  inbound:
    - {protocol: TCP, port: 22, net: 10.0.0.0/8}
    - {protocol: 17, port: 68}
    - {port: 2222, net: fd00::1}
  outbound: []
unmanagedInterfaces: {ingress: allow, egress: deny}
loopback: policed
neighbourDiscovery: policed
invalidPackets: policed
denyAction: reject
logging:
  {group: 5, snaplenBytes: 256, ratePerSecond: 1, burstPackets: 2, sharedRatePerSecond: 3, sharedBurstPackets: 4}
packetMarks: 0x0000C000
learnAddresses: true
lockoutCheck: warn
metrics: {textfile: /run/hostfw/hostfw.prom, intervalSeconds: 60}
historyLimit: 25
multicastAnswers: [3702, 1900]
reversePathFilter: strict
"""


def test_every_setting_decodes() -> None:
    """Under the names of the file."""
    assert _settings(EVERYTHING) == Settings(
        node="web1.example.org",
        failsafe=Failsafe(
            inbound=(
                FailsafePort(TCP, 22, net("10.0.0.0/8")),
                FailsafePort(UDP, 68),
                FailsafePort(TCP, 2222, net("fd00::1/128")),
            ),
            outbound=(),
        ),
        unmanaged_interfaces=UnmanagedInterfaces(Unmanaged.ALLOW, Unmanaged.DENY),
        loopback=Loopback.POLICED,
        neighbour_discovery=NeighbourDiscovery.POLICED,
        invalid_packets=InvalidPackets.POLICED,
        deny_action=DenyAction.REJECT,
        logging=Logging(5, 256, 1, 2, 3, 4),
        marks=PacketMarks(0x4000, 0x8000),
        learn_addresses=True,
        lockout_check=LockoutCheck.WARN,
        metrics=Metrics("/run/hostfw/hostfw.prom", 60),
        history_limit=25,
        multicast_answers=(1900, 3702),
        reverse_path_filter=ReversePathFilter.STRICT,
    )


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "---\n", "{}", "node:\nfailsafe: null\nlogging: {}\n", "learnAddresses: false"]
)
def test_what_is_not_given_has_its_default(text: str) -> None:
    """Empty files, empty values, and what is off anyway."""
    assert _settings(text) == Settings()


PARTS = [
    ("unmanagedInterfaces: {ingress: allow}", UnmanagedInterfaces(Unmanaged.ALLOW, Unmanaged.ALLOW)),
    ("unmanagedInterfaces: {egress: deny}", UnmanagedInterfaces(Unmanaged.DENY, Unmanaged.DENY)),
]


@pytest.mark.parametrize(("text", "expected"), PARTS)
def test_a_part_of_a_setting_leaves_the_rest_at_its_default(text: str, expected: UnmanagedInterfaces) -> None:
    """Mappings are merged field by field."""
    assert _settings(text).unmanaged_interfaces == expected


MARKS = [
    ("0x30000000", PacketMarks()),
    ("805306368", PacketMarks()),
    ("3", PacketMarks(1, 2)),
    ("0xffff0000", PacketMarks(0x10000, 0x20000)),
    ("0x80000001", PacketMarks(1, 0x80000000)),
    ("0x00050000", PacketMarks(0x10000, 0x40000)),
]


@pytest.mark.parametrize(("text", "expected"), MARKS)
def test_the_two_lowest_bits_of_a_mask_are_the_packet_marks(text: str, expected: PacketMarks) -> None:
    """A mask may be wider, as those of other programs are written."""
    assert _settings(f"packetMarks: {text}").marks == expected


FAILSAFES = [
    ("calico", Failsafe(CALICO_FAILSAFE_INBOUND, CALICO_FAILSAFE_OUTBOUND)),
    ("none", Failsafe((), ())),
    ("[]", Failsafe((), ())),
    ("{inbound: []}", Failsafe((), FAILSAFE_OUTBOUND)),
    ("{inbound: none}", Failsafe((), FAILSAFE_OUTBOUND)),
    ("{outbound: [53]}", Failsafe(FAILSAFE_INBOUND, (FailsafePort(TCP, 53),))),
    ("{inbound: 22}", Failsafe((FailsafePort(TCP, 22),), FAILSAFE_OUTBOUND)),
    ("{inbound: '22, udp:68'}", Failsafe((FailsafePort(TCP, 22), FailsafePort(UDP, 68)), FAILSAFE_OUTBOUND)),
    (
        "{inbound: 'udp:10.0.0.0/8:53,tcp:[fd00::/8]:22,sctp:192.0.2.1:9'}",
        Failsafe(
            (
                FailsafePort(UDP, 53, net("10.0.0.0/8")),
                FailsafePort(TCP, 22, net("fd00::/8")),
                FailsafePort(SCTP, 9, net("192.0.2.1/32")),
            ),
            FAILSAFE_OUTBOUND,
        ),
    ),
    ("{inbound: ['tcp:22', {protocol: udp, port: 68}, 80]}",
     Failsafe((FailsafePort(TCP, 22), FailsafePort(UDP, 68), FailsafePort(TCP, 80)), FAILSAFE_OUTBOUND)),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), FAILSAFES)
def test_failsafes_come_in_several_forms(text: str, expected: Failsafe) -> None:
    """A direction that is given replaces its default as a whole."""
    assert _settings(f"failsafe: {text}").failsafe == expected


def test_calico_compatibility_is_where_the_other_settings_start_from() -> None:
    """Each may still be given, wherever it stands in the file."""
    assert _settings("compatibility: calico") == CALICO_COMPATIBLE

    changed = _settings("loopback: exempt\nfailsafe: {inbound: [22]}\ncompatibility: calico\n")

    assert changed.loopback is Loopback.EXEMPT
    assert changed.failsafe == Failsafe((FailsafePort(TCP, 22),), CALICO_FAILSAFE_OUTBOUND)
    assert changed.neighbour_discovery is NeighbourDiscovery.POLICED


def _settings(text: str) -> Settings:
    settings, problems = decode_settings(Source("hostfw.yaml", text))
    assert problems == ()
    return settings
