"""The vocabulary of the project: names, docstrings and phrases that a newcomer understands at the first reading."""

import ast
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CODE = ("hostfw", "lab", "tests", "bench", "tools")

PRIVATE_WORDS = {
    "anatomy": "grammar",
    "apart": "edited_in_place, or the difference itself",
    "armed": "rollback timer",
    "charge": "writer",
    "damage": "tampering",
    "deed": "change",
    "deeds": "changes",
    "evidence": "baseline",
    "fed": "from_feed",
    "fills": "set_loading",
    "follower": "resync",
    "governor": "governing_endpoint",
    "guard": "base_protection",
    "heard": "audit_checkpoint, or note",
    "hearers": "observer",
    "inspected": "candidate",
    "inspection": "candidate",
    "judgement": "lockout",
    "keeper": "repair",
    "meddled": "changed_by_others",
    "memory": "cache",
    "patient": "host_report",
    "refill": "reload_sets",
    "refilled": "reloaded",
    "tails": "shared_suffix",
    "turn": "activate",
    "unheard": "missed",
    "untold": "audit_losses",
    "upkeep": "reconcile",
    "whether": "the condition itself",
    "witness": "change_tracker",
}
"""Words that no name has, and the plain ones in their place."""

PRIVATE_NAMES = {
    "Checking": "LintCache",
    "Compiled": "CompileCache",
    "Decoding": "DecodeCache",
    "Deleted": "DeletionKind",
    "InForce": "ActiveGeneration",
    "Letter": "Envelope",
    "Linear": "RuleList",
    "OnDemand": "LazyNftables",
    "Outcomes": "StatementWriter",
    "Outside": "Dependencies",
    "Pending": "Trial",
    "Piece": "Memo",
    "Present": "KernelState",
    "Question": "PacketQuery, or Query",
    "Quiet": "PausingNftables",
    "Resolving": "ResolveCache",
    "Store": "ObjectsInUse",
    "Texts": "CommandCache",
    "Way": "PacketPath",
    "certain_event": "event_from_candidates",
    "load_in_force": "load_active",
    "load_pending": "load_trial",
    "on_demand": "lazily, or an argument of the kernel writer",
    "perform": "handle",
    "settle": "expire",
    "spelled_out": "with_full_names",
    "take_back": "roll_back",
    "what_is_there": "read_kernel_state",
}
"""Names of classes and functions that say nothing to a newcomer, and the plain ones in their place."""

PRIVATE_MODULES = {
    "needs": "network_needs",
    "outside": "dependencies",
    "page": "help",
    "pending": "trial",
    "present": "kernel_state",
    "question": "packet_query",
    "uses": "references",
    "way": "packet_path",
    "writers": "possible_generations",
}
"""Names of modules that say nothing of what is in them; within a module each word may have its own sense."""

PRIVATE_IN_FOLDERS = {
    "hostfw/compile/": {"Outcome": "Effect"},
    "hostfw/explain/": {"Verdict": "StepVerdict"},
    "hostfw/host/nftables/": {"on_demand": "lazily", "quiet": "pausing"},
    "hostfw/nft/switch": {"behind": "appended_rules", "turn": "deletions"},
}
"""Names that are plain elsewhere and say nothing in these places, of modules, classes, functions and fields."""

ALLOWED: dict[str, str] = {
    "bench/flood.py:memory_bytes": "the memory of a process",
    "lab/hosts/virtual.py:_MEMORY": "the memory of a virtual machine",
    "lab/service.py:memory_bytes": "the memory of a process",
    "hostfw/exposure/services.py:_tells_addresses_apart": "to tell apart",
    "hostfw/importer/conditions.py:told_apart_by": "to tell apart",
    "hostfw/policy/resolve/link_networks.py:_told_apart": "to tell apart",
    "tests/fuzz/run.py:MEMORY_MB": "the memory of a process",
    "tests/property/test_unchanged.py:_damage": "damage to a file",
    "tests/unit/ansible/test_turn.py:turn": "the turn of one of several runs of Ansible",
    "tests/unit/engine/test_decoded.py:damage": "damage to a file",
    "tests/unit/engine/failures/test_recovery.py:damage": "damage to a file",
    "tests/unit/engine/trial/test_trial.py:damage": "damage to a file",
}
"""Names in the words of their own field, each by its file and with the reason."""

PHRASES = re.compile(
    r"another's hand|another hand|\btold of\b|\blives by\b|\bwho(ever)? asks\b|\bfared alike\b"
    r"|\bwent by (unheard|unread|while|meanwhile)|records of packets went by|while nobody listened"
    r"|\bwhat was so long ago\b|\blets? nothing pass but\b|\bsays? that (the loss|it|this) is meant\b"
    r"|\border none, so\b|\ball is as it should be\b|\bthat nobody else was at\b|\bthe leave of\b"
    r"|\b(let|lets|left|letting) (it|them|this|that|these|those) be\b|\blet be\b"
)
"""Phrases that have to be read twice."""
HISTORY = ("docs/adr/", "debian/changelog")
"""Pages that are not edited once they stand."""

