"""`hostfwctl describe`: what resources of every kind mean on a host. The examples' descriptions are golden files."""

import json
from pathlib import Path

import pytest
import yaml

from hostfw.cli.kinds import KINDS
from tests.unit.cli_runs import UPLINK, WEB, Machine, machine

MORE = """\
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: platform}
spec: {order: 100, defaultAction: Pass}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: guard}
spec:
  tier: platform
  order: 5
  selector: has(role)
  types: [Ingress]
  applyOnForward: true
  doNotTrack: true
  ingress:
    - {action: Deny, source: {selector: kind == 'bad'}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: routed}
spec:
  tier: platform
  selector: has(role)
  applyOnForward: true
  ingress:
    - {action: Pass, notProtocol: UDP, source: {notNets: [10.0.0.0/8], notSelector: kind == 'bad'}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: nat}
spec:
  tier: platform
  selector: has(role)
  applyOnForward: true
  preDNAT: true
  ingress:
    - {action: Allow, protocol: TCP, destination: {notPorts: [22, api]}}
---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: later}
spec:
  selector: role == 'web'
  ingress: [{action: Deny, ipVersion: 6, notICMP: {type: 8, code: 1}}]
---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: gone}
spec: {stagedAction: Delete}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: bad, labels: {kind: bad}}
spec: {nets: [198.51.100.0/24, 198.51.100.9, 203.0.113.1, "2001:db8:bad::/48"]}
---
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: base}
spec:
  labelsToApply: {os: debian, role: none}
  egress: [{action: Allow}]
---
apiVersion: hostfw.io/v1
kind: InterfaceGroup
metadata: {name: spare}
spec: {match: [{linkGroup: dmz}], except: [{kind: tun}]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: spare, labels: {kind: bad}}
spec:
  node: web1
  interfaceGroup: spare
  expectedIPs: [192.0.2.77]
  profiles: [base]
  ports: [{name: api, protocol: TCP, port: 8443}]
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: elsewhere, labels: {role: db}}
spec: {node: db1, interfaceName: eth0}
---
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: botnet, labels: {kind: bad}}
spec: {path: lists/botnet.txt, maxShrink: 20%}
---
apiVersion: projectcalico.org/v3
kind: NetworkSet
metadata: {name: partners, namespace: shop, labels: {kind: partner}}
spec: {nets: [203.0.113.64/28]}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {env: prod}}
---
apiVersion: hostfw.io/v1
kind: NftRules
metadata: {name: own}
spec: {hook: input, order: 1, ipVersion: 4, rules: [tcp flags syn counter, 'meta mark 7 drop']}
"""


WORKLOAD = """\
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {name: till, namespace: shop, labels: {app: till}}
spec: {interfaceName: ve-till, ipNetworks: [10.0.3.2], profiles: [base], ports: [{name: pay, protocol: TCP, port: 99}]}
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: tills, namespace: shop}
spec: {selector: app == 'desk', ingress: [{action: Allow, source: {selector: app == 'desk'}}]}
---
apiVersion: projectcalico.org/v3
kind: StagedNetworkPolicy
metadata: {name: tills, namespace: shop}
spec: {stagedAction: Delete}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: desks, namespace: shop}
spec: {podSelector: {matchLabels: {app: desk}}}
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: desks}
spec:
  tier: Admin
  priority: 5
  subject: {namespaces: {matchLabels: {kind: shop}}}
  ingress: [{action: Pass, from: [{pods: {podSelector: {matchLabels: {app: desk}}}}]}]
"""


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = machine(tmp_path, monkeypatch)
    made.write(web=WEB, uplink=UPLINK, more=MORE)
    (made.config / "lists").mkdir()
    (made.config / "lists" / "botnet.txt").write_text("198.51.100.77\n100.64.0.0/16\n100.64.9.1\n2001:db8:b0::/48\n")
    return made


