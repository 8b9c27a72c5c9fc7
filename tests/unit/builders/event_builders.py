"""A plan with every kind of thing that logs, and events of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hostfw.audit.attribution import Attribution, attribution
from hostfw.audit.log_prefix import LogTag, encode
from hostfw.audit.packet_event import PacketEvent, packet_event
from hostfw.audit.packet_headers import Headers
from hostfw.model.packets.decisions import Reason
from hostfw.model.plan import Plan
from hostfw.model.resources import Resources
from hostfw.model.settings import Settings
from hostfw.model.values import TCP, Action, Direction, Family
from hostfw.policy.resolve.plan import resolve
from tests.unit.builders.policy_builders import ALLOW, BOTH, DENY, facts, gnp, hep, net, profile, rule, staged, tier

LONG_TIER = "t" * 60
LONG_POLICY = "a-policy-with-a-long-name." * 8 + "x"
GENERATION = "0123456789ab"
MOMENT = datetime(2030, 1, 1, 12, 0, 0, 123456, UTC)


def plan(*, wildcard: bool = False) -> Plan:
    """eth0 governed by `uplink` (with a wildcard also all else by `any`), policies with names short and long."""
    found, _ = resolve(
        Resources(
            policies=(
                gnp(
                    "web",
                    ingress=(ALLOW, rule(Action.DENY, TCP, line=12), rule(Action.LOG, line=13)),
                    egress=(rule(Action.DENY, line=14),),
                    types=BOTH,
                    forward=True,
                ),
                gnp(LONG_POLICY, tier=LONG_TIER, ingress=(rule(Action.DENY, line=20),)),
            ),
            staged_policies=(staged(gnp("web", ingress=(ALLOW, rule(Action.DENY, line=31)))),),
            endpoints=(
                hep("uplink", "eth0", profiles=("office",)),
                *((hep("zz-any", "*"),) if wildcard else ()),
            ),
            profiles=(profile("office", ingress=(DENY,)),),
            tiers=(tier(LONG_TIER, 1.0),),
        ),
        Settings(),
        facts(),
    )
    return found


SYN = Headers(Family.V4, net("192.0.2.2").address, net("192.0.2.1").address, 6, 60, 64, None, 40000, 22, tcp_flags=0x02)

DENIED = LogTag(Action.DENY, Direction.INGRESS, Reason.RULE, "default", "web", 1)


def known(*, wildcard: bool = False) -> Attribution:
    """The attribution data of the plan."""
    return attribution(plan(wildcard=wildcard), GENERATION)


def event(
    tag: LogTag = DENIED,
    packet: Headers = SYN,
    interfaces: tuple[str, str] = ("eth0", ""),
    after_s: float = 0,
    attributed: Attribution | None = None,
) -> PacketEvent:
    """The event of a packet that was logged with this tag."""
    made = packet_event(encode(tag), packet, interfaces, MOMENT + timedelta(seconds=after_s), attributed or known())
    assert made is not None
    return made


def from_port(port: int, packet: Headers = SYN) -> Headers:
    """The packet from another source port."""
    return replace(packet, source_port=port)
