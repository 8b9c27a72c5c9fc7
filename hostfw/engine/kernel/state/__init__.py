"""Our tables as the kernel holds them, and as they were recorded."""
