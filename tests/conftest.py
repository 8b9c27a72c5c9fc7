"""Shared by every tier: the number of examples, the requirements of a tier, and the table at the end."""

import gc
import os
import shutil
import signal
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

from lab.hosts.image import why_no_hosts

TESTS = Path(__file__).parent
TIERS = ("lint", "unit", "golden", "property", "conformance", "kernel", "attacks", "system")
QUICK_TIERS = ("unit", "golden", "property")
"""Tiers of `make quick`."""
NAMESPACE_TIERS = ("kernel", "attacks")
"""Tiers that put real rulesets into network namespaces of their own."""
HOST_TIERS = ("system",)
"""Tiers that boot whole hosts. What a test waits for there, a root image among it, may take minutes."""
HOST_TIMEOUT_S = 900
QUICK_EXAMPLES = 8
"""Examples of a property in `make quick`, and wherever no profile is named; `make test` names `full`."""
SLOW = "slow: make test runs it"
"""The reason for which `make quick` leaves a test out."""
SLOW_TESTS, SLOW_CPU_S = TESTS / "slow.txt", 0.06
"""The tests of the quick tiers that took more processor time than that when they were last timed, a line each."""
_CPU_S = "cpu_s"
"""The property of a test's last report: the processor time that it took, its fixtures' and its processes' included."""
_BEGAN = pytest.StashKey[float]()

