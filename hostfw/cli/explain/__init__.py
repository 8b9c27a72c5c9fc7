"""Explanations of packets, as `hostfwctl explain` prints them."""
