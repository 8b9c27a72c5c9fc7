"""The loopback interface: the one name that the kernel gives it in every network namespace."""

LOOPBACK = "lo"