ALLOWED_FILES = {
    "tests/kernel/service/test_flat_memory.py": "the memory of a process",
    "tests/unit/ansible/test_turn.py": "the turn of one of several runs of Ansible",
    "tests/unit/daemon/test_flat_memory.py": "the memory of a process",
}

_FUNCTION = re.compile(r"\s*([a-z_]+)\(\) \{")
_QUESTION = re.compile(r"(What|Who|Whom|Whose|Whether|How|Why|Which)\b")
_LINE_END = re.compile(r'"?\n[ #|*]*f?"?')
_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@cache
def _tracked() -> tuple[str, ...]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("this is no checkout of git")
    return tuple(path for path in listed.stdout.split("\0") if path and (ROOT / path).is_file())


def _code() -> Iterator[str]:
    """The paths of modules."""
    return (path for path in _tracked() if path.endswith(".py") and path.split("/")[0] in CODE)


@cache
def _modules() -> tuple[tuple[str, ast.Module], ...]:
    return tuple((path, ast.parse((ROOT / path).read_text())) for path in _code())


def _names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The names that a module declares: classes, functions, parameters, variables and attributes."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.alias(asname=str(name)):
                yield node.lineno, name
            case _:
                pass


def _declared(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The classes, functions and fields of a module, without what is local to a function."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
        if isinstance(node, ast.Module | ast.ClassDef):
            for field in node.body:
                match field:
                    case ast.AnnAssign(target=ast.Name(id=name)):
                        yield field.lineno, name


@cache
def _functions_of_shells() -> tuple[tuple[str, int, str], ...]:
    """The functions of shell scripts, each with its file and line."""
    found = []
    for path in _tracked():
        if "." in Path(path).name or path.startswith("tests/"):
            continue
        text = (ROOT / path).read_bytes()
        if text.startswith(b"#!/bin/"):
            lines = enumerate(text.decode().splitlines(), 1)
            found += [(path, number, match[1]) for number, line in lines if (match := _FUNCTION.match(line))]
    return tuple(found)


def _plain(name: str) -> Iterator[str]:
    """The plain words in the place of the private ones in a name."""
    if name in PRIVATE_NAMES:
        yield PRIVATE_NAMES[name]
    yield from (PRIVATE_WORDS[word] for word in map(str.lower, _PARTS.findall(name)) if word in PRIVATE_WORDS)


def test_no_name_is_a_private_word() -> None:
    """Each has a plain word that says the same; tests are named by sentences, and are free in their choice."""
    found = [
        f"{path}:{line}: {name}: say {plain}"
        for path, tree in _modules()
        for line, name in _names(tree)
        if not name.startswith("test_") and f"{path}:{name}" not in ALLOWED
        for plain in _plain(name)
    ]
    assert found == []


def test_no_file_and_no_function_of_a_shell_is_a_private_word() -> None:
    """A module is found by its name, and the scripts of units are read by people who repair hosts."""
    modules = (path for path in _code() if path not in ALLOWED_FILES)
    named = [(path, 1, Path(path).stem.removeprefix("test_")) for path in modules]
    found = [
        f"{path}:{line}: {name}: say {plain}"
        for path, line, name in (*named, *_functions_of_shells())
        for plain in (
            *_plain(name),
            *(PRIVATE_MODULES[one] for one in (name,) if path.endswith(f"/{name}.py") and one in PRIVATE_MODULES),
        )
    ]
    assert found == []
    assert len(_functions_of_shells()) > 9


def test_no_name_is_private_in_its_folder() -> None:
    """A word such as Outcome has its place elsewhere."""
    found = [
        f"{path}:{line}: {name}: say {words[name]}"
        for path, tree in _modules()
        for folder, words in PRIVATE_IN_FOLDERS.items()
        if path.startswith(folder)
        for line, name in ((1, Path(path).stem), *_declared(tree))
        if name in words
    ]
    assert found == []


def test_what_is_allowed_exists() -> None:
    """A name that is gone needs no exception any more."""
    declared = {f"{path}:{name}" for path, tree in _modules() for _, name in _names(tree)}
    assert sorted(ALLOWED.keys() - declared) == []


def test_docstrings_begin_with_a_noun_or_a_verb() -> None:
    """Docstrings of modules, classes, functions, attributes and constants."""
    found = [
        f"{path}:{statement.lineno}: {statement.value.value.splitlines()[0]}"
        for path, tree in _modules()
        for node in ast.walk(tree)
        for statement in (node.body if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) else ())
        if isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
        and _QUESTION.match(statement.value.value)
    ]
    assert found == []


def test_no_page_or_message_has_to_be_read_twice() -> None:
    """Pages, help, messages, comments and the catalog, apart from pages about the past, across ends of lines too."""
    found = []
    for path in _tracked():
        if path.startswith((*HISTORY, "tests/fuzz/corpus", "tests/unit/project/test_vocabulary")):
            continue
        try:
            text = _LINE_END.sub(" ", (ROOT / path).read_text())
        except UnicodeDecodeError:
            continue
        found += [f"{path}: {text[max(0, at.start() - 40) : at.end() + 40]}" for at in PHRASES.finditer(text)]
    assert found == []
