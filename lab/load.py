"""The load of the machine that the tests run on, for those that hold what is done to a time."""

import os


def crowding() -> float:
    """Times by which work takes longer as others want the processors too: the load of the last minute over those."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
