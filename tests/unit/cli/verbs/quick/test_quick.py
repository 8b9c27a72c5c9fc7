"""`allow`, `deny`, `remove` and `rules` on a host in memory: the files that they write, and what comes of a refusal."""

import errno
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest
import yaml

from hostfw.host.lock import files_lock
from hostfw.host.nftables.writing.script_runner import NftResult
from hostfw.host.store.atomic_files import WriteError
from hostfw.manifest.decode import DecodedSource, decode_source
from hostfw.manifest.yaml.manifests import Manifest, manifests_of
from hostfw.model.host.baseline import Baseline, Session
from hostfw.model.sources import Source
from hostfw.model.values import Family
from tests.unit.builders.policy_builders import net
from tests.unit.cli_runs import NEIGHBOURS, UPLINK, WEB, Machine, machine

QUICK = "etc/quick"
OFFICE = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata:
  name: office
  labels: {set: office}
spec:
  nets: [198.51.100.0/24]
"""


@pytest.fixture(name="bare")
def _bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return machine(tmp_path, monkeypatch)


@pytest.fixture(name="host")
def _host(bare: Machine) -> Machine:
    bare.write(web=WEB, uplink=UPLINK, office=OFFICE)
    assert bare.hostfwctl("apply").status == 0
    return bare


def written(host: Machine) -> dict[str, str]:
    """The files of quick rules, by their names."""
    folder = host.config / "quick"
    return {path.name: path.read_text() for path in sorted(folder.iterdir())} if folder.exists() else {}


def test_a_rule_is_a_file_that_is_shown_and_in_force(host: Machine) -> None:
    """Its first line says what wrote it and what takes it away; the tier comes with the first."""
    status, out, err = host.hostfwctl("allow", "tcp/8080", "from", "10.0.0.0/8", "--reason", "the lab")

    assert status == 0
    assert list(written(host)) == ["allow-tcp-8080-from-10-0-0-0-8.yaml", "tier.yaml"]
    policy = yaml.safe_load(written(host)["allow-tcp-8080-from-10-0-0-0-8.yaml"])
    assert policy["metadata"] == {
        "name": "quick.allow-tcp-8080-from-10-0-0-0-8",
        "annotations": {"hostfw.io/reason": "the lab"},
    }
    assert "# Written by `hostfwctl allow tcp/8080 from 10.0.0.0/8`" in out
    assert f"{QUICK}/allow-tcp-8080-from-10-0-0-0-8.yaml:" in err
    assert "in force: 2 policies" in err
    assert host.hostfwctl("diff").out == ""


def test_the_same_words_change_nothing(host: Machine) -> None:
    """Nor do others that mean the same."""
    host.hostfwctl("allow", "80/tcp", "443/tcp")
    before = written(host)

    status, out, err = host.hostfwctl("allow", "tcp/443,80")

    assert (status, out) == (0, "")
    assert "no change" in err
    assert written(host) == before


def test_one_more_rule_reads_no_other_file_again(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files in force were decoded before, and a new name is looked for in the texts."""
    for port in range(8001, 8005):
        host.hostfwctl("allow", f"tcp/{port}")
    decoded: list[str] = []
    spanned: list[str] = []

    def decode_noted(source: Source, selectors: set[str] | None = None) -> DecodedSource:
        decoded.append(Path(source.path).name)
        return decode_source(source, selectors)

    def manifests_noted(source: Source) -> Iterator[Manifest]:
        spanned.append(Path(source.path).name)
        return manifests_of(source)

    monkeypatch.setattr("hostfw.manifest.decode.decode_source", decode_noted)
    monkeypatch.setattr("hostfw.manifest.edits.add.manifests_of", manifests_noted)

    assert host.hostfwctl("allow", "tcp/9000").status == 0
    assert decoded == ["allow-tcp-9000.yaml"]
    assert set(spanned) == {"allow-tcp-9000.yaml"}


def test_a_host_without_endpoints_gets_one(bare: Machine) -> None:
    """Without, no policy would mean anything."""
    assert bare.hostfwctl("allow", "http").status == 0

    assert list(written(bare)) == ["allow-tcp-80.yaml", "this-host.yaml", "tier.yaml"]
    assert "interfaceName: '*'" in written(bare)["this-host.yaml"]


