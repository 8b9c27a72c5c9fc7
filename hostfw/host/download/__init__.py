"""Downloads of Feeds and bundles, by a process without rights: nothing of a network is read by root."""