DESCRIBED = [
    (
        "an endpoint with every class of policy",
        ["hep", "uplink"],
        """\
HostEndpoint uplink   etc/uplink.yaml:1
node            web1 (this host)
interfaces      eth0 (interfaceName eth0)
labels          role=web
expectedIPs     -
profiles        -
ports           -

ingress, before connection tracking (doNotTrack)
  neighbour discovery, multicast membership: exempt from these policies
  failsafe tcp 22: exempt from these policies
  failsafe udp 53, answers to it: exempt from these policies
  tier platform
    policy guard, order 5   etc/more.yaml:6
      [0] Deny: source.selector kind == "bad" (2 addresses, 4 prefixes)   etc/more.yaml:17
  nothing decided: on to connection tracking

ingress, before destination NAT (preDNAT)
  belongs to what is established: Allow
  neighbour discovery, multicast membership: exempt from these policies
  invalid for connection tracking: Deny
  failsafe tcp 22: exempt from these policies
  tier platform
    policy nat   etc/more.yaml:29
      [0] Allow: protocol TCP, destination.notPorts 22, api (1 member)   etc/more.yaml:38
  nothing decided: on to destination NAT

ingress, to this host
  belongs to what is established: Allow
  neighbour discovery, multicast membership: Allow
  invalid for connection tracking: Deny
  failsafe tcp 22: Allow
  tier platform
    policy routed   etc/more.yaml:19
      [0] Pass: ipVersion 4, notProtocol UDP, source.notNets 10.0.0.0/8, source.notSelector kind == "bad" \
(2 addresses, 4 prefixes)   etc/more.yaml:27
    end of tier: Pass
  tier default
    policy web, order 10   etc/web.yaml:1
      [0] Allow: protocol TCP, destination.ports 80   etc/web.yaml:9
    staged policy later   etc/more.yaml:40
      [0] Deny: ipVersion 6, notICMP type 8 code 1   etc/more.yaml:45
    end of tier: Deny
  nothing decided: Deny

ingress, forwarded (applyOnForward)
  belongs to what is established: Allow
  invalid for connection tracking: Deny
  tier platform
    policy routed   etc/more.yaml:19
      [0] Pass: ipVersion 4, notProtocol UDP, source.notNets 10.0.0.0/8, source.notSelector kind == "bad" \
(2 addresses, 4 prefixes)   etc/more.yaml:27
    end of tier: Pass
  nothing decided: Allow, as far as this endpoint is concerned

egress, from this host
  belongs to what is established: Allow
  neighbour discovery, multicast membership: Allow
  invalid for connection tracking: Deny
  failsafe udp 53: Allow
  nothing decided: Deny

rules that its addresses are in
  none
""",
    ),
    (
        "an endpoint with labels and rules of a profile",
        ["hep", "spare"],
        """\
HostEndpoint spare   etc/more.yaml:69
node            web1 (this host)
interfaces      eth1 (interfaceGroup spare)
labels          kind=bad
                os=debian (of a profile)
                role=none (of a profile)
expectedIPs     192.0.2.77
profiles        base
ports           api TCP 8443
""",
    ),
    (
        "an endpoint of another node",
        ["hep", "elsewhere"],
        """\
HostEndpoint elsewhere   etc/more.yaml:79
node            db1, not this host (web1)
interfaces      -
labels          role=db
expectedIPs     -
profiles        -
ports           -

rules that its addresses are in
  none
""",
    ),
    (
        "a policy that selects endpoints of two nodes",
        ["gnp", "guard"],
        """\
GlobalNetworkPolicy guard   etc/more.yaml:6
tier            platform
order           5
place           ingress: the 1st of 3 policies of the tier
selector        has(role)
types           Ingress
classes         doNotTrack
elsewhere       elsewhere (db1)

selects on this host
  spare: governs eth1   etc/more.yaml:69
  uplink: governs eth0   etc/uplink.yaml:1

ingress
  [0] Deny: source.selector kind == "bad" (2 addresses, 4 prefixes)   etc/more.yaml:17
""",
    ),
    (
        "a staged policy that proposes to delete",
        ["sgnp", "gone"],
        """\
StagedGlobalNetworkPolicy gone   etc/more.yaml:47
stagedAction    Delete, so it is not evaluated
tier            default
order           none (evaluated last)
place           not evaluated
selector        all()
types           -
classes         normal
elsewhere       elsewhere (db1)

selects on this host
  spare: governs eth1   etc/more.yaml:69
  uplink: governs eth0   etc/uplink.yaml:1
""",
    ),
    (
        "a set and the rules that it is in",
        ["gns", "bad"],
        """\
GlobalNetworkSet bad   etc/more.yaml:52
labels          kind=bad
addresses       1 address, 2 prefixes
nets            198.51.100.0/24, 198.51.100.9/32, 203.0.113.1/32, +1 more

rules that its addresses are in
  platform/guard ingress[0] source.selector kind == 'bad'   etc/more.yaml:17
  platform/routed ingress[0] source.notSelector kind == 'bad'   etc/more.yaml:27
""",
    ),
    (
        "a namespace, and what belongs to it",
        ["ns", "shop"],
        """\
Namespace shop   etc/more.yaml:94
labels          env=prod
                kubernetes.io/metadata.name=shop
                projectcalico.org/name=shop

sets that belong to it
  shop/partners, kind=partner
""",
    ),
    (
        "a set of a namespace, with the labels that it has by it",
        ["networkset", "shop/partners"],
        """\
NetworkSet shop/partners   etc/more.yaml:89
labels          kind=partner
                pcns.env=prod
                pcns.kubernetes.io/metadata.name=shop
                pcns.projectcalico.org/name=shop
                projectcalico.org/namespace=shop
addresses       1 prefix
nets            203.0.113.64/28

rules that its addresses are in
  none
""",
    ),
    (
        "a feed and what its file holds",
        ["feed", "botnet"],
        """\
Feed botnet   etc/more.yaml:84
labels          kind=bad
file            etc/lists/botnet.txt
maxShrink       20%
addresses       1 address, 2 prefixes

rules that its addresses are in
  platform/guard ingress[0] source.selector kind == 'bad'   etc/more.yaml:17
  platform/routed ingress[0] source.notSelector kind == 'bad'   etc/more.yaml:27
""",
    ),
    (
        "a declared tier",
        ["tier", "platform"],
        """\
Tier platform   etc/more.yaml:1
order           100, the 1st of 2 tiers
defaultAction   Pass

ingress
  policy guard, order 5, selects 2 here   etc/more.yaml:6
  policy nat, selects 2 here   etc/more.yaml:29
  policy routed, selects 2 here   etc/more.yaml:19

egress
  no policy
""",
    ),
    (
        "the tier that is built in",
        ["tier", "default"],
        """\
Tier default
order           1000000, the 2nd of 2 tiers
defaultAction   Deny

ingress
  policy web, order 10, selects 1 here   etc/web.yaml:1
  staged policy later, selects 1 here   etc/more.yaml:40

egress
  no policy
""",
    ),
    (
        "a profile",
        ["profile", "base"],
        """\
Profile base   etc/more.yaml:57
labelsToApply   os=debian,role=none

HostEndpoints that list it
  spare: governs eth1   etc/more.yaml:69

ingress
  no rules

egress
  [0] Allow   etc/more.yaml:62
""",
    ),
    (
        "a group of interfaces",
        ["ig", "spare"],
        """\
InterfaceGroup spare   etc/more.yaml:64
match           linkGroup=dmz
except          kind=tun

interfaces of this host
  eth1: governed by spare (interfaceGroup spare)

HostEndpoints that name it
  spare: governs eth1   etc/more.yaml:69
""",
    ),
]

