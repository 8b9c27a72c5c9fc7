"""Bundles whose endpoints are separate: what is written, what a host takes of it, and everything that must not pass."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hostfw.cli.fleet.bundles import fetched
from hostfw.host.download.messages import Answer, DownloadError, Request
from tests.unit.builders.bundle_builders import CREATED, signer
from tests.unit.cli_runs import Machine, Ran, hostfwctl, machine

URL = "https://fleet.example/web.hostfw?token=x"
PEERS = {"web1": "web", "db1": "db", "mail1": "mail", "cache1": "cache"}


def allow(role: str, peer: str) -> str:
    """A policy that lets a role in from another."""
    return (
        "---\n{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy,"
        f" metadata: {{name: {role}-from-{peer}}},\n"
        f" spec: {{selector: role == '{role}', ingress: [{{action: Allow, protocol: TCP,\n"
        f" source: {{selector: role == '{peer}'}}, destination: {{ports: [8080]}}}}]}}}}\n"
    )


def endpoints(**roles: str) -> str:
    """A HostEndpoint for each node, with addresses that show where they are."""
    return "".join(
        f"---\n{{apiVersion: projectcalico.org/v3, kind: HostEndpoint, metadata: {{name: {node}-all,\n"
        f" labels: {{role: {role}}}}}, spec:\n"
        f" {{node: {node}, interfaceName: '*', expectedIPs: [198.51.100.{place}]}}}}\n"
        for place, (node, role) in enumerate(sorted(roles.items()), 1)
    )


class Fleet:
    """A directory of policy, the bundles that were made of it, and a server that has what is in their directory."""

    def __init__(self, top: Path, host: Machine) -> None:
        """Policies for webs and databases, and three hosts."""
        self.policies, self.out, self.host = top / "policies", top / "out", host
        self.requests: list[str] = []
        self.gone: set[str] = set()
        self.policies.mkdir()
        self.out.mkdir()
        (self.policies / "policies.yaml").write_text(allow("web", "db") + allow("db", "mail"))
        (self.policies / "endpoints.yaml").write_text(endpoints(**PEERS))

    def publish(self, number: int, *options: object) -> Ran:
        """Make a bundle."""
        given = ("--key", signer().key, "--number", number, "--created", CREATED.isoformat(), *options)
        return hostfwctl("bundle", self.policies, "-o", self.out / "web.hostfw", "--separate-endpoints", *given)

    def fetch(self, request: Request, _: Path) -> Answer:
        """Answer as a server of files does it."""
        assert request.url.endswith("?token=x"), "the words of a URL stay behind its path"
        name = request.url.removeprefix("https://fleet.example/").removesuffix("?token=x")
        self.requests.append(name)
        path = self.out / name
        if name in self.gone or not path.exists():
            raise DownloadError("the server answers 404 Not Found")
        data = path.read_bytes()
        if len(data) > request.most_bytes:
            raise DownloadError("it has too many bytes")
        return Answer(unchanged=True) if request.etag == str(hash(data)) else Answer(etag=str(hash(data)), text=data)

    def pull(self, *options: object) -> Ran:
        """Pull from the server."""
        return self.host.hostfwctl("pull", URL, f"--signers={signer().allowed}", *options)

    def endpoint_files(self) -> list[Path]:
        """The files beside the bundle."""
        return sorted((self.out / "web.hostfw.d").iterdir())

    def record(self) -> dict[str, Any]:
        """The status record of the host."""
        found: dict[str, Any] = json.loads((self.host.directory / "var/bundles/status.json").read_text())
        return found

    def knows(self, node: str) -> bool:
        """True if the script of the next boot has the address of a node."""
        script = (self.host.directory / "var/last-good.nft").read_text()
        return f"198.51.100.{sorted(PEERS).index(node) + 1}" in script

    def has(self, node: str) -> bool:
        """True if the directory of the host has the endpoint of a node."""
        return any(f"{node}-all" in path.read_text() for path in (self.host.config / "bundle").iterdir())


@pytest.fixture(name="fleet")
def _fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    host = machine(tmp_path, monkeypatch)
    host.clock.moment = CREATED + timedelta(minutes=1)
    made = Fleet(tmp_path, host)
    monkeypatch.setattr(fetched, "fetch", made.fetch)
    return made


def test_a_host_takes_the_endpoints_that_its_rules_ask_for(fleet: Fleet) -> None:
    """And the directory says what is in force: a reload changes nothing, and nothing is fetched again."""
    said = fleet.publish(7)
    assert "with endpoints beside it" in said.err
    done = fleet.pull()

    assert (done.status, done.err) == (0, "bundle 7 is in force, signed by ops\n")
    assert (fleet.has("web1"), fleet.has("db1"), fleet.has("mail1")) == (True, True, False)
    assert fleet.knows("db1")
    assert fleet.record()["allEndpoints"] is False
    assert "no change: " in fleet.host.hostfwctl("reload").err
    assert fleet.host.hostfwctl("validate").status == 0

    (fleet.policies / "policies.yaml").write_text(allow("web", "db") + allow("db", "mail").replace("8080", "8081"))
    fleet.publish(8)
    asked = len(fleet.requests)
    assert fleet.pull().status == 0
    assert all(name == "web.hostfw" for name in fleet.requests[asked:]), "the same endpoints are not sent again"


def test_what_the_selection_lacks_makes_a_host_take_all_and_say_so(fleet: Fleet) -> None:
    """A policy of the host's own; before the bundle it is fine, with it a rule would meet too few addresses."""
    fleet.publish(7)
    assert fleet.pull().status == 0
    fleet.host.write(own=allow("web", "cache"))

    refused = fleet.host.hostfwctl("apply")
    assert refused.status == 3
    assert 'own.yaml:4:21: policy "web-from-cache" asks for the selector role == "cache"' in refused.err, refused.err
    assert "hostfwctl pull --all-endpoints" in refused.err
    assert not fleet.knows("cache1")

    more = fleet.pull("--all-endpoints")
    assert (more.status, fleet.record()["allEndpoints"], fleet.has("cache1")) == (0, True, True)
    assert fleet.host.hostfwctl("apply").status == 0
    assert fleet.knows("cache1")
    assert fleet.pull("--all-endpoints").err == "bundle 7 is in force, signed by ops\n"

    fleet.publish(8)
    after = fleet.pull()
    assert after.status == 0
    assert "it has the endpoints of all hosts: " in after.err
    assert "web-from-cache" in after.err
    assert (fleet.record()["allEndpoints"], fleet.knows("cache1")) == (True, True)


