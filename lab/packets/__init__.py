"""Packets: probes, traffic without pause, floods, and the records of them."""
