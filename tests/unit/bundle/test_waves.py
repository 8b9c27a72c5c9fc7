"""Waves: which host takes a bundle when, and what stops all of them."""

from datetime import timedelta

from hostfw.bundle.manifest import Manifest, Wave
from hostfw.bundle.waves import Tally, decide, part_of
from tests.unit.builders.bundle_builders import CREATED, manifest

FILES = {"a.yaml": b"kind: A\n"}
THREE = (Wave(0, "canary"), Wave(600, "all", 10), Wave(3600, "all"))


def when(made: Manifest, minutes: int, ring: str = "", node: str = "web1", tally: Tally | None = None) -> str:
    """The reason why a host does not take a bundle so long after its creation, empty if it does."""
    found = decide(made, node, ring, CREATED + timedelta(minutes=minutes), tally)
    return "" if found is None else found.message


def test_without_waves_everybody_takes_it_at_once() -> None:
    """Whatever the ring, and even before the time of its creation: clocks differ."""
    assert when(manifest(7, FILES), -60) == ""


def test_a_ring_has_its_time() -> None:
    """A host in no ring is in that of all."""
    made = manifest(7, FILES, waves=THREE)
    assert when(made, 0, "canary") == ""
    assert "is for ring all from 2030-01-01 0" in when(made, 0, "web")
    assert when(made, 60, "web") == ""
    assert when(made, 60) == ""


def test_a_share_is_a_share_of_the_hosts_and_another_one_each_time() -> None:
    """Those of a share by their names: no host is always the first."""
    made = manifest(7, FILES, waves=THREE)
    hosts = [f"host{number}" for number in range(5000)]
    early = [host for host in hosts if when(made, 10, node=host) == ""]
    assert 400 < len(early) < 600
    other = manifest(8, FILES, waves=THREE)
    again = [host for host in early if when(other, 10, node=host) == ""]
    assert 20 < len(again) < 90
    assert len({part_of(made, host) for host in hosts}) > 3000


def test_a_ring_that_no_wave_names_waits_and_says_why() -> None:
    """A word that is spelled otherwise must not be taken for everybody."""
    made = manifest(7, FILES, waves=(Wave(0, "canary"), Wave(60, "web")))
    assert when(made, 600, "mail") == "bundle 7 is for the rings canary, web, and this host is in ring mail"
    assert when(made, 600) == "bundle 7 is for the rings canary, web, and this host is in none"


def test_a_later_wave_waits_for_those_before_it() -> None:
    """For as many as the manifest says; the first waits for nobody."""
    made = manifest(7, FILES, waves=THREE, most_failed=0, least_confirmed=5)
    assert when(made, 0, "canary") == ""
    assert "how they fare is not known" in when(made, 60)
    assert "once 5 hosts confirm it, and 4 did" in when(made, 60, tally=Tally(4, 0))
    assert when(made, 60, tally=Tally(5, 0)) == ""


def test_too_many_failures_stop_every_wave() -> None:
    """Also of hosts that are in the first one and come late."""
    made = manifest(7, FILES, waves=THREE, most_failed=2)
    for ring in ("canary", ""):
        assert "has stopped: 3 of 100 hosts that tried it failed, more than 2 %" in when(
            made, 60, ring, tally=Tally(97, 3)
        )
        assert when(made, 60, ring, tally=Tally(98, 2)) == ""
    without = manifest(7, FILES, most_failed=0)
    assert "has stopped" in when(without, 0, tally=Tally(0, 1))
