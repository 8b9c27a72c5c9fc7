"""Names of ICMP messages in firewalld, with the types and codes that its nftables backend gives them."""

from hostfw.importer.nft.text import Json

_V4: dict[str, tuple[int, int | None]] = {
    "communication-prohibited": (3, 13), "destination-unreachable": (3, None), "echo-reply": (0, None),
    "echo-request": (8, None), "fragmentation-needed": (3, 4), "host-precedence-violation": (3, 14),
    "host-prohibited": (3, 10), "host-redirect": (5, 1), "host-unknown": (3, 7), "host-unreachable": (3, 1),
    "ip-header-bad": (12, 1), "network-prohibited": (3, 8), "network-redirect": (5, 0), "network-unknown": (3, 6),
    "network-unreachable": (3, 0), "parameter-problem": (12, None), "port-unreachable": (3, 3),
    "precedence-cutoff": (3, 15), "protocol-unreachable": (3, 2), "redirect": (5, None),
    "required-option-missing": (12, 1), "router-advertisement": (9, None), "router-solicitation": (10, None),
    "source-quench": (4, None), "source-route-failed": (3, 5), "time-exceeded": (11, None),
    "timestamp-reply": (14, None), "timestamp-request": (13, None), "tos-host-redirect": (5, 3),
    "tos-host-unreachable": (3, 12), "tos-network-redirect": (5, 2), "tos-network-unreachable": (3, 11),
    "ttl-zero-during-reassembly": (11, 1), "ttl-zero-during-transit": (11, 0),
}  # fmt: skip
_V6: dict[str, tuple[int, int | None]] = {
    "address-unreachable": (1, 3), "bad-header": (4, 0), "beyond-scope": (1, 2), "communication-prohibited": (1, 1),
    "destination-unreachable": (1, None), "echo-reply": (129, None), "echo-request": (128, None),
    "failed-policy": (1, 5), "neighbour-advertisement": (136, None), "neighbour-solicitation": (135, None),
    "no-route": (1, 0), "packet-too-big": (2, None), "parameter-problem": (4, None), "port-unreachable": (1, 4),
    "redirect": (137, None), "reject-route": (1, 6), "router-advertisement": (134, None),
    "router-solicitation": (133, None), "time-exceeded": (3, None), "ttl-zero-during-reassembly": (3, 1),
    "ttl-zero-during-transit": (3, 0), "unknown-header-type": (4, 1), "unknown-option": (4, 2),
    "mld-listener-query": (130, None), "mld-listener-report": (131, None), "mld-listener-done": (132, None),
    "mld2-listener-report": (143, None),
}  # fmt: skip


def messages(name: str, families: tuple[str, ...]) -> list[list[Json]]:
    """The matches of a message in nftables, one list for each family that knows it."""
    found: list[list[Json]] = []
    for family, protocol, names in (("ipv4", "icmp", _V4), ("ipv6", "icmpv6", _V6)):
        if name not in names or family not in families:
            continue
        kind, code = names[name]
        expr = [_match(protocol, "type", kind)]
        if code is not None:
            expr.append(_match(protocol, "code", code))
        found.append(expr)
    return found


def _match(protocol: str, field: str, value: int) -> Json:
    return {"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": field}}, "right": value}}
