"""`hostfwctl pull`: bundles on their way into force, and everything that must leave the last good one there."""

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from hostfw.bundle.manifest import Wave
from hostfw.cli.fleet.bundles import fetched, tally
from hostfw.host.bundles.folders import only_one_pull
from hostfw.host.download.messages import Answer, DownloadError, Request
from tests.unit.builders.bundle_builders import CREATED, bundle, signer
from tests.unit.cli_runs import UPLINK, WEB, Machine, Ran, machine

URL = "https://fleet.example/web.hostfw"
TALLY = "https://fleet.example/tally.json"


def policy(port: int) -> dict[str, bytes]:
    """The files of a bundle that lets a port in."""
    return {"web.yaml": WEB.replace("80", str(port)).encode(), "ends/web1.yaml": UPLINK.encode()}


class Web:
    """A server of bundles: what it has by URL, or why it does not answer, and what it was asked."""

    def __init__(self) -> None:
        """It has nothing."""
        self.has: dict[str, bytes | str] = {}
        self.requests: list[Request] = []
        self.during: Callable[[], None] = lambda: None

    def fetch(self, request: Request, _: Path) -> Answer:
        """As the process without rights does it."""
        self.requests.append(request)
        if len(self.requests) > 1:
            self.during()
        found = self.has.get(request.url, "the server answers 404 Not Found")
        if isinstance(found, str):
            raise DownloadError(found)
        etag = f'"{hash(found)}"'
        return Answer(unchanged=True) if request.etag == etag else Answer(etag=etag, text=found)


@pytest.fixture(name="web")
def _web(monkeypatch: pytest.MonkeyPatch) -> Web:
    made = Web()
    monkeypatch.setattr(fetched, "fetch", made.fetch)
    monkeypatch.setattr(tally, "fetch", made.fetch)
    return made


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: Web) -> Machine:
    assert web.requests == []
    made = machine(tmp_path, monkeypatch)
    made.clock.moment = CREATED + timedelta(minutes=1)
    return made


def pull(host: Machine, *options: object) -> Ran:
    """Pull from the server."""
    return host.hostfwctl("pull", URL, f"--signers={signer().allowed}", *options)


def record(host: Machine) -> dict[str, Any]:
    """The status record."""
    found: dict[str, Any] = json.loads((host.directory / "var/bundles/status.json").read_text())
    return found


def linked(host: Machine) -> str:
    """The number of the bundle that the configuration directory leads to."""
    link = host.config / "bundle"
    return link.readlink().name if link.is_symlink() else ""


def lets_in(host: Machine) -> str:
    """The port that the script of the next boot lets in."""
    script = (host.directory / "var/last-good.nft").read_text()
    return next((port for port in ("8081", "8082", "8083", "8084") if port in script), "")


def test_a_first_bundle_comes_into_force_and_is_the_directory_from_then_on(host: Machine, web: Web) -> None:
    """The directory says what is accepted, so that a reload changes nothing."""
    web.has[URL] = bundle(7, policy(8081))
    done = pull(host)

    assert (done.status, done.err) == (0, "bundle 7 is in force, signed by ops\n")
    assert (linked(host), lets_in(host)) == ("7", "8081")
    assert "no change: " in host.hostfwctl("reload").err
    assert "no change: " in host.hostfwctl("apply").err
    assert host.timers == {}, "nothing waits to be confirmed"
    found = record(host)
    assert (found["state"], found["inForce"], found["failed"], found["node"]) == ("applied", 7, None, "web1")


def test_the_host_keeps_its_own_files_and_gets_those_of_the_bundle(host: Machine, web: Web) -> None:
    """As they were accepted: what somebody is writing there is not put into force by a bundle."""
    host.write(own=WEB.replace("name: web", "name: own").replace("80", "9090"), uplink=UPLINK)
    (host.config / "hostfw.yaml").write_text("denyAction: reject\n")
    assert host.hostfwctl("apply").status == 0
    host.write(own="no: policy")
    web.has[URL] = bundle(7, {"web.yaml": policy(8081)["web.yaml"]})

    assert pull(host).status == 0

    script = (host.directory / "var/last-good.nft").read_text()
    assert "9090" in script
    assert "8081" in script
    assert "reject" in script
    assert host.hostfwctl("apply").status == 3, "the file of before is still there to be finished"