def test_sets_and_endpoints_are_selected_by_what_is_theirs_alone(host: Machine) -> None:
    """By their labels."""
    host.hostfwctl("allow", "tcp/22", "from", "office", "on", "uplink")

    policy = yaml.safe_load(written(host)["allow-tcp-22-from-office-on-uplink.yaml"])["spec"]
    assert policy["selector"] == "role == 'web'"
    assert policy["ingress"][0]["source"] == {"selector": "set == 'office'"}


@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        ({}, ["allow", "tcp/22", "from", "nobody"], 'there is no GlobalNetworkSet or Feed "nobody"'),
        ({}, ["allow", "tcp/22", "on", "nothing"], 'there is no HostEndpoint "nothing"'),
        (
            {},
            ["allow", "tcp/22", "on", "eth0"],
            '"eth0" is an interface, not a HostEndpoint\n  hint: its HostEndpoint: on uplink',
        ),
        (
            {"uplink": UPLINK.replace("eth0", "'*'")},
            ["allow", "tcp/22", "on", "eth0"],
            'there is no HostEndpoint "eth0"; "uplink" is for every interface',
        ),
        ({"office": OFFICE.replace("  labels: {set: office}\n", "")}, ["deny", "office"], '"office" has no labels'),
        ({"twin": OFFICE.replace("name: office", "name: twin")}, ["deny", "office"], 'has the labels of "twin"'),
        (
            {"twin": OFFICE.replace("Global", "").replace("name: office", "name: twin\n  namespace: shop")},
            ["deny", "office"],
            'are those of NetworkSet "shop/twin" too',
        ),
        ({"office": OFFICE.replace("set: office", "role: web")}, ["deny", "office"], "are those of a HostEndpoint too"),
        (
            {"tier": "apiVersion: projectcalico.org/v3\nkind: Tier\nmetadata: {name: quick}\nspec: {order: 1}\n"},
            ["allow", "tcp/22"],
            "denies what it does not decide",
        ),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(
    host: Machine, change: dict[str, str], words: list[str], message: str
) -> None:
    """With the next step, and nothing is written."""
    host.write(**change)
    assert host.hostfwctl("apply").status == 0

    status, out, err = host.hostfwctl(*words)

    assert (status, out) == (1, "")
    assert message in err
    assert "hint: " in err
    assert written(host) == {}


def test_words_that_mean_nothing_are_the_command_lines_fault(host: Machine) -> None:
    """Exit status 2, and the hint has examples."""
    status, out, err = host.hostfwctl("allow", "xyzzy")

    assert (status, out) == (2, "")
    assert 'hostfwctl: "xyzzy" is no service that is known' in err
    assert "tcp/8080" in err


def test_edits_that_are_not_in_force_are_left_to_apply(host: Machine) -> None:
    """A quick rule does not put somebody's half-done work into force."""
    host.write(more=WEB.replace("name: web", "name: more"))

    status, _, err = host.hostfwctl("allow", "http")

    assert status == 1
    assert "etc has changes that are not in force" in err
    assert written(host) == {}


def test_what_the_engine_refuses_is_not_written(host: Machine) -> None:
    """As where the rule would cut off ssh: the file goes again, and with the first of them the folder."""
    host.write(hostfw="failsafe: {inbound: []}", ssh=WEB.replace("name: web", "name: ssh").replace("[80]", "[22]"))
    assert host.hostfwctl("apply", "--accept-lockout").status == 0
    host.baseline = Baseline(sessions=(NEIGHBOURS,))

    refused = host.hostfwctl("deny", "203.0.113.9")

    assert refused.status == 1
    assert "203.0.113.9" in refused.err
    assert not (host.config / "quick").exists()
    assert host.hostfwctl("diff").out == ""
    assert host.hostfwctl("deny", "203.0.113.9", "--accept-lockout").status == 0


def test_here_is_where_the_session_comes_from(host: Machine) -> None:
    """And without a session it is nothing."""
    assert host.hostfwctl("allow", "tcp/5432", "from", "here").status == 2

    host.baseline = Baseline(sessions=(NEIGHBOURS,))

    assert host.hostfwctl("allow", "tcp/5432", "from", "here").status == 0
    assert "allow-tcp-5432-from-203-0-113-9.yaml" in written(host)


