"""Texts made of other texts: what a person's slip of the hand does to YAML, and what nobody would do."""

import re
from collections.abc import Sequence
from random import Random

_TOKEN = re.compile(r"[\w.:/-]+|\s+|.", re.DOTALL)


def mutated(text: str, others: Sequence[str], words: Sequence[str], random: Random) -> str:
    """A text after one to four changes, each by line, by token or by character."""
    for _ in range(random.randint(1, 4)):
        text = random.choice(_CHANGES)(text, others, words, random)
    return text


def _drop_lines(text: str, _others: Sequence[str], _words: Sequence[str], random: Random) -> str:
    lines = text.splitlines(keepends=True)
    start, end = _span(len(lines), 4, random)
    return "".join(lines[:start] + lines[end:])


def _repeat_lines(text: str, _others: Sequence[str], _words: Sequence[str], random: Random) -> str:
    lines = text.splitlines(keepends=True)
    start, end = _span(len(lines), 8, random)
    return "".join(lines[:end] + lines[start:end] + lines[end:])


def _move_lines(text: str, _others: Sequence[str], _words: Sequence[str], random: Random) -> str:
    lines = text.splitlines(keepends=True)
    start, end = _span(len(lines), 4, random)
    rest = lines[:start] + lines[end:]
    place = random.randint(0, len(rest))
    return "".join(rest[:place] + lines[start:end] + rest[place:])


def _indent_lines(text: str, _others: Sequence[str], _words: Sequence[str], random: Random) -> str:
    lines = text.splitlines(keepends=True)
    start, end = _span(len(lines), 5, random)
    indent = random.choice((" ", "  ", "- ", "\t", ""))
    changed = [indent + line if indent else line.removeprefix("  ") for line in lines[start:end]]
    return "".join(lines[:start] + changed + lines[end:])


def _splice_lines(text: str, others: Sequence[str], _words: Sequence[str], random: Random) -> str:
    lines, donor = text.splitlines(keepends=True), random.choice(others).splitlines(keepends=True)
    start, end = _span(len(donor), 12, random)
    place = random.randint(0, len(lines))
    return "".join(lines[:place] + donor[start:end] + lines[place:])


def _cross(text: str, others: Sequence[str], _words: Sequence[str], random: Random) -> str:
    other = random.choice(others)
    return text[: random.randint(0, len(text))] + other[random.randint(0, len(other)) :]


def _swap_token(text: str, others: Sequence[str], words: Sequence[str], random: Random) -> str:
    """One token for a word, or for a token of another text."""
    tokens = _TOKEN.findall(text)
    if not tokens:
        return random.choice(words)
    borrowed = _TOKEN.findall(random.choice(others))
    instead = random.choice(words if random.random() < 0.6 or not borrowed else borrowed)
    tokens[random.randrange(len(tokens))] = instead
    return "".join(tokens)


def _insert_word(text: str, _others: Sequence[str], words: Sequence[str], random: Random) -> str:
    place = random.randint(0, len(text))
    return text[:place] + random.choice(words) + text[place:]


def _drop_characters(text: str, _others: Sequence[str], _words: Sequence[str], random: Random) -> str:
    start, end = _span(len(text), 3, random)
    return text[:start] + text[end:]


def _repeat_characters(text: str, _others: Sequence[str], _words: Sequence[str], random: Random) -> str:
    start, end = _span(len(text), 6, random)
    return text[:end] + text[start:end] * random.choice((1, 1, 2, 100)) + text[end:]


def _set_character(text: str, _others: Sequence[str], _words: Sequence[str], random: Random) -> str:
    start, end = _span(len(text), 1, random)
    limit = random.choice((0x80, 0x80, 0x100, 0x3000, 0x110000))
    return text[:start] + chr(random.randrange(limit)) + text[end:]


_CHANGES = (
    _drop_lines,
    _repeat_lines,
    _move_lines,
    _indent_lines,
    _splice_lines,
    _cross,
    _swap_token,
    _swap_token,
    _swap_token,
    _insert_word,
    _insert_word,
    _drop_characters,
    _repeat_characters,
    _set_character,
)


def _span(count: int, longest: int, random: Random) -> tuple[int, int]:
    """A few neighbours among `count` things."""
    start = random.randint(0, count)
    return start, min(count, start + random.randint(1, longest))
