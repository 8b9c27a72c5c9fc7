"""hostfwctl: one module a verb."""
