"""The fields of a packet as nf_tables loads them: the value of each key of a rule, None where a packet has none."""

from hostfw.model.packets.packet import Packet, Path
from hostfw.model.values import PORT_PROTOCOLS
from hostfw.nft.objects import Element
from hostfw.nft.rules import Key


def field_of(packet: Packet, key: Key) -> Element | None:
    """The value of a key for a packet by itself, without its connection; no interface is known by its index alone."""
    match key:
        case Key.IIF:
            return 0 if packet.path is Path.LOCAL_OUT else 1
        case Key.OIF:
            return 1
        case Key.IIFNAME:
            return packet.in_interface or ""
        case Key.OIFNAME:
            return packet.out_interface or ""
        case Key.PROTOCOL:
            return packet.protocol
        case Key.SADDR:
            return packet.source
        case Key.DADDR:
            return packet.destination
        case Key.SPORT:
            return packet.source_port if packet.has_ports else None
        case Key.DPORT:
            return packet.destination_port if packet.has_ports else None
        case Key.SOURCE_SOCKET:
            return socket(packet.source, packet.protocol, packet.source_port)
        case Key.DESTINATION_SOCKET:
            return socket(packet.destination, packet.protocol, packet.destination_port)
        case Key.SOURCE_TO_PORT:
            return socket(packet.source, packet.protocol, packet.destination_port)
        case Key.DESTINATION_FROM_PORT:
            return socket(packet.destination, packet.protocol, packet.source_port)
        case Key.SOURCE_ON_LINK:
            return packet.in_interface or "", packet.source
        case Key.DESTINATION_ON_LINK:
            return packet.out_interface or "", packet.destination
        case Key.ANSWER if packet.answer and packet.in_interface and packet.destination_port is not None:
            return packet.destination, packet.protocol, packet.destination_port
        case Key.ICMP_TYPE:
            return packet.icmp_type if packet.is_icmp else None
        case Key.ICMP_CODE:
            return packet.icmp_code if packet.is_icmp else None
        case Key.HOP_LIMIT:
            return packet.hop_limit
        case Key.ETHER_SADDR:
            return None if packet.mac is None else str(packet.mac)
        case Key.ROUTE_BACK | Key.ROUTE_BACK_BY_IIF:
            return "missing" if packet.no_way_back else "exists"
        case Key.SECPATH:
            return "exists" if packet.ipsec else "missing"
        case _:
            return None


def socket(address: int, protocol: int, port: int | None) -> Element | None:
    """The concatenation address . protocol . port, None where the protocol has no ports."""
    return None if port is None or protocol not in PORT_PROTOCOLS else (address, protocol, port)
