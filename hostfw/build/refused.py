"""The refusal of a configuration.

It is apart from what builds a generation, so that verbs that only look at the host load no compiler.
"""

from dataclasses import dataclass

from hostfw.model.problems import Problem


@dataclass(frozen=True, slots=True)
class Refused:
    """A configuration that no generation is built from: every problem, errors and warnings, in order."""

    problems: tuple[Problem, ...]
