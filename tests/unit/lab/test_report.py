"""The output of `make try`."""

import io
import json
from pathlib import Path

import pytest

from hostfw.audit.log_prefix import LogTag
from hostfw.journal.packet_entry import fields
from hostfw.model.packets.decisions import Reason
from hostfw.model.values import FAMILIES, TCP, UDP, Action, Direction, Family
from lab.packets.probe import Flow, Verdict
from lab.stories.flows import ExpectedFlow, Story, stories
from lab.stories.report import WIDTH, Style, audit_record, heading, rows, style_of, summary, total
from lab.stories.story import Shown
from lab.topology import Node, Topology
from tests.unit.builders.event_builders import event

PLAIN = Style(colour=False, unicode=True)

WEB = tuple(ExpectedFlow(Flow("peer", "host", TCP, 80, f), allowed=True, by="default/web ingress[0]") for f in FAMILIES)
DNS = ExpectedFlow(Flow("host", "peer", UDP, 53, Family.V4), allowed=False, by="end-of-tier default (egress)")

GOOD = (
    *(Shown(each, Verdict.ALLOWED, each.by) for each in WEB),
    Shown(DNS, Verdict.REJECTED, DNS.by),
)

VERDICTS = [
    ("allowed by the rule", Shown(WEB[0], Verdict.ALLOWED, "default/web ingress[0]"), True),
    ("allowed by another", Shown(WEB[0], Verdict.ALLOWED, "default/all ingress[0]"), False),
    ("allowed by nothing that says so", Shown(WEB[0], Verdict.ALLOWED, ""), False),
    ("not allowed", Shown(WEB[0], Verdict.DROPPED, "default/web ingress[0]"), False),
    ("allowed one way", Shown(WEB[0], Verdict.ONE_WAY, "default/web ingress[0]"), False),
    ("dropped by the rule", Shown(DNS, Verdict.DROPPED, DNS.by), True),
    ("rejected by the rule", Shown(DNS, Verdict.REJECTED, DNS.by), True),
    ("denied without a record", Shown(DNS, Verdict.DROPPED, ""), False),
    ("denied one way", Shown(DNS, Verdict.ONE_WAY, DNS.by), False),
    ("not denied", Shown(DNS, Verdict.ALLOWED, DNS.by), False),
    (
        "open for want of a rule",
        Shown(ExpectedFlow(WEB[0].flow, allowed=True, by="unmanaged-interface (egress)"), Verdict.ALLOWED, ""),
        True,
    ),
]


@pytest.mark.parametrize(("shown", "expected"), [case[1:] for case in VERDICTS], ids=[case[0] for case in VERDICTS])
def test_a_flow_is_as_expected_by_its_verdict_and_by_what_decided(shown: Shown, expected: bool) -> None:
    """A right verdict for a wrong reason is not as expected."""
    assert shown.as_expected is expected


def test_what_went_alike_over_both_families_takes_one_line() -> None:
    """The families stand side by side."""
    assert list(rows(GOOD, PLAIN)) == [
        "  peer → host          TCP 80   v4 v6 allow  allowed  default/web ingress[0]",
        "  host → peer          UDP 53   v4    deny   rejected end-of-tier default (egress)",
    ]


def test_what_did_not_go_as_expected_says_what_was_expected() -> None:
    """Only the family that went wrong, and what should have decided."""
    shown = (GOOD[0], Shown(WEB[1], Verdict.DROPPED, ""))

    assert list(rows(shown, PLAIN)) == [
        "  peer → host          TCP 80   v4    allow  allowed  default/web ingress[0]",
        "  peer → host          TCP 80   v6    allow  dropped  -",
        "                                                      not as expected: allow by",
        "                                                      default/web ingress[0]",
    ]


def test_a_flow_that_a_rule_denied_has_its_audit_record_in_full() -> None:
    """Within the terminal's width, and whole JSON again once its lines are joined."""
    by_end = event(LogTag(Action.DENY, Direction.EGRESS, Reason.END_OF_TIER, "default"))
    shown = (*GOOD, *(Shown(DNS, Verdict.DROPPED, DNS.by, each) for each in (by_end, event(), by_end, None)))

    empty, title, *lines = audit_record(shown, PLAIN)

    assert (empty, title) == ("", "  audit record of host → peer, UDP 53:")
    assert [line for line in lines if len(line) > WIDTH or not line.startswith("  ")] == []
    assert json.loads(" ".join(line.strip() for line in lines)) == fields(event())
    assert list(audit_record(GOOD, PLAIN)) == []


def test_the_summaries_count() -> None:
    """Flows are counted over each family, and an example that could not be shown is not passed over."""
    bad = Shown(DNS, Verdict.ALLOWED, "")

    assert summary(GOOD, 1.23, PLAIN) == f"\n  3 flows, all as expected{'1.2 s':>74}\n"
    assert summary((*GOOD, bad), 1.23, PLAIN) == f"\n  4 flows, 1 not as expected{'1.2 s':>72}\n"
    assert total((*GOOD, bad), 0, 9.87, PLAIN) == f"4 flows: 3 as expected, 1 not{'9.9 s':>71}"
    assert total(GOOD, 1, 9.87, PLAIN) == f"3 flows: 3 as expected, 0 not; 1 example not shown{'9.9 s':>50}"


@pytest.mark.parametrize("story", stories(), ids=lambda story: story.name)
def test_every_example_fits_a_terminal_of_100_columns(story: Story) -> None:
    """No line is longer, however its flows go."""
    shown = [Shown(each, Verdict.REJECTED, each.by) for each in story.flows]

    lines = [*heading(story, PLAIN).splitlines(), *rows(shown, PLAIN)]

    assert [line for line in lines if len(line) > WIDTH] == []


def test_colour_changes_nothing_but_colour() -> None:
    """Without its escape sequences the coloured text is the plain one."""
    story = Story("name", "A title", Path(), "host", Topology((Node("host"),)), ())
    painted = "\n".join(
        (heading(story, Style(colour=True, unicode=True)), *rows(GOOD, Style(colour=True, unicode=True)))
    )

    for sequence in ("\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[33m", "\x1b[0m"):
        assert sequence in painted
        painted = painted.replace(sequence, "")
    assert painted == "\n".join((heading(story, PLAIN), *rows(GOOD, PLAIN)))


class _Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
    ids=["a terminal", "NO_COLOR", "an empty NO_COLOR", "a dumb terminal"],
)
def test_colour_is_for_terminals_that_want_it(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: bool
) -> None:
    """As no-color.org has it."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert style_of(_Terminal()) == Style(colour=expected, unicode=True)


def test_a_pipe_gets_plain_ascii() -> None:
    """A stream that is no terminal and names no encoding."""
    assert style_of(io.StringIO()) == Style(colour=False, unicode=False)
    assert Style(colour=False, unicode=False).arrow == "->"
