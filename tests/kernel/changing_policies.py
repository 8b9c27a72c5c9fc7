"""Configurations that change all the time and yet agree on what becomes of most packets.

What `ALLOWED` sends is allowed by every generation and what `DENIED` sends is denied by every one, but each time by
other rules, sets, maps and chains: addresses move between sets, policies come, go and change places, blocklists
change, an interface is bound by name or by a wildcard, and the number of policies makes programs linear or dispatched.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address
from random import Random

from hostfw.model.sources import Configuration, Source
from lab.packets.traffic import Stream

TCP_PORT, UDP_PORT = 7100, 7101
"""Ports of the conversations on the host."""

_INNER, _HOST, _HOST6, _OUTER = "10.0.0.2", "10.0.0.1", "fd00::1", "192.0.2.2"

ALLOWED = (
    Stream("in by a set", "inner", "10.0.0.21", _HOST, 7001),
    Stream("in by a set, IPv6", "inner", "fd00::21", _HOST6, 7002),
    Stream("in by a port list", "inner", _INNER, _HOST, 7503),
    Stream("in, beside the blocklist", "inner", "100.64.0.2", _HOST, 7004),
    Stream("through by a set", "inner", "10.0.0.21", _OUTER, 7005),
    Stream("out by a set", "host", "192.0.2.1", _OUTER, 7006),
)
DENIED = (
    Stream("in by no rule", "inner", _INNER, _HOST, 7007),
    Stream("in from the blocklist", "inner", "100.64.0.1", _HOST, 7008),
    Stream("in by a bad set", "inner", "10.0.0.24", _HOST, 7009),
    Stream("in by a bad set, IPv6", "inner", "fd00::24", _HOST6, 7010),
    Stream("through by a bad set", "inner", "10.0.0.24", _OUTER, 7011),
    Stream("out by a bad set", "host", "192.0.2.1", "192.0.2.24", 7012),
)
EITHER = Stream("in by a rule that changes its mind", "inner", _INNER, _HOST, 7013)
STREAMS = (*ALLOWED, *DENIED, EITHER)

COUNTERS = {
    ("ip", "gnp/default/sets-one/in/", "gnp/default/sets-two/in/"): ("in by a set", "through by a set"),
    ("ip6", "gnp/default/sets-one/in/", "gnp/default/sets-two/in/"): ("in by a set, IPv6",),
    ("ip", "gnp/default/out-one/out/", "gnp/default/out-two/out/"): ("out by a set",),
    ("ip", "gnp/default/bad-one/in/", "gnp/default/bad-two/in/"): ("in by a bad set", "through by a bad set"),
    ("ip6", "gnp/default/bad-one/in/", "gnp/default/bad-two/in/"): ("in by a bad set, IPv6",),
    ("ip", "gnp/default/out-bad/out/"): ("out by a bad set",),
    ("ip", "gnp/default/blocklist/in/"): ("in from the blocklist",),
    ("ip", "drop/in/end-of-tier/default"): ("in by no rule",),
}
"""Counters that every generation has, by family and how they begin, and the streams that they count together."""

_OPEN = (7004, 7008, 7009, 7010, 7011)
"""Ports open to whom no blocklist or bad set holds: a packet that misses its set is let through."""


def configuration(number: int, blocked: int) -> Configuration:
    """The configuration of a number, the same in every run, with this many addresses in its blocklist."""
    random = Random(number)
    policies = [*_core(random), *_noise(random)]
    random.shuffle(policies)
    texts = [*_endpoints(random), *_sets(random, blocked), *policies]
    return Configuration(Source("hostfw.yaml", "node: host\n"), (Source("all.yaml", "---\n".join(texts)),))


def _endpoints(random: Random) -> list[str]:
    wan = random.choice(["interfaceName: wan0", "interfaceName: '*'"])
    return [
        _resource("HostEndpoint", "lan", "{node: host, interfaceName: lan0}"),
        _resource("HostEndpoint", "wan", f"{{node: host, {wan}}}"),
    ]


def _core(random: Random) -> list[str]:
    """The policies that matter; what bears on no stream stands between them, and equals change places."""
    deny = random.sample(range(100, 200), 4)
    allow = random.sample(range(300, 400), 7)
    by = "source: {selector: group == '%s'}"
    to = "destination: {selector: group == '%s'}"
    filler = random.sample(range(9000, 29_000, 200), random.choice([0, 3, 8, 40]))
    # Wider than what is written out as single ports, so that it takes a set of intervals.
    ranges = [f'"{port}:{port + 99}"' for port in filler]
    return [
        _policy("blocklist", deny[0], "Ingress", "Deny", by % "blocked"),
        _policy("bad-one", deny[1], "Ingress", "Deny", by % "bad-one"),
        _policy("bad-two", deny[2], "Ingress", "Deny", by % "bad-two"),
        _policy("out-bad", deny[3], "Egress", "Deny", to % "out-bad"),
        _policy("sets-one", allow[0], "Ingress", "Allow", by % "one", ports=[7001, 7002, 7005]),
        _policy("sets-two", allow[1], "Ingress", "Allow", by % "two", ports=[7001, 7002, 7005]),
        _policy("out-one", allow[2], "Egress", "Allow", to % "out-one"),
        _policy("out-two", allow[3], "Egress", "Allow", to % "out-two"),
        _policy("open", allow[4], "Ingress", "Allow", ports=[*_OPEN, UDP_PORT]),
        _policy(
            "listed",
            allow[5],
            "Ingress",
            "Allow",
            ports=[*ranges, random.choice(["7503", '"7450:7560"', '"7500:7650"'])],
        ),
        _policy("either", allow[6], "Ingress", random.choice(["Allow", "Deny"]), ports=[EITHER.port]),
        _policy("stream", 500, "Ingress", "Allow", ports=[TCP_PORT], protocol="TCP"),
        _policy("out-open", 600, "Egress", "Allow", ports=[7012]),
    ]


def _noise(random: Random) -> list[str]:
    """Policies about other ports and addresses, few or many of them."""
    policies = []
    for number in random.sample(range(60), random.choice([0, 2, 12, 40])):
        nets = ", ".join(
            f"10.{random.randrange(100, 200)}.{number}.{host}/32" for host in range(random.choice([1, 3, 9]))
        )
        ports = random.sample(range(8000, 8200), random.choice([1, 5]))
        action = random.choice(["Allow", "Deny"])
        policies.append(
            _policy(
                f"noise-{number}", random.randrange(1000), "Ingress", action, f"source: {{nets: [{nets}]}}", ports=ports
            )
        )
    return policies


def _sets(random: Random, blocked: int) -> list[str]:
    groups: dict[str, list[str]] = {name: [] for name in ("one", "two", "bad-one", "bad-two", "out-one", "out-two")}
    for address, places in (
        ("10.0.0.21/32", ("one", "two")),
        ("fd00::21/128", ("one", "two")),
        ("10.0.0.24/32", ("bad-one", "bad-two")),
        ("fd00::24/128", ("bad-one", "bad-two")),
        ("192.0.2.2/32", ("out-one", "out-two")),
    ):
        groups[random.choice(places)].append(address)
    for group in groups.values():
        group += [f"10.50.{random.randrange(250)}.{host}/32" for host in range(random.choice([1, 3, 20]))]
    groups["out-bad"] = ["192.0.2.24/32", *(f"192.0.2.{host}/32" for host in range(30, random.choice([31, 50])))]
    first = int(IPv4Address("100.65.0.0"))
    # The even addresses, so that nothing merges, and some that differ from number to number.
    listed = ["100.64.0.1/32", *(f"{IPv4Address(first + 2 * place)}/32" for place in range(blocked))]
    if random.random() < 0.5:
        listed += [f"100.64.1.{random.randrange(256)}/32"]
    groups["blocked"] = list(dict.fromkeys(listed))
    return [
        _resource(
            "GlobalNetworkSet",
            name,
            f"{{nets: [{', '.join(f'{net!r}' for net in nets)}]}}",
            f"labels: {{group: {name}}}",
        )
        for name, nets in groups.items()
    ]


def _policy(
    name: str,
    order: int,
    direction: str,
    action: str,
    side: str = "",
    ports: Iterable[int | str] = (),
    protocol: str = "UDP",
) -> str:
    listed = ", ".join(map(str, ports))
    rest = "\n      ".join(part for part in (side, f"destination: {{ports: [{listed}]}}" if listed else "") if part)
    forward = "true" if direction == "Ingress" else "false"
    return (
        "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\n"
        f"metadata: {{name: {name}}}\nspec:\n  order: {order}\n  selector: all()\n  types: [{direction}]\n"
        f"  applyOnForward: {forward}\n  {direction.lower()}:\n    - action: {action}\n"
        f"      protocol: {protocol}\n      {rest}\n"
    )


def _resource(kind: str, name: str, spec: str, metadata: str = "") -> str:
    names = f"name: {name}" + (f", {metadata}" if metadata else "")
    return f"apiVersion: projectcalico.org/v3\nkind: {kind}\nmetadata: {{{names}}}\nspec: {spec}\n"
