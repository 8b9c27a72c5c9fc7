"""Big sets on a real kernel: what is loaded, what packets meet, and what a kill in the middle leaves."""

import errno
import json
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from hostfw.host.netlink.messages import NetlinkError
from hostfw.host.nftables.sets import elements
from hostfw.host.nftables.sets.elements import Edit, Keys, add_elements, is_loaded, replace_elements
from hostfw.host.nftables.sets.set_digests import READ_WHOLE
from hostfw.host.nftables.tables import read_generation, read_tables
from hostfw.model.prefixes import EDITED_IN_PLACE_FROM, PACKED_FROM
from hostfw.model.values import TCP, Family
from lab.hostfwctl import Installation, environment
from lab.laboratory import Lab
from lab.namespace import Namespace, inside, namespace, run
from lab.packets.probe import ALLOW_PATIENCE_S, DENY_PATIENCE_S, Flow, Verdict, control, probe

Hostfwctl = Callable[..., CompletedProcess[str]]

MANY = 20_000

SETS = f"""\
table ip hostfw {{
    set hosts {{ type ipv4_addr; size {MANY}; }}
    set sockets {{ type ipv4_addr . inet_proto . inet_service; size {MANY}; }}
    set ports {{ type inet_service; size 8; }}
}}
table ip6 hostfw {{
    set nets {{ type ipv6_addr; size {MANY}; }}
}}
"""


@pytest.fixture
def place() -> Iterator[Namespace]:
    """A namespace with empty sets, which the test is in."""
    with namespace("elements") as made:
        run(made, ("nft", "-f", "-"), text=SETS)
        with inside(made):
            yield made


def listed(node: Namespace, family: str, name: str) -> set[str]:
    """The elements of a set as nft lists them, protocols as numbers: their names are in a package of their own."""
    text = run(node, ("nft", "-j", "-p", "list", "set", family, "hostfw", name)).stdout
    (found,) = [item["set"] for item in json.loads(text)["nftables"] if "set" in item]
    return {
        ".".join(map(str, element["concat"])) if isinstance(element, dict) else element
        for element in found.get("elem", [])
    }


def keys(*texts: str) -> Keys:
    """Addresses as keys."""
    packed = [ip_address(text).packed for text in texts]
    return Keys(b"".join(packed), len(packed[0]))


HOSTS = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(MANY)]
NETS = [f"2001:db8:{n:x}::" for n in range(1, 5000)]


def edit(deleted: Sequence[str]) -> Edit:
    """An edit that takes out addresses."""
    return Edit(Keys(b"", 4), keys(*deleted), (), "hosts.edited")