def test_local_is_the_networks_of_the_interface(host: Machine) -> None:
    """In a rule of both IP versions; there is no address of it whose connections could be ended."""
    assert host.hostfwctl("deny", "local", "--cut").status == 2
    assert host.hostfwctl("allow", "tcp/5432", "from", "local").status == 0
    assert host.hostfwctl("allow", "out", "tcp/25", "to", "local").status == 0

    (rule,) = yaml.safe_load(written(host)["allow-tcp-5432-from-local.yaml"])["spec"]["ingress"]
    assert rule["source"] == {"nets": ["local"]}
    (rule,) = yaml.safe_load(written(host)["allow-out-tcp-25-to-local.yaml"])["spec"]["egress"]
    assert rule["destination"] == {"nets": ["local"], "ports": [25]}


OVERRULED = [
    (["allow", "80"], ["deny", "tcp/80"], "allow-tcp-80-udp-80 comes first, and allows this"),
    (["allow", "tcp/80-90"], ["deny", "tcp/85"], "allow-tcp-80-to-90 comes first, and allows this"),
    (["allow", "ping"], ["deny", "ping"], "allow-ping comes first, and allows this"),
    (["deny", "192.0.2.0/24"], ["allow", "tcp/80", "from", "192.0.2.9"], "deny-192-0-2-0-24 comes first, and denies"),
    (["allow", "80"], ["deny", "tcp/80", "from", "192.0.2.9"], ""),
    (["allow", "tcp/80", "from", "192.0.2.9"], ["deny", "tcp/80"], ""),
    (["allow", "tcp/80"], ["deny", "tcp/81"], ""),
    (["allow", "tcp/80"], ["deny", "udp/80"], ""),
    (["allow", "out", "tcp/80"], ["deny", "tcp/80"], ""),
    (["deny", "192.0.2.0/24"], ["allow", "tcp/80"], ""),
    (["deny", "office"], ["allow", "tcp/80", "from", "office"], "deny-office comes first, and denies this"),
    (["deny", "office"], ["allow", "tcp/80", "from", "192.0.2.9"], ""),
    (["allow", "tcp/80", "on", "uplink"], ["deny", "tcp/80"], ""),
    (["allow", "tcp/80"], ["deny", "tcp/80", "on", "uplink"], "allow-tcp-80 comes first, and allows this"),
]


@pytest.mark.parametrize(("first", "words", "expected"), OVERRULED)
def test_a_rule_that_another_leaves_nothing_to_is_warned_of(
    host: Machine, first: list[str], words: list[str], expected: str
) -> None:
    """With the command that takes the other away."""
    host.hostfwctl(*first)

    status, _, err = host.hostfwctl(*words)
    said = " ".join(err.split())

    assert status == 0
    assert (expected in said) if expected else ("comes first, and" not in said)
    if expected:
        name = expected.partition(" ")[0]
        assert f"`hostfwctl remove {name}` takes it away" in said
        assert host.hostfwctl("remove", name).status == 0


def test_a_dry_run_changes_nothing(host: Machine) -> None:
    """It prints what would be written."""
    committed = len(host.kernel.committed)

    status, out, _ = host.hostfwctl("deny", "198.51.100.7", "--dry-run")

    assert status == 0
    assert "kind: GlobalNetworkPolicy" in out
    assert written(host) == {}
    assert len(host.kernel.committed) == committed


@pytest.mark.parametrize("words", [["deny-tcp-25"], ["quick.deny-tcp-25"], ["deny", "25/tcp"]])
def test_a_rule_is_removed_by_name_or_by_its_words(host: Machine, words: list[str]) -> None:
    """Its file goes, the others stay."""
    host.hostfwctl("deny", "tcp/25")
    host.hostfwctl("allow", "http")

    assert host.hostfwctl("remove", *words).status == 0

    assert list(written(host)) == ["allow-tcp-80.yaml", "tier.yaml"]
    assert "in force: 2 policies" in host.hostfwctl("status", "-v").out or host.hostfwctl("diff").out == ""


