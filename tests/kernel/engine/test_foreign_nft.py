"""Another nft on the same host: a newer one whose sets ours may not understand, and one that commits without pause."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from threading import Event, Thread
from time import monotonic

import pytest

from bench.inputs.mixtures import SHAPES, plan_of, with_logs
from hostfw.compile.ruleset import compile_plan
from hostfw.engine.context import Directories, Host
from hostfw.engine.kernel.deploy.deploy import enforce_nothing
from hostfw.engine.kernel.deploy.disturbances import Enforced
from hostfw.engine.kernel.script.deploy import enforce_script
from hostfw.engine.kernel.writer import Writer
from hostfw.host.nftables.nft_version import nft_version
from hostfw.host.nftables.tables import read_generation
from hostfw.host.nftables.writing.script_runner import TIMEOUT_S, NftablesWorker
from hostfw.model.sources import Configuration
from hostfw.model.values import Family
from hostfw.nft.object_text import render
from lab.hostfwctl import Installation, hostfwctl, install
from lab.laboratory import Lab
from lab.namespace import Namespace, inside, namespace, process, run
from lab.ruleset import in_force, listed
from tests.kernel.changing_policies import configuration

ROOTS = (
    Path("/var/cache/hostfw-clean-room/trixie-nft"),
    Path("/var/tmp/roots/d13"),
    *sorted(Path("/var/cache/hostfw-hosts").glob("trixie-*")),
)
"""Places of a root of Debian 13 with its nft (1.1.3); the last are those of whole hosts."""

RECIPE = (
    "mmdebstrap --variant=extract --include=nftables --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr "
    f"trixie {ROOTS[0]}"
)

COMMIT_EVERY_S = 0.01

NEWER = """\
table inet newer {
	set plain {
		type ipv4_addr
		comment "which nft 1.0.6 does not survive"
	}
	set counted {
		type ipv4_addr
		flags timeout
		timeout 1h
		counter
		elements = { 198.51.100.3 }
	}
	set hosts {
		typeof ip saddr
		comment "kept by a newer nft"
		flags dynamic,timeout
		timeout 1h
		counter
		elements = { 198.51.100.1 comment "one", 198.51.100.2 timeout 30m }
	}
	set ranges {
		type ipv4_addr . inet_service
		flags interval
		comment "addresses and ports"
		elements = { 10.0.0.0/8 . 80-90 comment "web", 192.0.2.1-192.0.2.9 . 443 }
	}
	set payload {
		typeof ip saddr . vlan id . @ih,32,32
		size 16
	}
	map ports {
		typeof tcp dport : ip daddr . tcp dport
		flags interval
		elements = { 8080-8089 : 192.0.2.1 . 80 }
	}
	chain input {
		type filter hook input priority 10; policy accept;
		ip saddr . tcp dport @ranges counter accept
		update @hosts { ip saddr counter }
	}
}
"""


@pytest.fixture
def installation(routed_lab: Lab, tmp_path: Path) -> Installation:
    """An installation on the host that forwards, with a configuration to apply."""
    made = install(routed_lab["host"], tmp_path / "hostfw")
    _write(made, configuration(1, 100))
    return made


@pytest.fixture
def newer_nft() -> tuple[str, ...]:
    """The command of a newer nft than ours."""
    root = next((root for root in ROOTS if (root / "usr/sbin/nft").exists()), None)
    if root is None:
        pytest.skip(f"needs a root of Debian 13 with nftables: {RECIPE}")
    command = ("chroot", str(root), "/usr/sbin/nft")
    said = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    if said.returncode != 0:
        pytest.skip(f"nft of {root} does not start: {said.stderr.strip()}")
    if _numbers(said.stdout.split()[1].removeprefix("v")) <= _numbers(nft_version()):
        pytest.skip(f"our own nft {nft_version()} is as new as that of {root}")
    return command


def test_a_program_that_commits_without_pause_does_not_hinder_us(installation: Installation) -> None:
    """Its commits invalidate what nft has read, every ten milliseconds; ours take effect all the same."""
    run(installation.node, ("nft", "add table inet churn; add set inet churn s { type ipv4_addr; }"))
    with _commits(installation.node, ("nft",), "inet churn s"):
        before = _generation(installation.node)
        for number in (1, 2, 1):
            _write(installation, configuration(number, 100))
            hostfwctl(installation, "apply", "--accept-loss", timeout_s=TIMEOUT_S)
            hostfwctl(installation, "status")

        ours = 3 * 3
        assert _generation(installation.node) - before > 2 * ours, "somebody did commit all the while"


@pytest.mark.parametrize("first", [True, False], ids=["the first generation", "the next generation"])
def test_sets_of_a_newer_nft_do_not_keep_a_generation_from_taking_effect(
    installation: Installation, newer_nft: tuple[str, ...], first: bool
) -> None:
    """Libnftables 1.0.6 dies when it reads them, which no step of ours makes it do."""
    node = installation.node
    _write(installation, configuration(2, 100))
    hostfwctl(installation, "apply", "--accept-loss")
    golden = listed(node)
    run(node, ("nft", "flush", "ruleset"))
    if not first:
        _write(installation, configuration(1, 100))
        hostfwctl(installation, "apply", "--accept-loss")
        _write(installation, configuration(2, 100))
    run(node, (*newer_nft, "-f", "-"), text=NEWER + "add set inet newer churn { type ipv4_addr; }\n")

    with _commits(node, newer_nft, "inet newer churn"):
        before = _generation(node)
        started = monotonic()
        done = hostfwctl(installation, "apply", "--accept-loss", check=False, timeout_s=2 * TIMEOUT_S)
        took_s = monotonic() - started
        status = hostfwctl(installation, "status", check=False)
        assert _generation(node) - before > 10, "somebody did commit all the while"
    died = run(node, ("nft", "list", "sets"), check=False).returncode != 0
    run(node, (*newer_nft, "delete", "table", "inet", "newer"))

    assert died or nft_version() != "1.0.6", "they are what this is about"
    assert (done.returncode, "could not" in done.stderr, status.stderr) == (0, False, "")
    assert took_s < TIMEOUT_S
    assert "in force" in status.stdout
    assert listed(node) == golden


def test_whole_scripts_and_the_end_of_it_all_work_beside_sets_of_a_newer_nft(
    installation: Installation, newer_nft: tuple[str, ...]
) -> None:
    """Scripts of a boot and a rollback load over nothing, themselves and another generation; our tables go."""
    node = installation.node
    scripts, goldens = [], []
    for number in (1, 2):
        _write(installation, configuration(number, 5000))
        hostfwctl(installation, "apply", "--accept-loss")
        scripts.append((installation.state / "last-good.nft").read_text())
        goldens.append(in_force(listed(node)))
    run(node, ("nft", "flush", "ruleset"))
    run(node, (*newer_nft, "-f", "-"), text=NEWER)

    for script in (scripts[0], scripts[0], scripts[1], scripts[0]):
        run(node, ("nft", "-f", "-"), text=script)
    loaded = in_force(listed(node))
    with inside(node), NftablesWorker() as nftables:
        writer = Writer(Directories(installation.config, installation.state, installation.run), Host(), nftables)
        rolled_back = enforce_script(scripts[1], writer)
        after_rollback = in_force(listed(node))
        ended = enforce_nothing(writer)
    left = run(node, (*newer_nft, "list", "tables")).stdout

    assert loaded == goldens[0]
    assert isinstance(rolled_back, Enforced), rolled_back
    assert after_rollback == goldens[1]
    assert isinstance(ended, Enforced), ended
    assert left == "table inet newer\n"


@pytest.mark.parametrize("family", Family)
def test_a_newer_nft_takes_and_shows_what_is_found_by_rank(newer_nft: tuple[str, ...], family: Family) -> None:
    """All shapes, logs and staged policies: it loads the same ruleset as ours does, and loads again what it shows."""
    plan = with_logs(plan_of(dict.fromkeys(SHAPES, 1), 300, 1, family, tiers=2))
    script = render(compile_plan(plan))
    with namespace("newer") as newer, namespace("ours") as ours, namespace("again") as again:
        run(newer, (*newer_nft, "-f", "-"), text=script)
        run(ours, ("nft", "-f", "-"), text=script)
        shown, ours_shown = (run(node, (*newer_nft, "list", "ruleset")).stdout for node in (newer, ours))
        run(again, (*newer_nft, "-f", "-"), text=shown)
        shown_again = run(again, (*newer_nft, "list", "ruleset")).stdout

    assert "meta mark & 0xffff0000 vmap @in/tcp/ranks." in shown
    assert shown == ours_shown
    assert shown == shown_again


@contextmanager
def _commits(node: Namespace, nft: tuple[str, ...], name: str) -> Iterator[None]:
    """Somebody's interactive nft that commits every ten milliseconds."""
    stop = Event()
    with process(node, (*nft, "-i"), stdin=subprocess.PIPE) as started:

        def work() -> None:
            assert started.stdin is not None
            verbs = cycle(("add", "delete"))
            while not stop.wait(COMMIT_EVERY_S):
                started.stdin.write(f"{next(verbs)} element {name} {{ 192.0.2.1 }}\n")
                started.stdin.flush()

        thread = Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _generation(node: Namespace) -> int:
    with inside(node):
        return read_generation()


def _write(installation: Installation, configuration: Configuration) -> None:
    for source in (configuration.settings, *configuration.resources):
        if source is not None:
            (installation.config / source.path).write_text(source.text)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
