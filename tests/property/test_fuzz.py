"""The properties of tests/fuzz for texts: the corpus that fuzzing left, and texts that hypothesis makes."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import run
from tests.fuzz.corpus import CORPUS, load, to_bytes, to_text
from tests.fuzz.mutations import mutated
from tests.fuzz.targets import TARGETS, check

NAMES = tuple(TARGETS)


@pytest.mark.parametrize("name", NAMES)
def test_every_text_that_fuzzing_kept_holds(name: str) -> None:
    """Each reaches code that no shorter one reaches, or was a finding once."""
    target = TARGETS[name]

    for text in _texts(name):
        try:
            check(target, text)
        except Exception as error:
            error.add_note(f"the text: {text!r}")
            raise


def test_every_target_has_a_corpus_and_every_corpus_a_target() -> None:
    """A file that nothing reads tests nothing."""
    assert {path.stem for path in CORPUS.iterdir()} == set(NAMES)
    assert all(load(name) for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(random=st.randoms(use_true_random=False), data=st.data())
def test_a_mutated_text_holds(name: str, random: Random, data: st.DataObject) -> None:
    """Lines, tokens and characters of real files, moved, repeated, left out and put into each other."""
    target = TARGETS[name]
    texts = _texts(name)

    text = mutated(data.draw(st.sampled_from(texts), label="text"), texts, target.words, random)

    check(target, text[: target.longest])


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_a_soup_of_words_holds(name: str, data: st.DataObject) -> None:
    """The words of the format in any order, and characters of all kinds between them."""
    target = TARGETS[name]
    words = st.sampled_from(target.words) | st.text(max_size=5)

    check(target, "".join(data.draw(st.lists(words, max_size=40), label="words")))


@given(data=st.binary(max_size=50))
def test_any_bytes_are_a_text_and_the_text_the_same_text_again(data: bytes) -> None:
    """So that a fuzzer, which works on bytes, finds again what it has kept."""
    text = to_text(data)

    assert to_text(to_bytes(text)) == text


def test_a_text_that_takes_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound that is never met would bound nothing."""
    clock = iter((0.0, 60.0))
    monkeypatch.setattr(time, "process_time", lambda: next(clock))

    with pytest.raises(AssertionError, match=r"60\.0 seconds for 5 characters"):
        check(TARGETS["selector"], "all()")


@pytest.mark.slow
@pytest.mark.parametrize("how", [[], ["--blind"]])
def test_fuzzing_runs_and_counts(tmp_path: Path, how: list[str]) -> None:
    """A second of the smallest target, with what is installed here and as where nothing is."""
    command = [sys.executable, run.__file__, "--seconds", "1", "--jobs", "1", "--work", str(tmp_path), *how, "prefix"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    name, executions, corpus, findings = done.stdout.splitlines()[-1].split()
    assert (done.returncode, name, findings) == (0, "prefix", "0"), done.stdout + done.stderr
    assert int(executions) > 100
    assert int(corpus) >= len(TARGETS["prefix"].seeds())


def test_a_finding_is_kept_at_its_shortest_until_it_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each place that raises, not one for each text."""
    findings = tmp_path / "findings"
    findings.mkdir()
    for text in ("long enough", "ab", "abc"):
        run._try(replace(TARGETS["prefix"], holds=_breaks_on_a_letter), findings, text)

    assert [json.loads(path.read_text()) for path in findings.glob("prefix-*.json")] == ["ab"]
    assert ["ValueError: a letter" in path.read_text() for path in findings.glob("prefix-*.txt")] == [True]

    with monkeypatch.context() as patch:
        patch.setitem(TARGETS, "prefix", replace(TARGETS["prefix"], holds=_breaks_on_a_letter))
        run._forget_what_holds(tmp_path)
    assert len(list(findings.iterdir())) == 2
    run._forget_what_holds(tmp_path)
    assert list(findings.iterdir()) == []


def _breaks_on_a_letter(text: str) -> None:
    if text.islower():
        raise ValueError("a letter")


@cache
def _texts(name: str) -> tuple[str, ...]:
    return (*TARGETS[name].seeds(), *load(name))
