"""Descriptions of resources, as `hostfwctl describe` prints them."""
