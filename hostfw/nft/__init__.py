"""nftables as data: the objects of our tables, their text, and the change from one generation to the next."""