def test_a_number_is_answered_with_the_name(host: Machine) -> None:
    """Numbers change with every rule; that of a rule which no file of quick rules holds has no command."""
    host.hostfwctl("allow", "tcp/8080")
    items = json.loads(host.hostfwctl("rules", "-o", "json").out)["items"]
    number = next(item["number"] for item in items if item["by"] == "quick.allow-tcp-8080")

    for word, hint in ((str(number), "`hostfwctl remove allow-tcp-8080`"), ("1", "`hostfwctl rules` shows them")):
        status, out, err = host.hostfwctl("remove", word)

        assert (status, out) == (2, "")
        assert "rules have names, not numbers" in err
        assert f"hint: {hint}" in err
    assert "allow-tcp-8080.yaml" in written(host)


def test_what_is_no_quick_rule_is_not_removed(host: Machine) -> None:
    """Nor is a file that holds more; the nearest name is said."""
    host.hostfwctl("allow", "http")
    assert 'did you mean "allow-tcp-80"?' in host.hostfwctl("remove", "allow-tcp-88").err
    assert host.hostfwctl("remove", "web").status == 1
    path = host.config / "quick" / "allow-tcp-80.yaml"
    path.write_text(f"{path.read_text()}---\n{OFFICE.replace('office', 'other')}")
    host.hostfwctl("apply")

    status, _, err = host.hostfwctl("remove", "allow-tcp-80")

    assert status == 1
    assert "holds other resources too" in err
    assert path.exists()


def test_cut_ends_the_connections_of_who_is_denied(host: Machine) -> None:
    """And of nobody else; it goes with an address alone."""
    assert host.hostfwctl("deny", "198.51.100.7", "--cut").status == 0
    assert host.cut == ["198.51.100.7/32"]
    assert host.hostfwctl("deny", "tcp/25", "--cut").status == 2


def test_rules_are_listed_in_the_order_of_evaluation(host: Machine) -> None:
    """Failsafes, quick rules with what is denied first, policy, the end; counters and lines of files beside them."""
    host.hostfwctl("allow", "http")
    host.hostfwctl("deny", "198.51.100.7")

    listed = json.loads(host.hostfwctl("rules", "-o", "json").out)["items"]

    incoming = [(item["action"], item["what"], item["by"]) for item in listed if item["direction"] == "ingress"]
    assert incoming[0] == ("deny", "from 198.51.100.7", "quick.deny-198-51-100-7")
    assert incoming[1] == ("allow", "tcp/22", "failsafe")
    assert incoming[4:] == [
        ("allow", "tcp/80", "quick.allow-tcp-80"),
        ("allow", "tcp/80", "default/web"),
        ("deny", "everything else", "end of tier default"),
        ("deny", "everything on interfaces without a HostEndpoint", "unmanaged-interface"),
        ("deny", "from 198.51.100.7", "quick.deny-198-51-100-7"),
    ]
    table = host.hostfwctl("rules").out.splitlines()
    assert table[0].split()[:4] == ["NO", "WAY", "ACTION", "WHAT"]
    assert any("quick/allow-tcp-80.yaml:" in line for line in table)
    assert "in forwarded" in "\n".join(table)


def test_rules_of_nothing_are_none(bare: Machine) -> None:
    """Exit status 4, and what puts something into force."""
    status, out, err = bare.hostfwctl("rules")

    assert (status, out) == (4, "")
    assert "nothing is in force" in err


def early(host: Machine, name: str) -> bool:
    """True if the policy of a quick rule comes before failsafes."""
    annotations = yaml.safe_load(written(host)[name])["metadata"].get("annotations", {})
    return bool(annotations.get("hostfw.io/before-failsafes") == "true")


BANS: list[tuple[str, str, bool]] = [
    ("deny 192.0.2.66", "deny-192-0-2-66.yaml", True),
    ("deny ssh from 192.0.2.66", "deny-tcp-22-from-192-0-2-66.yaml", True),
    ("deny office", "deny-office.yaml", True),
    ("deny 192.0.2.66 --keep-failsafes", "deny-192-0-2-66.yaml", False),
    ("deny tcp/22", "deny-tcp-22.yaml", False),
    ("deny 0.0.0.0/0", "deny-0-0-0-0-0.yaml", False),
    ("deny 0.0.0.0/1,128.0.0.0/1", "deny-0-0-0-0-1-128-0-0-0-1.yaml", False),
    ("allow tcp/22 from 192.0.2.66", "allow-tcp-22-from-192-0-2-66.yaml", False),
    ("allow ssh limit 6/min", "allow-tcp-22.yaml", True),
    ("allow tcp/80,443 limit 6/min", "allow-tcp-80-443.yaml", False),
    ("deny list", "deny-list.yaml", False),
    ("deny list --before-failsafes", "deny-list.yaml", True),
]


