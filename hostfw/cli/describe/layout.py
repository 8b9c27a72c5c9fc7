"""The layout of a HostEndpoint's rules in the kernel: what the worst packet costs, and what stays a list."""

from collections.abc import Iterator

from hostfw.compile.ruleset import compile_plan
from hostfw.model.plan import Plan
from hostfw.model.values import BRIDGE
from hostfw.model.wording import counted
from hostfw.nft.objects import Hook, Table
from hostfw.nft.worst_packet import Cost, Prices, worst_packet

_WAYS = ((Hook.INPUT, "in"), (Hook.OUTPUT, "out"))


def layout_of(endpoint: str, plan: Plan, prices: Prices) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The bounds of new packets at each interface of an endpoint, as properties by name, one for each IP version."""
    interfaces = [binding.interface for binding in plan.bindings if binding.endpoint == endpoint]
    interfaces += [workload.bridge for one, workload in plan.bridged if one.name == endpoint]
    if not interfaces:
        yield "layout", ("no interface, so no packet meets its rules",)
        return
    told = "measured on this host" if prices.measured else "as on most machines, since here it could not be measured"
    each = f"a lookup {prices.lookup_ns} ns, a rule that does not match {prices.rule_ns} ns"
    yield "costs", (f"{each}, {told}",)
    for table in compile_plan(plan).tables:
        if table.family is BRIDGE:
            yield from _of_bridges(endpoint, table, plan)
            continue
        texts = [text for interface in interfaces for text in _texts(table, interface, prices)]
        yield f"layout IPv{table.family.value}", tuple(texts)


def _of_bridges(endpoint: str, table: Table, plan: Plan) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The rules that each frame of a workload on a port is compared with, until one is met."""
    for one, workload in plan.bridged:
        chain = next((chain for chain in table.chains if chain.name.startswith(f"port/{one.name}.")), None)
        if one.name == endpoint and chain is not None:
            yield "layout bridge", (f"{workload.port} in: 1 lookup and at most {counted(len(chain.rules), 'rule')}",)


def _texts(table: Table, interface: str, prices: Prices) -> Iterator[str]:
    for hook, way in _WAYS:
        worst = worst_packet(table, hook, interface)
        yield f"{interface} {way}: at most {_cost(worst.cost, prices)}"
        if worst.marked != worst.cost:
            marked = _cost(worst.marked, prices)
            yield f"{interface} {way}, if another program has set bits of 0xffff0000 in its mark: {marked}"
        for name, rules in worst.lists:
            about = f"about {prices.rule_ns * rules / 1000:.1f} us"
            yield f"{interface} {way}: chain {name} tries {counted(rules, 'rule')} one after the other, {about}"


def _cost(cost: Cost, prices: Prices) -> str:
    about = f"about {prices.ns(cost) / 1000:.1f} us"
    return f"{counted(cost.lookups, 'lookup')} and {counted(cost.rules, 'rule')}, {about}"
