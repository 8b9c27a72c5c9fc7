"""`.hostfwignore`: what is not a file of hostfw is named, and nothing is left out without being named."""

from pathlib import Path
from time import process_time

import pytest

from hostfw.host.store.configuration.files import read_configuration, read_paths
from hostfw.manifest.files.ignore_file import decode_ignore_file
from hostfw.model.sources import Source
from tests.unit.cli_runs import UPLINK, WEB, Machine, machine

PIPELINE = "stages: [build, test]\nbuild:\n  script: [make]\n"
CHART = "replicas: 3\n"
MKDOCS = "site_name: x\nemoji: !!python/name:materialx.emoji.twemoji\n"
TEMPLATE = "{{ if .Values.on }}\nkind: Deployment\n"
FOREIGN = {
    "a pipeline": ("ci/pipeline.yml", PIPELINE),
    "a chart": ("charts/web/values.yaml", CHART),
    "documentation with tags": ("mkdocs.yml", MKDOCS),
    "a template": ("charts/web/templates/web.yaml", TEMPLATE),
    "a list": ("playbook.yml", "- hosts: all\n  roles: [web]\n"),
    "a workload": ("k8s/web.yaml", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n"),
}

MATCHES = [
    ("a name at any depth", "mkdocs.yml", ["mkdocs.yml", "docs/mkdocs.yml"], ["xmkdocs.yml", "mkdocs.yml/a.yml"]),
    ("part of a name", "*.tpl.yaml", ["a.tpl.yaml", "b/a.tpl.yaml"], ["a.yaml", "tpl.yaml"]),
    ("one character", "v?.yaml", ["v1.yaml"], ["v.yaml", "v10.yaml", "v/.yaml"]),
    ("a path from here", "/values.yaml", ["values.yaml"], ["charts/values.yaml"]),
    ("a path with a star", "ci/*.yml", ["ci/a.yml"], ["x/ci/a.yml", "ci/a/b.yml"]),
    ("folders in between", "charts/**/values.yaml", ["charts/values.yaml", "charts/a/b/values.yaml"], ["values.yaml"]),
    ("everything below", "charts/**", ["charts/a.yaml", "charts/a/b.yaml"], ["charts.yaml"]),
    ("at any depth by two stars", "**/ci/a.yml", ["ci/a.yml", "x/y/ci/a.yml"], ["xci/a.yml"]),
    ("characters that mean something elsewhere", "a+(b).yaml", ["a+(b).yaml"], ["aab.yaml"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "line", "matched", "others"), MATCHES, ids=[case[0] for case in MATCHES])
def test_a_line_is_a_pattern(name: str, line: str, matched: list[str], others: list[str]) -> None:
    """As in gitignore(5), as far as it goes."""
    found, problems = decode_ignore_file(Source(".hostfwignore", f"# about\n\n{line}  \n"))

    assert problems == (), name
    assert [found.line_for(path, is_folder=False) for path in matched] == [3] * len(matched)
    assert [found.line_for(path, is_folder=False) for path in others] == [None] * len(others)


@pytest.mark.parametrize("line", ["*a" * 20 + "b", "/" + "**/a/" * 20 + "b", "*a*/" * 10 + "b", "?*" * 30 + "b.yaml"])
@pytest.mark.parametrize("path", ["a" * 255, "a/" * 2000 + "a", "/".join(["a" * 255] * 16)])
def test_a_pattern_says_no_soon(line: str, path: str) -> None:
    """Many stars are tried in one way each: the walk over a tree does not stand still for one line."""
    found, _ = decode_ignore_file(Source(".hostfwignore", f"{line}\n"))
    before = process_time()

    assert found.line_for(path, is_folder=False) is None
    assert process_time() - before < 0.25


STARS = [
    ("*a*b*", "xaxbx", True),
    ("*a*b", "bab", True),
    ("*ab*b", "ab", False),
    ("a*a", "a", False),
    ("**/a*/b", "x/a/ac/b", True),
    ("/a/**/b/**/c", "a/b/x/b/c", True),
    ("/a/**/b/**/c", "a/x/c", False),
    ("a/**/**/b", "a/b", True),
    ("*?", "a", True),
    ("?*?", "a", False),
]


@pytest.mark.parametrize(("line", "path", "matches"), STARS)
def test_several_stars(line: str, path: str, *, matches: bool) -> None:
    """Each takes no more than what the others leave."""
    found, _ = decode_ignore_file(Source(".hostfwignore", f"{line}\n"))

    assert (found.line_for(path, is_folder=False) is not None) == matches


def test_lines_are_counted_as_editors_do() -> None:
    """Characters that only some programs take for the end of a line are part of it."""
    _, problems = decode_ignore_file(Source(".hostfwignore", "a\u2028b\x0cc\x85d\r\n!x\n"))

    assert [problem.position.line for problem in problems] == [2]


def test_a_slash_at_the_end_is_for_folders_alone() -> None:
    """At any depth, or from here with another one."""
    found, _ = decode_ignore_file(Source(".hostfwignore", "ci/\n/doc/x/\n"))

    assert found.line_for("a/ci", is_folder=True) == 1
    assert found.line_for("ci", is_folder=False) is None
    assert found.line_for("doc/x", is_folder=True) == 2
    assert found.line_for("a/doc/x", is_folder=True) is None


@pytest.mark.parametrize("line", ["!web.yaml", "[ab].yaml", "a\\ b.yaml", "*", "**", "/", "**/*"])
def test_a_line_that_may_be_meant_otherwise_is_refused(line: str) -> None:
    """With its place, and without its words: the file may be somebody else's."""
    found, problems = decode_ignore_file(Source("etc/.hostfwignore", f"ci/\n{line}\n"))

    assert [str(problem.position) for problem in problems] == ["etc/.hostfwignore:2:1"]
    assert "web.yaml" not in problems[0].message
    assert len(found.patterns) == 1


@pytest.fixture(name="host")
def _host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = machine(tmp_path, monkeypatch)
    made.write(hostfw="node: web1\n", web=WEB, uplink=UPLINK)
    return made


def lay(host: Machine, path: str, text: str) -> None:
    """Write a file below the configuration directory."""
    file = host.config / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize(("path", "text"), FOREIGN.values(), ids=FOREIGN)
def test_a_file_of_others_is_refused_with_the_next_step(host: Machine, path: str, text: str) -> None:
    """Nothing is guessed from what it holds; the line that it asks for is enough."""
    lay(host, path, text)
    name = Path(path).name

    refused = host.hostfwctl("apply")

    assert refused.status == 3
    assert f"if {name} is not a file of hostfw, write its name into .hostfwignore beside it" in refused.err
    assert refused.err.count(".hostfwignore") == 1
    lay(host, str(Path(path).parent / ".hostfwignore"), f"{name}\n")
    assert host.hostfwctl("apply").status == 0
    assert host.hostfwctl("diff").status == 0


@pytest.mark.parametrize(
    "text",
    [
        WEB.replace("kind: GlobalNetworkPolicy", "kind: GlobalNetworkPolcy"),
        WEB.replace("kind: GlobalNetworkPolicy\n", ""),
        WEB.replace("action: Allow", "action: Alow"),
    ],
)
def test_a_file_that_is_ours_and_wrong_is_never_to_be_left_out(host: Machine, text: str) -> None:
    """Whoever misspelt a policy is told what is wrong with it."""
    host.write(web=text)

    refused = host.hostfwctl("apply")

    assert refused.status == 3
    assert ".hostfwignore" not in refused.err


def test_folders_and_hidden_ones_are_left_out(host: Machine) -> None:
    """A tree as people have them; in the folders of the file alone."""
    lay(host, ".github/workflows/ci.yml", PIPELINE)
    lay(host, "ci/deep/pipeline.yml", PIPELINE)
    lay(host, "docs/mkdocs.yml", MKDOCS)
    lay(host, ".hostfwignore", "ci/\n")
    lay(host, "docs/.hostfwignore", "mkdocs.yml\n")

    assert host.hostfwctl("validate") == (0, "", "ok: 1 policy, 1 endpoint\n")
    lay(host, "mkdocs.yml", MKDOCS)
    assert host.hostfwctl("validate").status == 3


def test_what_is_ours_is_not_left_out_in_silence(host: Machine) -> None:
    """A pattern that is too wide: a warning for policy, an error for the settings."""
    lay(host, ".hostfwignore", "# too much\nw*.yaml\n")

    done = host.hostfwctl("validate")

    assert done.status == 0
    assert "etc/web.yaml:1:1: warning: is left out by etc/.hostfwignore:2, and holds resources of hostfw" in done.out
    lay(host, ".hostfwignore", "/hostfw.yaml\n")
    refused = host.hostfwctl("validate")
    assert refused.status == 3
    assert "etc/hostfw.yaml:1:1: is left out by etc/.hostfwignore:1, and settings cannot be" in refused.out


def test_a_directory_of_another_place_has_its_own(host: Machine, tmp_path: Path) -> None:
    """As with `-f`; a link out of it is refused and nothing of what it leads to is shown."""
    lay(host, "ci.yml", PIPELINE)
    lay(host, ".hostfwignore", "ci.yml\n")
    assert host.hostfwctl("validate", "-f", host.config).status == 0
    secret = tmp_path / "secret"
    secret.write_text("!hunter2\n")
    (host.config / ".hostfwignore").unlink()
    (host.config / ".hostfwignore").symlink_to(secret)

    _, problems = read_paths([host.config], anywhere=False)

    assert any("is outside of" in problem.message for problem in problems)
    assert "hunter2" not in "".join(map(str, problems))


def test_one_that_others_may_write_is_refused(tmp_path: Path) -> None:
    """It says which policy counts."""
    (tmp_path / ".hostfwignore").write_text("ci/\n")
    (tmp_path / ".hostfwignore").chmod(0o666)

    _, problems = read_configuration(tmp_path)

    assert len(problems) == 1
    assert ".hostfwignore" in problems[0].position.path
