"""Downloads of Feeds, by a process without rights: nothing of a network is read by root."""