@pytest.mark.parametrize(("words", "name", "expected"), BANS, ids=[words for words, _, _ in BANS])
def test_whom_a_rule_denies_by_name_is_denied_before_failsafes(
    host: Machine, words: str, name: str, expected: bool
) -> None:
    """A list that others fill is not, nor what is for everybody."""
    (host.config / "list.txt").write_text("203.0.113.0/24\n")
    feed = "apiVersion: hostfw.io/v1\nkind: Feed\nmetadata: {name: list, labels: {set: list}}\nspec: {path: list.txt}\n"
    host.write(feed=feed)
    assert host.hostfwctl("apply").status == 0

    status, _, err = host.hostfwctl(*words.split())

    assert status == 0, err
    assert early(host, name) is expected


@pytest.mark.parametrize(
    ("words", "first", "second"),
    [
        ("allow 22 limit 6/min", "allow tcp/22 limit 6/minute", "allow udp/22 limit 6/minute"),
        (
            "allow tcp/22,80 from 192.0.2.0/24 limit 6/min",
            "allow tcp/22 from 192.0.2.0/24 limit 6/minute",
            "allow tcp/80 from 192.0.2.0/24 limit 6/minute",
        ),
    ],
)
def test_a_limit_of_a_failsafe_port_beside_others_is_two_rules(
    host: Machine, words: str, first: str, second: str
) -> None:
    """Its own comes before failsafes, which a rule that opens anything else may not; in one rule it limited nothing."""
    refused = host.hostfwctl(*words.split())

    assert refused.status == 1
    assert "tcp/22 is open to everybody as a failsafe, so its limit comes first" in refused.err
    assert f"`hostfwctl {first}`, then `hostfwctl {second}`" in " ".join(refused.err.split())
    assert not (host.config / "quick").exists()


def test_a_limit_is_written_and_the_same_words_without_it_take_its_place(host: Machine) -> None:
    """It holds for ssh without a word about failsafes, and is no part of the name."""
    status, _, err = host.hostfwctl("allow", "ssh", "limit", "6/min")
    assert (status, "failsafe" in err) == (0, False)
    limited = yaml.safe_load(written(host)["allow-tcp-22.yaml"])["spec"]["ingress"]
    assert limited == [
        {
            "action": "Allow",
            "protocol": "TCP",
            "destination": {"ports": [22]},
            "limitPerSource": {"newConnections": "6/minute"},
        }
    ]
    question = ("explain", "192.0.2.66", "192.0.2.1:22", "--in", "eth0")
    allowed, denied = host.hostfwctl(*question), host.hostfwctl(*question, "--over-limit")
    assert (allowed.status, denied.status) == (0, 10)
    assert "up to 6/minute new connections of its source; `--over-limit` asks about one beyond that" in allowed.out
    assert "quick.allow-tcp-22 ingress[0] (over-limit) Deny" in denied.out
    assert "6/minute new connections from one source" in host.hostfwctl("rules").out
    assert "6/minute new connections from one source" in host.hostfwctl("describe", "gnp", "quick.allow-tcp-22").out

    status, _, err = host.hostfwctl("allow", "ssh")
    assert status == 0
    assert (
        "this takes away the limit that allow-tcp-22 had; `hostfwctl allow tcp/22 limit 6/minute` sets it again" in err
    )
    assert "limitPerSource" not in written(host)["allow-tcp-22.yaml"]
    assert host.hostfwctl("allow", "ssh", "limit", "9/hour").status == 0
    assert host.hostfwctl("remove", "allow", "ssh", "limit", "6/min").status == 0
    assert "allow-tcp-22.yaml" not in written(host)


