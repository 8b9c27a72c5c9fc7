"""The command line: its words, its options, and its meaning as one value."""
