"""`hostfwctl diff`: what a configuration would change."""

import json
from pathlib import Path

import pytest

from hostfw.cli.output.reports.differences import settings_lines
from hostfw.model.host.baseline import Baseline, Session
from hostfw.model.settings import Settings
from hostfw.model.values import Family
from tests.unit.builders.policy_builders import net
from tests.unit.cli_runs import UPLINK, WEB, Machine, machine

SSH = Session(Family.V4, net("192.0.2.66").address, 40000, net("192.0.2.1").address, 22, "eth0", own=True)


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = machine(tmp_path, monkeypatch)
    made.write(web=WEB, uplink=UPLINK)
    return made


def test_before_the_first_apply_everything_is_new(host: Machine) -> None:
    """Without an accepted configuration each resource is added, with its place."""
    assert host.hostfwctl("diff") == (
        1,
        "+ GlobalNetworkPolicy/web   etc/web.yaml:1\n+ HostEndpoint/uplink   etc/uplink.yaml:1\n",
        "2 new\n",
    )


def test_what_is_in_force_is_no_difference(host: Machine) -> None:
    """Right after an apply there is none, in policies and in the ruleset."""
    host.hostfwctl("apply")

    assert host.hostfwctl("diff", "--nft") == (0, "", "no difference\n")


def test_only_the_meaning_counts(host: Machine) -> None:
    """Comments, the order of fields and the file that a resource is in make no difference."""
    host.hostfwctl("apply")
    (host.config / "uplink.yaml").unlink()
    host.write(web=f"# The web.\n{WEB}---\n{UPLINK}")

    assert host.hostfwctl("diff") == (0, "", "no difference\n")


def test_a_changed_resource_shows_its_hunks(host: Machine) -> None:
    """New, changed and gone, each with its place, and for a changed one the difference of the manifests."""
    host.hostfwctl("apply")
    (host.config / "uplink.yaml").unlink()
    host.write(
        web=WEB.replace("80", "443"),
        set="""\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: offices}
spec: {nets: [192.0.2.0/24]}
""",
    )

    status, out, err = host.hostfwctl("diff")

    lines = out.splitlines()
    assert status == 1
    assert "1 new, 1 changed, 1 gone\n" in err
    assert "warning: `apply` is refused, as this would lose the only HostEndpoint of this host" in err
    assert lines[0] == "~ GlobalNetworkPolicy/web   etc/web.yaml:1"
    assert [line.split() for line in lines if line.startswith(("    -", "    +"))] == [
        ["-", "-", "80"],
        ["+", "-", "443"],
    ]
    assert lines[-2:] == ["+ GlobalNetworkSet/offices   etc/set.yaml:1", "- HostEndpoint/uplink   etc/uplink.yaml:1"]


def test_settings_differ_too(host: Machine) -> None:
    """A changed setting is shown by its name in the file."""
    host.hostfwctl("apply")
    host.write(hostfw="denyAction: reject\n")

    status, out, _ = host.hostfwctl("diff")

    assert status == 1
    assert out.splitlines()[0] == "~ Settings   etc/hostfw.yaml"
    assert "    -denyAction: drop" in out.splitlines()
    assert "    +denyAction: reject" in out.splitlines()


def test_every_setting_has_a_line() -> None:
    """The names are those of `hostfw.yaml`."""
    lines = list(settings_lines(Settings()))

    assert "node: of the host" in lines
    assert "failsafe.inbound: tcp 22, udp 68, udp 546" in lines
    assert "unmanagedInterfaces.ingress: deny" in lines
    assert "logging.ratePerSecond: 10" in lines
    assert "learnAddresses: false" in lines
    assert "packetMarks: 0x30000000" in lines


def test_nft_shows_the_scripts(host: Machine) -> None:
    """With `--nft` what would be sent to the kernel now follows."""
    host.hostfwctl("apply")
    host.write(web=WEB.replace("80", "443"))

    status, out, _ = host.hostfwctl("diff", "--nft")

    assert status == 1
    assert "\n# prepare\n" in out
    assert "\n# sweep\n" in out
    assert "443" in out


def test_a_ruleset_that_another_hand_changed_differs(host: Machine) -> None:
    """Equal policies are not enough, with `--nft` or without."""
    told = (
        "changed by another program: table ip hostfw: chain input was changed by another program; "
        "`hostfwctl reload` puts it right\n"
    )
    host.hostfwctl("apply")
    assert host.hostfwctl("diff") == (0, "", "no difference\n")
    host.kernel.meddle("flush chain ip hostfw input\n")

    status, out, err = host.hostfwctl("diff", "--nft")

    assert (status, err) == (1, f"{told}the ruleset alone differs\n")
    assert out.startswith("# switch\n")
    assert host.hostfwctl("diff") == (1, "", told)


def test_an_invalid_configuration_has_no_difference(host: Machine) -> None:
    """Problems come instead."""
    host.write(web=WEB.replace("selector", "selectr"), uplink=UPLINK)

    status, out, err = host.hostfwctl("diff")

    assert (status, out) == (3, "")
    assert err.endswith("hostfwctl: 1 problem in 1 file\n")


def test_an_accepted_configuration_that_cannot_be_read_is_said(host: Machine) -> None:
    """Nothing is compared with nothing by mistake."""
    host.hostfwctl("apply")
    (host.directory / "var" / "accepted" / "sources.json").write_text("{")

    status, out, err = host.hostfwctl("diff")

    assert (status, out) == (2, ""), "1 would say that there are differences"
    assert err.startswith("hostfwctl: var/accepted/sources.json")


def test_a_program_reads_what_would_change(host: Machine) -> None:
    """The Comparison has the differences with their places, and the status says the same as for people."""
    host.hostfwctl("apply")
    (host.config / "uplink.yaml").unlink()
    host.write(web=WEB.replace("80", "443"))

    status, out, err = host.hostfwctl("diff", "-o", "json")

    found = json.loads(out)
    assert (status, found["kind"]) == (1, "Comparison"), err
    assert [(one["change"], one["resource"], one["place"]) for one in found["differences"]] == [
        ("changed", "GlobalNetworkPolicy/web", "etc/web.yaml:1"),
        ("gone", "HostEndpoint/uplink", "etc/uplink.yaml:1"),
    ]
    assert [one["kind"] for one in found["refusals"]] == ["loss"]
    assert "HostEndpoint" in found["refusals"][0]["message"]


def test_a_lock_out_is_foretold(host: Machine) -> None:
    """The refusal of `apply` because ssh is lost, before anybody tries; for people and for programs."""
    host.baseline = Baseline(sessions=(SSH,))
    host.hostfwctl("apply")
    (host.config / "hostfw.yaml").write_text("failsafe: {inbound: []}\n")

    status, out, _ = host.hostfwctl("diff", "-o", "json")
    told = host.hostfwctl("diff")[2]
    refused = host.hostfwctl("apply")[2]

    (refusal,) = json.loads(out)["refusals"]
    assert (status, refusal["kind"]) == (1, "lockout")
    assert refusal["message"] in refused
    assert f"`apply` is refused, as {refusal['message']}" in told


def test_no_difference_is_a_document_too(host: Machine) -> None:
    """With every list empty."""
    host.hostfwctl("apply")

    status, out, err = host.hostfwctl("diff", "-o", "json")

    found = json.loads(out)
    assert (status, err) == (0, "")
    assert (found["differences"], found["exposure"], found["refusals"], found["drift"]) == ([], [], [], [])