def test_workloads_in_a_bundle_are_held_against_the_setting_of_their_own_host(host: Machine, web: Web) -> None:
    """Those of other hosts are addresses with labels there, whatever their interfaces are called."""
    guest = (
        "apiVersion: projectcalico.org/v3\nkind: WorkloadEndpoint\n"
        "metadata: {name: guest, namespace: shop, labels: {app: shop}}\n"
        "spec: {node: NODE, interfaceName: tap0, ipNetworks: [10.0.0.9]}\n"
    )
    web.has[URL] = bundle(7, policy(8081) | {"guests.yaml": guest.replace("NODE", "db1").encode()})
    other = pull(host)
    assert (other.status, other.err) == (0, "bundle 7 is in force, signed by ops\n")

    web.has[URL] = bundle(8, policy(8082) | {"guests.yaml": guest.replace("NODE", "web1").encode()})
    own = pull(host)
    assert own.status == 5
    assert "bundle/guests.yaml:1:1: " in own.err
    assert "is for tap0, which the setting workloads does not name" in own.err
    assert lets_in(host) == "8081"

    (host.config / "hostfw.yaml").write_text("workloads: {interfaces: [tap0]}\n")
    assert host.hostfwctl("apply").status == 0
    assert pull(host, "--retry").status == 0
    assert lets_in(host) == "8082"


def test_a_newer_bundle_takes_the_place_of_the_last_with_lists_and_all(host: Machine, web: Web) -> None:
    """Files that it no longer has are gone, and folders of bundles before the last one too."""
    feed = (
        b"apiVersion: hostfw.io/v1\nkind: Feed\nmetadata: {name: bad, labels: {list: bad}}\n"
        b"spec: {path: lists/bad.txt}\n"
    )
    denies = policy(8082)["web.yaml"].replace(
        b"  ingress:", b"  ingress:\n    - {action: Deny, source: {selector: list == 'bad'}}"
    )
    web.has[URL] = bundle(7, policy(8081))
    assert pull(host).status == 0
    web.has[URL] = bundle(8, {**policy(8082), "web.yaml": denies, "bad.yaml": feed, "lists/bad.txt": b"198.51.100.7\n"})
    assert pull(host).status == 0
    assert "198.51.100.7" in (host.directory / "var/last-good.nft").read_text()
    assert "no change: " in host.hostfwctl("reload").err
    web.has[URL] = bundle(9, policy(8083))
    assert pull(host).status == 0

    assert (linked(host), lets_in(host)) == ("9", "8083")
    assert "198.51.100.7" not in (host.directory / "var/last-good.nft").read_text()
    assert "no change: " in host.hostfwctl("reload").err
    folders = sorted(path.name for path in (host.directory / "var/bundles").iterdir() if path.is_dir())
    assert folders == ["8", "9"]


def test_what_did_not_change_is_not_sent_again(host: Machine, web: Web) -> None:
    """The bundle is asked for with its ETag, and is verified all the same."""
    web.has[URL] = bundle(7, policy(8081))
    pull(host)
    again = pull(host)

    assert (again.status, again.err) == (0, "bundle 7 is in force, signed by ops\n")
    assert web.requests[-1].etag == f'"{hash(web.has[URL])}"'
    assert web.requests[-1].raw
    assert record(host)["state"] == "current"


