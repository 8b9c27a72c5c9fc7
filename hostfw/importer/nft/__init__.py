"""Rulesets of nftables, as `nft -j list ruleset` prints them (libnftables-json(5)), read as chains of foreign rules."""
