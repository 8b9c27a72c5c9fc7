"""Netlink: messages, batches and sockets that listen, with the standard library."""
