"""Calico's ports, protocols and failsafe texts."""

import json

from hostfw.manifest.decode import decode
from hostfw.model.problems import errors
from hostfw.model.resources import Rule
from hostfw.model.settings import FailsafePort
from hostfw.model.sources import Configuration, Source
from hostfw.model.values import PortRange
from tests.conformance.calico_data import Json, table
from tests.conformance.deviations import FAILSAFES, PORTS, PROTOCOLS


def test_ports_decode_as_in_calico() -> None:
    """Numbers, ranges and names."""
    for case in table("ports_protocols_failsafe")["port_json_unmarshal"]:
        rule = _rule(f"protocol: TCP, destination: {{ports: [{case['json']}]}}")

        assert (rule is not None) is (case["ok"] and case["json"] not in PORTS), case
        if rule is not None:
            first, last, name = case["min_max_name"]
            assert rule.destination.ports == (name or PortRange(first, last),)


def test_protocols_decode_as_in_calico() -> None:
    """Numbers with and without quotes, and names."""
    for case in table("ports_protocols_failsafe")["protocol_json_unmarshal"]:
        rule = _rule(f"protocol: {case['json']}")

        assert (rule is not None) is (case["ok"] and case["json"] not in PROTOCOLS), case
        if rule is not None:
            assert rule.protocol is not None
            assert case["value"] in (rule.protocol.name, rule.protocol.number)


def test_protocols_have_ports_as_in_calico() -> None:
    """TCP, UDP and SCTP, by name and by number."""
    for protocol, has_ports in table("ports_protocols_failsafe")["supports_ports"].items():
        assert (_rule(f"protocol: {protocol}, destination: {{ports: [80]}}") is not None) is has_ports, protocol


def test_failsafe_texts_decode_as_in_felix() -> None:
    """Protocol, net and port, by default TCP and any net."""
    default = _failsafe("calico", "inbound")
    for case in table("ports_protocols_failsafe")["failsafe_string_forms"]:
        ports = _failsafe(f"{{inbound: {json.dumps(case['text'])}}}", "inbound")

        if case["text"] in FAILSAFES:
            assert ports is None
        elif case["parsed"] == "default list":
            assert ports == default
        else:
            assert _triples(ports) == [tuple(port) for port in case["parsed"]]


def test_the_failsafe_word_calico_gives_felix_defaults() -> None:
    """Both directions, in Felix' order."""
    data = table("ports_protocols_failsafe")

    for direction in ("inbound", "outbound"):
        ports = [(protocol, port) for protocol, port, _ in _triples(_failsafe("calico", direction))]

        assert ports == [tuple(port) for port in data[f"default_failsafe_{direction}"]]


def _rule(fields: str) -> Rule | None:
    manifest = (
        "{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: case},"
        f" spec: {{ingress: [{{action: Allow, {fields}}}]}}}}"
    )
    decoded = decode(Configuration(resources=(Source("case.yaml", manifest),)))
    return None if errors(decoded.problems) else decoded.resources.policies[0].ingress[0]


def _failsafe(text: str, direction: str) -> tuple[FailsafePort, ...] | None:
    decoded = decode(Configuration(Source("hostfw.yaml", f"compatibility: calico\nfailsafe: {text}\n")))
    ports: tuple[FailsafePort, ...] = getattr(decoded.settings.failsafe, direction)
    return None if decoded.problems else ports


def _triples(ports: tuple[FailsafePort, ...] | None) -> list[Json]:
    return [(p.protocol.name.lower(), p.port, str(p.net) if p.net else "") for p in ports or ()]
