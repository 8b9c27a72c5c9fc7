"""The sets of a configuration without its policies, for who only wants those: ten thousand policies take a second."""

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from hostfw.build.candidate import check_candidate
from hostfw.model.resources import Resources
from hostfw.model.sources import Configuration, Source

_MAY_HOLD = re.compile(r"NetworkSet|Feed|Namespace|\\")
"""A document with none of these words holds no set; with a backslash it may spell one otherwise."""
_BEGIN = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_DIRECTIVE = re.compile(r"^%", re.MULTILINE)
"""Belongs to the document behind it, from which it is not to be parted."""


def sets_of(configuration: Configuration) -> Resources:
    """The sets, Feeds and Namespaces of a configuration, at their positions, with what shares documents with them."""
    held = (_with_sets(source) for source in configuration.resources if _MAY_HOLD.search(source.text))
    return check_candidate(replace(configuration, resources=tuple(held))).resources


def _with_sets(source: Source) -> Source:
    """A file with blank lines in the place of the documents that hold no set."""
    if _DIRECTIVE.search(source.text):
        return source
    return Source(source.path, "".join(_parts(source.text)))


def _parts(text: str) -> Iterator[str]:
    starts = [0, *(found.start() for found in _BEGIN.finditer(text)), len(text)]
    for start, end in pairwise(starts):
        part = text[start:end]
        yield part if _MAY_HOLD.search(part) else "\n" * part.count("\n")
