"""`hostfwctl reload`: `apply` of the configuration directory, as `systemctl reload` runs it."""

from hostfw.cli.apply import run

__all__ = ["run"]
