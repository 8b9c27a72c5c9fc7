"""The verbs of hostfwctl on a real kernel, each in a process of its own."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

from lab.hostfwctl import Installation, environment
from lab.namespace import Namespace, run
from lab.ruleset import without_links
from tests.kernel.web_policy import web_policy

Hostfwctl = Callable[..., CompletedProcess[str]]

MISTAKES = Path(__file__).parents[2] / "data" / "twenty-mistakes"

FOREIGN = """\
table inet other {
    set seen { type ipv4_addr; flags dynamic; elements = { 192.0.2.9 } }
    chain input { type filter hook input priority 10; policy accept; counter; }
}
"""


def test_a_folder_of_mistakes_leaves_every_byte_of_the_ruleset(
    host: Namespace, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """A refused configuration changes nothing: not our tables, not those of others, not what is accepted."""
    (installation.config / "policy.yaml").write_text(web_policy(80))
    run(host, ["nft", "-f", "-"], text=FOREIGN)
    hostfwctl("apply")
    before = run(host, ["nft", "-j", "list", "ruleset"]).stdout
    status = json.loads(hostfwctl("status", "-o", "json").stdout)

    done = hostfwctl("apply", "-f", str(MISTAKES), check=False)

    assert done.returncode == 3
    assert done.stderr.endswith("hostfwctl: 20 problems in 8 files; nothing was changed\n")
    assert run(host, ["nft", "-j", "list", "ruleset"]).stdout == before
    after = json.loads(hostfwctl("status", "-o", "json").stdout)
    assert after.pop("lastEvent")["kind"] == "refused"
    assert status.pop("lastEvent")["kind"] == "applied"
    assert after == status
    assert hostfwctl("diff", "--nft").returncode == 0


def test_a_day_of_a_host(host: Namespace, installation: Installation, hostfwctl: Hostfwctl) -> None:
    """Validate, diff, apply, status, change, reload: each says what the kernel does."""
    (installation.config / "policy.yaml").write_text(web_policy(80))

    assert hostfwctl("status", check=False).returncode == 4
    assert hostfwctl("validate").stderr == "ok: 1 policy, 1 endpoint\n"
    assert hostfwctl("diff", "--nft", check=False).returncode == 1
    applied = hostfwctl("apply").stderr
    assert " in force: 1 policy, 1 endpoint on 1 interface; " in applied
    assert hostfwctl("diff", "--nft").stderr == "no difference\n"
    assert hostfwctl("reload").stderr.startswith("no change: generation ")
    assert hostfwctl("status").stdout.startswith("State:         in force\n")

    (installation.config / "policy.yaml").write_text(web_policy(443))
    assert "Pending:" in hostfwctl("status").stdout
    assert hostfwctl("diff", check=False).stdout.startswith("~ GlobalNetworkPolicy/web   ")
    changed = json.loads(hostfwctl("reload", "-o", "json").stdout)
    assert changed["result"] == "applied"
    assert changed["chainsNew"] > 0
    assert changed["chainsSwept"] > 0
    assert "443" in run(host, ["nft", "list", "table", "ip", "hostfw"]).stdout

    run(host, ["nft", "flush", "chain", "ip", "hostfw", "input"])
    assert "chain input was changed by another program" in hostfwctl("status").stdout
    hostfwctl("apply")
    assert "Drift" not in hostfwctl("status").stdout


def test_what_compile_prints_is_what_is_in_force(
    host: Namespace, installation: Installation, hostfwctl: Hostfwctl, tmp_path: Path
) -> None:
    """The script loads as it is, gives the very ruleset of an apply, and the same bytes from the host's facts."""
    (installation.config / "policy.yaml").write_text(web_policy(80))
    script = hostfwctl("compile").stdout
    facts = tmp_path / "facts.json"
    facts.write_text(hostfwctl("interfaces", "-o", "json").stdout)

    run(host, ["nft", "-f", "-"], text=script)
    loaded = run(host, ["nft", "-s", "list", "ruleset"]).stdout
    run(host, ["nft", "flush", "ruleset"])
    hostfwctl("apply")

    applied = without_links(run(host, ["nft", "-s", "list", "ruleset"]).stdout)
    assert sorted(applied.splitlines()) == sorted(loaded.splitlines())
    assert hostfwctl("compile", "--facts", str(facts)).stdout == script


def test_interfaces_are_those_of_the_host(installation: Installation, hostfwctl: Hostfwctl) -> None:
    """The table shows what the kernel has, and who governs it."""
    (installation.config / "policy.yaml").write_text(web_policy(80))

    rows = [line.split(maxsplit=6) for line in hostfwctl("interfaces").stdout.splitlines()]

    assert [row[0] for row in rows] == ["NAME", "eth0", "lo"]
    assert rows[1][2:4] == ["veth", "-"]
    assert rows[1][-1].endswith("uplink     interfaceName eth0")


def test_without_the_capability_it_is_not_permitted(
    host: Namespace, installation: Installation, hostfwctl: Hostfwctl
) -> None:
    """Everything that needs CAP_NET_ADMIN says so with status 4, and what needs none works."""
    (installation.config / "policy.yaml").write_text(web_policy(80))
    hostfwctl("apply")
    drop = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", *installation.arguments]

    for verb, status in (("apply", 4), ("reload", 4), ("status", 4), ("validate", 0), ("compile", 0), ("diff", 0)):
        done = run(host, [*drop, verb], environment=environment(), check=False)

        assert done.returncode == status, (verb, done.stderr)
        assert "Traceback" not in done.stderr
        if status:
            assert done.stderr.startswith("hostfwctl: ")
            assert "Operation not permitted" in done.stderr


def test_without_the_nftables_package_it_says_which(
    host: Namespace, installation: Installation, tmp_path: Path
) -> None:
    """A missing package is named, and nothing is changed."""
    (installation.config / "policy.yaml").write_text(web_policy(80))
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "nftables.py").write_text("raise ModuleNotFoundError(\"No module named 'nftables'\", name='nftables')\n")
    path = {"PYTHONPATH": f"{broken}{os.pathsep}{environment()['PYTHONPATH']}"}

    done = run(host, [*installation.arguments, "apply"], environment=environment() | path, check=False)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "python3-nftables" in done.stderr
    assert run(host, ["nft", "list", "ruleset"]).stdout == ""