REFUSED: list[tuple[str, bytes, int, str, str]] = [
    ("an older one", bundle(6, policy(8082)), 3, "bundle 6 is older than bundle 7", "with a higher number"),
    ("another of the same number", bundle(7, policy(8082)), 3, "bundle 7 is another than the bundle 7", "of its own"),
    ("of another name", bundle(8, policy(8082), name="mail"), 3, "is called mail, and this host takes", "--name"),
    (
        "signed by somebody else",
        bundle(8, policy(8082), signer("mallory")),
        3,
        "it is not signed by anybody whom",
        "add its public half",
    ),
    ("no bundle", b"<html>" * 1000, 3, "it is no bundle of hostfw", "hostfwctl bundle"),
    ("half of one", bundle(8, policy(8082))[:-2000], 3, "it is cut off", "publish the bundle again"),
    ("more than one", bundle(8, policy(8082)) + bytes(512), 3, "it is longer than it was made", "publish"),
    ("a policy that is invalid", bundle(8, {"web.yaml": b"kind: Nonsense\n"}), 5, "bundle 8 failed: ", ""),
]


@pytest.mark.parametrize("case", REFUSED, ids=[case[0] for case in REFUSED])
def test_what_is_not_to_be_taken_is_refused_every_time(
    host: Machine, web: Web, case: tuple[str, bytes, int, str, str]
) -> None:
    """With a sentence that says what and what to do; what was in force stays, and so does the directory."""
    _, data, status, says, hint = case
    web.has[URL] = bundle(7, policy(8081))
    pull(host)
    web.has[URL] = data

    for _ in range(3):
        done = pull(host)
        assert done.status == status, done
        assert says in done.err
        assert hint in done.err
        assert (linked(host), lets_in(host)) == ("7", "8081")
        assert record(host)["state"] in ("refused", "failed")
        assert record(host)["inForce"] == 7
        assert says in record(host)["message"]


def test_a_bundle_that_locks_the_host_out_or_empties_it_is_refused(host: Machine, web: Web) -> None:
    """By the checks that every apply has."""
    four = {f"p{n}.yaml": WEB.replace("name: web", f"name: w{n}").encode() for n in range(9)}
    web.has[URL] = bundle(7, {**policy(8081), **four})
    assert pull(host).status == 0
    web.has[URL] = bundle(8, policy(8082))

    lost = pull(host)

    assert lost.status == 5
    assert "--accept-loss" in lost.err
    assert (linked(host), lets_in(host)) == ("7", "8081")
    assert record(host)["failed"] == 8
    assert pull(host, "--accept-loss").status == 0, "a check may pass later: it is tried again"
    assert linked(host) == "8"
    assert record(host)["failed"] is None


def test_a_bundle_is_kept_only_if_the_command_says_so(host: Machine, web: Web) -> None:
    """One that was rolled back is not tried again by the timer, since each time the host would suffer by it."""
    web.has[URL] = bundle(7, policy(8081))
    assert pull(host).status == 0
    web.has[URL] = bundle(8, policy(8082))
    marker = host.directory / "asked"
    command = f"echo $HOSTFW_BUNDLE >> {marker}; echo 'the database is away' >&2; exit 3"

    back = pull(host, "--confirm-by", command)

    assert back.status == 5
    assert "ended with status 3: the database is away; it was rolled back: generation" in back.err
    assert (linked(host), lets_in(host)) == ("7", "8081")
    assert host.hostfwctl("rollback").status == 1, "nothing waits to be confirmed"
    assert (record(host)["state"], record(host)["failed"], record(host)["inForce"]) == ("failed", 8, 7)

    again = pull(host, "--confirm-by", command)
    assert again.status == 5
    assert "bundle 8 failed on this host: " in again.err
    assert marker.read_text() == "8\n", "it was not tried again"

    assert pull(host, "--retry", "--confirm-by", "true").status == 0
    assert (linked(host), lets_in(host)) == ("8", "8082")


def test_a_command_that_hangs_ends_with_its_time(host: Machine, web: Web) -> None:
    """And with all that it started."""
    web.has[URL] = bundle(7, policy(8081))
    done = pull(host, "--confirm-within", "1s", "--confirm-by", "sleep 77 & sleep 77")
    assert done.status == 5
    assert "was not done within" in done.err
    assert linked(host) == ""


