"""Feeds and big sets through `apply`, on a kernel in memory."""

import errno
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from shutil import rmtree

import pytest

from hostfw.host.netlink.messages import NetlinkError
from hostfw.host.nftables.nf_tables import KernelSet
from hostfw.host.nftables.sets.elements import Edit, Keys
from hostfw.host.nftables.writing.script_runner import NftResult
from hostfw.model.prefixes import EDITED_IN_PLACE_FROM, PACKED_FROM
from hostfw.model.values import TableFamily
from hostfw.nft.declarations import SetName
from tests.unit.cli_runs import UPLINK, Machine, machine

BLOCK = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: block}
spec:
  selector: role == 'web'
  ingress:
    - action: Deny
      protocol: TCP
      source: {selector: list == 'bad'}
      destination: {ports: [443]}
    - action: Allow
---
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: bad, labels: {list: bad}}
spec: {path: bad.txt}
"""


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = machine(tmp_path, monkeypatch)
    made.write(block=BLOCK, uplink=UPLINK)
    return made


def feed(host: Machine, count: int, first: int = 0) -> None:
    """Let the feed hold so many hosts."""
    hosts = range(first, first + count)
    (host.config / "bad.txt").write_text("".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}\n" for n in hosts))


def held(host: Machine) -> list[int]:
    """The number of elements of each big set of IPv4."""
    there = {item.name for item in host.kernel.read_tables().ip.sets}
    return [len(keys) for (_, name), keys in host.kernel.elements.items() if name in there]


def test_a_big_feed_is_filled_before_the_switch(host: Machine) -> None:
    """The script declares the set, the elements follow, and only then a base chain leads to it."""
    seen: list[bool] = []
    add = host.kernel.add_elements

    def watched(family: TableFamily, set_name: str, keys: Keys) -> int:
        seen.append(any(chain.base for chain in host.kernel.read_tables().ip.chains))
        return add(family, set_name, keys)

    host.kernel.add_elements = watched  # type: ignore[method-assign]
    feed(host, PACKED_FROM)
    status, _, err = host.hostfwctl("apply")

    assert (status, seen, held(host)) == (0, [False], [PACKED_FROM]), err
    assert not any("10.0.0.7" in script for script in host.kernel.committed)
    assert "10.0.0.7" in (host.directory / "var/last-good.nft").read_text()
    assert host.hostfwctl("apply").err.startswith("no change: ")


@pytest.mark.parametrize("changed_by_others", [False, True])
def test_what_was_loaded_is_read_back_only_where_another_program_committed(
    host: Machine, monkeypatch: pytest.MonkeyPatch, *, changed_by_others: bool
) -> None:
    """Each batch was acknowledged, and by the number of commits nobody else's was among them."""
    read: list[object] = []
    read_digests, add = host.kernel.read_digests, host.kernel.add_elements

    def counted(sets: Iterable[tuple[TableFamily, KernelSet]]) -> Mapping[SetName, str]:
        read.extend(listed := list(sets))
        return read_digests(listed)

    def watched(family: TableFamily, set_name: str, keys: Keys) -> int:
        if changed_by_others:
            host.kernel.generation += 1
        return add(family, set_name, keys)

    monkeypatch.setattr(host.kernel, "read_digests", counted)
    monkeypatch.setattr(host.kernel, "add_elements", watched)
    feed(host, PACKED_FROM)
    status, _, err = host.hostfwctl("apply")

    assert (status, held(host), bool(read)) == (0, [PACKED_FROM], changed_by_others), err


def test_a_changed_feed_is_built_aside(host: Machine) -> None:
    """And the set of before is swept."""
    feed(host, 5000)
    host.hostfwctl("apply")
    feed(host, 5001)

    status, _, _ = host.hostfwctl("apply")

    assert (status, held(host)) == (0, [5001])


def test_what_the_kernel_does_not_take_leaves_the_old_generation(host: Machine) -> None:
    """It is said with the name of the set; the next apply goes on from there."""

    def refused(family: TableFamily, set_name: str, keys: Keys) -> int:
        what = f"adding {len(keys)} elements to the set {set_name} of {family.nft}"
        raise NetlinkError(errno.ENOMEM, what)

    feed(host, 5000)
    add = host.kernel.add_elements
    host.kernel.add_elements = refused  # type: ignore[method-assign]
    status, _, err = host.hostfwctl("apply")
    bases = [chain for chain in host.kernel.read_tables().ip.chains if chain.base]
    host.kernel.add_elements = add  # type: ignore[method-assign]
    again, _, _ = host.hostfwctl("apply")

    assert status == 1
    assert "hostfwctl: adding 5000 elements to the set nets/32." in err
    assert " of ip: Cannot allocate memory; the ruleset in force is unchanged" in err
    assert bases == []
    assert (again, held(host)) == (0, [5000])


