"""Every pattern in linear time: on a megabyte of whatever is hardest for it, none takes long to say no."""

import ast
import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from time import process_time
from types import ModuleType

import pytest

import hostfw
from hostfw.manifest.schema.documents import schema
from hostfw.manifest.settings import TEXTFILE
from tests.unit.builders.attack_texts import attacks

MOST_S = 0.25
LONG, FEW = 20_000, 27
PIECES = ("a", "0", " ", "\t", "/", "a/", "/a", "-", "a-", ".", "a.", ",", "1,", "22, ", "a:", "0:", "[", "{", "'", '"')
ENDS = ("", "!", "\n!", "\u2028", "x/", ".prom!", " }")

_OF_EXPRESSIONS = r"^ *import re$|\b[A-Z][A-Z_]*\.(?:search|finditer|findall|sub|split)\b"
"""The words of a module that compiles an expression, or uses one of another module."""


def _names() -> list[str]:
    """Our modules, but for those that a program runs or that need a host."""
    found = pkgutil.walk_packages(hostfw.__path__, "hostfw.")
    return [one.name for one in found if not one.name.endswith("__main__") and ".testing" not in one.name]


@cache
def _tree(module: ModuleType) -> tuple[ast.AST, ...]:
    """The syntax of a module that has to do with expressions; to parse all the others takes seconds."""
    source = inspect.getsource(module)
    return tuple(ast.walk(ast.parse(source))) if re.search(_OF_EXPRESSIONS, source, re.MULTILINE) else ()


def _late(module: ModuleType) -> Iterator[tuple[str, str, re.Pattern[str]]]:
    """The expressions that a module compiles when it needs them, with the functions of `re` that it gives them to."""
    for node in _tree(module):
        match node:
            case ast.Call(ast.Attribute(ast.Name("re"), method), [ast.Name(attribute), *_]):
                text = getattr(module, attribute, None)
                if isinstance(text, str):
                    yield method, attribute, re.compile(text)
            case _:
                pass


def _patterns() -> Iterator[tuple[str, re.Pattern[str]]]:
    for name in _names():
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        for attribute, value in vars(module).items():
            pattern = value if isinstance(value, re.Pattern) else getattr(value, "pattern", None)
            if isinstance(pattern, re.Pattern) and isinstance(pattern.pattern, str):
                yield f"{name}.{attribute}", pattern
        for _, attribute, pattern in _late(module):
            yield f"{name}.{attribute}", pattern
    for text in sorted(set(_in_schema(json.loads(json.dumps(schema()))))):
        yield f"schema: {text[:60]}", re.compile(text)


