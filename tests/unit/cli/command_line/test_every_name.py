"""Names that a sentence or a table only counts, as in "and 4 more": -v lists them all."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hostfw.model.host.facts import HostFacts, Interface
from hostfw.model.host.services import BoundAddress, HostServices, Peer, Service
from hostfw.model.values import TCP, Family
from tests.unit.builders.policy_builders import nets
from tests.unit.cli_runs import UPLINK, WEB, Machine, machine

NUMBERS = range(12)
NAMES = tuple(f"one-{number:02}" for number in NUMBERS)
NETS = tuple(f"10.{number}.0.0/16" for number in range(1, 24, 2))
ADDRESSES = tuple(f"10.1.0.{number}" for number in range(1, 13))
BIND = BoundAddress(Family.V4)


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A host that eth0 leads to everybody."""
    made = machine(tmp_path, monkeypatch)
    made.facts = HostFacts("web1", (Interface("eth0", 2, addresses=nets("192.0.2.1"), default_route=True),))
    made.write(hostfw="node: web1\n", uplink=UPLINK)
    return made


def each(text: str, names: tuple[str, ...] = NAMES) -> str:
    """A document for each name."""
    return "---\n".join(text.replace("NAME", name) for name in names)


def policy(spec: str, name: str = "NAME") -> str:
    """The text of a policy."""
    return (
        f"apiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\nmetadata: {{name: {name}}}\n"
        f"spec: {{selector: all(), {spec}}}\n"
    )


def endpoint(name: str, spec: str) -> str:
    """The text of a HostEndpoint."""
    return (
        "apiVersion: projectcalico.org/v3\nkind: HostEndpoint\n"
        f"metadata: {{name: {name}, labels: {{role: web}}}}\nspec: {{{spec}}}\n"
    )


def _equal_orders(host: Machine) -> None:
    """Policies of the same order, of which some allow what others deny."""
    host.write(more=each(policy("order: 7, ingress: [{action: Allow, protocol: TCP}, {action: Deny}]")))


def _other_nodes(host: Machine) -> None:
    host.write(uplink=each(endpoint("NAME", "node: NAME, interfaceName: eth0")))


def _guests(host: Machine) -> None:
    host.write(web=WEB)
    guests = tuple(Interface(name, 9 + number, kind="veth") for number, name in enumerate(NAMES))
    host.facts = replace(host.facts, interfaces=(*host.facts.interfaces, *guests))


def _no_interface_of_ours(host: Machine) -> None:
    """Cards that no HostEndpoint names."""
    _guests(host)
    cards = (replace(interface, kind="") for interface in host.facts.interfaces)
    host.facts = replace(host.facts, interfaces=tuple(cards))
    host.write(uplink=UPLINK.replace("eth0", "ens3"))


def _last_pass(host: Machine) -> None:
    _guests(host)
    wan = endpoint("NAME", "node: web1, interfaceName: NAME")
    host.write(uplink=each(wan), more=policy("ingress: [{action: Pass}]", "last"))


def _unknown_profile(host: Machine) -> None:
    profile = "apiVersion: projectcalico.org/v3\nkind: Profile\nmetadata: {name: NAME}\nspec: {}\n"
    host.write(more=each(profile), uplink=endpoint("uplink", "node: web1, interfaceName: eth0, profiles: [other]"))


def _voided(host: Machine) -> None:
    deny = policy("ingress: [{action: Deny, protocol: TCP, destination: {ports: [22]}}]")
    host.write(more=each(deny))


def _two_claims(host: Machine) -> None:
    _guests(host)
    group = (
        "apiVersion: hostfw.io/v1\nkind: InterfaceGroup\nmetadata: {name: guests}\nspec: {match: [{kind: veth}]}\n---\n"
    )
    claims = (endpoint(name, "node: web1, interfaceGroup: guests") for name in ("first", "second"))
    host.write(group=group + "---\n".join(claims))


def _set(host: Machine) -> None:
    wide = ", ".join(NETS)
    host.write(
        more="apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: wide}\n"
        f"spec: {{nets: [{wide}]}}\n"
    )


def _allowed(host: Machine) -> None:
    """A service that some prefixes reach, and that other peers are connected to."""
    service = Service(TCP.number, 80, (BIND,), unit="web.service")
    peers = tuple(Peer(TCP.number, 80, Family.V4, nets(one)[0].address) for one in ADDRESSES)
    host.services = HostServices((service,), peers=peers)
    wide = ", ".join(NETS)
    rule = f"{{action: Allow, protocol: TCP, source: {{nets: [{wide}]}}, destination: {{ports: [80]}}}}"
    host.write(web=policy(f"ingress: [{rule}]", "web"))


def _closing(host: Machine) -> None:
    _allowed(host)
    assert host.hostfwctl("apply").status == 0
    host.write(web=policy("ingress: []", "web"))


def _in_force(host: Machine) -> None:
    _allowed(host)
    assert host.hostfwctl("apply").status == 0


def _emptied(host: Machine) -> None:
    host.write(more=each(policy("ingress: []")))
    assert host.hostfwctl("apply").status == 0
    (host.config / "more.yaml").unlink()


CASES: list[tuple[Callable[[Machine], None], str, tuple[str, ...]]] = [
    (_equal_orders, "validate", NAMES),
    (_other_nodes, "validate", NAMES),
    (_other_nodes, "doctor", NAMES),
    (_guests, "validate", NAMES),
    (_guests, "apply", NAMES),
    (_no_interface_of_ours, "validate", NAMES),
    (_last_pass, "validate", NAMES),
    (_unknown_profile, "validate", NAMES),
    (_voided, "validate", NAMES),
    (_two_claims, "validate", NAMES),
    (_set, "get sets", NETS),
    (_set, "describe gns wide", NETS),
    (_allowed, "describe gnp web", NETS),
    (_allowed, "describe hep uplink", NETS),
    (_allowed, "exposure -f etc", NETS),
    (_allowed, "apply", NETS),
    (_closing, "diff", NETS),
    (_closing, "apply", ADDRESSES),
    (_emptied, "apply", NAMES),
    (_in_force, "rules", NETS),
]


@pytest.mark.parametrize(("make", "verb", "names"), CASES, ids=[f"{case[1]} {case[0].__name__}" for case in CASES])
def test_what_is_only_counted_is_listed_with_v(
    host: Machine, make: Callable[[Machine], None], verb: str, names: tuple[str, ...]
) -> None:
    """Every name that there is, in whatever place; without -v a few and their number."""
    make(host)
    words = [str(host.config) if word == "etc" else word for word in verb.split()]

    whole = host.hostfwctl("-v", *words)
    short = host.hostfwctl(*words) if verb != "apply" or whole.status else None

    said = without_files(whole.out + whole.err)
    assert [name for name in names if not re.search(rf"{re.escape(name)}\b", said)] == []
    if short is not None:
        assert re.search(r"\b\d+ more\b", short.out + short.err)
        told = without_files(short.out + short.err)
        assert not all(re.search(rf"{re.escape(name)}\b", told) for name in names)


def without_files(printed: str) -> str:
    """The lines of output that are not those of files, which have every name."""
    return "\n".join(line for line in printed.splitlines() if not line.lstrip().startswith(("-", "+")))