def test_a_feed_that_shrank_keeps_its_accepted_content(host: Machine) -> None:
    """As often as it is applied, until the file recovers or the loss is said to be meant."""
    feed(host, 10_000)
    host.hostfwctl("apply")
    feed(host, 4999)

    for _ in range(2):
        status, _, err = host.hostfwctl("apply")
        assert (status, held(host)) == (0, [10_000])
        assert 'warning: the file of Feed "bad" lost 51% of what was accepted, which stays in force\n' in err
        assert "hint: to accept the loss: hostfwctl apply --accept-shrink\n" in err
    status, _, err = host.hostfwctl("apply", "--accept-shrink")

    assert (status, held(host)) == (0, [4999])
    assert "lost" not in err


def test_a_feed_that_shrank_under_another_file_name_keeps_its_content(host: Machine) -> None:
    """A Feed is the one of its name: another file is no way round its bound, and the content goes on under that."""
    feed(host, 10_000)
    host.hostfwctl("apply")
    (host.config / "bad.txt").rename(host.config / "worse.txt")
    host.write(block=BLOCK.replace("bad.txt", "worse.txt"))
    (host.config / "worse.txt").write_text("192.0.2.1\n")

    for _ in range(2):
        status, _, err = host.hostfwctl("apply")

        assert (status, held(host)) == (0, [10_000])
        assert 'warning: the file of Feed "bad" lost 100% of what was accepted, which stays in force\n' in err
    status, _, err = host.hostfwctl("apply", "--accept-shrink")
    assert (status, held(host)) == (0, [])


def test_a_feed_that_recovered_is_believed_again(host: Machine) -> None:
    """The content that was in force is accepted in between."""
    feed(host, 10_000)
    host.hostfwctl("apply")
    feed(host, 10)
    host.hostfwctl("apply")
    feed(host, 9000)

    _, _, err = host.hostfwctl("apply")

    assert held(host) == [9000]
    assert "lost" not in err


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (None, "etc/bad.txt:1:1", "cannot be read: there is no such file or directory"),
        ("10.0.0.1\n10.0.0.999\n", "etc/bad.txt:2:1", 'the line has "10.0.0.999"'),
    ],
)
def test_a_feed_that_cannot_be_read_refuses_the_generation(
    host: Machine, text: str | None, place: str, message: str
) -> None:
    """A blocklist that is left out in silence would be an open door."""
    if text is not None:
        (host.config / "bad.txt").write_text(text)

    status, _, err = host.hostfwctl("apply")

    assert status == 3
    assert err.startswith(f"{place}: {message}\n")
    assert host.kernel.committed == []


def test_feeds_are_listed_and_diffed(host: Machine) -> None:
    """By what they hold: a million addresses are one line."""
    feed(host, 3)
    host.hostfwctl("apply")
    feed(host, 4)

    listed = host.hostfwctl("get", "feeds", "-o", "wide")
    different = host.hostfwctl("diff")

    assert listed.out.splitlines()[1].split()[:5] == ["bad", "bad.txt", "4", "50%", "list=bad"]
    assert different.out.startswith("~ Feed/bad   etc/block.yaml:13\n")
    assert "    -# 3 prefixes, digest " in different.out
    assert "    +# 4 prefixes, digest " in different.out


MANY = EDITED_IN_PLACE_FROM + 1


def test_a_feed_that_is_apart_is_edited_in_place(host: Machine) -> None:
    """Its set keeps its name, no script is sent, and only the difference goes in."""
    feed(host, MANY)
    host.hostfwctl("apply")
    scripts = len(host.kernel.committed)
    ((family, name),) = host.kernel.elements
    feed(host, MANY + 10, first=5)

    status, out, err = host.hostfwctl("-v", "apply", "-o", "json")

    edit = host.kernel.edits[-1]
    assert (status, held(host)) == (0, [MANY + 10]), err
    assert edit.deleted is not None
    assert (len(edit.added), len(edit.deleted)) == (15, 5)
    assert len(host.kernel.committed) == scripts
    assert list(host.kernel.elements) == [(family, name)]
    assert '"result": "applied"' in out
    assert f"# edit ip hostfw {name} to hold {MANY + 10} elements\n" in err
    assert len([item for item in host.kernel.read_tables().ip.sets if "/" in item.name.partition(".")[2]]) == 1
    assert host.hostfwctl("apply").err.startswith("no change: ")


@pytest.mark.parametrize("loss", ["content", "mark", "both marks"])
def test_a_content_that_is_not_known_is_replaced_as_a_whole(host: Machine, loss: str) -> None:
    """The run directory was cleared, or another program was in our tables."""
    feed(host, MANY)
    host.hostfwctl("apply")
    ((family, name),) = host.kernel.elements
    mark = host.kernel.edits[-1].mark
    match loss:
        case "content":
            rmtree(host.directory / "run/sets")
        case "mark":
            host.kernel.meddle(f"delete set ip hostfw {mark}\n")
        case _:
            host.kernel.meddle(f"add set ip hostfw {name}/0123456789abcdef {{ type inet_service; }}\n")
    feed(host, MANY + 1)

    status, _, err = host.hostfwctl("apply")

    assert (status, held(host)) == (0, [MANY + 1]), err
    assert host.kernel.edits[-1].deleted is None
    assert list(host.kernel.elements) == [(family, name)]
    assert host.hostfwctl("apply").err.startswith("no change: ")


