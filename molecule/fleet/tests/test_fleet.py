"""Eight hosts, one configuration: who runs it after which rollout, and who reaches whom by it."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

CANARY = "hfm-web1"
PORTS = (22, 80, 5432, 8080, 9100)
CHECKS = str(Path(__file__).parents[1] / "tasks/check.yml")

# What a host enforces, accepts and has in its files, without what a mere look changes.
_STATE = """
hostfwctl status -o json
find /etc/hostfw -type f -exec sha256sum {} + | sort
for family in ip ip6; do nft --stateless --terse list table $family hostfw | sort; done
"""

# Every port of every other host at once, as a host or the policy sees it.
_CONNECTIONS = """
import asyncio, json, sys
async def connects(address, port):
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 3)
    except OSError:
        return False
    except asyncio.TimeoutError:
        return False
    writer.close()
    return True
async def main(targets):
    print(json.dumps(await asyncio.gather(*(connects(*target) for target in targets))))
asyncio.run(main(json.loads(sys.argv[1])))
"""
_EXPLANATIONS = """
import io, json, sys
from hostfw.cli.main import run
def allowed(source, destination, port):
    said = io.StringIO()
    where = f"[{destination}]" if ":" in destination else destination
    status = run(["explain", source, f"{where}:{port}/tcp"], said, said)
    assert status in (0, 10), said.getvalue()
    return status == 0
print(json.dumps([allowed(*packet) for packet in json.loads(sys.argv[1])]))
"""


@pytest.fixture
def everywhere(machines):
    """Run something for each host, all at the same time."""

    def run(work):
        with ThreadPoolExecutor(len(machines.variables)) as pool:
            return dict(zip(machines, pool.map(work, machines), strict=True))

    return run


@pytest.fixture
def states(machines, everywhere):
    """The enforced rules and the files of every host."""

    def look() -> Mapping[str, str]:
        found = everywhere(lambda name: machines.host(name).check_output(_STATE))
        return {name: _without_looks(text) for name, text in found.items()}

    return look


def _without_looks(text):
    """Drop what changes by itself: how long the service runs, and when something happened last."""
    status, end = json.JSONDecoder().raw_decode(text)
    for passing in ("service", "lastEvent", "appliedAt", "warnings"):
        status.pop(passing, None)
    return json.dumps(status, sort_keys=True) + text[end:]


@pytest.mark.parametrize("where", ["hostfw_verify_tasks", "hostfw_rollout_checks"])
def test_a_failing_canary_goes_back_and_no_other_host_ever_changes(play, machines, states, where):
    """The monitoring cannot look at the canary any more, before or after it has kept the change."""
    before = states()

    done = play("converge", "-e", "version=2", "-e", f"{where}={CHECKS}")

    assert done.status == 2, done.text
    assert f"stopped by {CANARY}" in done.text
    assert states() == before
    assert {name for name in machines if done.changed(name)} == {CANARY}


def test_a_passing_canary_brings_all_hosts_to_the_same_configuration(play, machines, states, tmp_path):
    """The report names every host, and one configuration, which is enforced as the files say."""
    report = tmp_path / "report"

    done = play(
        "converge", "-e", "version=3", "-e", f"hostfw_rollout_checks={CHECKS}", "-e", f"hostfw_rollout_report={report}"
    )

    assert done.status == 0, done.text
    lines = report.read_text().splitlines()
    assert [line.split()[0] for line in lines] == sorted(machines)
    assert len({line.split()[2] for line in lines}) == 1
    assert all(line.endswith(" as its files say") and not line.endswith("not as its files say") for line in lines)
    for name, state in states().items():
        assert json.JSONDecoder().raw_decode(state)[0]["pending"] is False, name


@pytest.mark.parametrize("family", [4, 6])
def test_packets_reach_whom_explain_says(machines, everywhere, family):
    """Each port of each host from each other host: the kernels of both decide as explain does for both."""
    addresses = {name: machines.addresses(name)[0 if family == 4 else 1] for name in machines}

    def measured(source):
        targets = [(addresses[name], port) for name in machines if name != source for port in PORTS]
        return json.loads(machines.host(source).check_output("python3 -c %s %s", _CONNECTIONS, json.dumps(targets)))

    def explained(name):
        others = [other for other in machines if other != name]
        leaving = [(addresses[name], addresses[other], port) for other in others for port in PORTS]
        coming = [(addresses[other], addresses[name], port) for other in others for port in PORTS]
        found = machines.host(name).check_output("python3 -c %s %s", _EXPLANATIONS, json.dumps(leaving + coming))
        verdicts = json.loads(found)
        return dict(zip(leaving + coming, verdicts, strict=True))

    reached = everywhere(measured)
    says = everywhere(explained)

    expected, actual = {}, {}
    for source in machines:
        packets = [(name, port) for name in machines if name != source for port in PORTS]
        for (target, port), came in zip(packets, reached[source], strict=True):
            packet = (addresses[source], addresses[target], port)
            expected[source, target, port] = says[source][packet] and says[target][packet]
            actual[source, target, port] = came
    assert actual == expected
    assert {"hfm-web1", "hfm-app1", "hfm-db1", "hfm-monitor"} <= {
        source for (source, _, _), came in actual.items() if came
    }
    assert 0 < sum(actual.values()) < len(actual) / 2
