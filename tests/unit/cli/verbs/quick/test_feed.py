"""`hostfwctl feed`: downloads on their way into force, and everything that must leave the last good list there."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hostfw.cli.quick import feed_update
from hostfw.cli.quick.feed_update import KEPT, MOST_OF_NAME, merged
from hostfw.host.download.files import DownloadRecord, load_record, only_one, save_record
from hostfw.host.download.messages import Answer, DownloadError, Request
from hostfw.host.errors import HostError
from hostfw.model.host.baseline import Baseline
from tests.unit.cli_runs import NEIGHBOURS, UPLINK, Machine, machine

POLICY = """\
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: block}
spec:
  selector: role == 'web'
  ingress:
    - action: Deny
      source: {selector: list == 'bad'}
    - action: Allow
---
apiVersion: hostfw.io/v1
kind: Feed
metadata: {name: drop, labels: {list: bad}}
spec: %s
"""
URL = "{url: 'https://lists.example/drop.txt', maxShrink: 50%}"
GOOD = b"".join(f"198.51.100.{n}/32\n".encode() for n in range(10))
NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Web:
    """The source of the list: an answer, or why there is none, and the requests that were made."""

    def __init__(self) -> None:
        """It has the good list."""
        self.answer: Answer | str = Answer(etag='"one"', text=GOOD)
        self.requests: list[Request] = []

    def fetch(self, request: Request, _: Path) -> Answer:
        """As the process without rights does it."""
        self.requests.append(request)
        if isinstance(self.answer, str):
            raise DownloadError(self.answer)
        return self.answer


@pytest.fixture(name="web")
def _web(monkeypatch: pytest.MonkeyPatch) -> Web:
    made = Web()
    monkeypatch.setattr(feed_update, "fetch", made.fetch)
    return made


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: Web) -> Machine:
    assert web.requests == []
    made = machine(tmp_path, monkeypatch)
    made.write(block=POLICY % URL, uplink=UPLINK)
    return made


def in_force(host: Machine, address: str) -> bool:
    """True if the script that the next boot loads has the address."""
    return address in (host.directory / "var/last-good.nft").read_text()


def downloads(host: Machine) -> list[str]:
    """The files that are kept of downloads."""
    return sorted(path.name for path in (host.directory / "var/feeds").iterdir())


def test_a_first_download_comes_into_force_and_into_the_next_boot(host: Machine, web: Web) -> None:
    """Before it the Feed is empty, which `apply` says with the next step."""
    applied = host.hostfwctl("apply")
    assert applied.status == 0
    assert 'Feed "drop" holds no addresses: /var/lib/hostfw/feeds/drop.txt is not there yet' in applied.err
    assert not in_force(host, "198.51.100.7")
    assert 'Feed "drop" was never downloaded' in host.hostfwctl("status").out
    assert 'Feed "drop" was never downloaded' in host.hostfwctl("doctor").out

    updated = host.hostfwctl("feed", "update", "drop")

    assert (updated.status, updated.err) == (0, "Feed drop was updated: 10 prefixes\n")
    assert in_force(host, "198.51.100.7")
    assert downloads(host) == ["drop.json", "drop.lock", "drop.txt"]
    assert "no change: " in host.hostfwctl("apply").err
    assert "Feed" not in host.hostfwctl("status").out
    assert web.requests[0].etag == ""


def test_what_did_not_change_is_asked_for_with_its_etag(host: Machine, web: Web) -> None:
    """Another URL has another list, of which nothing is known."""
    host.hostfwctl("apply")
    host.hostfwctl("feed", "update", "drop")
    web.answer = Answer(unchanged=True)
    again = host.hostfwctl("feed", "update")

    assert (again.status, again.err) == (0, "Feed drop is up to date: 10 prefixes\n")
    assert web.requests[-1].etag == '"one"'

    host.write(block=POLICY % URL.replace("drop.txt", "other.txt"))
    assert host.hostfwctl("apply").status == 0
    assert in_force(host, "198.51.100.7"), "until the other one was downloaded"
    host.hostfwctl("feed", "update")
    assert web.requests[-1].etag == ""


def test_a_list_whose_digest_is_asked_for_is_sent_as_a_whole(host: Machine, web: Web) -> None:
    """The list that is kept may have come before the digest was asked for."""
    host.hostfwctl("apply")
    host.hostfwctl("feed", "update", "drop")
    host.write(block=(POLICY % URL).replace("maxShrink: 50%", f"maxShrink: 50%, sha256: '{'0' * 64}'", 1))
    assert host.hostfwctl("apply").status == 0
    host.hostfwctl("feed", "update")

    assert (web.requests[-1].sha256, web.requests[-1].etag) == ("0" * 64, "")


def test_the_list_of_another_source_is_told(host: Machine) -> None:
    """Until it is downloaded from the new one."""
    host.hostfwctl("apply")
    host.hostfwctl("feed", "update", "drop")
    host.write(block=POLICY % URL.replace("drop.txt", "other.txt"))
    host.hostfwctl("apply")

    assert 'the list of Feed "drop" is still that of https://lists.example/drop.txt' in host.hostfwctl("status").out


BAD: list[tuple[Answer | str, str]] = [
    ("the server cannot be reached: Connection refused", "the server cannot be reached: Connection refused"),
    ("it was not complete within 300 s", "it was not complete within 300 s"),
    (Answer(text=b""), "it holds no addresses"),
    (Answer(text=GOOD[:48]), 'the download of Feed "drop" lost 70% of what was accepted, which stays in force'),
    (Answer(text=b"<html>\n"), "the file is not a list of addresses"),
    (Answer(text=b"1.2.3\n" + GOOD), 'the line has "1.2.3"'),
]


@pytest.mark.parametrize(("answer", "why"), BAD)
def test_a_bad_download_leaves_the_last_good_list(host: Machine, web: Web, answer: Answer | str, why: str) -> None:
    """In the kernel, for the next boot and for the next apply; status, doctor and the list of Feeds say so."""
    host.hostfwctl("apply")
    host.hostfwctl("feed", "update", "drop")
    before = (host.directory / "var/last-good.nft").read_text()
    web.answer = answer

    updated = host.hostfwctl("feed", "update", "drop")

    assert updated.status == 1
    assert why in updated.err
    assert (host.directory / "var/last-good.nft").read_text() == before
    assert (host.directory / "var/feeds/drop.txt").read_bytes() == GOOD
    assert downloads(host) == ["drop.json", "drop.lock", "drop.txt"]
    assert "no change: " in host.hostfwctl("apply").err
    assert 'Feed "drop" could not be updated' in host.hostfwctl("status").out
    assert 'Feed "drop" could not be updated' in host.hostfwctl("doctor").out
    assert why[:20] in host.hostfwctl("feed", "list", "-o", "json").out.replace('\\"', '"')
    assert json.loads(host.hostfwctl("status", "-o", "json").out)["feeds"][0]["feed"] == "drop"

    web.answer = Answer(etag='"two"', text=GOOD)
    assert host.hostfwctl("feed", "update", "drop").status == 0
    assert "Feed" not in host.hostfwctl("status").out


def test_a_loss_is_accepted_on_purpose(host: Machine, web: Web) -> None:
    """And the smaller list is what later ones are compared with."""
    host.hostfwctl("apply")
    host.hostfwctl("feed", "update", "drop")
    web.answer = Answer(text=GOOD[:48])
    assert host.hostfwctl("feed", "update", "drop", "--accept-shrink").status == 0

    assert not in_force(host, "198.51.100.7")
    assert host.hostfwctl("feed", "update", "drop").status == 0


def test_a_list_that_cuts_off_whoever_is_logged_in_is_refused(host: Machine, web: Web) -> None:
    """Whoever writes the list could lock everybody out."""
    host.baseline = Baseline(sessions=(NEIGHBOURS,))
    host.write(hostfw="failsafe: {inbound: [], outbound: []}")
    assert host.hostfwctl("apply").status == 0
    assert host.hostfwctl("feed", "update", "drop").status == 0
    web.answer = Answer(text=GOOD + b"203.0.113.0/24\n")

    refused = host.hostfwctl("feed", "update", "drop")

    assert refused.status == 1
    assert "203.0.113.9" in refused.err
    assert not in_force(host, "203.0.113.0")
    assert host.hostfwctl("feed", "update", "drop", "--accept-lockout").status == 0
    assert in_force(host, "203.0.113.0")


def test_only_what_was_accepted_is_put_into_force(host: Machine) -> None:
    """A timer must not put into force what somebody is still writing in the configuration directory."""
    host.hostfwctl("apply")
    host.write(draft=POLICY.partition("---")[0].replace("name: block", "name: draft").replace("list == 'bad'", "all()"))

    assert host.hostfwctl("feed", "update", "drop").status == 0
    assert "draft" not in (host.directory / "var/last-good.nft").read_text()
    assert "has changes that are not in force" in host.hostfwctl("status").out


def test_a_trial_is_not_disturbed(host: Machine) -> None:
    """The list waits until the trial has ended."""
    host.hostfwctl("apply")
    host.write(settings="", other=POLICY.partition("---")[0].replace("name: block", "name: other"))
    assert host.hostfwctl("apply", "--confirm-within", "1h").status == 0

    updated = host.hostfwctl("feed", "update", "drop")

    assert updated.status == 1
    assert "waits to be confirmed" in updated.err or "confirm" in updated.err


def test_a_lost_file_is_no_lost_list(host: Machine, web: Web) -> None:
    """Whoever removes /var/lib/hostfw/feeds loses nothing that was accepted."""
    host.hostfwctl("apply")
    host.hostfwctl("feed", "update", "drop")
    for path in (host.directory / "var/feeds").iterdir():
        path.unlink()

    assert host.hostfwctl("apply").status == 0
    assert in_force(host, "198.51.100.7")
    assert host.hostfwctl("feed", "update", "drop").status == 0
    assert web.requests[-1].etag == ""


def test_two_at_a_time_are_one_too_many(host: Machine) -> None:
    """The second says so, and the record of the first stays."""
    host.hostfwctl("apply")
    with only_one(host.directory / "var", "drop"):
        updated = host.hostfwctl("feed", "update", "drop")

    assert updated.status == 1
    assert "another process is downloading Feed drop" in updated.err


def test_words_that_mean_nothing_are_refused(host: Machine) -> None:
    """With what was meant, where that can be told."""
    host.hostfwctl("apply")

    assert host.hostfwctl("feed", "updat").status == 2
    assert 'no Feed "dorp" with a url or hostnames is in force' in host.hostfwctl("feed", "update", "dorp").err
    assert 'did you mean "drop"' in host.hostfwctl("feed", "update", "dropp").err


# ------------------------------------------------------------------------------------------------------------- names


def test_names_become_addresses_that_stay(host: Machine, web: Web) -> None:
    """A resolver that says nothing takes nothing away, and a new address joins those of lately."""
    host.write(block=POLICY % "{hostnames: [mirror.example.org, other.example.org]}")
    host.hostfwctl("apply")
    web.answer = Answer(addresses={"mirror.example.org": ("198.51.100.7", "2001:db8::7")}, unresolved={})
    host.hostfwctl("feed", "update")
    assert in_force(host, "198.51.100.7")

    web.answer = Answer(addresses={}, unresolved={"mirror.example.org": "Name or service not known"})
    updated = host.hostfwctl("feed", "update")
    assert updated.status == 1
    assert "mirror.example.org: Name or service not known, its last addresses stay" in updated.err
    assert in_force(host, "198.51.100.7")

    web.answer = Answer(addresses={"mirror.example.org": ("198.51.100.8",)}, unresolved={})
    assert host.hostfwctl("feed", "update").status == 0
    assert in_force(host, "198.51.100.7")
    assert in_force(host, "198.51.100.8")


def test_an_address_stays_for_a_day_after_the_last_answer(host: Machine) -> None:
    """Whatever the time to live: those of one with 0 would otherwise come and go with every question."""
    assert host.clock is not None
    old = {"a": (("192.0.2.1", NOW - KEPT - timedelta(minutes=1)), ("192.0.2.2", NOW - KEPT))}

    assert dict(merged(old, {"a": ("192.0.2.3",)}, ("a",), NOW)) == {
        "a": (("192.0.2.3", NOW), ("192.0.2.2", NOW - KEPT))
    }
    assert dict(merged(old, {}, ("a",), NOW))["a"][-1][0] == "192.0.2.1", "no answer takes nothing away"


def test_the_addresses_of_a_name_are_bounded() -> None:
    """A resolver that gives others each time fills no memory, and its last answer is among those that are kept."""
    answers: tuple[tuple[str, tuple[tuple[str, datetime], ...]], ...] = ()
    for hour in range(20):
        given = tuple(f"10.{hour}.0.{n}" for n in range(200))
        answers = merged(dict(answers), {"a": given}, ("a",), NOW + timedelta(minutes=hour))

    found = [address for address, _ in dict(answers)["a"]]
    assert len(found) == MOST_OF_NAME
    assert {f"10.19.0.{n}" for n in range(200)} <= set(found)


def test_the_record_survives_damage(tmp_path: Path) -> None:
    """A damaged record is none: the next download asks for all."""
    record = DownloadRecord("https://a/b", NOW, NOW, None, "why", '"e"', "then", (("a", (("192.0.2.1", NOW),)),))
    save_record(tmp_path, "drop", record)
    assert load_record(tmp_path, "drop") == record
    for text in ("", "[]", "{", '{"etag": 7, "tried": "never", "answers": {"a": 5}}'):
        (tmp_path / "feeds/drop.json").write_text(text)
        assert load_record(tmp_path, "drop") == DownloadRecord()


def test_a_held_lock_is_an_error(tmp_path: Path) -> None:
    """Of the kind that the verb reports."""
    with only_one(tmp_path, "a"), pytest.raises(HostError, match="another process"), only_one(tmp_path, "a"):
        raise AssertionError("both had it")
