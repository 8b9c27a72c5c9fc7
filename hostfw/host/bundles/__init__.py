"""Bundles on a host: their signatures, their folders, and what is known of them."""
