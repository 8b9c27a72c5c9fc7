"""Members put in and taken out with hostfwctl: real packets, every check, and what outlives what."""

import json
import shutil
import socket
from pathlib import Path
from time import monotonic, sleep

import pytest

from hostfw.build.cache import EngineCache
from hostfw.engine.checks.lockout import LockoutRequest
from hostfw.engine.checks.plan_before import Before
from hostfw.engine.context import Directories, Host
from hostfw.engine.engine import Engine
from hostfw.engine.kernel.deploy import transactions
from hostfw.engine.outcomes import Failed, MembersChange, MembersChanged
from hostfw.engine.reconcile import Resumed
from hostfw.host.nftables.writing.script_runner import Nftables
from hostfw.manifest.scalars.net_texts import loose_cidr
from hostfw.model.values import Cidr
from lab.hostfwctl import Installation, environment
from lab.laboratory import Lab
from lab.namespace import inside, run
from lab.service import service
from tests.kernel.conftest import Hostfwctl
from tests.kernel.engine.test_lockout import session, ssh_server
from tests.kernel.sets.test_external_sets import POLICY, admitted, nft

_BOOT = Path(__file__).parents[3] / "units" / "hostfw-boot"


@pytest.fixture(autouse=True)
def _applied(installation: Installation, hostfwctl: Hostfwctl) -> None:
    (installation.config / "policy.yaml").write_text(POLICY)
    hostfwctl("apply")


def members(hostfwctl: Hostfwctl, name: str) -> dict[str, float | None]:
    """The members of a set by their texts, with the seconds that each has left."""
    listed = json.loads(hostfwctl("set", "list", name, "-o", "json").stdout)
    return {one["member"]: one["leftSeconds"] for one in listed["members"]}


def test_a_member_is_denied_at_once_and_let_in_again(lab: Lab, hostfwctl: Hostfwctl) -> None:
    """Without a generation; twice the same changes nothing."""
    before = hostfwctl("history").stdout

    assert "is in bans now for 1 h" in hostfwctl("set", "add", "bans", "192.0.2.2", "2001:db8::/64", "for", "1h").stderr
    assert admitted(lab, 80) == (False, False)
    assert "already" in hostfwctl("set", "add", "bans", "192.0.2.2", "for", "30m").stderr
    assert 3500 < (members(hostfwctl, "bans")["192.0.2.2"] or 0) <= 3600
    hostfwctl("set", "del", "bans", "192.0.2.2,2001:db8::/64")
    assert admitted(lab, 80) == (True, True)
    assert "was not in bans" in hostfwctl("set", "del", "bans", "192.0.2.2").stderr

    assert hostfwctl("history").stdout == before
    assert members(hostfwctl, "bans") == {}


def test_a_ban_of_an_address_as_a_log_has_it_bans(lab: Lab, hostfwctl: Hostfwctl) -> None:
    """A program with one socket for both IP versions logs IPv4 in IPv6's clothes, which no packet wears."""
    assert "192.0.2.2 is in bans now" in hostfwctl("set", "add", "bans", "::ffff:192.0.2.2").stderr

    assert admitted(lab, 80) == (False, True)
    assert list(members(hostfwctl, "bans")) == ["192.0.2.2"]


def test_explain_and_exposure_know_the_members(hostfwctl: Hostfwctl) -> None:
    """Those of another program as well."""
    asked = ("explain", "192.0.2.2", "192.0.2.1:80", "--in", "eth0")
    assert hostfwctl(*asked, check=False).returncode == 0

    hostfwctl("set", "add", "bans", "192.0.2.0/24", "for", "1h")

    denied = hostfwctl(*asked, check=False)
    assert (denied.returncode, "ports ingress[0]" in denied.stdout) == (10, True)