# No deadline: a test machine is shared, and a slow example is not a wrong one.
settings.register_profile("quick", max_examples=QUICK_EXAMPLES, deadline=None)
settings.register_profile("full", max_examples=60, deadline=None)
settings.register_profile(
    "soak", max_examples=1_000, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("quick")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the switches that the Makefile's targets use."""
    group = parser.getgroup("hostfw")
    group.addoption("--update-golden", action="store_true", help="write the golden files instead of comparing")
    group.addoption("--quick", action="store_true", help="leave out the tests that are `slow` (make quick)")
    group.addoption("--update-slow", action="store_true", help="write the list of slow tests anew (make slow)")
    group.addoption("--soak", action="store_true", help="run the long tests, and the others at full count")


@pytest.fixture(autouse=True)
def _no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing hang on how wide the terminal of the tests is; pytest-xdist tells its workers."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(autouse=True)
def _no_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no disk waited for where nothing is ever read back after a crash of the machine."""
    if _tier(request.path) in QUICK_TIERS:
        monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """True if golden files are to be written (`make golden`) rather than compared."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> bool:
    """True if there is time for full counts (`make soak`)."""
    return bool(request.config.getoption("--soak"))


def pytest_configure(config: pytest.Config) -> None:
    """Let the count of examples follow `--soak`, unless a profile is named.

    Modules and tests that are collected stay to the end, and are looked for garbage only afterwards.
    A shell has its background jobs ignore Ctrl-C, and what they start inherits that; some tests send it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()
    if config.getoption("--quick"):
        _leave_out_constants()
    if config.getoption("--soak") and not config.getoption("--hypothesis-profile", None):
        settings.load_profile("soak")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip, with the reason, what this machine or this run cannot do."""
    slow = frozenset(SLOW_TESTS.read_text().splitlines()) if config.getoption("--quick") else frozenset()
    wanted = any(_tier(item.path) in NAMESPACE_TIERS for item in items)
    unable = _why_no_namespaces() if wanted else None
    no_hosts = why_no_hosts() if any(_tier(item.path) in HOST_TIERS for item in items) else None
    for item in items:
        if _tier(item.path) in HOST_TIERS:
            item.add_marker(pytest.mark.timeout(HOST_TIMEOUT_S))
            if no_hosts:
                item.add_marker(pytest.mark.skip(reason=no_hosts))
        if unable and _tier(item.path) in NAMESPACE_TIERS:
            item.add_marker(pytest.mark.skip(reason=unable))
        short = config.getoption("--quick") or config.getoption("--update-slow")
        if item.nodeid in slow or (short and item.get_closest_marker("slow")):
            item.add_marker(pytest.mark.skip(reason=SLOW))
        if item.get_closest_marker("soak") and not config.getoption("--soak"):
            item.add_marker(pytest.mark.skip(reason="takes minutes: make soak"))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Look for garbage again, but not in what was collected: with 8,000 tests that took a tenth of `make quick`."""
    gc.enable()
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Note when a test began, in processor time."""
    item.stash[_BEGAN] = _cpu_s()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Have the last report of a test tell its processor time; a worker's reports reach the terminal that way."""
    if call.when == "teardown":
        item.user_properties.append((_CPU_S, _cpu_s() - item.stash[_BEGAN]))


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    """Print a line a tier, so that nothing goes missing without being seen."""
    counts: dict[str, Counter[str]] = {tier: Counter() for tier in TIERS}
    for outcome in ("passed", "failed", "error", "skipped", "xfailed"):
        for report in terminalreporter.getreports(outcome):
            tier = _tier(TESTS.parent / report.nodeid.partition("::")[0])
            counts.setdefault(tier, Counter())[outcome] += 1
    terminalreporter.section("tiers")
    terminalreporter.write_line(f"{'':12}{'passed':>8}{'failed':>8}{'skipped':>8}")
    for tier, count in counts.items():
        if not count:
            terminalreporter.write_line(f"{tier:12}{'did not run' if (TESTS / tier).is_dir() else 'not there yet':>24}")
            continue
        failed = count["failed"] + count["error"]
        colour = {"red": True} if failed else {"green": True}
        skipped = count["skipped"] + count["xfailed"]
        terminalreporter.write_line(f"{tier:12}{count['passed']:>8}{failed:>8}{skipped:>8}", **colour)
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    took_s = sum(
        value for report in reports for name, value in getattr(report, "user_properties", ()) if name == _CPU_S
    )
    terminalreporter.write_line(f"the tests took {took_s:.0f} s of processor time")
    if terminalreporter.config.getoption("--update-slow"):
        timed = {
            report.nodeid: value
            for report in reports
            for name, value in getattr(report, "user_properties", ())
            if name == _CPU_S
        }
        slow_now = sorted(test for test, value in timed.items() if value > SLOW_CPU_S)
        SLOW_TESTS.write_text("".join(f"{test}\n" for test in slow_now))
        terminalreporter.write_line(f"{SLOW_TESTS.name} has {len(slow_now)} of {len(timed)} tests now")
    if terminalreporter.config.getoption("--quick"):
        slow = sum(SLOW in str(report.longrepr) for report in terminalreporter.getreports("skipped"))
        terminalreporter.write_line(f"left out: {slow} tests of the tier `slow`; `make test` runs them")


def _leave_out_constants() -> None:
    """Have Hypothesis try no values out of our source: of 8 examples few would, and all are looked up each time.

    There is no setting for that; where a later Hypothesis has no such function, it goes on as it does.
    """
    if hasattr(providers, "_get_local_constants"):
        nothing = providers._local_constants
        providers._get_local_constants = lambda: nothing


def _cpu_s() -> float:
    """Return the seconds of processor time of this process and of those that it waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@cache
def _tier(path: Path) -> str:
    """Return the tier of a test file: the first directory below `tests/`."""
    return path.relative_to(TESTS).parts[0] if path.is_relative_to(TESTS) else path.name


def _why_no_namespaces() -> str | None:
    """Say why rulesets cannot be put into namespaces here, or None when they can."""
    if os.geteuid() != 0:
        return "needs root: sudo make kernel"
    missing = [tool for tool in ("ip", "nft") if shutil.which(tool) is None]
    if missing:
        return f"needs {' and '.join(missing)}: sudo tools/bootstrap test"
    trial = ["unshare", "--net", "--mount", "nft", "add table ip trial"]
    done = subprocess.run(trial, capture_output=True, text=True, check=False)
    return f"cannot put rules into a network namespace: {done.stderr.strip()}" if done.returncode else None
