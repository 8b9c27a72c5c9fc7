"""Reports of the service on itself: for systemd, for the journal, and for hostfwctl."""
