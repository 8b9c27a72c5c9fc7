"""What a configuration says and what is wrong with it, as far as that can be judged without a host."""

from dataclasses import dataclass

from hostfw.model.problems import Problem, errors, in_order
from hostfw.model.resources import Resources
from hostfw.model.settings import Settings
from hostfw.model.sources import Configuration
from hostfw.policy.check import check
from hostfw.policy.decode import decode


@dataclass(frozen=True, slots=True)
class Inspected:
    """A configuration as far as it can be judged without a host: decoded, checked across resources."""

    configuration: Configuration
    settings: Settings
    resources: Resources
    problems: tuple[Problem, ...]

    @property
    def is_valid(self) -> bool:
        """Whether a generation may be built from it; warnings do not stand in the way."""
        return not errors(self.problems)


def inspect(configuration: Configuration, read_problems: tuple[Problem, ...] = ()) -> Inspected:
    """What a configuration says and everything that is wrong with it, offline."""
    decoded = decode(configuration)
    problems = (*read_problems, *decoded.problems, *check(decoded.resources, decoded.settings))
    return Inspected(configuration, decoded.settings, decoded.resources, in_order(problems))
