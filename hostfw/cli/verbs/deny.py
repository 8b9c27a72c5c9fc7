"""`hostfwctl deny`: what `allow` does, with a rule that denies."""

from hostfw.cli.verbs.allow import run

__all__ = ["run"]
