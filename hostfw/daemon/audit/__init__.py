"""The log of the service: records from the kernel, their losses, and the way to the journal."""
