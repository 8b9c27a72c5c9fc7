"""`python3 -m hostfw.daemon`, as the service runs it."""

import sys

from hostfw.host.process import signals


def _main() -> int:
    """Before what takes a fifth of a second to import, in which a signal would end us."""
    signals.take_defaults()
    signals.end_at_once()
    signals.hear_nothing()
    from hostfw.daemon.main import main

    return main()


sys.exit(_main())
