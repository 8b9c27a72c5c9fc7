"""The memory allocator of the C library, glibc's, in a process that runs for years (mallopt(3), malloc(3)).

A block of 128 KiB or more is a mapping of its own, which the kernel gets back when the block is freed. But each such
block that is freed raises that limit to its size, up to 32 MiB, and the next one comes from a heap, from which it is
returned only if nothing lies behind it. There is a heap for each thread. So a long-lived process keeps the room of its
largest blocks several times over.

The service replaces a block of 940 KiB again and again: Python's dictionary of interned strings, which `pathlib` fills
with every part of every path. Python never fills the place of a string that is gone, and copies the dictionary when no
place is left.
"""

LARGE_BYTES = 128 * 1024
"""The size from which a block is large: glibc's own limit at the start."""

_M_MMAP_THRESHOLD = -3
"""Of <malloc.h>. A limit that is set is never raised."""


def return_large_blocks() -> None:
    """Return every large block to the kernel when it is freed, from now on; has no effect on another C library."""
    # Here and not above: every command may import a module of this package, and the service alone needs this.
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
