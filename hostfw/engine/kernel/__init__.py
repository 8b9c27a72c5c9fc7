"""The generation and the kernel: put into force, read back, compared, and known again."""
