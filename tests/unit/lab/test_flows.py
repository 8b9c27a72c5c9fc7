"""Reading the stories of examples/."""

from pathlib import Path

import pytest

from hostfw.model.values import ICMP, TCP, Family
from lab.packets.probe import Flow
from lab.stories.flows import ExpectedFlow, Story, StoryError, read_story, stories

NODES = """\
host: h
nodes:
  h: {links: [{name: eth0, network: n, addresses: [192.0.2.1/24, "2001:db8::1/64"]}]}
  p: {links: [{name: eth0, network: n, addresses: [192.0.2.2/24]}]}
flows:
"""

WRONG = [
    ("unknown field", NODES + "color: red", "flows.yaml: unknown field 'color' (known: flows, host, nodes)"),
    ("no host", "nodes: {}", "flows.yaml: host is missing"),
    ("unknown host", NODES.replace("host: h", "host: x"), "no node 'x': there are h, p"),
    ("no nodes", "host: h", "flows.yaml: nodes is missing or no mapping"),
    ("not a mapping", "- 1", "flows.yaml: expected a mapping"),
    (
        "unknown protocol",
        NODES + "  - {from: p, to: h, protocol: tcp, port: 1, expect: allow, by: x}",
        "flows.yaml: flows[0].protocol: 'tcp' is none of TCP, UDP, ICMP",
    ),
    (
        "a port with ICMP",
        NODES + "  - {from: p, to: h, protocol: ICMP, port: 1, expect: allow, by: x}",
        "flows.yaml: flows[0]: a port goes with TCP and UDP, and only with them",
    ),
    (
        "no port with TCP",
        NODES + "  - {from: p, to: h, protocol: TCP, expect: allow, by: x}",
        "flows.yaml: flows[0]: a port goes with TCP and UDP, and only with them",
    ),
    (
        "unknown verdict",
        NODES + "  - {from: p, to: h, protocol: ICMP, expect: drop, by: x}",
        "flows.yaml: flows[0].expect: 'drop' is none of allow, deny",
    ),
    (
        "unknown source",
        NODES + "  - {from: q, to: h, protocol: ICMP, expect: deny, by: x}",
        "no node 'q': there are h, p",
    ),
    (
        "a destination without an address of the family",
        NODES + "  - {from: h, to: p, protocol: ICMP, expect: deny, by: x}",
        "p has no address of IPv6",
    ),
    (
        "no family",
        NODES + "  - {from: p, to: h, protocol: ICMP, family: 5, expect: deny, by: x}",
        "5 is not a valid Family",
    ),
    ("a number for a name", NODES.replace("host: h", "host: 1"), "flows.yaml.host: expected a text"),
    (
        "a text for a number",
        NODES + "  - {from: p, to: h, protocol: TCP, port: ssh, expect: deny, by: x}",
        "flows.yaml: flows[0].port: expected a whole number",
    ),
]


def _write(directory: Path, flows: str) -> Path:
    (directory / "README.md").write_text("# A title\n\nText.\n")
    (directory / "flows.yaml").write_text(flows)
    return directory


@pytest.mark.parametrize(("text", "message"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    """The message names the directory, the place in the file and what is wrong."""
    with pytest.raises(StoryError) as raised:
        read_story(_write(tmp_path, text))

    assert str(raised.value) == f"{tmp_path}: {message}"


def test_a_flow_without_a_family_is_tried_over_both(tmp_path: Path) -> None:
    """IPv4 comes first, and an explicit family stands alone."""
    flows = (
        "  - {from: p, to: h, protocol: TCP, port: 22, expect: allow, by: x}\n"
        "  - {from: p, to: h, protocol: ICMP, family: 6, expect: deny, by: y}\n"
    )

    story = read_story(_write(tmp_path, NODES + flows))

    assert story.title == "A title"
    assert story.flows == (
        ExpectedFlow(Flow("p", "h", TCP, 22, Family.V4), allowed=True, by="x"),
        ExpectedFlow(Flow("p", "h", TCP, 22, Family.V6), allowed=True, by="x"),
        ExpectedFlow(Flow("p", "h", ICMP, None, Family.V6), allowed=False, by="y"),
    )


@pytest.mark.parametrize("story", stories(), ids=lambda story: story.name)
def test_every_example_tells_of_both_verdicts_both_families_and_every_protocol(story: Story) -> None:
    """No example is one-sided."""
    flows = story.flows

    assert {flow.allowed for flow in flows} == {True, False}
    assert {flow.flow.family for flow in flows} == set(Family)
    assert {flow.flow.protocol.name for flow in flows} == {"TCP", "UDP", "ICMP"}