def test_an_address_that_is_denied_is_denied_ssh_without_a_word_about_failsafes(host: Machine) -> None:
    """`explain` and `rules` say where it comes; the others keep their ssh."""
    _, _, err = host.hostfwctl("deny", "192.0.2.66")
    assert "failsafe" not in err

    denied = host.hostfwctl("explain", "192.0.2.66", "192.0.2.1:22", "--in", "eth0")
    allowed = host.hostfwctl("explain", "192.0.2.67", "192.0.2.1:22", "--in", "eth0")

    assert denied.out.startswith("denied")
    assert "quick/quick.deny-192-0-2-66 (before failsafes)" in denied.out
    assert "failsafe tcp 22" in allowed.out
    stages = [item["stage"] for item in json.loads(host.hostfwctl("rules", "-o", "json").out)["items"]]
    assert stages.index("before-failsafes") < stages.index("failsafe")


def test_nobody_denies_their_own_session(host: Machine) -> None:
    """Nor that of somebody else who is logged in, unless they say that they mean it; nothing is written."""
    session = Session(Family.V4, net("192.0.2.66").address, 40000, net("192.0.2.1").address, 22, "eth0", own=True)
    for own in (True, False):
        host.baseline = Baseline(sessions=(replace(session, own=own),))
        for words in (["192.0.2.66"], ["192.0.2.0/24", "--cut"], ["ssh", "from", "192.0.2.64/26"]):
            status, _, err = host.hostfwctl("deny", *words)

            assert status == 1, words
            assert "would be lost" in err
            assert "leave this address out of it" in err
            assert written(host) == {}
    assert host.hostfwctl("deny", "192.0.2.66", "--accept-lockout").status == 0


def test_everything_is_blocked_only_with_somebody_left_inside(host: Machine) -> None:
    """Or where that is meant; a block for a time begins only once something is sure to end it."""
    host.baseline = Baseline()
    refused = host.hostfwctl("lockdown")
    assert refused.status == 1
    assert "nobody could come in by ssh to end it" in refused.err
    assert "`hostfwctl lockdown --all`" in refused.err
    host.kernel.failures.extend([NftResult(ok=True)] * 2)

    said = json.loads(host.hostfwctl("lockdown", "--all", "--for", "30m", "-o", "json").out)

    ((name, (after_s, command)),) = host.timers.items()
    assert name.startswith("hostfw-lockdown-")
    assert round(after_s - host.clock.monotonic()) == 1800
    assert command[-2:] == ("unblock", f"--if-until={said['until']}")
    assert host.hostfwctl("unblock", "--if-until=2001-01-01T00:00:00+00:00").err == "there was no block\n"


def test_why_a_rule_is_there_is_said_wherever_it_decides(host: Machine) -> None:
    """By explain and get as by rules, in words and in documents."""
    host.hostfwctl("deny", "192.0.2.66", "--reason", "scans of  port 22", "--ticket", "OPS-7")

    explained = host.hostfwctl("explain", "192.0.2.66", "192.0.2.1:22", "--in", "eth0")
    document = json.loads(host.hostfwctl("explain", "192.0.2.66", "192.0.2.1:22", "--in", "eth0", "-o", "json").out)

    assert "why        scans of port 22, OPS-7" in explained.out
    assert [(step["why"], step["ticket"]) for step in document["decidedBy"]] == [("scans of port 22", "OPS-7")]
    listed = host.hostfwctl("get", "gnp").out.splitlines()
    assert listed[0].split()[-2:] == ["REASON", "TICKET"]
    assert any(line.rstrip().endswith("OPS-7") and "scans of port 22" in line for line in listed)
    assert "OPS-7" in host.hostfwctl("rules").out
    assert "why " not in host.hostfwctl("explain", "192.0.2.67", "192.0.2.1:80", "--in", "eth0").out


