"""The README of each example: what it says of files, fields and flows is so."""

import re

import pytest

from lab.stories.flows import EXAMPLES, Story, stories

_CODE = re.compile(r"`([^`]+)`")
_FLOW = re.compile(r"(\S+) -> (\S+) (TCP|UDP|ICMP) ?(\d*)")
DENIED = {
    "bastion": ("bastion -> app TCP 5432",),
    "router": ("internet -> web TCP 22",),
}
"""Flows that a README shows as denied; the others that it shows are allowed."""


def named(story: Story) -> list[str]:
    """Every piece of code in the text of a README."""
    return _CODE.findall((story.directory / "README.md").read_text())


def everything(story: Story) -> str:
    """All files of an example's configuration."""
    files = sorted(path for path in story.configuration.rglob("*") if path.is_file())
    return "\n".join(path.read_text() for path in files)


@pytest.mark.parametrize("story", stories(), ids=lambda story: story.name)
def test_flows_that_a_readme_shows_are_of_its_story(story: Story) -> None:
    """And go as it says; that they do so with packets is for tests/kernel/documentation/test_examples.py."""
    known = {
        f"{each.flow.source} -> {each.flow.destination} {each.flow.protocol.name} {each.flow.port or ''}".strip(): each
        for each in story.flows
    }
    shown = [text for text in named(story) if _FLOW.fullmatch(text)]

    assert [text for text in shown if text not in known] == []
    assert [text for text in shown if not known[text].allowed] == list(DENIED.get(story.name, ()))


@pytest.mark.parametrize("story", stories(), ids=lambda story: story.name)
def test_files_and_fields_that_a_readme_names_are_there(story: Story) -> None:
    """Paths below the example, and words of its configuration, its nodes, or of the log."""
    text = everything(story)
    by = {each.by.partition(" ")[0] for each in story.flows}
    nodes = {node.name for node in story.topology.nodes}
    for code in named(story):
        if code.startswith("etc/"):
            assert (story.directory / code).exists(), code
        elif not _FLOW.fullmatch(code) and code != "/etc/hostfw":
            words = {code, *(code.split(": ") if ": " in code else ())}
            links = {link.name for node in story.topology.nodes for link in node.links}
            assert any(word in text or word in by | nodes | links for word in words), code


@pytest.mark.parametrize("story", stories(), ids=lambda story: story.name)
def test_a_readme_says_how_to_try_the_example(story: Story) -> None:
    """Under its own name, and the page of all examples lists it."""
    assert f"python3 -m lab.tryout {story.name}\n" in (story.directory / "README.md").read_text()
    assert story.name in (EXAMPLES / "README.md").read_text()
