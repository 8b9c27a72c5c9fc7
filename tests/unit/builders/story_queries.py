"""The flows of the examples as questions to `hostfwctl explain`."""

from ipaddress import ip_address

from lab.packets.probe import Flow
from lab.stories.flows import Story


def question(story: Story, flow: Flow) -> list[str]:
    """The arguments that ask about a flow: addresses, protocol, and the interfaces of the story's host."""
    source = story.topology.address(flow.destination, flow.source, flow.family)
    destination = story.topology.address(flow.source, flow.destination, flow.family)
    protocol = flow.protocol.name.lower() if flow.port else {4: "icmp", 6: "icmpv6"}[flow.family]
    port = f":{flow.port}" if flow.port else ""
    ways = (("--in", flow.source, source), ("--out", flow.destination, destination))
    others = [(option, address) for option, node, address in ways if node != story.host]
    interfaces = [word for option, address in others for word in (option, _link(story, address))]
    return [source, f"[{destination}]{port}/{protocol}", *interfaces]


def _link(story: Story, address: str) -> str:
    """The link of a story's host towards an address: on the same network, or where its default route leads."""
    host = story.topology.node(story.host)
    gateways = [route.via for route in host.routes if route.to == "default"]
    for target in (address, *(via for via in gateways if (":" in via) == (":" in address))):
        for link in host.links:
            if any(ip_address(target) in assigned.network for assigned in link.addresses):
                return link.name
    raise AssertionError(f"{story.host} has no way to {address}")
