"""Readers of the rules of iptables, and of ufw, which writes its own in that form."""