SETTINGS = "failsafe: {inbound: [22], outbound: ['udp:53']}\n"


@pytest.mark.parametrize(("words", "expected"), [c[1:] for c in DESCRIBED], ids=[c[0] for c in DESCRIBED])
def test_a_resource_is_described(host: Machine, words: list[str], expected: str) -> None:
    """Its properties, then what it comes to here, with places in files; long descriptions by their beginning."""
    host.write(hostfw=SETTINGS)

    status, out, _ = host.hostfwctl("describe", *words)

    assert status == 0
    assert out[: len(expected)] == expected


def test_an_endpoint_that_governs_nothing_says_so(host: Machine) -> None:
    """There is no order of policy where no packet comes by."""
    host.write(idle=UPLINK.replace("uplink", "idle").replace("interfaceName: eth0", "expectedIPs: [192.0.2.250]"))

    _, out, err = host.hostfwctl("describe", "hep", "idle")

    assert "interfaces      none, so it claims no interface now\n" in out
    assert "ingress" not in out.partition("rules that")[0]
    assert 'warning: HostEndpoint "idle" claims no interface now' in err


def test_the_layout_of_an_endpoint_says_what_a_packet_costs(host: Machine) -> None:
    """In both IP versions and ways; of other kinds there is none."""
    code, out, _ = host.hostfwctl("describe", "hep", "uplink", "--layout")
    refused, _, why = host.hostfwctl("describe", "gnp", "web", "--layout")

    assert code == 0
    for words in ("layout IPv4", "layout IPv6", "eth0 in: at most ", "eth0 out: at most ", " us"):
        assert words in out
    assert "a lookup 60 ns, a rule that does not match 8 ns, measured on this host" in " ".join(out.split())
    assert refused == 2
    assert "--layout is of a HostEndpoint" in why


