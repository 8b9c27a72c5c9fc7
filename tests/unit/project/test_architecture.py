"""Imports run one way, and at run time only over what Debian packages."""

import ast
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
MODULES = sorted((ROOT / "hostfw").rglob("*.py"))
PACKAGED = frozenset({"hostfw", "nftables", "pyroute2", "systemd", "yaml"})
"""Beside the standard library: hostfw itself and the modules of its Debian dependencies."""

MODULES_IN_A_FOLDER = 15
LINES_OF_A_MODULE = 400


def test_the_layers_hold() -> None:
    """The contracts of pyproject.toml are kept by the tree as it is."""
    done = check_imports(ROOT)

    assert done.returncode == 0, done.stdout


BREACHES = [
    (
        "the model looks at policy",
        "model/values.py",
        "import hostfw.policy",
        "hostfw.model is not allowed to import hostfw.policy",
    ),
    (
        "policy renders nftables",
        "policy/__init__.py",
        "import hostfw.nft",
        "hostfw.policy is not allowed to import hostfw.nft",
    ),
    (
        "the compiler asks the host",
        "compile/__init__.py",
        "import hostfw.host",
        "hostfw.compile is not allowed to import hostfw.host",
    ),
    (
        "the host compiles",
        "host/__init__.py",
        "import hostfw.compile",
        "hostfw.host is not allowed to import hostfw.compile",
    ),
    (
        "a fake is shipped",
        "cli/__init__.py",
        "import lab",
        "hostfw is not allowed to import lab",
    ),
    (
        "policy talks to the kernel",
        "policy/__init__.py",
        "import pyroute2",
        "hostfw.policy is not allowed to import pyroute2",
    ),
    (
        "a look at the host compiles",
        "engine/reading/__init__.py",
        "import hostfw.engine.engine",
        "hostfw.engine.reading is not allowed to import hostfw.engine.engine",
    ),
    (
        "a reader of workloads decodes policy",
        "workloads/__init__.py",
        "import hostfw.manifest",
        "hostfw.workloads is not allowed to import hostfw.manifest",
    ),
    ("a module without a place", "sideways.py", "import hostfw.model", "not listed as layers:\n\n- hostfw.sideways"),
]


@pytest.mark.parametrize(("module", "line", "message"), [pytest.param(*case[1:], id=case[0]) for case in BREACHES])
def test_a_breach_is_noticed(tmp_path: Path, module: str, line: str, message: str) -> None:
    """Each contract can fail: an import the wrong way, a library in the wrong place, a module nobody placed."""
    shutil.copytree(ROOT / "hostfw", tmp_path / "hostfw", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "hostfw" / module).open("a") as file:
        file.write(f"\n{line}\n")

    done = check_imports(tmp_path)

    assert done.returncode == 1
    assert message in done.stdout


def test_the_model_uses_the_standard_library_only() -> None:
    """A value of the model can be made anywhere Python runs."""
    strangers = {
        (path.name, name)
        for path in MODULES
        if "model" in path.relative_to(ROOT / "hostfw").parts
        for name in imported(path)
        if name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith("hostfw.model")
    }

    assert strangers == set()


def test_no_folder_is_crowded() -> None:
    """A folder of many modules has become several subjects, and each of them wants a folder with its name."""
    paths = (path for root in ("hostfw", "lab", "bench", "tests") for path in (ROOT / root).rglob("*.py"))
    modules = Counter(path.parent for path in paths if path.stem != "__init__")

    assert {
        str(folder.relative_to(ROOT)): number for folder, number in modules.items() if number > MODULES_IN_A_FOLDER
    } == {}


def test_no_module_is_long() -> None:
    """A module of so many lines has two names, and wants to be two modules."""
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in MODULES}

    assert {path: number for path, number in lines.items() if number > LINES_OF_A_MODULE} == {}


def test_everything_runs_on_what_debian_packages() -> None:
    """No module imports what `apt install` of the declared dependencies does not bring."""
    strangers = {
        (str(path.relative_to(ROOT)), name)
        for path in MODULES
        for name in imported(path)
        if name.partition(".")[0] not in sys.stdlib_module_names | PACKAGED
    }

    assert strangers == set()


def check_imports(directory: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter over the `hostfw` package and the contracts in a directory."""
    pytest.importorskip("importlinter")
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def imported(path: Path) -> Iterator[str]:
    """Yield the full name of every module that a file imports, at the top or within a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
