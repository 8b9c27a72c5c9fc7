"""Configuration files that the documentation shows are valid, without a warning, and its commands can be typed."""

import pytest

from hostfw.build.candidate import check_candidate
from hostfw.cli.command_line.parser import parse
from hostfw.cli.command_line.verb_table import VERBS
from hostfw.cli.other_words.answers import elsewhere
from hostfw.manifest.decode import decode
from hostfw.model.host.facts import HostFacts
from hostfw.model.settings import CALICO_COMPATIBLE, Loopback
from hostfw.model.sources import Configuration, Source
from hostfw.model.values import TCP, UDP, Action
from hostfw.policy.resolve.plan import resolve
from hostfw.quick.words import parse_words
from tests.unit.project.documentation import Shown, Typed, shown, typed, unseen

ALL = shown()
COMMANDS = typed()
SERVICES = {"http": ((TCP, 80),), "https": ((TCP, 443), (UDP, 443)), "ssh": ((TCP, 22),)}
QUICK = {"allow": Action.ALLOW, "deny": Action.DENY}
FACTS = HostFacts("web-1")


def test_every_page_with_files_is_looked_at() -> None:
    """The blocks are found at all."""
    assert {each.page for each in ALL} >= {"README.md", "feeds.md", "hostfw-resources.5.scd", "hostfw.yaml.5.scd"}


def test_no_configuration_that_is_shown_escapes_these_tests() -> None:
    """A fragment would: who copies it has to guess the rest."""
    assert unseen() == ()


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


def test_commands_are_found_on_every_kind_of_page() -> None:
    """In blocks, in tables and in text."""
    pages = {each.page for each in COMMANDS}

    assert {"README.md", "docs/tutorial.md", "docs/coming-from/ufw.md", "docs/recipes/web.md"} <= pages
    assert len(COMMANDS) > 100


@pytest.mark.parametrize("each", COMMANDS, ids=str)
def test_a_command_that_is_shown_can_be_typed(each: Typed) -> None:
    """A lone word is at least a verb, or one that is answered with the command that is meant."""
    first, *rest = each.words
    if not rest or first.startswith("-"):
        own = {verb.name for verb in VERBS}
        assert first in own or elsewhere([first], own) is not None
        return
    options = parse(list(each.words))

    assert options.verb == first
    words = [word for word in options.words if word] if first in (*QUICK, "remove") else []
    if first == "remove" and words[0] in QUICK:
        first, *words = words
    if first in QUICK:
        assert parse_words(QUICK[first], words, lambda name: SERVICES.get(name, ())).services or first == "deny"