def test_a_feed_outgrows_its_set(host: Machine) -> None:
    """A size cannot change: a bigger set takes its place, and what was there is swept with its mark."""
    feed(host, MANY)
    host.hostfwctl("apply")
    feed(host, 2 * MANY)

    status, _, err = host.hostfwctl("apply")

    assert (status, held(host)) == (0, [2 * MANY]), err
    assert len([s for s in host.kernel.read_tables().ip.sets if s.name.startswith("nets")]) == 2


def test_a_switch_that_fails_after_an_edit_says_so(host: Machine) -> None:
    """The rules are those of before, what a Feed holds is not."""
    feed(host, MANY)
    host.hostfwctl("apply")
    feed(host, MANY + 1)
    host.write(block=BLOCK.replace("443", "80"))
    refusal = NftResult(ok=False, error="1:1-1: Error: no\n", line=1, column=1)
    good = NftResult(ok=True)
    host.kernel.failures.extend((good, refusal))

    status, _, err = host.hostfwctl("apply")

    assert status == 1
    assert err.endswith("; the rules in force are unchanged, with the new content of big Feeds\n")
    assert held(host) == [MANY + 1]


def test_a_long_network_set_is_loaded_alike_and_belongs_to_its_generation(host: Machine) -> None:
    """Whatever its length: its sets are named by their content, and what changes is built aside."""
    nets = [f"10.{n >> 7}.{n * 2 & 255}.0/24" for n in range(PACKED_FROM)]
    block, _, _ = BLOCK.partition("---")
    manifest = "apiVersion: projectcalico.org/v3\nkind: GlobalNetworkSet\nmetadata: {name: bad, labels: {list: bad}}\n"
    host.write(block=f"{block}---\n{manifest}spec: {{nets: [{', '.join(nets)}]}}\n")

    status, _, err = host.hostfwctl("apply")

    ((_, name), keys) = next(iter(host.kernel.elements.items()))
    assert (status, len(keys)) == (0, PACKED_FROM), err
    assert name.startswith("nets/24.")
    assert host.kernel.edits == []


def test_status_notices_that_the_file_of_a_feed_changed(host: Machine) -> None:
    """The manifests are the same, what they name is not."""
    feed(host, 3)
    host.hostfwctl("apply")
    before = json.loads(host.hostfwctl("status", "-o", "json").out)["pending"]
    feed(host, 4)
    after = json.loads(host.hostfwctl("status", "-o", "json").out)["pending"]

    assert (before, after) == (False, True)


@pytest.mark.parametrize(
    ("failing", "number", "said"),
    [
        (1, errno.ENOMEM, "the ruleset in force is unchanged"),
        (
            2,
            errno.ENOMEM,
            "the rules in force are unchanged, with the new content of some big Feeds and the old of others",
        ),
        (2, errno.ETIMEDOUT, "the active rules are unknown: run `hostfwctl status`"),
    ],
)
def test_what_a_failing_edit_leaves_is_said(host: Machine, failing: int, number: int, said: str) -> None:
    """Each big Feed is edited in a transaction of its own, which packets meet at once."""
    deny = BLOCK[BLOCK.index("    - action: Deny") : BLOCK.index("    - action: Allow")]
    feeds = BLOCK[BLOCK.index("---") :]
    both = BLOCK.replace(deny, deny + deny.replace("bad", "worse").replace("443", "80"))
    host.write(block=both + feeds.replace("bad", "worse"))
    for count in (MANY, MANY + 1):
        feed(host, count)
        lines = (host.config / "bad.txt").read_text().splitlines(keepends=True)
        (host.config / "worse.txt").write_text("".join(f"11{line[2:]}" for line in lines))
        if count == MANY:
            assert host.hostfwctl("apply").status == 0
    replace_elements, edits = host.kernel.replace_elements, 0

    def refuse(family: TableFamily, set_name: str, edit: Edit) -> None:
        nonlocal edits
        edits += 1
        if edits == failing:
            raise NetlinkError(number, f"editing the set {set_name}")
        replace_elements(family, set_name, edit)

    host.kernel.replace_elements = refuse  # type: ignore[method-assign]
    done = host.hostfwctl("apply")

    assert edits == failing, done
    assert done.status == 1
    assert done.err.endswith(f"; {said}\n")


def test_diff_leaves_out_a_file_that_shrank_as_apply_does(host: Machine) -> None:
    """It says that the accepted content stays, and shows no change that `apply` would not make."""
    feed(host, 10)
    assert host.hostfwctl("apply").status == 0
    feed(host, 2)

    status, out, err = host.hostfwctl("diff")

    assert (status, out) == (0, "")
    assert 'the file of Feed "bad" lost 80% of what was accepted, which stays in force' in err
    assert "no difference" in err
    assert "no change" in host.hostfwctl("apply").err
    feed(host, 8)
    assert host.hostfwctl("diff").status == 1
