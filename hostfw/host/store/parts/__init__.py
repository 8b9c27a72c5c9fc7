"""The parts of a stored generation: its scripts and its sources, each kept once however many generations have it."""