def test_what_is_bound_by_name_is_described_before_it_is_there(host: Machine) -> None:
    """A HostEndpoint for an absent interface, and one for whatever else appears."""
    host.write(
        tunnel=UPLINK.replace("uplink", "tunnel").replace("eth0", "tun0"),
        rest=UPLINK.replace("uplink", "rest").replace("eth0", '"*"'),
    )

    tunnel, rest = (host.hostfwctl("describe", "hep", name).out for name in ("tunnel", "rest"))

    assert "interfaces      tun0 (interfaceName tun0), which is not there\n" in tunnel
    assert "policy web" in tunnel
    assert "interfaces      every other that appears\n" in rest


def test_what_an_endpoint_meets_is_what_explain_looks_at(host: Machine) -> None:
    """The rules that a packet misses one after the other are those of the description, in that order."""
    _, described, _ = host.hostfwctl("describe", "hep", "uplink", "-o", "json")
    _, explained, _ = host.hostfwctl("explain", "10.1.1.1", "192.0.2.1:9/udp", "--in", "eth0", "-o", "json")

    sections = {section["title"]: section["entries"] for section in json.loads(described)["sections"]}
    rules = [
        (tier["name"], policy["name"], rule["name"], rule["line"])
        for title in ("before connection tracking (doNotTrack)", "before destination NAT (preDNAT)", "to this host")
        for tier in sections[f"ingress, {title}"]
        if tier["role"] == "tier"
        for policy in tier["below"]
        for rule in policy["below"]
    ]
    steps = [step for step in json.loads(explained)["steps"] if step["reason"] == "rule"]
    assert [(s["tier"], s["policy"], f"[{s['rule']}]", s["line"]) for s in steps] == rules


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_programs_get_a_document(host: Machine, form: str) -> None:
    """The same content, with roles and places as fields."""
    status, out, _ = host.hostfwctl("describe", "gns", "bad", "-o", form)

    document = (json.loads if form == "json" else yaml.safe_load)(out)
    assert status == 0
    assert (document["apiVersion"], document["kind"]) == ("hostfw.io/v1", "Description")
    assert document["of"] == {"kind": "GlobalNetworkSet", "name": "bad", "path": "etc/more.yaml", "line": 52}
    assert document["properties"]["addresses"] == ["1 address, 2 prefixes"]
    assert document["sections"][0]["entries"][0] == {
        "role": "rule",
        "name": "platform/guard ingress[0]",
        "text": "source.selector kind == 'bad'",
        "path": "etc/more.yaml",
        "line": 17,
        "below": [],
    }


@pytest.mark.parametrize("name", [kind.name for kind in KINDS])
def test_every_kind_can_be_described(host: Machine, name: str) -> None:
    """No kind that `get` lists is forgotten."""
    host.write(workload=WORKLOAD, hostfw="workloads: {interfaces: ['ve-*']}\n")
    listed = host.hostfwctl("get", name, "-o", "name").out.split()

    assert listed, f"{MORE!r} has no {name}"
    for one in listed:
        status, out, _ = host.hostfwctl("describe", name, one.partition("/")[2])
        assert (status, out.splitlines()[0].partition(" ")[0]) == (0, name)