def test_what_is_loaded_is_listed(place: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it and nothing else, over several messages and batches; what is deleted is gone."""
    monkeypatch.setattr(elements, "BATCH_ELEMENTS", 7000)
    add_elements(Family.V4, "hosts", keys(*HOSTS))
    add_elements(Family.V6, "nets", keys(*NETS))

    assert listed(place, "ip", "hosts") == set(HOSTS)
    assert listed(place, "ip6", "nets") == set(NETS)

    replace_elements(Family.V4, "hosts", edit(deleted=HOSTS[5000:]))

    assert listed(place, "ip", "hosts") == set(HOSTS[:5000])


def test_concatenations_are_loaded(place: Namespace) -> None:
    """Each field padded to a word."""
    add_elements(Family.V4, "sockets", Keys(bytes.fromhex("c0000201 06000000 01bb0000"), 12))

    assert listed(place, "ip", "sockets") == {"192.0.2.1.6.443"}


@pytest.mark.usefixtures("place")
def test_a_set_is_filled_when_its_last_element_is_there() -> None:
    """And not before; adding again what is there changes nothing."""
    everything = keys(*HOSTS)
    states = [is_loaded(Family.V4, "nothing", everything), is_loaded(Family.V4, "hosts", everything)]
    add_elements(Family.V4, "hosts", everything.part(0, MANY // 2))
    states.append(is_loaded(Family.V4, "hosts", everything))
    add_elements(Family.V4, "hosts", everything)
    states.append(is_loaded(Family.V4, "hosts", everything))

    assert states == [False, False, False, True]


ERRORS: list[tuple[str, Callable[[], object], int, str]] = [
    ("no such set", lambda: add_elements(Family.V4, "gone", keys("10.0.0.1")), errno.ENOENT, "is gone"),
    (
        "no such element",
        lambda: replace_elements(Family.V4, "hosts", edit(deleted=["10.0.0.1"])),
        errno.ENOENT,
        "is gone",
    ),
    ("another type", lambda: add_elements(Family.V4, "ports", keys("10.0.0.1")), errno.EINVAL, "another type"),
    ("full", lambda: add_elements(Family.V4, "hosts", keys(*HOSTS, "192.0.2.1")), errno.ENFILE, "is full"),
    (
        "somebody committed",
        lambda: add_elements(Family.V4, "hosts", keys("10.0.0.1"), generation=read_generation() - 1),
        errno.ERESTART,
        "has committed",
    ),
]


@pytest.mark.parametrize(("act", "number", "words"), [case[1:] for case in ERRORS], ids=[case[0] for case in ERRORS])
def test_what_the_kernel_refuses_is_said(place: Namespace, act: Callable[[], object], number: int, words: str) -> None:
    """With what it means; a refused batch leaves nothing behind."""
    with pytest.raises(NetlinkError) as caught:
        act()

    assert caught.value.errno == number
    assert words in caught.value.message
    assert listed(place, "ip", "hosts") == set()


@pytest.mark.usefixtures("place")
def test_a_generation_that_holds_is_no_obstacle() -> None:
    """For the first batch, and those after it."""
    add_elements(Family.V4, "hosts", keys(*HOSTS), generation=read_generation())

    assert is_loaded(Family.V4, "hosts", keys(*HOSTS))


CONFIGURATION = """\
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: host-eth0, labels: {role: web}}
spec: {node: host, interfaceName: eth0}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: block}
spec:
  selector: role == 'web'
  types: [Ingress]
  ingress:
    - action: Deny
      source: {selector: list == 'bad'}
    - action: Allow
---
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: bad, labels: {list: bad}}
spec: {path: bad.txt}
"""

FLOWS = (Flow("peer", "host", TCP, 80, Family.V4), Flow("peer", "host", TCP, 80, Family.V6))


@pytest.fixture
def bad(installation: Installation) -> Path:
    """The file of a feed that a policy denies."""
    (installation.config / "hostfw.yaml").write_text("node: host\n")
    (installation.config / "block.yaml").write_text(CONFIGURATION)
    return installation.config / "bad.txt"


def verdicts(lab: Lab) -> list[bool]:
    """The results for the peer over IPv4 and over IPv6: True where it gets through."""
    patience_s = ALLOW_PATIENCE_S / 3
    return [outcome.verdict is Verdict.ALLOWED for outcome in probe(lab, FLOWS, patience_s)]


@pytest.mark.parametrize(
    ("peers", "expected"),
    [
        ((), [True, True]),
        (("192.0.2.2",), [False, True]),
        (("192.0.2.0/25",), [False, True]),
        (("192.0.2.0/24", "192.0.2.2"), [False, True]),
        (("192.0.2.3", "192.0.2.4/30", "2001:db8::3"), [True, True]),
        (("2001:db8::/48",), [True, False]),
        (("192.0.2.2", "2001:db8::2"), [False, False]),
    ],
)
def test_packets_meet_what_the_feed_says(
    lab: Lab, bad: Path, hostfwctl: Hostfwctl, peers: tuple[str, ...], expected: list[bool]
) -> None:
    """Among thousands of others, in each prefix length."""
    bad.write_text("\n".join((*HOSTS[:5000], *peers, *NETS)))
    control(lab, FLOWS)

    hostfwctl("apply")

    assert verdicts(lab) == expected


KILLED = """\
import os, signal, sys
from hostfw.cli.main import run
from hostfw.host.nftables.sets import elements