def test_a_server_that_does_not_answer_any_more_takes_the_bundle_back(host: Machine, web: Web) -> None:
    """A host that cannot be reached by the next bundle could not be repaired by it."""
    web.has[URL] = bundle(7, policy(8081))
    web.during = lambda: web.has.update({URL: "the server said nothing for too long"})

    done = pull(host)

    assert done.status == 5
    assert "the source of bundles cannot be reached any more: the server said nothing for too long" in done.err
    assert linked(host) == ""


def test_what_cannot_be_had_leaves_all_as_it_is(host: Machine, web: Web) -> None:
    """Nothing is known of a bundle then, and the record says so."""
    web.has[URL] = "the server answers 503 Busy"
    done = pull(host)
    assert (done.status, record(host)["state"]) == (1, "unreached")
    assert f"{URL}: the server answers 503 Busy" in done.err


def test_waves_begin_one_after_the_other(host: Machine, web: Web) -> None:
    """A host of the canary takes it at once, another waits for its time."""
    waves = (Wave(0, "canary"), Wave(3600, "all"))
    web.has[URL] = bundle(7, policy(8081), waves=waves)

    waits = pull(host)
    assert waits.status == 0
    assert "bundle 7 is for ring all from 2030-01-01 01:00:00 UTC on" in waits.err
    assert (record(host)["state"], record(host)["until"]) == ("waiting", "2030-01-01T01:00:00+00:00")
    assert linked(host) == ""

    host.clock.wait(3600)
    assert pull(host).status == 0
    assert linked(host) == "7"

    web.has[URL] = bundle(8, policy(8082), waves=waves, created=CREATED + timedelta(hours=1))
    assert linked(host) == "7"
    assert pull(host, "--ring", "canary").status == 0
    assert linked(host) == "8"


def test_a_rollout_stops_by_itself_when_others_fail(host: Machine, web: Web) -> None:
    """Later waves wait for those that confirm, and nobody goes on once too many failed."""
    waves = (Wave(0, "canary"), Wave(60, "all"))
    web.has[URL] = bundle(7, policy(8081), waves=waves, most_failed=10, least_confirmed=2)

    def says(confirmed: int, failed: int) -> None:
        items = [{"number": 7, "confirmed": confirmed, "failed": failed}]
        web.has[TALLY] = json.dumps({"kind": "BundleTally", "items": items}).encode()

    assert "how they fare is not known" in pull(host).err
    says(1, 0)
    assert "once 2 hosts confirm it, and 1 did" in pull(host, "--tally", TALLY).err
    says(8, 1)
    stopped = pull(host, "--tally", TALLY)
    assert stopped.status == 5
    assert "the rollout of bundle 7 has stopped: 1 of 9 hosts that tried it failed, more than 10 %" in stopped.err
    assert (record(host)["state"], linked(host)) == ("stopped", "")
    says(9, 1)
    assert pull(host, "--tally", TALLY).status == 0
    assert linked(host) == "7"


def test_a_change_that_waits_to_be_confirmed_is_let_be(host: Machine, web: Web) -> None:
    """It is somebody's, and would be taken for confirmed or back by a bundle."""
    web.has[URL] = bundle(7, policy(8081))
    pull(host)
    host.write(own=WEB.replace("name: web", "name: own").replace("80", "9090"))
    assert host.hostfwctl("apply", "--confirm-within", "90s").status == 0
    web.has[URL] = bundle(8, policy(8082))

    done = pull(host)

    assert done.status == 0
    assert "while another change waits to be confirmed" in done.err
    assert len(host.timers) == 1
    assert record(host)["state"] == "waiting"


def test_what_a_person_put_into_force_instead_stays_until_the_next_bundle(host: Machine, web: Web) -> None:
    """A rollback by hand is no reason for the timer to do it again."""
    web.has[URL] = bundle(7, policy(8081))
    pull(host)
    web.has[URL] = bundle(8, policy(8082))
    pull(host)
    assert host.hostfwctl("rollback", "--to", "1").status == 0

    done = pull(host)
    assert done.status == 0
    assert "something else was put into force on this host since" in done.err
    assert (record(host)["state"], lets_in(host)) == ("changed", "8081")

    assert pull(host, "--retry").status == 0
    assert lets_in(host) == "8082"