def test_a_workload_is_described(host: Machine) -> None:
    """Its labels by its namespace, and all that a packet of it meets; one that governs nothing says so."""
    host.write(workload=WORKLOAD, hostfw="workloads: {interfaces: ['ve-*']}\n")

    assert (
        host.hostfwctl("describe", "wep", "shop/till").out
        == """\
WorkloadEndpoint shop/till   etc/workload.yaml:1
node            this host
interface       ve-till, which is not there
labels          app=till
                os=debian (of a profile or its namespace)
                pcns.env=prod (of a profile or its namespace)
                pcns.kubernetes.io/metadata.name=shop (of a profile or its namespace)
                pcns.projectcalico.org/name=shop (of a profile or its namespace)
                projectcalico.org/namespace=shop (of a profile or its namespace)
                projectcalico.org/orchestrator= (of a profile or its namespace)
                role=none (of a profile or its namespace)
ipNetworks      10.0.3.2
profiles        base
ports           pay TCP 99

ingress, to the workload
  belongs to what is established: Allow
  invalid for connection tracking: Deny
  tier platform
    policy routed   etc/more.yaml:19
      [0] Pass: ipVersion 4, notProtocol UDP, source.notNets 10.0.0.0/8, source.notSelector kind == "bad" (2 addresses, 4 prefixes)   etc/more.yaml:27
    end of tier: Pass
  profile base   etc/more.yaml:57
  nothing decided: Deny

egress, from the workload
  from another address than its own: Deny
  belongs to what is established: Allow
  invalid for connection tracking: Deny
  to this host: Allow to udp 53, tcp 53, udp 67, udp 547, otherwise Deny
  profile base   etc/more.yaml:57
    [0] Allow   etc/more.yaml:62
  nothing decided: Deny

rules that its addresses are in
  none
"""  # noqa: E501  a line of a rule is as long as the rule
    )


REFUSED = [
    ("an unknown kind", ["hepp", "x"], 2, 'unknown kind "hepp"\n  hint: did you mean "hep"?\n'),
    ("an unknown name", ["hep", "uplnk"], 1, 'there is no HostEndpoint "uplnk"\n  hint: did you mean "uplink"?\n'),
    (
        "the name of another kind",
        ["policy", "bad"],
        1,
        'there is no GlobalNetworkPolicy "bad"\n  hint: `hostfwctl describe gns bad`\n',
    ),
    (
        "a name like no other",
        ["policy", "qqq"],
        1,
        'there is no GlobalNetworkPolicy "qqq"\n  hint: `hostfwctl get gnp` lists them\n',
    ),
    (
        "a kind of which there is none",
        ["np", "qqq"],
        1,
        (
            'there is no NetworkPolicy "qqq"\n  hint: none is written; `hostfwctl get gnp` lists the policies; '
            "`hostfwctl get --help` names the other kinds\n"
        ),
    ),
]


@pytest.mark.parametrize(("words", "status", "message"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_what_is_not_there_is_said(host: Machine, words: list[str], status: int, message: str) -> None:
    """With what was probably meant."""
    assert host.hostfwctl("describe", *words, "-q") == (status, "", f"hostfwctl: {message}")


def test_what_is_a_list_is_one_for_programs(host: Machine) -> None:
    """Every item of it, where a person sees the first few on one line."""
    nets = [f"198.51.100.{number}/32" for number in range(40)]
    text = f"""\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {{name: many, labels: {{a: x, b: "y"}}}}
spec: {{nets: [{", ".join(nets)}]}}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {{name: both-ways}}
spec: {{selector: all(), types: [Ingress, Egress], doNotTrack: true, applyOnForward: true}}
"""
    (host.config / "many.yaml").write_text(text)

    documents = [
        json.loads(host.hostfwctl("describe", *one, "-o", "json").out)["properties"]
        for one in (("gns", "many"), ("gnp", "both-ways"))
    ]

    assert documents[0]["nets"] == nets
    assert documents[0]["labels"] == ["a=x", "b=y"]
    assert documents[1]["types"] == ["Ingress", "Egress"]
    assert len(documents[1]["classes"]) > 0
    assert ", " not in "".join(documents[1]["classes"])
    assert "more" in host.hostfwctl("describe", "gns", "many").out