def test_one_waits_for_another_that_changes_files(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would find what is not in force yet, or take away the tier that the other one's rule stands in."""
    lock = files_lock(host.directory / "run")
    lock.acquire()
    waiting = Thread(target=host.hostfwctl, args=("allow", "tcp/80"))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    assert written(host) == {}
    assert host.hostfwctl("allow", "tcp/81", "--dry-run").status == 0
    lock.release()
    waiting.join()
    assert list(written(host)) == ["allow-tcp-80.yaml", "tier.yaml"]

    monkeypatch.setattr("hostfw.host.lock.FILES_TIMEOUT_S", 0.1)
    with files_lock(host.directory / "run"):
        for verb in (("allow", "tcp/81"), ("remove", "allow-tcp-80")):
            late = host.hostfwctl(*verb)
            assert (late.status, "was not done within 0.1 s" in late.err) == (1, True)
    assert list(written(host)) == ["allow-tcp-80.yaml", "tier.yaml"]


def test_a_change_that_cannot_be_written_says_so(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that is read-only even the removal of what is not there fails; what was written first goes."""

    def refuse(path: Path, *_: object) -> None:
        raise WriteError(errno.EROFS, "Read-only file system", str(path))

    unlink = Path.unlink

    def refuse_to_unlink(path: Path, *, missing_ok: bool = False) -> None:
        if path.parent.name == "quick":
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr("hostfw.cli.input.added_files.write_atomically", refuse)
    monkeypatch.setattr(Path, "unlink", refuse_to_unlink)

    status, _, err = host.hostfwctl("allow", "tcp/80")

    assert status == 1
    assert "cannot be written: the file system is mounted read-only" in err
    assert "nothing was written" in err


def test_what_is_refused_and_cannot_be_rolled_back_is_said(host: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is there, and not in force."""
    unlink = Path.unlink

    def refuse(path: Path, *, missing_ok: bool = False) -> None:
        if path.parent.name == "quick":
            raise OSError(errno.EIO, "Input/output error", str(path))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    host.kernel.failures.append(NftResult(ok=False, error="no memory"))

    status, _, err = host.hostfwctl("allow", "tcp/80")

    assert status == 1
    assert f"{QUICK}/allow-tcp-80.yaml could not be put back as it was: input/output error" in err
    assert "`hostfwctl diff` shows the difference" in err


def test_a_link_that_was_removed_in_vain_is_a_link_again(host: Machine) -> None:
    """To the same file, which it never was itself."""
    host.hostfwctl("allow", "tcp/80")
    path, elsewhere = host.config / "quick" / "allow-tcp-80.yaml", host.directory / "elsewhere.yaml"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    host.kernel.failures.append(NftResult(ok=False, error="no memory"))

    assert host.hostfwctl("remove", "allow-tcp-80").status == 1

    assert path.readlink() == elsewhere


def test_an_end_that_is_taken_away_is_told_and_the_reason_stays(host: Machine) -> None:
    """The same words without a time have the rule stay; nobody asked for its reason to go."""
    assert host.hostfwctl("allow", "tcp/81", "for", "2h", "--reason", "a visit", "--ticket", "OPS-7").status == 0

    status, _, err = host.hostfwctl("allow", "tcp/81")

    assert status == 0
    assert "allow-tcp-81 was to expire at 2030-01-01 02:00:00 UTC," in err
    assert "and does not any more" in err
    assert yaml.safe_load(written(host)["allow-tcp-81.yaml"])["metadata"]["annotations"] == {
        "hostfw.io/reason": "a visit",
        "hostfw.io/ticket": "OPS-7",
    }
    assert "warning" not in host.hostfwctl("allow", "tcp/81").err


def test_an_address_that_is_let_in_is_not_let_through(host: Machine) -> None:
    """`allow from` is about this host, so nothing is to be said of what it forwards."""
    status, _, err = host.hostfwctl("allow", "from", "192.0.2.7")

    assert (status, "forward" in err) == (0, False)
    assert "applyOnForward" not in written(host)["allow-from-192-0-2-7.yaml"]
    assert host.hostfwctl("deny", "192.0.2.9").status == 0
    assert "applyOnForward: true" in written(host)["deny-192-0-2-9.yaml"]


SETS: list[tuple[str, str]] = [
    ("htp", "`hostfwctl deny http`"),
    ("8o", "`hostfwctl deny 80`"),
    ("nginx", "`hostfwctl deny http https`"),
    ("eth0", "`hostfwctl deny tcp/8080 on eth0`"),
]


@pytest.mark.parametrize(("word", "command"), SETS, ids=[word for word, _ in SETS])
def test_a_word_that_names_no_set_may_be_a_service(host: Machine, word: str, command: str) -> None:
    """Or an interface: the next step is the command about it."""
    status, _, err = host.hostfwctl("deny", word)

    assert status == 1
    assert f'there is no GlobalNetworkSet or Feed "{word}"' in err
    assert command in " ".join(err.split())
