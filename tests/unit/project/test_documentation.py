"""The configuration files that the documentation shows: valid, and without a warning."""

import pytest

from hostfw.build.candidate import check_candidate
from hostfw.manifest.decode import decode
from hostfw.model.host.facts import HostFacts
from hostfw.model.settings import CALICO_COMPATIBLE, Loopback
from hostfw.model.sources import Configuration, Source
from hostfw.policy.resolve.plan import resolve
from tests.unit.documentation import Shown, shown

ALL = shown()
FACTS = HostFacts("web-1")


def test_every_page_with_files_is_looked_at() -> None:
    """The blocks are found at all."""
    assert {each.page for each in ALL} >= {"README.md", "feeds.md", "hostfw-resources.5.scd", "hostfw.yaml.5.scd"}


@pytest.mark.parametrize("each", ALL, ids=str)
def test_what_is_shown_has_no_problems(each: Shown) -> None:
    """Copies of it get neither an error nor a warning, apart from a missing list."""
    source = Source(each.page, each.text)
    settings, resources = (source, ()) if each.settings else (None, (source,))
    candidate = check_candidate(
        Configuration(settings, resources), (), lambda paths: (tuple(Source(path, "192.0.2.7\n") for path in paths), ())
    )
    _, problems = resolve(candidate.resources, candidate.settings, FACTS)
    without_endpoint = "there is no HostEndpoint"

    assert [str(p) for p in (*candidate.problems, *problems) if without_endpoint not in p.message] == []


def test_the_example_of_calico_is_calico_but_for_loopback() -> None:
    """As its sentence says."""
    (text,) = (each.text for each in ALL if each.settings and "compatibility" in each.text)
    settings = decode(Configuration(Source("hostfw.yaml", text))).settings

    assert settings.loopback is Loopback.EXEMPT
    assert settings == type(settings)(
        failsafe=CALICO_COMPATIBLE.failsafe,
        unmanaged_interfaces=CALICO_COMPATIBLE.unmanaged_interfaces,
        neighbour_discovery=CALICO_COMPATIBLE.neighbour_discovery,
        published_ports=CALICO_COMPATIBLE.published_ports,
        loopback=Loopback.EXEMPT,
    )
