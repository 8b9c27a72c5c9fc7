"""A generation into the kernel, and what may come between."""