def test_a_host_that_may_have_workloads_has_what_any_policy_asks_for(fleet: Fleet) -> None:
    """Their labels are not known before they run."""
    (fleet.host.config / "hostfw.yaml").write_text("workloads: {interfaces: ['ve-*']}\n")
    (fleet.policies / "endpoints.yaml").write_text(endpoints(**PEERS, z1="unasked"))
    fleet.publish(7)
    assert fleet.pull().status == 0
    assert [fleet.has(node) for node in ("web1", "db1", "mail1", "z1")] == [True, True, True, False]


def test_a_host_that_the_bundle_does_not_know_takes_all(fleet: Fleet) -> None:
    """With the reason; and nothing of another host counts for its own."""
    (fleet.policies / "endpoints.yaml").write_text(endpoints(db1="db", mail1="mail", other="web"))
    fleet.host.write(uplink=endpoints(web1="web").replace("web1-all", "mine"))
    fleet.publish(7)
    done = fleet.pull()
    assert done.status == 0
    assert "it has the endpoints of all hosts: the bundle has no endpoint of web1" in done.err


def test_what_was_changed_on_its_way_is_refused_each_time(fleet: Fleet) -> None:
    """Any byte of any file that this host takes, and one of another bundle in its place."""
    fleet.publish(7)
    fleet.pull()
    (fleet.policies / "endpoints.yaml").write_text(endpoints(**(PEERS | {"db2": "db"})))
    fleet.publish(8)
    whole = {path: path.read_bytes() for path in fleet.endpoint_files()}
    took = 0
    for path, data in whole.items():
        for wrong in (data[:-2] + b" \n", data[:50], data + b"\n", max(whole.values(), key=len)):
            if wrong == data:
                continue
            path.write_bytes(wrong)
            done = fleet.pull()
            took += done.status == 0
            assert (fleet.record()["state"], fleet.record()["inForce"]) in (
                ("refused", 7),
                ("unreached", 7),
                ("applied", 8),
            ), done
            if done.status == 0:
                break
            assert fleet.has("mail1") is False
        path.write_bytes(data)
        if took:
            break
    assert fleet.pull().status == 0
    assert fleet.record()["inForce"] == 8


def test_endpoint_files_of_two_numbers_are_never_mixed(fleet: Fleet) -> None:
    """A server that has the new bundle and the old directory, or the reverse, changes nothing."""
    fleet.publish(7)
    fleet.pull()
    old = {path.name for path in fleet.endpoint_files()}
    (fleet.policies / "endpoints.yaml").write_text(endpoints(**(PEERS | {"db2": "db"})))
    fleet.publish(8)
    fleet.gone = {f"web.hostfw.d/{path.name}" for path in fleet.endpoint_files() if path.name not in old}
    done = fleet.pull()
    assert (done.status, fleet.record()["state"], fleet.record()["inForce"]) == (1, "unreached", 7)
    assert "publish the directory of endpoints before the bundle" in done.err
    fleet.gone = set()
    assert (fleet.pull().status, fleet.record()["inForce"]) == (0, 8)


def test_endpoint_files_of_before_stay_for_one_bundle(fleet: Fleet) -> None:
    """For hosts that have fetched the bundle already; what somebody else put there is left unchanged."""
    fleet.publish(7)
    first = {path.name for path in fleet.endpoint_files()}
    (fleet.out / "web.hostfw.d/index.html").write_text("")
    for number in (8, 9):
        (fleet.policies / "endpoints.yaml").write_text(endpoints(**(PEERS | {f"db{number}": "db"})))
        fleet.publish(number)
        there = {path.name for path in fleet.endpoint_files()}
        assert (first < there) is (number == 8)
        assert "index.html" in there


def test_endpoints_beside_policies_are_named_with_their_place(fleet: Fleet) -> None:
    """All of them; and a directory with nothing to separate says so."""
    (fleet.policies / "mixed.yaml").write_text(allow("web", "web") + endpoints(a1="web", a2="web"))
    done = fleet.publish(7)
    assert done.status == 3
    assert done.err.count("an endpoint is in one file with other resources") == 2
    assert "mixed.yaml:6:1: " in done.err
    (fleet.policies / "mixed.yaml").unlink()
    (fleet.policies / "endpoints.yaml").unlink()
    assert "has no endpoint" in fleet.publish(7).err
    (fleet.policies / "endpoints-own.yaml").write_text(endpoints(a1="web"))
    assert "hosts keep their endpoints in a file of this name" in fleet.publish(7).err
    assert not fleet.out.joinpath("web.hostfw").exists()


def test_a_file_has_its_endpoints_beside_it_too(fleet: Fleet) -> None:
    """As from a checkout of git."""
    fleet.publish(7)
    given = (fleet.out / "web.hostfw", f"--signers={signer().allowed}", "--confirm-by", "true")
    assert fleet.host.hostfwctl("pull", *given).status == 0
    assert fleet.knows("db1")
    assert fleet.requests == []
