"""The figures that hostfw claims, each a ratio against a named baseline in the same run: `make bench`."""