add = elements.add_elements

def killed(family, set_name, keys):
    share = {share}
    add(family, set_name, keys.part(0, int(len(keys) * share)))
    os.kill(os.getpid(), signal.SIGKILL)

elements.add_elements = killed
run(sys.argv[1:], sys.stdout, sys.stderr)
"""


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_kill_while_a_set_is_filled_leaves_the_old_generation(
    lab: Lab, installation: Installation, bad: Path, hostfwctl: Hostfwctl, share: float
) -> None:
    """Nothing of the new one can be met, and the next apply completes it: empty, half filled or filled."""
    bad.write_text("\n".join(HOSTS[:5000]))
    hostfwctl("apply")
    bad.write_text("\n".join((*HOSTS[:6000], "192.0.2.2")))

    arguments = installation.arguments[3:]
    command = (sys.executable, "-c", KILLED.format(share=share), *arguments, "apply")
    done = run(installation.node, command, environment=environment(), check=False)
    before = verdicts(lab)
    hostfwctl("apply")
    after = [outcome.verdict is Verdict.ALLOWED for outcome in probe(lab, FLOWS[:1], DENY_PATIENCE_S)]

    assert done.returncode == -signal.SIGKILL
    assert (before, after) == ([True, True], [False])
    (name,), _ = sets_of(installation.node)
    assert listed(installation.node, "ip", name) == {*HOSTS[:6000], "192.0.2.2"}


def test_a_set_that_another_hand_emptied_is_filled_again(
    installation: Installation, bad: Path, hostfwctl: Hostfwctl
) -> None:
    """In place: it is referred to, and its name says what belongs into it."""
    bad.write_text("\n".join(HOSTS[:PACKED_FROM]))
    hostfwctl("apply")
    node = installation.node
    (name,), _ = sets_of(node)
    run(node, ("nft", "flush", "set", "ip", "hostfw", name))

    hostfwctl("apply")

    assert listed(node, "ip", name) == set(HOSTS[:PACKED_FROM])


MORE = [f"11.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(EDITED_IN_PLACE_FROM + 100)]


def sets_of(node: Namespace) -> tuple[list[str], list[str]]:
    """The names of the sets of policy in `ip hostfw`, and those of the marks that say what a set apart holds."""
    with inside(node):
        names = sorted(item.name for item in read_tables().ip.sets if not item.name.startswith(("log/", "links/")))
    return [name for name in names if name.count("/") == 1], [name for name in names if name.count("/") == 2]


@pytest.mark.parametrize("count", [PACKED_FROM, len(MORE), READ_WHOLE + 1000])
@pytest.mark.parametrize("change", ["another", "one less", "nothing left"])
def test_what_another_program_did_to_a_big_set_is_told_of_and_undone(
    installation: Installation, bad: Path, hostfwctl: Hostfwctl, count: int, change: str
) -> None:
    """Read whole, or counted: of a set beyond that one element in place of another is beyond what is looked at."""
    if change == "another" and count > READ_WHOLE:
        pytest.skip("only some of the elements of so big a set are looked at")
    addresses = [f"11.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(0, 2 * count, 2)]
    bad.write_text("\n".join(addresses))
    hostfwctl("apply")
    node = installation.node
    if _count(node) is None and change == "one less":
        pytest.skip("this kernel does not tell how many elements a set has")
    (name,), _ = sets_of(node)
    script = f"delete element ip hostfw {name} {{ {addresses[777]} }}\n"
    if change == "another":
        script += f"add element ip hostfw {name} {{ 192.0.2.2 }}\n"
    run(node, ("nft", "-f", "-"), text=f"flush set ip hostfw {name}\n" if change == "nothing left" else script)

    assert "Drift:" in hostfwctl("status", check=False).stdout
    hostfwctl("apply")

    assert "Drift:" not in hostfwctl("status").stdout
    assert _count(node) in (None, count)
    run(node, ("nft", "get", "element", "ip", "hostfw", name, f"{{ {addresses[777]} }}"))


def _count(node: Namespace) -> int | None:
    """The number of elements of policy's only set, None where the kernel does not say."""
    (name,), _ = sets_of(node)
    with inside(node):
        return next(item.count for item in read_tables().ip.sets if item.name == name)


