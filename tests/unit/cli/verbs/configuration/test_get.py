"""`hostfwctl get` and `interfaces`: tables and documents of what there is."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from hostfw.build.candidate import check_candidate
from hostfw.host.store.configuration.files import read_paths
from tests.unit.cli_runs import FACTS, UPLINK, WEB, Machine, machine

KINDS = ("gnp", "sgnp", "hep", "gns", "networkset", "ns", "tier", "profile", "ig")

MORE = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web-admin}
spec:
  selector: all()
  types: [Ingress, Egress]
---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: web}
spec: {order: 10, selector: role == 'web', stagedAction: Learn}
---
apiVersion: projectcalico.org/v3
kind: StagedGlobalNetworkPolicy
metadata: {name: web-admin}
spec: {stagedAction: Delete}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: offices, labels: {place: office}}
spec: {nets: [192.0.2.0/24, 198.51.100.7, "2001:db8::/32"]}
---
apiVersion: projectcalico.org/v3
kind: NetworkSet
metadata: {name: partners, namespace: shop, labels: {kind: partner}}
spec: {nets: [203.0.113.0/24]}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {env: prod}}
---
apiVersion: projectcalico.org/v3
kind: Tier
metadata: {name: platform}
spec: {order: 100.5, defaultAction: Pass}
---
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: base}
spec:
  labelsToApply: {os: debian}
---
apiVersion: hostfw.io/v1
kind: InterfaceGroup
metadata: {name: uplinks}
spec:
  match:
    - {name: "eth*", defaultRoute: true}
    - {linkGroup: dmz}
  except:
    - {addressIn: [10.0.0.0/8]}
"""


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = machine(tmp_path, monkeypatch)
    made.write(web=WEB, uplink=UPLINK, more=MORE)
    return made


TABLES = [
    (
        "policies",
        ["gnp"],
        """\
NAME        TIER           ORDER   SELECTOR
web         default           10   role == 'web'
web-admin   default   <infinity>   all()
""",
    ),
    (
        "policies, wide",
        ["gnps", "-o", "wide"],
        """\
NAME        TIER           ORDER   SELECTOR        TYPES             FILE
web         default           10   role == 'web'   Ingress           etc/web.yaml:1
web-admin   default   <infinity>   all()           Ingress, Egress   etc/more.yaml:1
""",
    ),
    (
        "one policy",
        ["globalnetworkpolicy", "web"],
        "NAME   TIER      ORDER   SELECTOR\nweb    default      10   role == 'web'\n",
    ),
    (
        "staged policies, wide",
        ["sgnp", "-o", "wide"],
        """\
NAME        TIER           ORDER   SELECTOR        ACTION   TYPES     FILE
web         default           10   role == 'web'   Learn    Ingress   etc/more.yaml:8
web-admin   default   <infinity>   all()           Delete   -         etc/more.yaml:13
""",
    ),
    ("a kind in capitals", ["HostEndpoints"], "NAME     NODE   INTERFACE\nuplink   web1   eth0\n"),
    (
        "endpoints, wide",
        ["hep", "-o", "wide"],
        """\
NAME     NODE   INTERFACE   IPS   PROFILES   LABELS     FILE
uplink   web1   eth0        -     -          role=web   etc/uplink.yaml:1
""",
    ),
    ("sets of namespaces", ["netset"], "NAME            NETS\nshop/partners   203.0.113.0/24\n"),
    ("namespaces", ["ns"], "NAME   LABELS\nshop   env=prod\n"),
    ("a set by its namespace and name", ["netset", "shop/partners", "-o", "name"], "networkset/shop/partners\n"),
    ("sets", ["gns"], "NAME      NETS\noffices   192.0.2.0/24, 198.51.100.7, 2001:db8::/32\n"),
    ("tiers", ["tiers"], "NAME       ORDER   DEFAULTACTION\nplatform   100.5   Pass\n"),
    ("profiles", ["profile"], "NAME   LABELS\nbase   os=debian\n"),
    (
        "groups, wide",
        ["ig", "-o", "wide"],
        """\
NAME      MATCH                                        EXCEPT                 FILE
uplinks   name=eth* defaultRoute=true; linkGroup=dmz   addressIn=10.0.0.0/8   etc/more.yaml:43
""",
    ),
    ("names", ["gnp", "-o", "name"], "globalnetworkpolicy/web\nglobalnetworkpolicy/web-admin\n"),
    ("a name as it was printed", ["globalnetworkpolicy/web", "-o", "name"], "globalnetworkpolicy/web\n"),
]


