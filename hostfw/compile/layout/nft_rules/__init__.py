"""The parts of an nft rule: what it matches, what it does, and the limits of both."""