def _in_schema(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("pattern"), str):
            yield value["pattern"]
        for inner in value.values():
            yield from _in_schema(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _in_schema(inner)


PATTERNS = dict(_patterns())


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_says_no_soon(name: str) -> None:
    """First few repeats, so that a pattern that takes exponential time fails rather than hangs; then many."""
    pattern = PATTERNS[name]
    for count in (FEW, LONG):
        for piece in PIECES:
            for end in ENDS:
                text = f"{piece * count}{end}"
                before = process_time()
                pattern.match(text)
                took_s = process_time() - before
                assert took_s < MOST_S, (piece, end, count, took_s)


OLD_TEXTFILE = re.compile(r"^(?:/[!-~]+)+\.prom$")
"""It took exponential time to refuse a path, here and in editors with the JSON Schema."""
ROUNDS = 8_000
"""Rounds of pieces of one to a dozen characters: what takes the square of that is noticed."""


def _takes_long(pattern: re.Pattern[str], count: int) -> str | None:
    """The first text made of a pattern to which it says no only after a while; JSON Schema looks for it anywhere."""
    for text in attacks(pattern, count):
        before = process_time()
        pattern.match(text)
        if process_time() - before > MOST_S:
            return text
    return None


@pytest.mark.slow
@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_says_no_soon_to_what_is_made_of_it(name: str) -> None:
    """Of what its repetitions take, in every mixture of two."""
    assert _takes_long(PATTERNS[name], FEW) is None
    assert _takes_long(PATTERNS[name], ROUNDS) is None


@pytest.mark.slow
def test_texts_made_of_a_pattern_show_what_takes_long() -> None:
    """Exponential time, as the path of a textfile once took, and that of the square."""
    assert _takes_long(OLD_TEXTFILE, FEW) is not None
    assert _takes_long(re.compile(r"eth[\w.-]*\d[\w.]*\Z"), 2 * ROUNDS) is not None


_ONLY_PYTHON = re.compile(r"\\[AZ]|\(\?(?:P|#|>|[aiLmsux-]+[:)])|[*+?}]\+")
"""Parts of expressions that Python has and ECMAScript has not, whose expressions JSON Schema takes."""


@pytest.mark.parametrize("name", [name for name in PATTERNS if name.startswith("schema: ")])
def test_a_pattern_of_the_schema_is_one_of_ecmascript(name: str) -> None:
    """Both engines go the same way through it: what says no soon in Python does so in an editor."""
    text = PATTERNS[name].pattern
    outside_of_sets = re.sub(r"\[\^?\]?(?:\\.|[^\]\\])*\]", "[]", text)

    assert _ONLY_PYTHON.search(outside_of_sets) is None
    assert text.startswith("^") or not re.search(r"[*+{]", outside_of_sets), "it is tried at every place"


SEARCHING = frozenset(("search", "finditer", "findall", "sub", "split"))


def _searched() -> Iterator[tuple[str, "re.Pattern[str] | re.Pattern[bytes]"]]:
    """The patterns of our modules that are looked for anywhere in a text, by the calls that do."""
    for name in _names():
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        for method, attribute, late in _late(module):
            if method in SEARCHING:
                yield f"{name}.{attribute}", late
        for node in _tree(module):
            match node:
                case ast.Attribute(value=ast.Name(id=attribute), attr=method) if method in SEARCHING:
                    pattern = getattr(module, attribute, None)
                    if isinstance(pattern, re.Pattern):
                        yield f"{name}.{attribute}", pattern
                case _:
                    pass


SEARCHED = dict(_searched())


@pytest.mark.parametrize("name", SEARCHED)
def test_a_pattern_that_is_looked_for_says_no_soon(name: str) -> None:
    """Wherever it might begin: a file of nothing but line ends is read once."""
    pattern = SEARCHED[name]
    for piece in (*PIECES, "\n", " \n", "\r\n", "\\", '\\"'):
        for end in ENDS:
            text = f"{piece * LONG}{end}"
            before = process_time()
            pattern.search(text.encode() if isinstance(pattern.pattern, bytes) else text)  # type: ignore[arg-type]
            took_s = process_time() - before
            assert took_s < MOST_S, (piece, end, took_s)


def test_leases_that_never_end_are_passed_over_soon() -> None:
    """A file of them is read to its end once."""
    text = "lease {\n  fixed-address 192.0.2.1;\n" * LONG
    before = process_time()
    assert PATTERNS["hostfw.host.network.dhcp.dhcp_leases._DHCLIENT"].findall(f"{text}}}\n") == [
        "  fixed-address 192.0.2.1;\n"
    ]
    assert process_time() - before < MOST_S


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/run/hostfw/hostfw.prom", True),
        ("/a.prom", True),
        ("/a/b/c.prom", True),
        ("/a//b.prom", True),
        ("a.prom", False),
        ("//a.prom", False),
        ("/.prom", False),
        ("/a.prom ", False),
        ("/a b.prom", False),
        ("/a.txt", False),
    ],
)
def test_a_textfile_is_an_absolute_path_of_that_ending(path: str, *, expected: bool) -> None:
    """As before it was quick."""
    assert (TEXTFILE.match(path) is not None) == expected
