"""A decoder for each kind of resource, and for what kinds share."""