def test_a_set_of_a_file_takes_members_by_a_companion(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """Under the labels of the set, also those that it gets later; what stands in its file is taken out there."""
    hostfwctl("set", "add", "listed", "192.0.2.2")

    assert admitted(lab, 80) == (False, True)
    assert "of: listed" in (installation.config / "quick/set-listed.yaml").read_text()
    hostfwctl("set", "add", "listed", "2001:db8::2", "for", "1h")
    assert admitted(lab, 80) == (False, False)
    assert set(members(hostfwctl, "listed")) == {"198.51.100.0/24", "192.0.2.2", "2001:db8::2"}
    refused = hostfwctl("set", "del", "listed", "198.51.100.7", check=False)
    assert refused.returncode == 1
    policy = installation.config / "policy.yaml"
    policy.write_text(POLICY.replace("name: listed, labels: {list: bans}", "name: listed, labels: {list: old}"))
    hostfwctl("apply")
    assert admitted(lab, 80) == (True, True)


def test_members_come_back_with_what_time_they_have_left(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """After a boot, which is a kernel without tables, and a run directory without files."""
    hostfwctl("set", "add", "bans", "192.0.2.2", "for", "1h")
    hostfwctl("set", "add", "bans", "192.0.2.3", "for", "1s")
    hostfwctl("set", "add", "bans", "2001:db8::/64")
    nft(lab, "flush ruleset")
    shutil.rmtree(installation.run)
    installation.run.mkdir(mode=0o755)
    # The time of one of them is over before the boot.
    sleep(1.0)

    hostfwctl("apply")

    assert admitted(lab, 80) == (False, False)
    now = members(hostfwctl, "bans")
    assert set(now) == {"192.0.2.2", "2001:db8::/64"}
    assert 3000 < (now["192.0.2.2"] or 0) <= 3600
    assert now["2001:db8::/64"] is None


def test_the_service_does_it_and_repairs_with_the_members(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, tmp_path: Path
) -> None:
    """Tables that another program deleted come back with what hostfwctl had put in."""
    with service(installation, tmp_path / "log") as running:
        hostfwctl("set", "add", "bans", "192.0.2.2", "for", "1h")
        assert admitted(lab, 80) == (False, True)
        assert not running.told("restored")

        nft(lab, "delete table ip hostfw")
        running.wait_for(lambda _: running.told("restored"))

        assert admitted(lab, 80) == (False, True)


def test_what_would_lock_somebody_out_is_refused(lab: Lab, installation: Installation, hostfwctl: Hostfwctl) -> None:
    """The address of an open ssh session, unless that is meant; and nothing was changed."""
    (installation.config / "hostfw.yaml").write_text("failsafe: none\n")
    (installation.config / "policy.yaml").write_text(POLICY.replace("ports: [80]", "ports: [22, 80]"))
    hostfwctl("apply")
    with ssh_server(lab["host"], "sshd", "::", 22), session(lab["peer"], "192.0.2.1", 22):
        refused = hostfwctl("set", "add", "bans", "192.0.2.0/24", "for", "1h", check=False)

        assert (refused.returncode, "cut the host off" in refused.stderr) == (1, True)
        assert members(hostfwctl, "bans") == {}
        hostfwctl("set", "add", "bans", "198.51.100.7")
        hostfwctl("set", "add", "bans", "192.0.2.0/24", "--accept-lockout")
        assert admitted(lab, 80) == (False, True)


def cidr(text: str) -> Cidr:
    """A prefix or an address."""
    found = loose_cidr(text)
    assert found is not None
    return found


def test_a_change_that_concerns_nobody_compiles_nothing(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is the only one that may come by ssh is somebody, although nobody is connected."""
    (installation.config / "hostfw.yaml").write_text("failsafe: none\n")
    only = "- {action: Allow, protocol: TCP, source: {nets: [203.0.113.9/32]}, destination: {ports: [22]}}\n  "
    denied = "- {action: Deny, source: {selector: list == 'bans'}}\n  "
    policy = POLICY.replace("- {action: Deny, protocol", f"{denied}{only}- {{action: Deny, protocol")
    (installation.config / "policy.yaml").write_text(policy)
    hostfwctl("apply", "--accept-lockout")
    engine = Engine(Directories(installation.config, installation.state, installation.run))
    looked: list[str] = []

    def look(*_: object) -> Before:
        looked.append("at policy")
        raise LookedError

    monkeypatch.setattr("hostfw.engine.checks.members._before", look)
    with ssh_server(lab["host"], "sshd", "::", 22):
        with inside(lab["host"]):
            baseline = LockoutRequest(engine.host.baseline())
            assert baseline.baseline.listeners
            for text in ("203.0.113.8", "198.18.0.0/15", "2001:db8:7::7"):
                added = engine.change_members(MembersChange("bans", (cidr(text),)), baseline)
                assert isinstance(added, MembersChanged)
                assert added.added
            assert looked == []
            for text in ("203.0.113.9", "203.0.113.0/24", "192.0.0.0/16"):
                looked.clear()
                with pytest.raises(LookedError):
                    engine.change_members(MembersChange("bans", (cidr(text),)), baseline)
                assert looked
        monkeypatch.undo()
        refused = hostfwctl("set", "add", "bans", "203.0.113.9", check=False)
        assert (refused.returncode, "every ssh connection" in refused.stderr) == (1, True)
    assert set(members(hostfwctl, "bans")) == {"203.0.113.8", "198.18.0.0/15", "2001:db8:7::7"}


class LookedError(Exception):
    """Somebody looked at the policy."""


def test_cut_ends_the_connections_of_what_is_put_in(lab: Lab, hostfwctl: Hostfwctl) -> None:
    """Of nobody else, and only if that is asked for."""
    with (
        inside(lab["host"]),
        socket.create_server(("192.0.2.1", 80)) as server,
        inside(lab["peer"]),
        socket.create_connection(("192.0.2.1", 80), 5) as client,
    ):
        accepted, _ = server.accept()
        with accepted:
            client.settimeout(1)
            accepted.settimeout(1)
            hostfwctl("set", "add", "bans", "192.0.2.2", "for", "1h")
            client.send(b"a")
            assert accepted.recv(1) == b"a"

            cut = hostfwctl("set", "add", "bans", "192.0.2.2", "for", "1h", "--cut")

            assert "1 connection ended" in cut.stderr
            client.send(b"b")
            with pytest.raises(TimeoutError):
                accepted.recv(1)
    refused = hostfwctl("set", "del", "bans", "192.0.2.2", "--cut", check=False)
    assert (refused.returncode, "set add" in refused.stderr) == (2, True)


def test_what_another_program_took_out_does_not_come_back_before_a_boot(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, tmp_path: Path
) -> None:
    """Neither with an apply nor with a start of the service; a larger set takes its members along."""
    hostfwctl("set", "add", "bans", "192.0.2.2", "2001:db8::2", "for", "1h")
    nft(lab, "delete element ip hostfw external/bans { 192.0.2.2 }")

    hostfwctl("apply")
    with service(installation, tmp_path / "log"):
        assert admitted(lab, 80) == (True, False)

    policy = installation.config / "policy.yaml"
    policy.write_text(POLICY.replace("{external: true}", "{external: true, size: 100000}"))
    hostfwctl("apply")
    assert set(members(hostfwctl, "bans")) == {"192.0.2.2", "2001:db8::2"}


def reboot_with_clock(installation: Installation, name: str, behind_s: int = 0) -> None:
    """Have what was written down of a set be of another boot, with a clock that is ahead of the one of now."""
    path = installation.state / f"members/{name}.json"
    saved = json.loads(path.read_text())
    saved["boot_id"] = "another"
    saved["at"] += behind_s
    saved["members"] = [[text, end and end + behind_s] for text, end in saved["members"]]
    path.write_text(json.dumps(saved))


def booted(lab: Lab, installation: Installation) -> str:
    """Do what a boot does until hostfw.service runs, and give its line for the journal."""
    nft(lab, "flush ruleset")
    shutil.rmtree(installation.run)
    installation.run.mkdir(mode=0o755)
    known = {"HOSTFW_STATE": str(installation.state), "HOSTFW_FAILSAFE": str(_empty(installation))}
    path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    return run(lab["host"], ["sh", str(_BOOT)], environment=path | known).stderr


def _empty(installation: Installation) -> Path:
    path = installation.run / "failsafe.nft"
    path.write_text("add table ip hostfw\nadd table ip6 hostfw\n")
    return path


def test_a_boot_honours_what_was_put_in_before_the_service_runs(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """With the time that is left, and not what is over; and `set` works on it without the service."""
    hostfwctl("set", "add", "bans", "192.0.2.2", "for", "1h")
    hostfwctl("set", "add", "bans", "192.0.2.3", "for", "1s")
    hostfwctl("set", "add", "bans", "2001:db8::/64", "198.51.100.0/24", "2001:db8:7::7")
    hostfwctl("set", "add", "guests", "192.0.2.2")
    hostfwctl("set", "add", "listed", "203.0.113.9", "for", "2h")
    for name in ("bans", "guests", "listed.members"):
        reboot_with_clock(installation, name)
    sleep(1.0)

    said = booted(lab, installation)

    assert "with what was put into external sets (6)" in said
    assert [admitted(lab, port) for port in (80, 81)] == [(False, False), (True, False)]
    bans = members(hostfwctl, "bans")
    assert set(bans) == {"192.0.2.2", "2001:db8::/64", "198.51.100.0/24", "2001:db8:7::7"}
    assert 3000 < (bans["192.0.2.2"] or 0) <= 3600
    assert bans["2001:db8::/64"] is None
    hostfwctl("set", "del", "bans", "192.0.2.2")
    hostfwctl("set", "add", "bans", "192.0.2.9", "for", "1h")
    assert admitted(lab, 80) == (True, False)
    hostfwctl("apply")
    assert set(members(hostfwctl, "bans")) == {"192.0.2.9", "2001:db8::/64", "198.51.100.0/24", "2001:db8:7::7"}


def test_a_boot_with_a_clock_that_is_behind_lets_no_guest_in(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """A ban stays for the time that was left when it was written down."""
    for name in ("bans", "guests"):
        hostfwctl("set", "add", name, "192.0.2.2", "for", "1h")
        reboot_with_clock(installation, name, behind_s=86_400)

    booted(lab, installation)

    assert [admitted(lab, port) for port in (80, 81)] == [(False, True), (False, False)]
    assert 3000 < (members(hostfwctl, "bans")["192.0.2.2"] or 0) <= 3600


def test_a_boot_takes_no_command_from_what_was_written_down(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """The rest of a damaged file is in force."""
    hostfwctl("set", "add", "bans", "192.0.2.2")
    path = installation.state / "members/bans.json"
    text = path.read_text()
    path.write_text(text.replace("]]", '], ["192.0.2.9 } ; flush ruleset; #", null], ["192.0.2.8", "x"]]'))
    (installation.state / "members/guests.json").write_text("[[[garbage")

    said = booted(lab, installation)

    assert "(1)" in said
    assert admitted(lab, 80) == (False, True)


def test_a_boot_takes_no_set_for_another_of_the_same_number(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """10 and 010 are two names: who is banned is let in nowhere."""
    named = POLICY.replace("name: bans,", "name: '010',").replace("name: guests,", "name: '10',")
    (installation.config / "policy.yaml").write_text(named)
    hostfwctl("apply")
    hostfwctl("set", "add", "010", "192.0.2.2")

    booted(lab, installation)

    assert [admitted(lab, port) for port in (80, 81)] == [(False, True), (False, False)]
    assert members(hostfwctl, "10") == {}


def test_a_prefix_that_another_program_took_out_does_not_keep_the_rest_from_coming_back(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """Ranges of the kernel cannot overlap."""
    hostfwctl("set", "add", "bans", "192.0.2.0/25")
    nft(lab, "delete element ip hostfw external-nets/bans { 192.0.2.0/25 }")
    hostfwctl("set", "add", "bans", "192.0.2.0/24")

    booted(lab, installation)

    assert members(hostfwctl, "bans") == {"192.0.2.0/24": None}


def test_a_clock_that_is_behind_brings_no_guest_back(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """A guest for a time is not let in again; a ban stays for the time that was left, and no longer."""
    hostfwctl("set", "add", "guests", "192.0.2.2", "for", "1h")
    hostfwctl("set", "add", "bans", "192.0.2.2", "for", "1h")
    for name in ("bans", "guests"):
        reboot_with_clock(installation, name, behind_s=100 * 365 * 86_400)
    nft(lab, "flush ruleset")

    hostfwctl("apply")

    assert admitted(lab, 81) == (False, False)
    assert 3000 < (members(hostfwctl, "bans")["192.0.2.2"] or 0) <= 3600
    assert members(hostfwctl, "guests") == {}


def asleep(installation: Installation, seconds: int, *arguments: str) -> None:
    """Run hostfwctl on a host that has slept for so long: the clock that counts sleep is ahead of the other."""
    unshare = ("unshare", "--time", "--fork", "--boottime", str(seconds))
    run(installation.node, (*unshare, *installation.arguments, *arguments), environment=environment())


def test_nobody_stays_longer_because_the_host_slept(lab: Lab, installation: Installation, hostfwctl: Hostfwctl) -> None:
    """The kernel counts no sleep. What another program put in loses as much, and what came later nothing."""
    hostfwctl("set", "add", "guests", "192.0.2.2", "for", "1h")
    hostfwctl("set", "add", "bans", "192.0.2.3", "2001:db8:7::/64", "for", "3h")
    hostfwctl("set", "add", "bans", "192.0.2.5")
    nft(lab, "add element ip hostfw external/bans { 192.0.2.4 timeout 150m, 192.0.2.6 timeout 1h }")
    hostfwctl("apply")
    assert admitted(lab, 81) == (True, False)

    asleep(installation, 7200, "apply")
    asleep(installation, 7200, "set", "add", "bans", "192.0.2.7", "for", "1h")
    asleep(installation, 7200, "apply")

    assert admitted(lab, 81) == (False, False)
    now = members(hostfwctl, "bans")
    assert set(now) == {"192.0.2.3", "2001:db8:7::/64", "192.0.2.4", "192.0.2.5", "192.0.2.7"}
    assert now["192.0.2.5"] is None
    for text, minutes in (("192.0.2.3", 60), ("2001:db8:7::/64", 60), ("192.0.2.4", 30), ("192.0.2.7", 60)):
        assert 60 * minutes - 120 < (now[text] or 0) <= 60 * minutes


def test_what_was_put_in_after_a_sleep_keeps_its_time(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """No service looked between the end of the sleep and the next apply, and hostfwctl may not have put it in."""
    hostfwctl("set", "add", "bans", "192.0.2.9", "for", "1h")
    nft(lab, "add element ip hostfw external/bans { 192.0.2.4 timeout 150m }")
    sleep(0.2)
    hostfwctl("apply")
    nft(lab, "add element ip hostfw external/bans { 192.0.2.6 timeout 1h }")
    nft(lab, "add element ip6 hostfw external-nets/bans { 2001:db8:7::/64 timeout 1h }")
    # Another program puts in for longer what hostfwctl had put in.
    nft(lab, "delete element ip hostfw external/bans { 192.0.2.9 }")
    nft(lab, "add element ip hostfw external/bans { 192.0.2.9 timeout 4h }")
    sleep(0.2)

    asleep(installation, 7200, "apply")

    now = members(hostfwctl, "bans")
    for text, minutes in (("192.0.2.4", 30), ("192.0.2.6", 60), ("2001:db8:7::/64", 60), ("192.0.2.9", 240)):
        assert 60 * minutes - 120 < (now[text] or 0) <= 60 * minutes, text


def test_ranges_that_are_no_prefix_end_in_time_too(lab: Lab, installation: Installation, hostfwctl: Hostfwctl) -> None:
    """They are several prefixes to us, and one element to the kernel; so is an address among prefixes."""
    nets = "192.0.2.10-192.0.2.20 timeout 3h, 192.0.2.33 timeout 1h, 198.51.100.0/24 timeout 3h"
    nft(lab, f"add element ip hostfw external-nets/bans {{ {nets} }}")
    nft(lab, "add element ip hostfw external/bans { 192.0.2.4 timeout 3h, 192.0.2.33 timeout 3h }")
    sleep(0.2)
    hostfwctl("apply")

    asleep(installation, 7200, "apply")

    now = members(hostfwctl, "bans")
    assert set(now) == {"192.0.2.10/31", "192.0.2.12/30", "192.0.2.16/30", "192.0.2.20"} | {
        "198.51.100.0/24",
        "192.0.2.4",
        "192.0.2.33",
    }
    assert all(3480 < (left_s or 0) <= 3600 for left_s in now.values())


def test_what_the_kernel_refused_to_shorten_is_shortened_later(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One member that is refused keeps no other from it, and is told for as long as it stays too long."""
    nft(lab, "add element ip hostfw external/bans { 192.0.2.4 timeout 3h, 192.0.2.5 timeout 3h, 192.0.2.6 timeout 3h }")
    sleep(0.2)
    hostfwctl("apply")
    refusing = "192.0.2.5"
    cache, commit = EngineCache(), transactions.commit

    def refuse(script: str, nftables: Nftables) -> Failed | None:
        return Failed("no memory") if refusing and refusing in script else commit(script, nftables)

    monkeypatch.setattr("hostfw.engine.members.member_times.commit", refuse)
    with inside(installation.node):
        directories = Directories(installation.config, installation.state, installation.run)
        engine = Engine(directories, Host(uptime=lambda: monotonic() + 7200), cache=cache)
        assert isinstance(engine.resume(), Resumed)
        first, owed = members(hostfwctl, "bans"), cache.done.unsettled
        refusing = ""
        assert isinstance(engine.resume(), Resumed)

    now = members(hostfwctl, "bans")
    assert "192.0.2.5 of bans would stay longer than they were put in for: no memory" in owed
    assert {text for text, left_s in first.items() if (left_s or 0) > 3600} == {"192.0.2.5"}
    assert all(3480 < (left_s or 0) <= 3600 for left_s in now.values()), now
    assert not cache.done.unsettled


def test_a_guest_who_was_withheld_comes_once_the_clock_is_right(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """For the rest of the time; a ban that came back with a clock that was behind ends in time, too."""
    for name in ("bans", "guests"):
        hostfwctl("set", "add", name, "192.0.2.2", "for", "1h")
        reboot_with_clock(installation, name, behind_s=86_400)
    booted(lab, installation)
    hostfwctl("apply")
    assert [admitted(lab, port) for port in (80, 81)] == [(False, True), (False, False)]

    # The clock is set: it is half an hour later than when they were put in.
    for name in ("bans", "guests"):
        reboot_with_clock(installation, name, behind_s=-86_400 - 1800)
    hostfwctl("apply")

    assert [admitted(lab, port) for port in (80, 81)] == [(False, True), (True, False)]
    for name in ("bans", "guests"):
        assert 1700 < (members(hostfwctl, name)["192.0.2.2"] or 0) <= 1800


def test_a_ban_closes_ssh_where_its_policy_comes_before_failsafes(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """To the members and to nobody else."""
    rule = "- {action: Deny, source: {selector: list == 'bans'}}"
    early = (
        "---\napiVersion: projectcalico.org/v3\nkind: GlobalNetworkPolicy\n"
        "metadata: {name: early, annotations: {hostfw.io/before-failsafes: 'true'}}\n"
        f"spec:\n  selector: all()\n  ingress:\n  {rule}\n"
    )
    (installation.config / "early.yaml").write_text(early)
    hostfwctl("apply")
    assert admitted(lab, 22) == (True, True)

    hostfwctl("set", "add", "bans", "192.0.2.2", "for", "1h")

    assert admitted(lab, 22) == (False, True)


def test_a_ban_that_is_renewed_after_a_boot_keeps_its_time(
    lab: Lab, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """Another program may be earlier than the first look of hostfw at what it had written down."""
    hostfwctl("set", "add", "bans", "192.0.2.9", "192.0.2.3", "for", "10m")
    reboot_with_clock(installation, "bans")
    booted(lab, installation)
    nft(lab, "delete element ip hostfw external/bans { 192.0.2.9 }")
    nft(lab, "add element ip hostfw external/bans { 192.0.2.9 timeout 4h }")

    hostfwctl("apply")

    now = members(hostfwctl, "bans")
    assert 4 * 3600 - 120 < (now["192.0.2.9"] or 0) <= 4 * 3600
    assert (now["192.0.2.3"] or 0) <= 605
