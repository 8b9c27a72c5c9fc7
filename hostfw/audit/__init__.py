"""Audit of packets: the log prefix codec, packet headers and drop events, without effects."""