@pytest.mark.parametrize(("arguments", "expected"), [c[1:] for c in TABLES], ids=[c[0] for c in TABLES])
def test_resources_are_listed(host: Machine, arguments: list[str], expected: str) -> None:
    """The columns are calicoctl's and a few more; a name that was printed is taken back."""
    assert host.hostfwctl("get", *arguments) == (0, expected, "")


REFUSED = [
    ("an unknown kind", ["hostendpiont"], 2, 'unknown kind "hostendpiont"\n  hint: did you mean "hostendpoint"?\n'),
    ("an unknown name", ["gnp", "wbe"], 1, 'there is no GlobalNetworkPolicy "wbe"\n  hint: did you mean "web"?\n'),
    (
        "a name without its namespace",
        ["networkset", "partners"],
        1,
        'there is no NetworkSet "partners"\n  hint: did you mean "shop/partners"?\n',
    ),
    ("a name like none", ["hep", "zzz"], 1, 'there is no HostEndpoint "zzz"\n'),
]


@pytest.mark.parametrize(("arguments", "status", "message"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_what_is_not_there_is_said(host: Machine, arguments: list[str], status: int, message: str) -> None:
    """With what was probably meant."""
    assert host.hostfwctl("get", *arguments) == (status, "", f"hostfwctl: {message}")


def test_a_kind_without_resources_is_said(host: Machine) -> None:
    """An empty table is no data."""
    (host.config / "uplink.yaml").unlink()

    assert host.hostfwctl("get", "hep") == (0, "", "there is no HostEndpoint\n")


def test_one_resource_is_its_manifest(host: Machine) -> None:
    """The manifest says what its file says, and the types that follow from its rules."""
    status, out, _ = host.hostfwctl("get", "gnp", "web", "-o", "yaml")

    assert status == 0
    expected = yaml.safe_load(WEB)
    expected["spec"]["types"] = ["Ingress"]
    assert yaml.safe_load(out) == expected


@pytest.mark.parametrize("form", ["yaml", "json"])
@pytest.mark.parametrize("kind", KINDS)
def test_lists_can_be_read_back(host: Machine, tmp_path: Path, kind: str, form: str) -> None:
    """The output of `get` for all kinds together is the configuration."""
    again = tmp_path / "again.yaml"

    _, out, _ = host.hostfwctl("get", kind, "-o", form)
    again.write_text(out)
    status, second, err = host.hostfwctl("get", kind, "-o", form, "-f", again)

    assert (status, err) == (0, "")
    assert second == out
    assert (json.loads if form == "json" else yaml.safe_load)(out)["kind"].endswith("List")


def test_a_broken_configuration_is_not_listed_in_silence(host: Machine) -> None:
    """Readable resources are listed, with a message that others are missing."""
    host.write(more=MORE.replace("selector: all()", "selectr: all()"))

    status, out, err = host.hostfwctl("get", "hep")

    assert (status, out) == (3, "NAME     NODE   INTERFACE\nuplink   web1   eth0\n")
    assert err.endswith("hostfwctl: 1 problem in 1 file\n")


def test_interfaces_say_who_governs_them(host: Machine) -> None:
    """By a HostEndpoint and why, or by none and what that means."""
    assert host.hostfwctl("interfaces") == (
        0,
        """\
NAME   INDEX   KIND       GROUPS    ADDRESSES                ENDPOINT   WHY
eth0       2   -          uplinks   192.0.2.1, 2001:db8::1   uplink     interfaceName eth0
eth1       3   veth       uplinks   -                        -          unmanaged: ingress deny, egress allow
lo         1   loopback   -         127.0.0.1, ::1           -          no HostEndpoint names lo: everything passes
""",
        "",
    )


def test_interfaces_that_are_not_there_are_listed(host: Machine) -> None:
    """A HostEndpoint for an absent interface is in the table, and a warning says it as well."""
    host.write(uplink=UPLINK.replace("eth0", "eth9"), rest=UPLINK.replace("eth0", '"*"').replace("uplink", "rest"))

    status, out, err = host.hostfwctl("interfaces")

    lines = [line.split(maxsplit=5) for line in out.splitlines()]
    assert status == 0
    assert lines[-1] == ["eth9", "-", "-", "-", "-", "uplink     interfaceName eth9; not there"]
    assert out.splitlines()[2].endswith("rest       interfaceName *")
    assert 'warning: HostEndpoint "uplink" names the interface "eth9"' in err


def test_wide_interfaces_say_everything(host: Machine) -> None:
    """State, alternative names, link group, master and default route."""
    _, out, _ = host.hostfwctl("interfaces", "-o", "wide")

    rows = {line.split()[0]: line.split() for line in out.splitlines()}
    assert rows["NAME"][-5:] == ["STATE", "ALTNAMES", "LINKGROUP", "MASTER", "DEFAULTROUTE"]
    assert rows["eth0"][-5:] == ["up", "enp1s0", "0", "-", "yes"]
    assert rows["eth1"][-5:] == ["down", "-", "dmz", "br0", "no"]


def test_interfaces_of_an_invalid_configuration_have_no_endpoints(host: Machine) -> None:
    """The host is shown all the same."""
    host.write(uplink=UPLINK.replace("node", "nod"))

    status, out, err = host.hostfwctl("interfaces")

    assert status == 3
    assert [line.split()[0] for line in out.splitlines()] == ["NAME", "eth0", "eth1", "lo"]
    assert "the configuration is invalid" in out
    assert err.startswith("etc/uplink.yaml:7:3: ")


def test_names_of_interfaces(host: Machine) -> None:
    """One a line, for scripts."""
    assert host.hostfwctl("interfaces", "-o", "name") == (0, "eth0\neth1\nlo\n", "")


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_facts_make_any_machine_compile_for_this_one(host: Machine, tmp_path: Path, form: str) -> None:
    """`interfaces -o json` is what `compile --facts` takes, and gives the same bytes as the host itself."""
    facts = tmp_path / "facts"
    status, out, _ = host.hostfwctl("interfaces", "-o", form)
    facts.write_text(out)
    here = host.hostfwctl("compile")
    host.facts = replace(FACTS, node="elsewhere", interfaces=())

    there = host.hostfwctl("compile", "--facts", facts)

    assert status == 0
    assert here == there
    assert here.out.startswith("#!/usr/sbin/nft -f\n")


def test_facts_that_are_none_are_a_problem(host: Machine, tmp_path: Path) -> None:
    """A wrong file is refused with its place, before anything is compiled."""
    facts = tmp_path / "facts.json"
    facts.write_text("[]")

    status, out, err = host.hostfwctl("compile", "--facts", facts)

    assert (status, out) == (3, "")
    assert err.startswith("facts.json:1:1: ")


@pytest.mark.parametrize("path", ["gone.json", "."])
def test_facts_that_cannot_be_read_are_a_problem(host: Machine, tmp_path: Path, path: str) -> None:
    """Neither a missing file nor a directory is a defect."""
    status, out, err = host.hostfwctl("compile", "--facts", tmp_path / path)

    assert (status, out) == (3, "")
    assert "hostfwctl: 1 problem in 1 file\n" in err


def test_compile_prints_nothing_of_an_invalid_configuration(host: Machine) -> None:
    """Half a script could be loaded by mistake."""
    host.write(web=WEB.replace("selector", "selectr"))

    status, out, _ = host.hostfwctl("compile")

    assert (status, out) == (3, "")


def test_standard_input_is_a_file(host: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`-f -` reads what is piped in."""
    piped = tmp_path / "piped"
    piped.write_text(UPLINK)
    with piped.open() as stdin:
        monkeypatch.setattr("sys.stdin", stdin)

        assert host.hostfwctl("get", "hep", "-f", "-", "-o", "name") == (0, "hostendpoint/uplink\n", "")


def test_what_get_prints_is_the_configuration(host: Machine, tmp_path: Path) -> None:
    """All lists together decode to the very resources, positions apart."""
    files = []
    for kind in KINDS:
        file = tmp_path / f"{kind}.yaml"
        file.write_text(host.hostfwctl("get", kind, "-o", "yaml").out)
        files.append(file)

    again = check_candidate(*read_paths(files))

    assert again.problems == ()
    assert host.hostfwctl("apply").status == 0
    assert host.hostfwctl("diff", "-f", *files) == (0, "", "no difference\n")
