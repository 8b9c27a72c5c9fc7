"""The examples with real packets: every flow goes as its story says, and by what it says."""

import json
from pathlib import Path

import pytest

from lab.hostfwctl import hostfwctl, install
from lab.laboratory import laboratory
from lab.stories.flows import Story, stories
from lab.stories.story import in_force, show

OF_THE_MACHINE = ("kernel", "nft", "linkGroups")
"""Facts that are those of the machine that the laboratory is on."""


@pytest.mark.parametrize("story", stories(), ids=lambda story: story.name)
def test_every_flow_goes_as_its_story_says(story: Story, tmp_path: Path) -> None:
    """The verdict is the expected one, and the log record or the counter names the rule that was to decide."""
    with in_force(story, tmp_path) as (lab, installation):
        shown = show(story, lab, installation)

    assert [str(each) for each in shown if not each.as_expected] == []
    assert [each.expected for each in shown] == list(story.flows)


@pytest.mark.parametrize("story", stories(), ids=lambda story: story.name)
def test_the_facts_file_is_the_host_of_the_laboratory(story: Story, tmp_path: Path) -> None:
    """The ruleset that is compiled from the file is the one that the laboratory's host enforces."""
    with laboratory(story.topology) as lab:
        installation = install(lab[story.host], tmp_path)
        observed = _facts(hostfwctl(installation, "interfaces", "-o", "json").stdout)

    assert _facts(story.facts.read_text()) == observed


def _facts(text: str) -> dict[str, object]:
    document: dict[str, object] = json.loads(text)
    return {name: value for name, value in document.items() if name not in OF_THE_MACHINE}
