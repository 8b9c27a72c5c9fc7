"""Journal entries: their message ids, and the fields of events and notices."""
