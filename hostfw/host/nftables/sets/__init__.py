"""Sets in the kernel: their elements, read, compared and loaded."""
