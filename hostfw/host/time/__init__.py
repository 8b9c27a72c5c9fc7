"""Time: clocks, an alarm by the clock on the wall, and bunches of events."""