def test_a_feed_apart_is_edited_in_place(lab: Lab, installation: Installation, bad: Path, hostfwctl: Hostfwctl) -> None:
    """Ten go, one comes: the set and the rules stay, and packets meet the new content."""
    node = installation.node
    bad.write_text("\n".join(MORE))
    hostfwctl("apply")
    (name,), (mark,) = sets_of(node)
    before = verdicts(lab)
    bad.write_text("\n".join((*MORE[10:], "192.0.2.2")))

    done = json.loads(hostfwctl("apply", "-o", "json").stdout)

    after = [outcome.verdict is Verdict.ALLOWED for outcome in probe(lab, FLOWS[:1], DENY_PATIENCE_S)]
    assert (before, after) == ([True, True], [False])
    assert (done["result"], done["chainsNew"], done["chainsSwept"]) == ("applied", 0, 0)
    assert listed(node, "ip", name) == {*MORE[10:], "192.0.2.2"}
    assert sets_of(node)[0] == [name]
    assert len(sets_of(node)[1]) == 1
    assert sets_of(node)[1] != [mark]
    assert json.loads(hostfwctl("apply", "-o", "json").stdout)["result"] == "unchanged"


@pytest.mark.parametrize("start", ["an empty kernel", "a later content"])
def test_the_accepted_script_gives_a_set_apart_its_content(
    installation: Installation, bad: Path, hostfwctl: Hostfwctl, start: str
) -> None:
    """At a boot, and over whatever is there; the next apply knows it, or sets it right."""
    node = installation.node
    bad.write_text("\n".join(MORE))
    hostfwctl("apply")
    (name,), mark = sets_of(node)
    script = (installation.state / "last-good.nft").read_text()
    if start == "an empty kernel":
        run(node, ("nft", "flush", "ruleset"))
    else:
        bad.write_text("\n".join((*MORE, "192.0.2.2")))
        hostfwctl("apply")

    run(node, ("nft", "-f", "-"), text=script)

    assert listed(node, "ip", name) == set(MORE)
    bad.write_text("\n".join(MORE))
    hostfwctl("apply")
    assert listed(node, "ip", name) == set(MORE)
    assert sets_of(node) == ([name], mark)


REPLACED = """\
import os, signal, sys
from hostfw.cli.main import run
from hostfw.host.nftables.sets import elements

replace = elements.replace_elements

def killed(family, set_name, edit):
    if {done}:
        replace(family, set_name, edit)
    os.kill(os.getpid(), signal.SIGKILL)

elements.replace_elements = killed
run(sys.argv[1:], sys.stdout, sys.stderr)
"""


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("first", [False, True], ids=["an edit", "the first content"])
def test_a_kill_around_an_edit_is_made_good(
    installation: Installation, bad: Path, hostfwctl: Hostfwctl, done: bool, first: bool
) -> None:
    """The mark of the set names its content, however the kill ended."""
    node = installation.node
    bad.write_text("\n".join(MORE[1:]))
    if not first:
        bad.write_text("\n".join(MORE))
        hostfwctl("apply")
        bad.write_text("\n".join((*MORE[1:], "192.0.2.2")))
    arguments = (*installation.arguments[3:], "apply")
    run(node, (sys.executable, "-c", REPLACED.format(done=done), *arguments), environment=environment(), check=False)
    bad.write_text("\n".join((*MORE[2:], "192.0.2.3")))

    hostfwctl("apply")

    (name,), marks = sets_of(node)
    assert listed(node, "ip", name) == {*MORE[2:], "192.0.2.3"}
    assert len(marks) == 1
