"""NftRules on the way of a packet. What they do to it is not modelled: only the kernel knows what they match."""

from collections.abc import Iterable

from hostfw.model.kinds.nft_rules import NftHook, NftRules
from hostfw.model.packets.packet import Packet, Path
from hostfw.model.plan import Plan

_HOOKS = {
    Path.LOCAL_IN: (NftHook.PREROUTING, NftHook.INPUT),
    Path.FORWARDED: (NftHook.PREROUTING, NftHook.FORWARD, NftHook.POSTROUTING),
    Path.LOCAL_OUT: (NftHook.OUTPUT, NftHook.POSTROUTING),
}


def nft_rules_met(plan: Plan, packets: Iterable[Packet]) -> tuple[NftRules, ...]:
    """The NftRules that packets meet on their way, in order, each once."""
    met = (
        one
        for packet in packets
        for hook in _HOOKS[packet.path]
        for one in plan.nft_rules
        if one.hook is hook and packet.family in one.families
    )
    return tuple(dict.fromkeys(met))
