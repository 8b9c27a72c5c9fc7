"""The manual pages: complete by what the code knows, and good to read by man and mandoc."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hostfw.cli.command_line.grammar import command_line_parts
from hostfw.cli.command_line.verb_table import VERBS
from hostfw.cli.output.console import ExitCode
from hostfw.manifest.decode import RESOURCE_KINDS
from hostfw.manifest.fields import Shape
from hostfw.manifest.kinds.endpoint import (
    ENDPOINT_PORT_SHAPE,
    ENDPOINT_SHAPE,
    GROUP_SHAPE,
    MATCH_SHAPE,
    NETWORK_SET_SHAPE,
)
from hostfw.manifest.kinds.failsafe import FAILSAFE_PORT_SHAPE, FAILSAFE_SHAPE
from hostfw.manifest.kinds.feed import FEED_SHAPE
from hostfw.manifest.kinds.metadata import METADATA_SHAPE
from hostfw.manifest.kinds.policy import POLICY_SHAPE, PROFILE_SHAPE, STAGED_POLICY_SHAPE, TIER_SHAPE
from hostfw.manifest.kinds.refused import API_VERSIONS, KINDS
from hostfw.manifest.kinds.rule import ENTITY_SHAPE, ICMP_SHAPE, RULE_METADATA_SHAPE, RULE_SHAPE
from hostfw.manifest.kinds.workload import WORKLOAD_PORT_SHAPE, WORKLOAD_SHAPE, WORKLOADS_SHAPE
from hostfw.manifest.settings import LOGGING_SHAPE, METRICS_SHAPE, SETTINGS_SHAPE, UNMANAGED_SHAPE
from tests.unit.cli_runs import hostfwctl
from tools.manual import default_rows, leaves, page

ROOT = Path(__file__).parents[3]
SOURCES = sorted((ROOT / "docs" / "man").glob("*.scd"))
PAGES = {source.stem: page(source.read_text()) for source in SOURCES}


def terms(name: str, section: str = "") -> set[str]:
    """The first words of the definitions of a page, or of one of its sections, as written."""
    text = PAGES[name]
    if section:
        text = re.split(rf"^#+ {section}\n", text, maxsplit=1, flags=re.MULTILINE)[1]
        text = re.split(r"^# ", text, maxsplit=1, flags=re.MULTILINE)[0]
    return {term.replace("\\", "") for term in re.findall(r"^(?:- )?\*([^*]+)\*(?: \(|:)", text, re.MULTILINE)}


SHAPES = [
    (
        "hostfw.yaml.5",
        "SETTINGS",
        (
            SETTINGS_SHAPE,
            FAILSAFE_SHAPE,
            FAILSAFE_PORT_SHAPE,
            UNMANAGED_SHAPE,
            LOGGING_SHAPE,
            METRICS_SHAPE,
            WORKLOADS_SHAPE,
        ),
    ),
    ("hostfw-resources.5", "DESCRIPTION", (METADATA_SHAPE,)),
    ("hostfw-resources.5", "GLOBALNETWORKPOLICY", (POLICY_SHAPE,)),
    ("hostfw-resources.5", "RULES", (RULE_SHAPE, ICMP_SHAPE, RULE_METADATA_SHAPE, ENTITY_SHAPE)),
    ("hostfw-resources.5", "HOSTENDPOINT", (ENDPOINT_SHAPE, ENDPOINT_PORT_SHAPE)),
    ("hostfw-resources.5", "WORKLOADENDPOINT", (WORKLOAD_SHAPE, WORKLOAD_PORT_SHAPE)),
    ("hostfw-resources.5", "GLOBALNETWORKSET", (NETWORK_SET_SHAPE,)),
    ("hostfw-resources.5", "FEED", (FEED_SHAPE,)),
    ("hostfw-resources.5", "TIER", (TIER_SHAPE,)),
    ("hostfw-resources.5", "PROFILE", (PROFILE_SHAPE,)),
    ("hostfw-resources.5", "INTERFACEGROUP", (GROUP_SHAPE, MATCH_SHAPE)),
]


@pytest.mark.parametrize(("name", "section", "shapes"), SHAPES, ids=[f"{c[0]} {c[1]}" for c in SHAPES])
def test_a_section_has_every_field_and_every_refused_one(name: str, section: str, shapes: tuple[Shape, ...]) -> None:
    """Those that the decoder knows, and no others."""
    expected = {field for shape in shapes for field in (*shape.known, *shape.refused)}

    assert terms(name, section) == expected


def test_a_staged_policy_has_what_it_adds_to_a_policy() -> None:
    """The rest is where policies are."""
    assert terms("hostfw-resources.5", "STAGEDGLOBALNETWORKPOLICY") == STAGED_POLICY_SHAPE.known - POLICY_SHAPE.known


def test_every_kind_has_a_section() -> None:
    """In the page of resources."""
    headings = set(re.findall(r"^# (.+)$", PAGES["hostfw-resources.5"], re.MULTILINE))

    assert [kind for kind in RESOURCE_KINDS if kind.upper() not in headings] == []


def test_every_refused_kind_and_version_is_told() -> None:
    """With what to write instead."""
    text = PAGES["hostfw-resources.5"].partition("# REFUSED")[2].replace("\\", "")

    assert [name for name in (*KINDS, *API_VERSIONS) if f"*{name}*" not in text] == []


def test_every_setting_has_its_default() -> None:
    """And what it is with `compatibility: calico`."""
    rows = {row[0].replace("\\", ""): (row[1].replace("\\", ""), row[2].replace("\\", "")) for row in default_rows()}

    of_the_file = {("apiVersion",), ("kind",), ("compatibility",)}
    assert rows.keys() == {".".join(path) for path in leaves() if path not in of_the_file}
    assert {path[0] for path in leaves()} == SETTINGS_SHAPE.known
    assert rows["unmanagedInterfaces.ingress"] == ("deny", "allow")
    assert rows["failsafe.inbound"][0] == "tcp:22, udp:68, udp:546"
    assert rows["logging.group"] == ("100", "100")
    assert rows["packetMarks"] == ("0x30000000", "0x30000000")
    assert rows["node"] == ("the host name", "the host name")


def test_hostfwctl_has_every_verb_option_and_exit_status() -> None:
    """The content of `--help`, all in one page."""
    text = PAGES["hostfwctl.1"]
    plain, line = text.replace("\\", ""), command_line_parts()
    options = (*line.common, *line.alone, *(option for verb in line.verbs for option in verb.options))

    assert re.findall(r"^## (\w+)$", text.partition("# VERBS")[2], re.MULTILINE) == [verb.name for verb in VERBS]
    assert [flag for option in options for flag in option.flags if f"*{flag}*" not in plain] == []
    statuses = re.findall(r"^\*(\d+)\*$", text.partition("# EXIT STATUS")[2], re.MULTILINE)
    assert [int(status) for status in statuses] == sorted(ExitCode)


def blocks(name: str) -> list[str]:
    """The literal blocks of a page."""
    return re.findall(r"^```\n(.*?)^```$", PAGES[name], re.DOTALL | re.MULTILINE)


def test_the_examples_are_valid(tmp_path: Path) -> None:
    """Settings and resources that a reader may copy."""
    settings = blocks("hostfw.yaml.5")
    resources = [block for block in blocks("hostfw-resources.5") if "metadata:" in block]

    assert (len(settings), len(resources)) == (6, 5)
    for number, block in enumerate(settings):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "hostfw.yaml").write_text(block)
        assert hostfwctl("validate", "-f", folder).status == 0
    folder = tmp_path / "resources"
    folder.mkdir()
    for number, block in enumerate(resources):
        (folder / f"{number}.yaml").write_text(block)
    assert hostfwctl("validate", "-f", folder).status == 0


def test_the_selectors_parse() -> None:
    """Each of those that the page shows."""
    block = next(block for block in blocks("hostfw-resources.5") if "starts with" in block)
    selectors = [selector for line in block.splitlines() for selector in re.split(r" {2,}", line)]

    assert len(selectors) == 11
    assert [selector for selector in selectors if hostfwctl("selector", selector).status != 0] == []


def test_pages_refer_to_pages_that_there_are() -> None:
    """Of hostfw's own."""
    own = {f"{name}({number})" for name, _, number in (stem.rpartition(".") for stem in PAGES)}
    found = {
        f"{name}({number})"
        for text in PAGES.values()
        for name, number in re.findall(r"\*(hostfw[a-z.-]*)\*\((\d)\)", text.replace("\\", ""))
    }

    assert found - own == set()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.skipif(shutil.which("scdoc") is None, reason="scdoc is not installed: tools/bootstrap deb")
def test_a_page_is_without_warnings(name: str, tmp_path: Path) -> None:
    """Scdoc takes it; man, and mandoc where it is installed, have nothing to say about the outcome."""
    made = subprocess.run(["scdoc"], input=PAGES[name], capture_output=True, text=True, check=False)
    (tmp_path / name).write_text(made.stdout)
    checkers = [["man", "--warnings", "-E", "UTF-8", "-l"], ["mandoc", "-Tlint", "-W", "error"]]

    assert made.stderr == ""
    for checker in checkers:
        if shutil.which(checker[0]):
            done = subprocess.run([*checker, str(tmp_path / name)], capture_output=True, text=True, check=False)
            assert (done.stderr, done.stdout if checker[0] == "mandoc" else "") == ("", "")
