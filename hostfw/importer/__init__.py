"""Rule sets of other firewalls: read, written as policy of ours, and compared with it packet by packet."""