def test_a_file_is_a_source_too_and_asks_for_a_command(host: Machine, tmp_path: Path) -> None:
    """As from a checkout of git; nothing else would prove that the host is well."""
    path = tmp_path / "web.hostfw"
    path.write_bytes(bundle(7, policy(8081)))
    signers = f"--signers={signer().allowed}"
    assert host.hostfwctl("pull", path, signers).status == 2
    assert host.hostfwctl("pull", path, signers, "--most-bytes", "100", "--confirm-by", "true").status == 1
    assert host.hostfwctl("pull", path, signers, "--confirm-by", "true").status == 0
    assert linked(host) == "7"
    assert host.hostfwctl("pull", "ftp://fleet.example/x", signers).status == 2


def test_two_pulls_at_once_are_one(host: Machine, web: Web) -> None:
    """The second says so, and changes nothing."""
    web.has[URL] = bundle(7, policy(8081))
    with only_one_pull(host.directory / "var"):
        done = pull(host)
    assert (done.status, linked(host)) == (1, "")
    assert "another process is pulling a bundle" in done.err


def test_signers_that_are_not_there_or_nobody_say_what_to_write(host: Machine, web: Web, tmp_path: Path) -> None:
    """A key for another namespace signs no policy."""
    web.has[URL] = bundle(7, policy(8081), signer("git", 'namespaces="git" '))
    for signers, says in (
        (tmp_path / "none", "the allowed signers cannot be read"),
        (signer("git", 'namespaces="git" ').allowed, "its signature is not that of git"),
    ):
        done = host.hostfwctl("pull", URL, f"--signers={signers}")
        assert done.status in (1, 3), done
        assert says in done.err
        assert linked(host) == ""


def test_something_else_of_the_name_of_the_link_is_left_alone(host: Machine, web: Web) -> None:
    """Nothing of a person is ever replaced by a bundle."""
    web.has[URL] = bundle(7, policy(8081))
    (host.config / "bundle").mkdir()
    done = pull(host)
    assert done.status == 1
    assert "etc/bundle is not a link that hostfw made" in done.err
    (host.config / "bundle").rmdir()
    (host.config / "bundle").symlink_to("/nowhere")
    assert pull(host).status == 1
    assert str((host.config / "bundle").readlink()) == "/nowhere"


def test_a_damaged_record_of_bundles_lets_no_older_one_pass(host: Machine, web: Web) -> None:
    """Without any record, the bundle that the directory leads to is the lowest."""
    web.has[URL] = bundle(7, policy(8081))
    pull(host)
    state = host.directory / "var/bundles/state.json"
    state.write_text("{}")
    web.has[URL] = bundle(6, policy(8082))
    assert "is not what hostfw wrote" in pull(host).err
    state.unlink()
    assert "bundle 6 is older than bundle 7" in pull(host).err
    assert linked(host) == "7"


def test_the_journal_is_told_of_each_bundle_and_once_of_each_reason(
    host: Machine, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is gone for a night fills no journal; the record has all of it."""
    told: list[Mapping[str, str]] = []
    monkeypatch.setattr("hostfw.cli.verbs.fleet.pull.to_journal", told.append)
    web.has[URL] = bundle(7, policy(8081))
    for _ in range(2):
        pull(host)
    del web.has[URL]
    for _ in range(3):
        assert pull(host).status == 1
    web.has[URL] = bundle(8, policy(8082))[:-600]
    for _ in range(2):
        assert pull(host).status == 3

    assert [entry["MESSAGE"] for entry in told[:2]] == [
        "bundle 7 is in force, signed by ops",
        f"no bundle was taken (unreached), what was in force stays: {URL}: the server answers 404 Not Found",
    ]
    assert len(told) == 3
    assert "(refused), what was in force stays: " in told[2]["MESSAGE"]
