"""Configurations in, rulesets and problems out, byte for byte.

A case is a directory here: `etc/` and `facts.json` in, `ruleset.nft` and, where anything is said, `problems.txt` out.
The examples are cases too; their inputs stay where a reader finds them, and what `describe` says of each resource
(`describe.txt`) and `explain -v` of each flow (`explain.txt`) is held as well. `make golden` writes what comes out.
"""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from hostfw.build.candidate import check_candidate
from hostfw.build.generation import Generation, build
from hostfw.cli.kinds import KINDS
from hostfw.host.store.configuration.files import read_paths
from hostfw.manifest.files.facts_file import decode_facts
from hostfw.model.problems import Problem
from hostfw.model.sources import Source
from lab.stories.flows import read_story
from tests.unit.builders.story_queries import question
from tests.unit.cli_runs import hostfwctl

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
EXAMPLES = ROOT / "examples"

CASES = {path.name: path for path in sorted(HERE.iterdir()) if (path / "etc").is_dir()}
STORIES = {f"example-{path.name}": path for path in sorted(EXAMPLES.iterdir()) if (path / "facts.json").is_file()}


@pytest.mark.parametrize("name", sorted({**CASES, **STORIES}))
def test_the_configuration_gives_the_very_ruleset(name: str, *, update_golden: bool) -> None:
    """The nft script and every problem are the bytes that were reviewed."""
    inputs = {**CASES, **STORIES}[name]
    generation, problems = _compiled(inputs)
    expected = {
        "ruleset.nft": "" if generation is None else generation.script,
        "problems.txt": "".join(f"{_relative(problem, inputs)}\n" for problem in problems),
    }

    for file, text in expected.items():
        compare(HERE / name / file, text, update_golden=update_golden)


@pytest.mark.parametrize("name", sorted(STORIES))
def test_every_resource_is_described_as_it_was_reviewed(
    name: str, monkeypatch: pytest.MonkeyPatch, *, update_golden: bool
) -> None:
    """`describe` of every resource of an example, kind by kind."""
    monkeypatch.chdir(EXAMPLES)
    where = _where(STORIES[name])
    names = [
        (kind.names[0], n)
        for kind in KINDS
        for n in hostfwctl("get", kind.names[0], "-o", "name", *where[:2]).out.split()
    ]
    told = [_told("describe", kind, n.partition("/")[2], where=where) for kind, n in names]

    compare(HERE / name / "describe.txt", "\n".join(told), update_golden=update_golden)


@pytest.mark.parametrize("name", sorted(STORIES))
def test_every_flow_is_explained_as_it_was_reviewed(
    name: str, monkeypatch: pytest.MonkeyPatch, *, update_golden: bool
) -> None:
    """`explain -v` of every flow of an example."""
    monkeypatch.chdir(EXAMPLES)
    story = read_story(STORIES[name])
    told = [
        _told("explain", *question(story, expected.flow), "-v", where=_where(STORIES[name])) for expected in story.flows
    ]

    compare(HERE / name / "explain.txt", "\n".join(told), update_golden=update_golden)


def _where(story: Path) -> list[str]:
    """The options by which an example is asked about, from the folder of all of them."""
    return ["-f", f"{story.name}/etc", "--facts", f"{story.name}/facts.json"]


def _told(*words: str, where: Iterable[str]) -> str:
    """A command line without where it looks, and all that it answered."""
    status, out, _ = hostfwctl(*words, *where)
    return f"$ hostfwctl {' '.join(words)}\n{out}= {status}\n"


def compare(golden: Path, text: str, *, update_golden: bool) -> None:
    """Hold a text to its golden file, or write the file anew."""
    if update_golden:
        _write(golden, text)
    assert text == (golden.read_text() if golden.exists() else ""), f"{golden}: `make golden` writes it anew"


@pytest.mark.parametrize("name", sorted(STORIES))
def test_compile_gives_the_same_bytes_to_anyone_anywhere(name: str, tmp_path: Path) -> None:
    """Without root, from another directory and with another order of hashes, `hostfwctl compile` prints the golden."""
    inputs = STORIES[name]
    command = [sys.executable, "-m", "hostfw.cli", "compile", "-f", str(inputs / "etc")]
    outputs = set()
    for seed in ("0", "4711"):
        done = subprocess.run(
            [*command, "--facts", str(inputs / "facts.json")],
            cwd=tmp_path,
            env={"PATH": "/usr/bin:/bin", "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            check=False,
            user=_nobody() if _readable_by_all(ROOT) else None,
        )
        assert done.returncode == 0, done.stderr.decode()
        outputs.add(done.stdout)

    assert outputs == {(HERE / name / "ruleset.nft").read_bytes()}


def _compiled(inputs: Path) -> tuple[Generation | None, tuple[Problem, ...]]:
    facts_file = inputs / "facts.json"
    facts, fact_problems = decode_facts(Source(str(facts_file), facts_file.read_text()))
    assert facts is not None, fact_problems
    candidate = check_candidate(*read_paths([inputs / "etc"]))
    built = build(candidate, facts)
    if isinstance(built, Generation):
        return built, built.warnings
    return None, built.problems


def _relative(problem: Problem, inputs: Path) -> str:
    return str(problem).removeprefix(f"{inputs}/")


def _write(golden: Path, text: str) -> None:
    golden.parent.mkdir(parents=True, exist_ok=True)
    if text:
        golden.write_text(text)
    else:
        golden.unlink(missing_ok=True)


def _nobody() -> int | None:
    """The user nobody, if we may become it."""
    return 65534 if os.geteuid() == 0 else None


def _readable_by_all(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o005 == 0o005 for parent in (path, *path.parents))
