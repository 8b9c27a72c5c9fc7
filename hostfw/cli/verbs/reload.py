"""`hostfwctl reload`: `apply` of the configuration directory, as `systemctl reload` and timers run it.

A warning that was told before is not told again: a reload by cron would mail it every hour.
"""

from hostfw.cli.verbs.apply import run

__all__ = ["run"]
